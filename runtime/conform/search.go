package conform

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"isearle/runtime"
	"isearle/runtime/reference"
	"isearle/weights/half"
)

// Scope says how much of a search is tried.
type Scope struct {
	Threads    []int // the devices
	Dims, Rows []int
	Subset     int             // of the queries, where they come in several batches; 0 takes all
	Chunk      int             // rows that a chunk has at least
	Adverse    []runtime.DType // of the galleries that are made to defeat a search
}

// Search compares a device's search with the reference device, and with itself for equal bits across batches, chunkings,
// coarse copies, alignments and thread counts. open returns a device with so many threads.
func Search(t *testing.T, open func(threads int) runtime.Device) {
	SearchScope(t, open, Scope{Threads: []int{1, 2, 3}, Dims: []int{1, 3, 16, 77, 512}, Rows: []int{0, 1, 31, 33, 1000},
		Adverse: []runtime.DType{runtime.F32}})
	t.Run("rows 4 KiB apart", func(t *testing.T) {
		SearchScope(t, open, Scope{Threads: []int{2}, Dims: []int{1024}, Rows: []int{150}})
	})
}

// SearchScope is Search in a scope of one's own, for devices that are slow to test.
func SearchScope(t *testing.T, open func(threads int) runtime.Device, scope Scope) {
	var devs []runtime.Device
	for _, threads := range scope.Threads {
		d := open(threads)
		defer d.Close()
		devs = append(devs, d)
	}
	for _, dim := range scope.Dims {
		for _, rows := range scope.Rows {
			for _, dt := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
				if dt != runtime.F32 && dim%2 == 0 {
					continue // for time: what differs by dtype is the packing, and that is harder at odd dimensions
				}
				t.Run(fmt.Sprintf("%dx%d/%s", rows, dim, dt), func(t *testing.T) {
					g := newGallery(fmt.Sprint("gallery", rows, dim), dt, rows, dim)
					scope.run(t, devs, g, random("queries", 33*dim))
				})
			}
		}
	}
	for _, dt := range scope.Adverse {
		for name, g := range adversarial(dt) {
			t.Run(fmt.Sprintf("%s/%s", name, dt), func(t *testing.T) { scope.run(t, devs, g, g.adverseQueries()) })
		}
	}
	for _, dt := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
		t.Run(fmt.Sprint("dominantqueries/", dt), func(t *testing.T) {
			scope.run(t, devs, newGallery("gallery", dt, 300, 48), dominantQueries(48))
		})
	}
	t.Run("refusals", func(t *testing.T) { searchRefusals(t, devs[0]) })
	t.Run("reuse", func(t *testing.T) { searchReuse(t, devs[len(devs)/2]) })
}

// scan is one way of running a search over a gallery.
type scan struct {
	batch, chunk int // queries and rows at a time
	skip, coarse bool
	misaligned   bool
	backwards    bool // the last chunk first
	fixed        bool // chunks are promised to stay
}

// scans are ways that must give equal bits, those with the same skip.
func scans(skip bool) []scan {
	return []scan{
		{batch: 33, chunk: 1 << 20, skip: skip},
		{batch: 1, chunk: 1 << 20, skip: skip},
		{batch: 2, chunk: 17, skip: skip, backwards: true},
		{batch: 7, chunk: 300, skip: skip},
		{batch: 30, chunk: 257, skip: skip, misaligned: true, fixed: true},
		{batch: 31, chunk: 1 << 20, skip: skip},
		{batch: 1, chunk: 1 << 20, skip: skip, coarse: true},
		{batch: 1, chunk: 100, skip: skip, coarse: true, misaligned: true, fixed: true},
		{batch: 2, chunk: 300, skip: skip, coarse: true, backwards: true, fixed: true},
		{batch: 33, chunk: 64, skip: skip, coarse: true},
	}
}

// run does all scans of a gallery with several k.
func (scope Scope) run(t *testing.T, devs []runtime.Device, g *gallery, queries []float32) {
	n := len(queries) / g.dim
	for _, k := range []int{1, 10, g.rows + 7} {
		for _, skip := range []bool{false, true} {
			if scope.Subset > 0 && skip != (k == 10) {
				continue
			}
			var first [][]runtime.Hit
			for i, s := range scans(skip) {
				s.chunk = max(s.chunk, scope.Chunk)
				lo, hi := scope.queries(i, n, s.batch)
				for j, d := range devs {
					if i > 0 && j > 0 && i%len(devs) != j {
						continue // each scan on one thread and on one of the other counts
					}
					got := g.search(t, d, queries[lo*g.dim:hi*g.dim], k, s)
					if first == nil {
						first = got
						g.compare(t, queries, k, s, got)
					}
					equalHits(t, fmt.Sprintf("k %d, %+v, %d threads", k, s, j+1), got, first[lo:hi])
				}
			}
		}
	}
}

// queries are those that scan i takes of n in batches: all, or a part that changes from scan to scan.
func (scope Scope) queries(i, n, batch int) (lo, hi int) {
	if scope.Subset == 0 || batch >= min(n, 16) || scope.Subset >= n {
		return 0, n
	}
	lo = i * scope.Subset % (n - scope.Subset + 1)
	return lo, lo + scope.Subset
}

// equalHits compares rows and the bits of scores.
func equalHits(t *testing.T, what string, got, want [][]runtime.Hit) {
	t.Helper()
	for q := range want {
		if len(got[q]) != len(want[q]) {
			t.Fatalf("%s: query %d has %d hits, %d in the first scan", what, q, len(got[q]), len(want[q]))
		}
		for i, w := range want[q] {
			if g := got[q][i]; g.Row != w.Row || math.Float32bits(g.Score) != math.Float32bits(w.Score) {
				t.Fatalf("%s: query %d, hit %d is %v, %v in the first scan", what, q, i, g, w)
			}
		}
	}
}

// compare checks hits against the reference: right scores, in order, none missing by more than rounding can explain. Rows
// whose partial sums may overflow can have any score, or none.
func (g *gallery) compare(t *testing.T, queries []float32, k int, s scan, got [][]runtime.Hit) {
	t.Helper()
	all := g.search(t, reference.Device{}, queries, g.rows+1, scan{batch: 33, chunk: 1 << 20, skip: s.skip})
	for q, hits := range got {
		exact := make(map[int]float64, len(all[q]))
		for _, h := range all[q] {
			exact[h.Row] = float64(h.Score)
		}
		norm := length(queries[q*g.dim : (q+1)*g.dim])
		tol := func(row int) float64 { // g of Higham's section 3.1, times |q||x|, and what underflow takes
			reach := norm * length(g.values[row*g.dim:(row+1)*g.dim])
			if !(reach < 0x1p127) {
				return math.Inf(1)
			}
			return float64(g.dim+2)*0x1p-24*reach + float64(g.dim)*0x1p-149
		}
		for i, h := range hits {
			want, ok := exact[h.Row]
			if !ok || !(math.Abs(float64(h.Score)-want) <= tol(h.Row) || math.IsInf(tol(h.Row), 1)) {
				t.Fatalf("query %d, hit %d is %v, the row's score is %v (scanned: %t)", q, i, h, want, ok)
			}
			if i > 0 && !hits[i-1].Before(h) {
				t.Fatalf("query %d: hits %d and %d, %v and %v, are not in order", q, i-1, i, hits[i-1], h)
			}
			delete(exact, h.Row)
		}
		for row, score := range exact {
			if math.IsInf(tol(row), 1) {
				continue
			}
			if len(hits) < k {
				t.Fatalf("query %d: row %d with score %v is missing among %d hits, k is %d", q, row, score, len(hits), k)
			}
			if worst := hits[k-1]; score-tol(row) > float64(worst.Score)+tol(worst.Row) {
				t.Fatalf("query %d: row %d with score %v is missing, the last hit is %v", q, row, score, worst)
			}
		}
	}
}

func length(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}

// gallery is rows in a dtype, with their exact values and a coarse copy.
type gallery struct {
	dt        runtime.DType
	rows, dim int
	values    []float32
	data      []byte
	coarse    runtime.Coarse
}

func newGallery(name string, dt runtime.DType, rows, dim int) *gallery {
	return galleryOf(dt, dim, random(name, rows*dim))
}

// galleryOf stores values in a dtype.
func galleryOf(dt runtime.DType, dim int, values []float32) *gallery {
	g := &gallery{dt: dt, rows: len(values) / dim, dim: dim}
	for _, v := range values {
		switch dt {
		case runtime.F32:
			g.data = binary.LittleEndian.AppendUint32(g.data, math.Float32bits(v))
		case runtime.F16:
			g.data = binary.LittleEndian.AppendUint16(g.data, half.F32ToF16(v))
			v = half.F16ToF32(half.F32ToF16(v))
		case runtime.BF16:
			g.data = binary.LittleEndian.AppendUint16(g.data, half.F32ToBF16(v))
			v = half.BF16ToF32(half.F32ToBF16(v))
		}
		g.values = append(g.values, v)
	}
	g.quantise()
	return g
}

// quantise makes the coarse copy as runtime.Coarse defines it.
func (g *gallery) quantise() {
	g.coarse.Mean = make([]float32, g.dim)
	if g.rows > 0 {
		copy(g.coarse.Mean, g.values) // any vector will do, and a single row is far from the true mean
	}
	for r := range g.rows {
		row := g.values[r*g.dim : (r+1)*g.dim]
		largest := 0.0
		for j, v := range row {
			largest = max(largest, math.Abs(float64(v)-float64(g.coarse.Mean[j])))
		}
		scale := float32(largest / 127)
		loss := 0.0
		for j, v := range row {
			d := float64(v) - float64(g.coarse.Mean[j])
			code := 0.0
			if scale > 0 {
				code = max(-128, min(127, math.RoundToEven(d/float64(scale))))
			}
			g.coarse.Codes = append(g.coarse.Codes, int8(code))
			loss += (d - float64(scale)*code) * (d - float64(scale)*code)
		}
		up := math.Nextafter32(float32(math.Sqrt(loss)*(1+1e-9)+1e-12*length(row)), float32(math.Inf(1)))
		g.coarse.Scale, g.coarse.Loss = append(g.coarse.Scale, scale), append(g.coarse.Loss, up)
	}
}

// skip masks a row in three, and one whole stretch.
func (g *gallery) skip(row int) bool { return row%3 == 1 || row > 200 && row < 420 }

// chunk is rows lo to hi-1.
func (g *gallery) chunk(lo, hi int, s scan) runtime.Chunk {
	size := g.dim * g.dt.Size()
	c := runtime.Chunk{DType: g.dt, Rows: hi - lo, Data: g.data[lo*size : hi*size], Fixed: s.fixed}
	if s.misaligned {
		c.Data = append(make([]byte, 1, 1+len(c.Data)), c.Data...)[1:]
	}
	if s.skip {
		c.Skip = make([]uint64, (hi-lo+63)/64)
		for r := range hi - lo {
			if g.skip(lo + r) {
				c.Skip[r/64] |= 1 << (r % 64)
			}
		}
	}
	if s.coarse {
		c.Coarse = &runtime.Coarse{Codes: g.coarse.Codes[lo*g.dim : hi*g.dim], Scale: g.coarse.Scale[lo:hi],
			Loss: g.coarse.Loss[lo:hi], Mean: g.coarse.Mean}
	}
	return c
}

// search runs queries in one way.
func (g *gallery) search(t *testing.T, d runtime.Device, queries []float32, k int, s scan) [][]runtime.Hit {
	t.Helper()
	x, err := d.NewSearch(g.dim)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var out [][]runtime.Hit
	for n := len(queries) / g.dim; n > 0; n = len(queries) / g.dim {
		n = min(n, s.batch)
		out = append(out, g.batch(t, x, queries[:n*g.dim], n, k, s)...)
		queries = queries[n*g.dim:]
	}
	return out
}

// batch is one scan.
func (g *gallery) batch(t *testing.T, x runtime.Search, queries []float32, n, k int, s scan) [][]runtime.Hit {
	t.Helper()
	if err := x.Begin(queries, n, k); err != nil {
		t.Fatal(err)
	}
	chunks := max(1, (g.rows+s.chunk-1)/s.chunk)
	for i := range chunks {
		if s.backwards {
			i = chunks - 1 - i
		}
		lo, hi := i*s.chunk, min((i+1)*s.chunk, g.rows)
		if err := x.Feed(lo, g.chunk(lo, hi, s)); err != nil {
			t.Fatal(err)
		}
	}
	hits, counts := make([]runtime.Hit, n*k), make([]int, n)
	if err := x.Finish(hits, counts); err != nil {
		t.Fatal(err)
	}
	var out [][]runtime.Hit
	for q := range n {
		out = append(out, hits[q*k:][:counts[q]])
	}
	return out
}
