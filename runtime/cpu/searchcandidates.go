package cpu

import (
	"math"
	"slices"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// Candidates are scored as late as possible, those with the highest bounds first: the floor that these raise spares most of the
// others. That is when a list is full, and at the end of a chunk.

// spareCandidates is how many candidates a list holds beyond two for each hit.
const spareCandidates = 768

// rankedRows is what a worker needs to score candidates.
type rankedRows struct {
	rows, next [simd.ScanRows]uint32
	copied     [simd.ScanRows]uint32 // the places of copies
	scores     [simd.ScanRows]float32
	all        []key
}

// mostCandidates is the length of a list that is thinned.
func (s *search) mostCandidates() int { return 2*s.k + spareCandidates }

// roomForCandidates makes lists, and those of hits, as long as a chunk can: which worker needs them differs from scan to scan.
func (c *scanner) roomForCandidates() {
	n := min(c.s.mostCandidates(), c.s.chunk.Rows)
	for q := range c.s.nq {
		if cap(c.candidates[q]) < n {
			c.candidates[q] = make([]key, 0, n)
		}
		if t := &c.tops[q]; cap(t.keys) < min(2*t.k, len(t.keys)+c.s.chunk.Rows) {
			t.keys = slices.Grow(t.keys, min(2*t.k-len(t.keys), c.s.chunk.Rows))
		}
	}
	if all := n * len(c.s.workers); cap(c.ranked.all) < all {
		c.ranked.all = make([]key, 0, all)
	}
}

// candidate adds a row of the chunk that may be a hit of query q, with the bound of its score.
func (c *scanner) candidate(q int, bound float32, row int) {
	if bound != bound {
		bound = float32(math.Inf(1))
	}
	list := append(c.candidates[q], newKey(bound, uint32(row)))
	c.candidates[q] = list
	if len(list) >= c.s.mostCandidates() {
		c.thin(q)
	}
}

// thin halves a list of candidates at least.
func (c *scanner) thin(q int) {
	list := c.reaching(q, c.candidates[q])
	for len(list) > c.s.mostCandidates()/2 {
		list = c.reaching(q, c.scoreBest(q, list))
	}
	c.candidates[q] = list
}

// reaching drops candidates whose bound is below the floor.
func (c *scanner) reaching(q int, list []key) []key {
	lowest := newKey(c.floor(q), math.MaxUint32)
	n := 0
	for _, k := range list {
		if k >= lowest {
			list[n] = k
			n++
		}
	}
	return list[:n]
}

// scoreBest scores the candidates with the highest bounds, as many as there are hits, and returns the others.
func (c *scanner) scoreBest(q int, list []key) []key {
	n := min(len(list), max(c.s.k, 2*simd.ScanRows))
	selectBest(list, n)
	c.scoreRows(q, list[:n])
	return list[:copy(list, list[n:])]
}

// scoreRows scores candidates of query q.
func (c *scanner) scoreRows(q int, list []key) {
	t, g := &c.tops[q], &c.ranked
	take := func(rows *[simd.ScanRows]uint32, list []key) {
		for i := range rows {
			rows[i] = ^uint32(list[min(i, len(list)-1)])
		}
	}
	take(&g.next, list)
	for len(list) > 0 {
		n := min(simd.ScanRows, len(list))
		g.rows = g.next
		if n < len(list) {
			take(&g.next, list[n:])
		}
		c.scoreGathered(q)
		for i, v := range g.scores[:n] {
			if v >= t.floor {
				t.add(newKey(v, uint32(c.s.first)+g.rows[i]))
			}
		}
		list = list[n:]
	}
	t.settle()
	if t.floor > float32(math.Inf(-1)) {
		c.raise(q, t.floor)
	}
	if q < len(c.grid.floors) {
		c.grid.floors[q] = c.floor(q)
	}
}

// scoreGathered scores the ranked rows.
func (c *scanner) scoreGathered(q int) {
	s, g, k := c.s, &c.ranked, c.s.dev.k
	data, rows, next, dt := s.chunk.Data, &g.rows, &g.next, s.chunk.DType
	if !s.aligned {
		size := s.dim * dt.Size()
		for i, r := range rows {
			copy(c.raw[i*size:][:size], data[int(r)*size:])
			g.copied[i] = uint32(i)
		}
		data, rows, next = c.raw, &g.copied, &g.copied
	}
	query := s.queries[q*s.dim:][:s.dim]
	switch dt {
	case runtime.F32:
		k.Gathered(g.scores[:], as[float32](data), s.dim, rows, next, query, s.dim)
	case runtime.F16:
		k.GatheredF16(g.scores[:], as[uint16](data), s.dim, rows, next, query, s.dim)
	case runtime.BF16:
		k.GatheredBF16(g.scores[:], as[uint16](data), s.dim, rows, next, query, s.dim)
	}
}

// rank scores what is left of query q's candidates, those of all workers.
func (c *scanner) rank(q int) {
	t, all := &c.tops[q], c.ranked.all[:0]
	for _, o := range c.s.workers {
		all = append(all, o.candidates[q]...)
		o.candidates[q] = o.candidates[q][:0]
		if o == c {
			continue
		}
		for _, k := range o.tops[q].keys {
			t.add(k)
		}
		o.tops[q].keys = o.tops[q].keys[:0]
	}
	c.ranked.all = all
	t.settle()
	for all = c.reaching(q, all); len(all) > 0; {
		all = c.reaching(q, c.scoreBest(q, all))
	}
}
