//go:build cuda

package cuda_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"isearle/runtime"
	"isearle/runtime/cuda"
	"isearle/weights/half"
)

// gallery is random rows of a type, with a NaN, equal rows, and a mask that skips some.
func gallery(dt runtime.DType, rows, dim int) runtime.Chunk {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(dim)))
	c := runtime.Chunk{DType: dt, Rows: rows, Data: make([]byte, rows*dim*dt.Size()), Skip: make([]uint64, (rows+63)/64)}
	for i := range rows * dim {
		x := float32(rng.NormFloat64())
		switch {
		case i == 5*dim:
			x = float32(math.NaN())
		case i/dim%7 == 6: // as the row before
			copy(c.Data[i*dt.Size():(i+1)*dt.Size()], c.Data[(i-dim)*dt.Size():])
			continue
		}
		switch dt {
		case runtime.F32:
			binary.LittleEndian.PutUint32(c.Data[4*i:], math.Float32bits(x))
		case runtime.F16:
			binary.LittleEndian.PutUint16(c.Data[2*i:], half.F32ToF16(x))
		default:
			binary.LittleEndian.PutUint16(c.Data[2*i:], half.F32ToBF16(x))
		}
	}
	for r := 0; r < rows; r += 11 {
		c.Skip[r/64] |= 1 << (r % 64)
	}
	return c
}

// part is rows [lo, hi) of a chunk, lo a multiple of 64.
func part(c runtime.Chunk, lo, hi, dim int) runtime.Chunk {
	size := dim * c.DType.Size()
	return runtime.Chunk{DType: c.DType, Rows: hi - lo, Data: c.Data[lo*size : hi*size], Skip: c.Skip[lo/64:]}
}

func find(t *testing.T, d runtime.Device, queries []float32, dim, k, step int, c runtime.Chunk) ([]runtime.Hit, []int) {
	t.Helper()
	s, err := d.NewSearch(dim)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nq := len(queries) / dim
	if err := s.Begin(queries, nq, k); err != nil {
		t.Fatal(err)
	}
	for lo := 0; lo < c.Rows; lo += step {
		if err := s.Feed(lo, part(c, lo, min(lo+step, c.Rows), dim)); err != nil {
			t.Fatal(err)
		}
	}
	hits, counts := make([]runtime.Hit, nq*k), make([]int, nq)
	if err := s.Finish(hits, counts); err != nil {
		t.Fatal(err)
	}
	return hits, counts
}

// A score is the same chain of fused multiply-adds on both devices: rows and bits must be equal, however the gallery is fed.
func TestSearch(t *testing.T) {
	devs := both(t)
	for _, dt := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
		for _, s := range []struct{ rows, dim, nq, k, step int }{
			{0, 3, 2, 4, 64}, {1, 1, 1, 1, 64}, {300, 3, 9, 10, 128}, {300, 77, 3, 307, 300}, {500, 33, 17, 1, 64}, {4200, 5, 2, 20, 4200},
		} {
			t.Run(fmt.Sprintf("%s %+v", dt, s), func(t *testing.T) {
				c := gallery(dt, s.rows, s.dim)
				rng := rand.New(rand.NewPCG(3, 4))
				queries := make([]float32, s.nq*s.dim)
				for i := range queries {
					queries[i] = float32(rng.NormFloat64())
				}
				want, wantCounts := find(t, devs[0], queries, s.dim, s.k, s.rows+1, c)
				got, counts := find(t, devs[1], queries, s.dim, s.k, s.step, c)
				for q := range s.nq {
					if counts[q] != wantCounts[q] {
						t.Fatalf("query %d has %d hits, %d on the CPU", q, counts[q], wantCounts[q])
					}
					for i := range counts[q] {
						g, w := got[q*s.k+i], want[q*s.k+i]
						if g.Row != w.Row || math.Float32bits(g.Score) != math.Float32bits(w.Score) {
							t.Fatalf("query %d, hit %d is %v, on the CPU %v", q, i, g, w)
						}
					}
				}
			})
		}
	}
}

// The tensor cores' sums of rounded queries are lower than the scores by far more than what makes the later rows better, and they
// must be found all the same.
func TestSearchRoundedQueries(t *testing.T) {
	const dim, rows, step, most, k = 48, 600, 320, 70, 10
	devs := both(t)
	for dt, ulp := range map[runtime.DType]float32{runtime.F16: 0x1p-10, runtime.BF16: 0x1p-7} {
		c := runtime.Chunk{DType: dt, Rows: rows, Skip: make([]uint64, (rows+63)/64)}
		for r := range rows {
			for j := range dim {
				x := float32(1)
				if r >= step && j == r%dim {
					x += ulp
				}
				if dt == runtime.F16 {
					c.Data = binary.LittleEndian.AppendUint16(c.Data, half.F32ToF16(x))
				} else {
					c.Data = binary.LittleEndian.AppendUint16(c.Data, half.F32ToBF16(x))
				}
			}
		}
		queries := make([]float32, most*dim)
		for i := range queries {
			queries[i] = 1 + .49*ulp // rounds to 1
		}
		want, _ := find(t, devs[0], queries, dim, k, rows+1, c)
		for _, nq := range []int{9, 40, most} { // of each kernel
			got, _ := find(t, devs[1], queries[:nq*dim], dim, k, step, c)
			for i := range got {
				if got[i].Row != want[i].Row || got[i].Score != want[i].Score || got[i].Row < step {
					t.Fatalf("%s, %d queries: query %d, hit %d is %v, on the CPU %v", dt, nq, i/k, i%k, got[i], want[i])
				}
			}
		}
	}
}

// A profiled search reports the kernels of every feed and of the merge, and what they read, write and compute: scans all rows,
// rescoring what bounds let pass and selections leave, selections every candidate. Hits are the same.
func TestSearchProfile(t *testing.T) {
	const dim, rows, nq, k, step = 24, 300, 2, 5, 128
	d := open(t, cuda.Options{})
	defer d.Close()
	queries, g := make([]float32, nq*dim), gallery(runtime.F16, rows, dim)
	for i := range queries {
		queries[i] = float32(i%5) - 1
	}
	want, _ := find(t, d, queries, dim, k, rows, g)
	var kernels []runtime.Kernel
	d.(runtime.Profiler).Profile(func(e runtime.Event) {
		if e.Plan != "search" || len(e.Kernels) == 0 || e.Graph || (e.Name == "searchmerge") != (e.Kernels[len(e.Kernels)-1].Name == "search_sort") {
			t.Errorf("event %+v", e)
		}
		for _, k := range e.Kernels {
			if k.Time <= 0 || k.Start < e.Start || k.Start+k.Time > e.Start+e.Time {
				t.Errorf("%s from %v for %v in %s from %v for %v", k.Name, k.Start, k.Time, e.Name, e.Start, e.Time)
			}
		}
		kernels = append(kernels, e.Kernels...)
	})
	got, _ := find(t, d, queries, dim, k, step, g)
	d.(runtime.Profiler).Profile(nil)
	if !slices.Equal(got, want) {
		t.Errorf("hits %v, without a profile %v", got, want)
	}

	// All scores, and how many of rows [lo, hi) come before the k best of those in front of end, or nearly.
	all, counts := find(t, d, queries, dim, rows, rows, g)
	passing := func(lo, hi, end int, margin float32) (n int) {
		for q := range nq {
			hits := all[q*rows:][:counts[q]]
			floor := float32(math.Inf(-1))
			if before := slices.DeleteFunc(slices.Clone(hits), func(h runtime.Hit) bool { return h.Row >= end }); len(before) > 0 {
				floor = before[k-1].Score
			}
			for _, h := range hits {
				if h.Row >= lo && h.Row < hi && h.Score > floor-margin {
					n++
				}
			}
		}
		return n
	}
	first := func() (k runtime.Kernel) {
		t.Helper()
		if len(kernels) == 0 {
			t.Fatal("too few kernels")
		}
		k, kernels = kernels[0], kernels[1:]
		return k
	}
	next := func(name string, flop, bytes int) {
		t.Helper()
		if k := first(); k.Name != name || k.FLOP != float64(flop) || k.Bytes != float64(bytes) {
			t.Errorf("%s does %v FLOP and %v bytes; %s does %d and %d", k.Name, k.FLOP, k.Bytes, name, flop, bytes)
		}
	}
	const key = 8
	chosen := func(name string, least, most int) {
		t.Helper()
		selected := func(n int) float64 { return float64(key*(n+min(n, nq*k)) + nq*(key+4)) }
		if k := first(); k.Name != name || k.FLOP != 0 || k.Bytes < selected(least) || k.Bytes > selected(most) {
			t.Errorf("%s does %v FLOP and %v bytes; %s of %d to %d candidates", k.Name, k.FLOP, k.Bytes, name, least, most)
		}
	}
	const margin, nans = .01, 2 * nq            // rows 5 and 6 have one
	next("search_round", 6*nq*dim, nq*(6*64+4)) // padded to 64
	for lo := 0; lo < rows; lo += step {
		n := min(step, rows-lo)
		next("search_norms", 2*n*dim, n*(2*dim+4))
		next("search_resident16_f16", 2*n*dim*nq, n*(2*dim+4))
		end := lo // of the rows that the floors are of when candidates are scored
		if lo < 2*step {
			end = lo + n
			chosen("search_narrow", passing(lo, end, lo, 0), nq*(k+1)+passing(lo, end, lo, margin)+nans)
		}
		if len(kernels) == 0 {
			t.Fatal("nothing is scored")
		}
		passed := int(kernels[0].FLOP) / (2 * dim)
		if least, most := passing(lo, lo+n, end, 0), passing(lo, lo+n, end, margin)+nans; passed < least || passed > most {
			t.Errorf("%d candidates are scored, %d to %d reach the floor", passed, least, most)
		}
		next("search_rescore_f16", 2*passed*dim, passed*(2*dim+2*key)+nq*(4*dim+key+4))
	}
	chosen("search_sort", nq*k, nq*rows)
	if len(kernels) > 0 {
		t.Errorf("more kernels: %v", kernels)
	}
}
