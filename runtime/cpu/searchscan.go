package cpu

import (
	"math/bits"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// scanner is what one worker needs to scan rows.
type scanner struct {
	s    *search
	tops []top // by query
	// candidates are rows of the chunk whose bound reached a query's floor, by bound; by query.
	candidates [][]key
	// pending are rows of panels of which others are not scanned; raw holds their elements.
	pending []uint32
	raw     []byte
	ids     []uint32 // the rows of the panel being scored
	joined  []key    // of finish

	coarse      coarseRows
	ranked      rankedRows
	panels      panelRows
	grid        grid
	panel, tile []float32 // of the current block, in the worker's scratch memory
}

func newScanner(s *search) *scanner {
	nr := s.dev.k.NR
	return &scanner{s: s, pending: make([]uint32, 0, nr), ids: make([]uint32, nr), raw: alignedBytes(nr * s.dim * 4)}
}

func (c *scanner) begin(nq, k int) {
	if len(c.tops) < nq {
		c.tops = append(c.tops, make([]top, nq-len(c.tops))...)
		c.candidates = append(c.candidates, make([][]key, nq-len(c.candidates))...)
	}
	for q := range nq {
		c.tops[q].reset(k)
		c.candidates[q] = c.candidates[q][:0]
	}
}

// block scans one task's rows.
func (c *scanner) block(w *worker, task int) {
	s := c.s
	lo, hi := task*s.rows, min((task+1)*s.rows, s.chunk.Rows)
	switch {
	case s.coarse.way == byQuery:
		c.boundFew(lo, hi)
	case s.coarse.way == byPanel:
		c.boundMany(w, lo, hi)
	case s.many:
		c.blockMany(w, lo, hi)
	default:
		c.blockFew(w, lo, hi)
	}
}

// blockFew scans rows lo to hi-1 panel by panel. Panels with rows that are not to be scanned are put together anew.
func (c *scanner) blockFew(w *worker, lo, hi int) {
	s, k := c.s, c.s.dev.k
	buf := w.floats(k.NR*s.dim + k.MR*k.NR)
	c.panel, c.tile = buf[:k.NR*s.dim], buf[k.NR*s.dim:]
	size := s.dim * s.chunk.DType.Size()
	for r := lo; r < hi; r += k.NR {
		n := min(k.NR, hi-r)
		all := ^uint64(0) >> (64 - n)
		alive := all
		if s.chunk.Skip != nil {
			alive &^= window(s.chunk.Skip, r)
		}
		if alive == all && s.aligned {
			for i := range n {
				c.ids[i] = uint32(r + i)
			}
			c.score(s.chunk.Data[r*size:], c.ids[:n])
			continue
		}
		for ; alive != 0; alive &= alive - 1 {
			c.gather(r+bits.TrailingZeros64(alive), size)
		}
	}
	c.flush()
}

// window returns bits r to r+63 of a mask; beyond its end they are 0.
func window(mask []uint64, r int) uint64 {
	i, shift := r/64, r%64
	v := mask[i] >> shift
	if shift > 0 && i+1 < len(mask) {
		v |= mask[i+1] << (64 - shift)
	}
	return v
}

// gather sets a row aside; a full panel of them is scored.
func (c *scanner) gather(r, size int) {
	copy(c.raw[len(c.pending)*size:][:size], c.s.chunk.Data[r*size:])
	c.pending = append(c.pending, uint32(r))
	if len(c.pending) == cap(c.pending) {
		c.flush()
	}
}

func (c *scanner) flush() {
	if len(c.pending) > 0 {
		c.score(c.raw, c.pending)
		c.pending = c.pending[:0]
	}
}

// score packs consecutive rows of data, which are rows ids of the chunk, and offers them to all queries.
func (c *scanner) score(data []byte, ids []uint32) {
	s, k, n := c.s, c.s.dev.k, len(ids)
	switch {
	case s.nq <= directQueries && s.dim%simd.ScanDepth == 0:
		c.scoreDirectly(data, ids)
		return
	case s.nq <= k.MR:
		c.scoreFew(data, ids)
		return
	}
	c.pack(data, n, 0, s.dim)
	tiles := blocks(s.nq, k.MR)
	for t := range tiles {
		lo, hi := s.nq*t/tiles, s.nq*(t+1)/tiles
		k.Gemm(c.tile, k.NR, s.queries[lo*s.dim:], s.dim, hi-lo, c.panel, s.dim, false, nil)
		for q := lo; q < hi; q++ {
			c.offer(q, c.tile[(q-lo)*k.NR:][:n], ids)
		}
	}
}

// scoreFew is score for as many queries as one tile has. A panel is read only once then, so it is packed and multiplied in
// parts that stay in the first-level cache; the chain of multiply-adds goes on from part to part.
func (c *scanner) scoreFew(data []byte, ids []uint32) {
	s, k, n := c.s, c.s.dev.k, len(ids)
	part := max(1, partFloats/k.NR)
	for at := 0; at < s.dim; at += part {
		depth := min(part, s.dim-at)
		c.pack(data, n, at, depth)
		k.Gemm(c.tile, k.NR, s.queries[at:], s.dim, s.nq, c.panel, depth, at > 0, nil)
	}
	for q := range s.nq {
		c.offer(q, c.tile[q*k.NR:][:n], ids)
	}
}

// directQueries is up to how many queries are multiplied with rows as they lie, simd.ScanQueries at a time: to transpose rows in registers
// again takes less than to pack them once, half as much time for 5 to 8 queries on a Zen 4.
const directQueries = 3 * simd.ScanQueries

// scoreDirectly is score for so few queries that packing would cost more than the product.
func (c *scanner) scoreDirectly(data []byte, ids []uint32) {
	s := c.s
	size := s.dim * s.chunk.DType.Size()
	for ; len(ids) > 0; data, ids = data[min(simd.ScanRows*size, len(data)):], ids[min(simd.ScanRows, len(ids)):] {
		n, parts := min(simd.ScanRows, len(ids)), blocks(s.nq, simd.ScanQueries)
		for i := range parts {
			lo, hi := s.nq*i/parts, s.nq*(i+1)/parts
			c.scores(data, n, lo, hi)
			for q := lo; q < hi; q++ {
				c.offer(q, c.tile[(q-lo)*simd.ScanRows:][:n], ids[:n])
			}
		}
	}
}

// scores multiplies n rows with queries lo to hi-1.
func (c *scanner) scores(data []byte, n, lo, hi int) {
	k, dim := c.s.dev.k, c.s.dim
	queries, nq := c.s.queries[lo*dim:], hi-lo
	switch c.s.chunk.DType {
	case runtime.F32:
		k.Scores(c.tile, as[float32](data), dim, n, queries, nq, dim)
	case runtime.F16:
		k.ScoresF16(c.tile, as[uint16](data), dim, n, queries, nq, dim)
	case runtime.BF16:
		k.ScoresBF16(c.tile, as[uint16](data), dim, n, queries, nq, dim)
	}
}

// partFloats is a third of a first-level cache of 48 KiB. On the cores this was measured on, one query is answered a tenth
// faster than with whole panels.
const partFloats = 16 << 10 / 4

// pack fills the panel with elements at to at+depth-1 of n rows.
func (c *scanner) pack(data []byte, n, at, depth int) {
	k, dim := c.s.dev.k, c.s.dim
	switch c.s.chunk.DType {
	case runtime.F32:
		k.Pack(c.panel, as[float32](data)[at:], dim, n, depth)
	case runtime.F16:
		k.PackF16(c.panel, as[uint16](data)[at:], dim, n, depth)
	case runtime.BF16:
		k.PackBF16(c.panel, as[uint16](data)[at:], dim, n, depth)
	}
}

// offer adds the scores that reach query q's floor. NaN reaches none.
func (c *scanner) offer(q int, scores []float32, ids []uint32) {
	floor := c.floor(q)
	for len(scores) >= 8 {
		// Nearly always none of them does, and eight comparisons cost less than eight turns of a loop.
		if s := (*[8]float32)(scores); s[0] >= floor || s[1] >= floor || s[2] >= floor || s[3] >= floor ||
			s[4] >= floor || s[5] >= floor || s[6] >= floor || s[7] >= floor {
			floor = c.take(q, scores[:8], ids, floor)
		}
		scores, ids = scores[8:], ids[8:]
	}
	c.take(q, scores, ids, floor)
}

// take adds scores one by one and returns the floor as it is then.
func (c *scanner) take(q int, scores []float32, ids []uint32, floor float32) float32 {
	for i, v := range scores {
		if v >= floor {
			if t := &c.tops[q]; t.add(newKey(v, uint32(c.s.first)+ids[i])) {
				floor = t.floor
				c.raise(q, floor)
			}
		}
	}
	return floor
}

// floor is the best score known to be reached by query q's k-th best hit.
func (c *scanner) floor(q int) float32 {
	t := &c.tops[q]
	if o := c.s.floors[q].Load(); o != 0 {
		t.floor = max(t.floor, unordered(o))
	}
	return t.floor
}

// raise shares a worker's floor with the others.
func (c *scanner) raise(q int, floor float32) {
	o := ordered(floor)
	for have := c.s.floors[q].Load(); have < o; have = c.s.floors[q].Load() {
		if c.s.floors[q].CompareAndSwap(have, o) {
			return
		}
	}
}
