package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"isearle/runtime"
)

func TestKeyOrder(t *testing.T) {
	inf := float32(math.Inf(1))
	scores := []float32{inf, math.MaxFloat32, 1, 0.5, math.SmallestNonzeroFloat32, 0, -math.SmallestNonzeroFloat32, -1, -math.MaxFloat32, -inf}
	var hits []runtime.Hit
	for _, s := range scores {
		for _, row := range []int{0, 1, 1 << 20, maxRow} {
			hits = append(hits, runtime.Hit{Row: row, Score: s})
		}
	}
	for i, a := range hits {
		if got := newKey(a.Score, uint32(a.Row)).hit(); got != a {
			t.Errorf("%v becomes %v", a, got)
		}
		for j, b := range hits {
			if got := newKey(a.Score, uint32(a.Row)) > newKey(b.Score, uint32(b.Row)); got != a.Before(b) || got != (i < j) {
				t.Errorf("%v before %v: %t", a, b, got)
			}
		}
	}
	minus := float32(math.Copysign(0, -1))
	if newKey(minus, 3) != newKey(0, 3) {
		t.Error("the zeros differ")
	}
}

func TestSelectBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	organ := func(i, n int) key { return key(min(i, n-i)) }
	for name, fill := range map[string]func(i, n int) key{
		"random":     func(_, _ int) key { return key(rng.Uint64()) },
		"ascending":  func(i, _ int) key { return key(i) },
		"descending": func(i, n int) key { return key(n - i) },
		"equal":      func(_, _ int) key { return 7 },
		"two values": func(i, _ int) key { return key(i % 2) },
		"organ pipe": organ,
		// The median of three is always the second largest of these.
		"killer": func(i, n int) key {
			if i < n/2 {
				return key(i + i%2*n)
			}
			return key(2 * (i - n/2))
		},
	} {
		for _, n := range []int{1, 2, 3, 10, 257, 4096} {
			for _, k := range []int{1, 2, n / 2, n - 1, n} {
				if k < 1 || k > n {
					continue
				}
				a := make([]key, n)
				for i := range a {
					a[i] = fill(i, n)
				}
				want := slices.Clone(a)
				sortBest(want)
				selectBest(a, k)
				if a[k-1] != want[k-1] {
					t.Fatalf("%s: number %d of %d is %v, want %v", name, k, n, a[k-1], want[k-1])
				}
				sortBest(a[:k])
				if !slices.Equal(a[:k], want[:k]) {
					t.Fatalf("%s: the best %d of %d are wrong", name, k, n)
				}
			}
		}
	}
}

// clustered is a gallery like CLIP's: unit rows that share a large mean, in f32, with its coarse copy.
func clustered(rows, dim int) (runtime.Chunk, []float32) {
	rng := rand.New(rand.NewPCG(3, 4))
	values := alignedFloats(rows * dim)
	for r := range rows {
		row := values[r*dim : (r+1)*dim]
		for j := range row {
			row[j] = float32(rng.NormFloat64())
		}
		row[0] += 3 * float32(math.Sqrt(float64(dim)))
		unit(row)
	}
	c := runtime.Chunk{DType: runtime.F32, Rows: rows, Data: alignedBytes(4 * rows * dim)}
	copy(as[float32](c.Data), values)
	k := &runtime.Coarse{Codes: make([]int8, rows*dim), Mean: make([]float32, dim)}
	for j := range dim {
		m := 0.0
		for r := range rows {
			m += float64(values[r*dim+j])
		}
		k.Mean[j] = float32(m / float64(rows))
	}
	for r := range rows {
		row, codes := values[r*dim:(r+1)*dim], k.Codes[r*dim:(r+1)*dim]
		largest, loss := 0.0, 0.0
		for j, v := range row {
			largest = max(largest, math.Abs(float64(v-k.Mean[j])))
		}
		scale := float32(largest / 127)
		for j, v := range row {
			d := float64(v) - float64(k.Mean[j])
			codes[j] = int8(math.Round(d / float64(scale)))
			loss += math.Pow(d-float64(scale)*float64(codes[j]), 2)
		}
		k.Scale, k.Loss = append(k.Scale, scale), append(k.Loss, float32(math.Sqrt(loss)*(1+1e-6)))
	}
	c.Coarse = k
	return c, values
}

// TestCoarseSkips checks that the bound is not only right, which the conformance tests do, but also tight enough to be of
// use: a search for one of a gallery's own rows reads a small part of it.
func TestCoarseSkips(t *testing.T) {
	const rows, dim = 4000, 256
	d, err := Open(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, values := clustered(rows, dim)
	x, err := d.NewSearch(dim)
	if err != nil {
		t.Fatal(err)
	}
	s := x.(*search)
	query := slices.Clone(values[:dim])
	rng := rand.New(rand.NewPCG(5, 6))
	for j := range query {
		query[j] += float32(rng.NormFloat64()) / 40
	}
	unit(query)
	if err := s.Begin(query, 1, 10); err != nil {
		t.Fatal(err)
	}
	if err := s.Feed(0, c); err != nil {
		t.Fatal(err)
	}
	// A second look at the same rows, with the floor of the whole gallery.
	s.chunk = c
	s.workers[0].boundFew(0, rows)
	kept := len(s.workers[0].candidates[0])
	if kept < 10 || kept > rows/20 {
		t.Errorf("%d of %d rows are read for 10 hits", kept, rows)
	}
}

// TestSearchAllocations checks that a warm search does not allocate.
func TestSearchAllocations(t *testing.T) {
	d, err := Open(Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, values := clustered(1000, 32)
	s, err := d.NewSearch(32)
	if err != nil {
		t.Fatal(err)
	}
	for _, nq := range []int{1, 40} {
		hits, counts := make([]runtime.Hit, nq*300), make([]int, nq)
		scan := func() {
			if s.Begin(values[:nq*32], nq, 300) != nil || s.Feed(0, c) != nil || s.Finish(hits, counts) != nil {
				t.Error("search failed")
			}
		}
		// Which worker takes which task varies, and each has memory of its own that grows.
		n := 1.0
		for i := 0; n > 0 && i < 10; i++ {
			n = testing.AllocsPerRun(20, scan)
		}
		if n > 0 {
			t.Errorf("%d queries: %v allocations for a scan", nq, n)
		}
	}
}
