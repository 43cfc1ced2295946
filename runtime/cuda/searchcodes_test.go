//go:build cuda

package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"isearle/runtime"
	"isearle/runtime/conform"
	"isearle/runtime/cpu"
	index "isearle/search"
	"isearle/weights/half"
)

// measuredShape gives the kernels and slices that kernels/RESULTS.md has measurements of.
func measuredShape(s *searchShape) {
	s.tensorFrom, s.residentTo, s.keyBudget, s.narrow, s.candidates = tensorFromGDDR, 0, leastKeyBudget, false, 0
}

// shaped is a device whose searches have another shape.
type shaped struct {
	*Device
	change func(*searchShape)
}

func (d shaped) NewSearch(dim int) (runtime.Search, error) {
	x, err := d.Device.NewSearch(dim)
	if err == nil {
		d.change(&x.(*search).shape)
	}
	return x, err
}

// Whatever the shape, hits have the same bits: every kernel for every number of queries, and everything that has codes by its codes.
func TestSearchShapes(t *testing.T) {
	for name, change := range map[string]func(*searchShape){
		"tiles":         func(s *searchShape) { s.tensorFrom, s.residentTo, s.wanted = 1, 0, 0 },
		"resident":      func(s *searchShape) { s.tensorFrom, s.wanted, s.slot = 1, 0, 100*77 },
		"as measured":   measuredShape,
		"little shared": func(s *searchShape) { s.shared = 99 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			scope := conform.Scope{Threads: []int{1}, Dims: []int{77}, Rows: []int{300}, Subset: 2, Chunk: 128}
			if name == "tiles" {
				scope.Adverse = []runtime.DType{runtime.F32}
			}
			conform.SearchScope(t, func(int) runtime.Device { return shaped{opened(t), change} }, scope)
		})
	}
}

// randomRows fills rows, whatever their numbers, with random numbers.
func randomRows(seed1, seed2 uint64) func(_ int, x []float32) {
	rng := rand.New(rand.NewPCG(seed1, seed2))
	return func(_ int, x []float32) {
		for j := range x {
			x[j] = float32(rng.NormFloat64())
		}
	}
}

// codedGallery is rows in a type with their codes.
func codedGallery(dt runtime.DType, rows, dim int, row func(r int, x []float32)) runtime.Chunk {
	c := runtime.Chunk{DType: dt, Rows: rows, Skip: make([]uint64, blocks(rows, 64))}
	k := &runtime.Coarse{Codes: make([]int8, rows*dim), Scale: make([]float32, rows), Loss: make([]float32, rows), Mean: make([]float32, dim)}
	values := make([]float32, rows*dim)
	for r := range rows {
		x := values[r*dim : (r+1)*dim]
		row(r, x)
		for j, v := range x {
			switch dt {
			case runtime.F32:
				c.Data = binary.LittleEndian.AppendUint32(c.Data, math.Float32bits(v))
			case runtime.F16:
				c.Data = binary.LittleEndian.AppendUint16(c.Data, half.F32ToF16(v))
				x[j] = half.F16ToF32(half.F32ToF16(v))
			default:
				c.Data = binary.LittleEndian.AppendUint16(c.Data, half.F32ToBF16(v))
				x[j] = half.BF16ToF32(half.F32ToBF16(v))
			}
			k.Mean[j] += x[j] / float32(rows)
		}
		if r%13 == 4 {
			c.Skip[r/64] |= 1 << (r % 64)
		}
	}
	for r := range rows {
		k.Scale[r], k.Loss[r] = index.QuantiseRow(k.Codes[r*dim:(r+1)*dim], values[r*dim:(r+1)*dim], k.Mean)
	}
	c.Coarse = k
	return c
}

// scanChunks is a search of a gallery in chunks of some rows.
func scanChunks(t *testing.T, x runtime.Search, queries []float32, nq, k, step, dim int, c runtime.Chunk) ([]runtime.Hit, []int) {
	t.Helper()
	if err := x.Begin(queries, nq, k); err != nil {
		t.Fatal(err)
	}
	for lo := 0; lo < c.Rows; lo += step {
		hi := min(lo+step, c.Rows)
		p, size := c, dim*c.DType.Size()
		p.Rows, p.Data, p.Skip = hi-lo, c.Data[lo*size:hi*size], c.Skip[lo/64:]
		if k := c.Coarse; k != nil {
			p.Coarse = &runtime.Coarse{Codes: k.Codes[lo*dim : hi*dim], Scale: k.Scale[lo:hi], Loss: k.Loss[lo:hi], Mean: k.Mean}
		}
		if err := x.Feed(lo, p); err != nil {
			t.Fatal(err)
		}
	}
	hits, counts := make([]runtime.Hit, nq*k), make([]int, nq)
	if err := x.Finish(hits, counts); err != nil {
		t.Fatal(err)
	}
	return hits, counts
}

// wantHits compares hits with those of the CPU device without codes, bit for bit.
func wantHits(t *testing.T, got []runtime.Hit, counts []int, queries []float32, nq, k, dim int, c runtime.Chunk) {
	t.Helper()
	host, err := cpu.Open(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	x, err := host.NewSearch(dim)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	c.Coarse = nil
	want, wantCounts := scanChunks(t, x, queries, nq, k, c.Rows, dim, c)
	if !slices.Equal(counts, wantCounts) {
		t.Fatalf("%v hits, %v on the CPU", counts, wantCounts)
	}
	for q := range nq {
		for i := range counts[q] {
			g, w := got[q*k+i], want[q*k+i]
			if g.Row != w.Row || math.Float32bits(g.Score) != math.Float32bits(w.Score) {
				t.Fatalf("query %d, hit %d is %v, on the CPU %v", q, i, g, w)
			}
		}
	}
}

// kernels are those that a search has launched.
func kernelsOf(x runtime.Search) map[string]bool {
	names := map[string]bool{}
	for k := range x.(*search).launches {
		names[k.kernel] = true
	}
	return names
}

// A search by codes gives the hits of one without, bit for bit, for galleries that defeat bounds: with rows and codes on the device, with codes
// there and the rows of candidates fetched, and with both coming slice by slice. The kernels are those for the number of queries.
func TestSearchByCodes(t *testing.T) {
	const rows, dim, step, k = 900, 72, 192, 7
	rng := rand.New(rand.NewPCG(5, 6))
	base := make([]float32, dim)
	random := func(x []float32) {
		for j := range x {
			x[j] = float32(rng.NormFloat64())
		}
	}
	random(base)
	galleries := map[string]func(r int, x []float32){
		"random":     func(_ int, x []float32) { random(x) },
		"dominant":   func(r int, x []float32) { random(x); x[11] = -40 - float32(r%5) },
		"duplicates": func(r int, x []float32) { copy(x, base); x[r%3]++ },
		"nearties": func(r int, x []float32) {
			copy(x, base)
			x[r%dim] = math.Nextafter32(x[r%dim], float32(r%7-3)*100)
		},
		"zeros": func(r int, x []float32) {
			if r%4 == 0 {
				random(x)
			}
		},
		"ascending": func(r int, x []float32) {
			for j := range x {
				x[j] = base[j] * (1 + float32(r)/rows)
			}
		},
	}
	ways := map[string]struct {
		fixed bool
		fail  string
	}{"kept": {true, ""}, "codes kept": {true, "alloc:1"}, "streamed": {false, ""}}
	kernel := map[int]string{2: "search_codes16", 17: "search_codes64", 65: "search_codes"}
	d := opened(t)
	i := 0
	for _, name := range slices.Sorted(maps.Keys(galleries)) {
		for _, nq := range []int{2, 17, 65} {
			dt := []runtime.DType{runtime.F32, runtime.F16, runtime.F32, runtime.BF16}[i%4]
			i++
			c := codedGallery(dt, rows, dim, galleries[name])
			queries := make([]float32, nq*dim)
			random(queries)
			copy(queries, base)
			if nq > 4 {
				for q := range nq { // as CLIP's: one dimension of 20 times the others' size
					queries[q*dim+11] += 20
				}
				clear(queries[dim : 2*dim])
				queries[2*dim] = float32(math.NaN())
				queries[3*dim], queries[3*dim+1] = 2e38, -2e38
				queries[4*dim+5] = 3e-3 * queries[4*dim+5]
			}
			for way, w := range ways {
				if w.fail != "" && !strings.HasPrefix(d.name, "emulated") {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d/%s", name, dt, nq, way), func(t *testing.T) {
					x, err := shaped{d, func(s *searchShape) { s.wanted, s.slot = 0, 100*4*dim }}.NewSearch(dim)
					if err != nil {
						t.Fatal(err)
					}
					defer x.Close()
					if w.fail != "" { // all other memory is there already
						scanChunks(t, x, queries, nq, k, step, dim, c)
					}
					c := c
					c.Fixed = w.fixed
					t.Setenv("ISEARLE_EMU_FAIL", w.fail)
					hits, counts := scanChunks(t, x, queries, nq, k, step, dim, c)
					t.Setenv("ISEARLE_EMU_FAIL", "")
					wantHits(t, hits, counts, queries, nq, k, dim, c)
					used := kernelsOf(x)
					if !used[kernel[nq]] || used["search_wanted"] != (way != "kept") {
						t.Errorf("kernels %v", used)
					}
					for _, o := range kernel {
						if used[o] && o != kernel[nq] {
							t.Errorf("%s for %d queries", o, nq)
						}
					}
					f := &x.(*search).feed
					for _, r := range f.kept {
						if r.codes.ptr == 0 || (r.rows.ptr != 0) != (way == "kept") {
							t.Errorf("%d bytes of rows and %d of codes are kept", r.rows.bytes, r.codes.bytes)
						}
					}
					if (len(f.kept) > 0) != w.fixed {
						t.Errorf("%d chunks are kept", len(f.kept))
					}
				})
			}
		}
	}
}

// Slices of more groups of rows than there are blocks: queries stay in shared memory while each block takes one group after the other.
func TestSearchLongSlices(t *testing.T) {
	const rows, dim, step, k = 3300, 136, 1100, 5
	random := randomRows(11, 12)
	d := opened(t)
	for _, dt := range []runtime.DType{runtime.F16, runtime.BF16, runtime.F32} {
		c := codedGallery(dt, rows, dim, random)
		kernels := map[int]string{3: "search_codes16", 40: "search_codes64"}
		if dt != runtime.F32 {
			c.Coarse = nil
			kernels = map[int]string{3: "search_resident16_" + dt.String(), 40: "search_resident64_" + dt.String()}
		}
		for nq, kernel := range kernels {
			queries := make([]float32, nq*dim)
			random(0, queries)
			x, err := shaped{d, func(s *searchShape) { s.processors, s.wanted, s.tensorFrom = 2, 0, 2 }}.NewSearch(dim)
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			hits, counts := scanChunks(t, x, queries, nq, k, step/64*64, dim, c)
			wantHits(t, hits, counts, queries, nq, k, dim, c)
			if used := kernelsOf(x); !used[kernel] {
				t.Errorf("kernels %v", used)
			}
		}
	}
}

// Bounds of 16-bit rows find the floors and most of the k best: little more than k rows of a chunk are scored for a query, once for all slices of
// one that is kept. Where rounded queries have other rows for the best, and where more rows than stay are as good, within what
// bounds know, hits are the same.
func TestSearchNarrows(t *testing.T) {
	const rows, dim, k, step = 4800, 24, 20, 832
	random := randomRows(13, 14)
	d := opened(t)
	for _, dt := range []runtime.DType{runtime.F16, runtime.BF16} {
		ulp := map[runtime.DType]float32{runtime.F16: 0x1p-10, runtime.BF16: 0x1p-7}[dt]
		for name, row := range map[string]func(int, []float32){
			"random": random,
			"other order": func(r int, x []float32) {
				switch r % 100 {
				case 0: // the best
					x[r/100%12*2] = 1
				case 50: // of rounded queries
					x[r/100%12*2+1] = 1 - ulp/2
				}
			},
			"ascending": func(r int, x []float32) {
				for j := range x {
					x[j] = 1
					if j < 1+r*dim/rows {
						x[j] += ulp
					}
				}
			},
		} {
			c := codedGallery(dt, rows, dim, row)
			c.Coarse = nil
			for _, nq := range []int{3, 40, 70} {
				if dt == runtime.BF16 && nq != 40 {
					continue
				}
				queries := make([]float32, nq*dim)
				random(0, queries)
				if name != "random" {
					for i := range queries { // which rounding takes down and up
						queries[i] = 1 + .49*ulp + .02*ulp*float32(i%2)
					}
				}
				for step, fixed := range map[int]bool{step: false, rows: true} {
					c.Fixed = fixed
					x, err := shaped{d, func(s *searchShape) { s.tensorFrom, s.processors = 2, 40 }}.NewSearch(dim)
					if err != nil {
						t.Fatal(err)
					}
					defer x.Close()
					scored := 0.0
					d.Profile(func(e runtime.Event) {
						for _, k := range e.Kernels {
							if strings.HasPrefix(k.Name, "search_rescore") {
								scored += k.FLOP / (2 * dim)
							}
						}
					})
					hits, counts := scanChunks(t, x, queries, nq, k, step, dim, c)
					d.Profile(nil)
					wantHits(t, hits, counts, queries, nq, k, dim, c)
					used := kernelsOf(x)
					if !used["search_narrow"] || used["search_scan4_"+dt.String()] {
						t.Errorf("kernels %v", used)
					}
					if least, most := float64(nq*k), float64(nq*4*k); fixed && name == "random" && (scored < least || scored > most) {
						t.Errorf("%s, %d queries: %v rows are scored", dt, nq, scored)
					}
				}
			}
		}
	}
}

// 1,024 queries, k of which is more than some slices have: from the host and from the device.
func TestSearchManyByCodes(t *testing.T) {
	const rows, dim, nq, k = 600, 48, 1024, 3
	random := randomRows(7, 8)
	c := codedGallery(runtime.F32, rows, dim, random)
	queries := make([]float32, nq*dim)
	random(0, queries)
	d := opened(t)
	for _, c.Fixed = range []bool{false, true} {
		x, err := shaped{d, func(s *searchShape) { s.wanted = 0 }}.NewSearch(dim)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		hits, counts := scanChunks(t, x, queries, nq, k, 128, dim, c)
		wantHits(t, hits, counts, queries, nq, k, dim, c)
		if used := kernelsOf(x); !used["search_codes"] || used["search_wanted"] == c.Fixed {
			t.Errorf("kernels %v", used)
		}
	}
}

// A gallery on the host whose codes say which rows matter is copied in part. How much is expected to be wanted decides, and few rows seen are
// not enough for many queries.
func TestSearchFetchesFewRows(t *testing.T) {
	const rows, dim, nq, k, step = 4096, 128, 9, 2, 512
	random := randomRows(9, 10)
	c := codedGallery(runtime.F32, rows, dim, random)
	queries := make([]float32, nq*dim)
	random(0, queries)
	d := opened(t)
	x, err := d.NewSearch(dim)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	scanned, bounded, scored := 0.0, 0.0, 0.0
	d.Profile(func(e runtime.Event) {
		for _, k := range e.Kernels {
			switch {
			case strings.HasPrefix(k.Name, "search_scan"):
				scanned += float64(k.Rows)
			case strings.HasPrefix(k.Name, "search_codes"):
				bounded += float64(k.Rows)
			case strings.HasPrefix(k.Name, "search_rescore"):
				scored += k.FLOP / (2 * dim)
			}
		}
	})
	hits, counts := scanChunks(t, x, queries, nq, k, step, dim, c)
	d.Profile(nil)
	wantHits(t, hits, counts, queries, nq, k, dim, c)
	if scanned != step || bounded != rows-step {
		t.Errorf("%v rows are scanned, %v by their codes", scanned, bounded)
	}
	if scored < nq || scored > nq*rows/50 {
		t.Errorf("%v rows are scored of %d", scored, nq*rows)
	}
	if got := x.(*search).memory.fetched.bytes; got != 4*dim*step {
		t.Errorf("%d bytes for rows that are fetched", got)
	}
	s := search{dim: dim, nq: 1024, k: 50, seen: 100000, selected: 100000, shape: d.searchShape()}
	if s.worthFetching(c) {
		t.Error("2 rows of 1 seen are wanted, and fetched")
	}
	if s.seen = 300000; !s.worthFetching(c) {
		t.Error("two thirds of rows are wanted, and not fetched")
	}
	if c.DType = runtime.F16; s.worthFetching(c) {
		t.Error("two thirds of rows are wanted in a type of which codes are a half, and fetched")
	}
}

// Every element of a query is in its bytes, its elements apart or what it says is lost.
func TestQuantisedQueries(t *testing.T) {
	const nq, dim, depth = 40, 100, 128
	s := &search{dim: dim, depth: depth, nq: nq, bounds: randomQueries(nq, dim, depth)}
	x := s.bounds.padded
	for q := range nq {
		x[q*depth+3], x[q*depth+60] = 25+x[q*depth+3], -20
	}
	x[7*depth] = 1e37
	clear(x[8*depth : 9*depth])
	x[9*depth+1] = float32(math.Inf(-1))
	b := &s.codes
	b.setApart(s)
	if !slices.Equal(b.apart, []int{3, 60}) {
		t.Fatalf("dimensions %v are kept apart", b.apart)
	}
	b.steps, b.norms, b.lost = make([]float32, nq), make([]float64, nq), make([]float64, nq)
	words, rest := make([]int8, depth), make([]float32, depth)
	mean := make([]float32, dim)
	for j := range mean {
		mean[j] = float32(j%5) - 2
	}
	for q := range nq {
		b.quantise(s, q, words, rest)
		norm := length(x[q*depth:][:dim])
		if q == 7 || q == 9 {
			if !math.IsNaN(b.norms[q]) || b.steps[q] != 0 || words[5] != 0 {
				t.Errorf("query %d of length %v is taken for %v", q, norm, b.norms[q])
			}
			continue
		}
		lost, center := 0.0, 0.0
		for j, w := range words[:dim] {
			d := float64(x[q*depth+j]) - float64(b.steps[q])*float64(w)
			if j == 3 || j == 60 {
				if w != 0 {
					t.Errorf("query %d has %d in dimension %d", q, w, j)
				}
				d = 0
			}
			lost += d * d
			center += float64(x[q*depth+j]) * float64(mean[j])
		}
		lost = math.Sqrt(lost)
		if b.lost[q] < lost || b.lost[q] > lost*(1+1e-5) || b.norms[q] != norm || norm > 0 && lost > .01*norm {
			t.Errorf("query %d loses %v, %v by its own account", q, lost, b.lost[q])
		}
		term := s.codeBounds(mean)[q]
		g := float64(dim+1) * 0x1p-24
		least := [3]float64{lost + g*(norm+lost), norm * (1 + g), center + g*norm*length(mean)}
		for i, got := range []float32{term.Slack, term.Reach, term.Base} {
			if float64(got) < least[i] || float64(got) > least[i]+1e-4*(1+math.Abs(least[i])+norm) {
				t.Errorf("query %d: term %d is %v, it takes %v", q, i, got, least[i])
			}
		}
		if term.Apart != [4]float32{x[q*depth+3], x[q*depth+60]} {
			t.Errorf("query %d: %v apart", q, term.Apart)
		}
	}
	if inf := s.codeBounds(mean)[9]; !math.IsInf(float64(inf.Base), 1) {
		t.Errorf("an infinite query has terms %+v", inf)
	}
}

// Rows that are fetched stand where the kernels look for them, padded, in whatever pieces they are written.
func TestGather(t *testing.T) {
	const size, pitch = 20, 32
	data := make([]byte, 50*size)
	for i := range data {
		data[i] = byte(i*7 + 1)
	}
	rows := []int32{49, 0, 17, 17, 3}
	var want []byte
	for _, r := range rows {
		want = append(append(want, data[int(r)*size:int(r+1)*size]...), make([]byte, pitch-size)...)
	}
	for piece := 1; piece <= len(want); piece += 9 {
		got := make([]byte, len(want))
		for i := range got {
			got[i] = 0xee
		}
		for off := 0; off < len(got); off += piece {
			gather(got[off:min(off+piece, len(got))], off, data, rows, size, pitch)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("pieces of %d: %v, want %v", piece, got, want)
		}
	}
}

// BenchmarkSearchShapes times searches by the kernels in use and by those that were there before, on a chip: what searchShape should be.
func BenchmarkSearchShapes(b *testing.B) {
	const dim = 512
	d := opened(b)
	rows := 1 << 20
	if strings.HasPrefix(d.name, "emulated") {
		rows = 8192
	}
	values := make([]float32, rows*dim)
	queriesInParts(rows, len(values), func(lo, hi int) {
		rng := rand.New(rand.NewPCG(1, uint64(lo)))
		for i := range values[lo*dim : hi*dim] {
			values[lo*dim+i] = rng.Float32() - rng.Float32()
		}
	})
	halves := runtime.Chunk{DType: runtime.F16, Rows: rows, Data: make([]byte, 2*len(values)), Fixed: true}
	floats := runtime.Chunk{DType: runtime.F32, Rows: rows, Data: runtime.Float32Bytes(values), Fixed: true}
	coded := floats
	coded.Coarse = &runtime.Coarse{Codes: make([]int8, len(values)), Scale: make([]float32, rows), Loss: make([]float32, rows), Mean: make([]float32, dim)}
	queriesInParts(rows, len(values), func(lo, hi int) {
		encode(halves.Data[2*lo*dim:2*hi*dim], runtime.F16, values[lo*dim:hi*dim])
		for r := lo; r < hi; r++ {
			coded.Coarse.Scale[r], coded.Coarse.Loss[r] = index.QuantiseRow(coded.Coarse.Codes[r*dim:(r+1)*dim], values[r*dim:(r+1)*dim], coded.Coarse.Mean)
		}
	})
	streamed, streamedFloats := coded, floats
	streamed.Fixed, streamedFloats.Fixed = false, false
	queries := slices.Clone(values[:1024*dim])
	none := func(*searchShape) {}
	atOnce := func(s *searchShape) { s.narrow, s.candidates = false, 0 }
	for _, c := range []struct {
		name   string
		chunk  runtime.Chunk
		change func(*searchShape)
		k      int
		nq     []int
	}{
		{"f16, k 2048", halves, none, 2048, []int{1, 64}},
		{"f16, k 2048, scored at once", halves, atOnce, 2048, []int{1, 64}},
		{"f16", halves, none, 50, []int{1, 2, 4, 8, 16, 64, 1024}},
		{"f16, scored at once", halves, atOnce, 50, []int{2, 8, 64, 1024}},
		{"f16, as before", halves, measuredShape, 50, []int{2, 8, 64}},
		{"f32", floats, none, 50, []int{8, 64}},
		{"codes", coded, none, 50, []int{1, 2, 8, 64, 1024}},
		{"codes, as before", coded, measuredShape, 50, []int{2, 8}},
		{"f32 from the host", streamedFloats, none, 50, []int{8}},
		{"codes from the host", streamed, none, 50, []int{8, 64, 1024}},
	} {
		for _, nq := range c.nq {
			b.Run(fmt.Sprintf("%s/%d", c.name, nq), func(b *testing.B) {
				x, err := shaped{d, c.change}.NewSearch(dim)
				if err != nil {
					b.Fatal(err)
				}
				defer x.Close()
				hits, counts := make([]runtime.Hit, nq*c.k), make([]int, nq)
				run := func() {
					if err := errors.Join(x.Begin(queries[:nq*dim], nq, c.k), x.Feed(0, c.chunk), x.Finish(hits, counts)); err != nil {
						b.Fatal(err)
					}
				}
				run() // which brings the gallery to the device
				for b.Loop() {
					run()
				}
				b.ReportMetric(float64(nq)*float64(b.N)/b.Elapsed().Seconds(), "queries/s")
			})
		}
	}
}
