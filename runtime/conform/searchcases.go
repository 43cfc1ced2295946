package conform

import (
	"fmt"
	"math"
	"testing"

	"isearle/runtime"
)

// adverseDim and adverseRows are the shape of the galleries that are made to defeat a search: rows of several panels.
const adverseDim, adverseRows = 48, 700

// adversarial galleries defeat selection, quantisation or error bounds.
func adversarial(dt runtime.DType) map[string]*gallery {
	const dim, rows = adverseDim, adverseRows
	build := func(row func(r int, x []float32)) *gallery {
		values := random("adverse", rows*dim)
		for r := range rows {
			row(r, values[r*dim:(r+1)*dim])
		}
		return galleryOf(dt, dim, values)
	}
	scale := func(x []float32, f float64) {
		for j := range x {
			x[j] = float32(float64(x[j]) * f)
		}
	}
	base := random("one row", dim)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	parallel := build(func(r int, x []float32) { copy(x, base); scale(x, 1+1e-4*float64(r*7919%rows)/rows) })
	parallel.forget()
	integers := build(func(r int, x []float32) {
		for j := range x {
			x[j] = float32(math.RoundToEven(40 * max(-3, min(3, float64(x[j])))))
			if r%7 == 0 { // parallel to what is lost of a query
				x[j] = float32(39 - r%20/2)
			}
		}
		x[0] = float32(r % 3)
	})
	integers.keep()
	return map[string]*gallery{
		// Nothing is known of the rows but their length, and for the query in their direction the bound is attained.
		"parallel": parallel,
		// The coarse copy loses nothing, so that what a device loses of a query decides.
		"integers": integers,
		// As in real CLIP features, where one dimension holds most of the norm.
		"dominant": build(func(r int, x []float32) { scale(x, 0.01); x[5] += 9 }),
		// All scores equal: only the order of rows decides.
		"duplicates": build(func(r int, x []float32) { copy(x, base) }),
		// Scores a unit in the last place apart.
		"nearties": build(func(r int, x []float32) {
			copy(x, base)
			x[r%dim] = math.Nextafter32(x[r%dim], float32(r%3-1)*inf)
		}),
		// Each row better than the one before: every row is a candidate.
		"ascending":  build(func(r int, x []float32) { copy(x, base); scale(x, 1+float64(r)/rows) }),
		"descending": build(func(r int, x []float32) { copy(x, base); scale(x, 2-float64(r)/rows) }),
		"zeros": build(func(r int, x []float32) {
			if r%4 > 0 {
				clear(x)
			}
		}),
		"negativezeros": build(func(r int, x []float32) {
			for j := range x {
				x[j] = float32(math.Copysign(1e-40*float64(r%2), -1))
			}
		}),
		"nan": build(func(r int, x []float32) {
			if r%5 == 2 {
				x[r%dim] = nan
			}
		}),
		"allnan":   build(func(r int, x []float32) { x[0] = nan }),
		"infinite": build(func(r int, x []float32) { x[r%dim] = inf * float32(1-r%2*2) }),
		// Partial sums overflow, scores cancel, and rows differ by 60 orders of magnitude.
		"huge":       build(func(r int, x []float32) { scale(x, 8e37) }),
		"mixed":      build(func(r int, x []float32) { scale(x, math.Pow(10, float64(r%61-30))) }),
		"tiny":       build(func(r int, x []float32) { scale(x, 1e-42) }),
		"cancelling": build(func(r int, x []float32) { x[0], x[1] = 1e6, -1e6 }),
	}
}

// forget makes a coarse copy that is true but says nothing: all codes are 0, what is lost is the whole row.
func (g *gallery) forget() {
	clear(g.coarse.Codes)
	clear(g.coarse.Mean)
	for r := range g.rows {
		g.coarse.Loss[r] = math.Nextafter32(float32(length(g.values[r*g.dim:(r+1)*g.dim])), float32(math.Inf(1)))
	}
}

// keep makes a coarse copy of integers that loses nothing.
func (g *gallery) keep() {
	clear(g.coarse.Mean)
	clear(g.coarse.Loss)
	for i, v := range g.values {
		g.coarse.Codes[i] = int8(v)
	}
	for r := range g.rows {
		g.coarse.Scale[r] = 1
	}
}

// adverseQueries are random ones, those that make the galleries' tricks matter, and degenerate ones.
func (g *gallery) adverseQueries() []float32 {
	queries := append(random("adverse queries", 14*g.dim), random("one row", g.dim)...)
	// One element is so large that a device's integers may keep nothing of the others, in 16 bits and in 8.
	for _, rest := range []float32{1.2e-5, 3e-3} {
		x := make([]float32, g.dim)
		for j := range x {
			x[j] = rest
		}
		x[0] = 1
		queries = append(queries, x...)
	}
	for q, fill := range [][2]float32{{1, 1}, {1e-30, 1}, {2e38, -2e38}, {0, 0}, {float32(math.NaN()), 1}, {float32(math.Inf(1)), 0}} {
		x := make([]float32, g.dim)
		for j := range x {
			x[j] = fill[(j+q)%2]
		}
		queries = append(queries, x...)
	}
	return queries
}

// dominantQueries are random but for two dimensions that are far larger in all of them, as in CLIP's text features.
func dominantQueries(dim int) []float32 {
	queries := random("dominant queries", 33*dim)
	for q := 0; q < len(queries); q += dim {
		queries[q+7] += 30
		queries[q+dim-1] -= 12
	}
	return queries
}

// searchRefusals checks that a search refuses what it cannot scan instead of reading outside of it.
func searchRefusals(t *testing.T, d runtime.Device) {
	if _, err := d.NewSearch(0); err == nil {
		t.Error("dimension 0 is accepted")
	}
	s, err := d.NewSearch(4)
	if err != nil {
		t.Fatal(err)
	}
	if s.Begin(make([]float32, 7), 2, 1) == nil {
		t.Error("7 numbers pass for 2 queries of 4")
	}
	if s.Begin(make([]float32, 8), 2, 0) == nil {
		t.Error("k = 0 is accepted")
	}
	if err := s.Begin(make([]float32, 8), 2, 3); err != nil {
		t.Fatal(err)
	}
	f32 := func(rows int) runtime.Chunk {
		return runtime.Chunk{DType: runtime.F32, Rows: rows, Data: make([]byte, 16*rows)}
	}
	short, ints, mask, coarse := f32(3), f32(2), f32(65), f32(2)
	short.Rows = 4
	ints.DType = runtime.I32
	mask.Skip = make([]uint64, 1)
	coarse.Coarse = &runtime.Coarse{Codes: make([]int8, 8), Scale: make([]float32, 1), Loss: make([]float32, 2), Mean: make([]float32, 4)}
	for name, c := range map[string]runtime.Chunk{"short data": short, "i32": ints, "short mask": mask, "short scales": coarse} {
		if s.Feed(0, c) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if s.Feed(-1, f32(1)) == nil {
		t.Error("row -1 is accepted")
	}
	if s.Finish(make([]runtime.Hit, 5), make([]int, 2)) == nil {
		t.Error("room for 5 hits passes for 2 x 3")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s.Begin(make([]float32, 4), 1, 1) == nil || s.Feed(0, f32(1)) == nil || s.Finish(make([]runtime.Hit, 6), make([]int, 2)) == nil {
		t.Error("a closed search goes on")
	}
}

// searchReuse checks that nothing of a scan is left in the next one.
func searchReuse(t *testing.T, d runtime.Device) {
	g := newGallery("reuse", runtime.F32, 500, 24)
	x, err := d.NewSearch(g.dim)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	queries := random("reuse queries", 40*g.dim)
	for _, n := range []int{1, 40, 3, 17} {
		for _, k := range []int{600, 1, 20} {
			for _, coarse := range []bool{true, false} {
				s := scan{batch: n, chunk: 128, coarse: coarse, fixed: coarse}
				want := g.search(t, d, queries[:n*g.dim], k, s)
				equalHits(t, fmt.Sprintf("%+v", s), g.batch(t, x, queries[:n*g.dim], n, k, s), want)
			}
		}
	}
}
