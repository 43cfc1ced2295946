package cpu

import (
	"math"
	"math/bits"

	"isearle/runtime"
)

// For many queries the sides of the product change places: the queries are packed, once, and gallery rows are what is broadcast.
// So rows are read where they lie, and only those in half precision are converted, and those copied that collide most.

const (
	groupTiles = 8 // of rows that meet all panels in their turn
	// copiedDim is a dimension whose rows collide so much, 4 KiB apart, that a copy is worth it: a batch of 256 queries takes a quarter less
	// on a Zen 4. Rows 2 KiB apart take as long as copies.
	copiedDim = 4 << 10 / 4
)

// manyQueries says whether that is faster than packing rows. A panel of queries is multiplied whether full or not; to pack the
// rows of a panel takes as long as to multiply them with half as many queries.
func (s *search) manyQueries() bool {
	nr := s.dev.k.NR
	return blocks(s.nq, nr)*nr <= s.nq+nr/2
}

// packQueries makes the panels.
func (s *search) packQueries() {
	nr := s.dev.k.NR
	if n := blocks(s.nq, nr) * nr * s.dim; cap(s.panels) < n {
		s.panels = alignedFloats(n)
	} else {
		s.panels = s.panels[:n]
	}
	for q := 0; q < s.nq; q += nr {
		s.dev.k.Pack(s.panels[q*s.dim:], s.queries[q*s.dim:], s.dim, min(nr, s.nq-q), s.dim)
	}
}

// groupRows is how many rows meet all panels in their turn. They stay in the second-level cache.
func (s *search) groupRows() int {
	mr := s.dev.k.MR
	return min(groupTiles, max(1, cacheFloats/s.dim/mr)) * mr
}

// grid is what a worker keeps of a group of rows that meets panels.
type grid struct {
	ids    []uint32  // the rows
	rows   matrix    // and their elements, where they do not lie well
	floors []float32 // by query, and infinity behind
	marks  []uint32
	tiles  []float32
}

// beginGrid makes room and takes the floors as they are now.
func (c *scanner) beginGrid(w *worker) {
	s, k, g := c.s, c.s.dev.k, &c.grid
	n := s.groupRows()
	if len(g.marks) < n {
		g.ids, g.marks = make([]uint32, n), make([]uint32, n)
	}
	stride := strideApart(s.dim)
	buf := carver(w.floats(n*(stride+k.NR) + 2*cacheLine))
	g.rows, g.tiles = matrix{buf.take(n * stride), n, s.dim, stride}, buf.take(n*k.NR)
	if n := blocks(s.nq, k.NR) * k.NR; len(g.floors) < n {
		g.floors = alignedFloats(n)
	}
	for q := range g.floors {
		g.floors[q] = float32(math.Inf(1))
		if q < s.nq {
			g.floors[q] = c.floor(q)
		}
	}
}

// blockMany scans rows lo to hi-1 for many queries.
func (c *scanner) blockMany(w *worker, lo, hi int) {
	c.beginGrid(w)
	for lo < hi {
		var rows matrix
		var n int
		if rows, n, lo = c.group(lo, hi); n > 0 {
			c.scoreMany(rows, c.grid.ids[:n], lo)
		}
	}
}

// group returns the elements of up to groupRows rows that are to be scanned, their number, and the row that comes next.
func (c *scanner) group(lo, hi int) (rows matrix, n, next int) {
	s, g, dt := c.s, &c.grid, c.s.chunk.DType
	size := s.dim * dt.Size()
	for next = lo; next < hi && n < s.groupRows(); next++ {
		if s.chunk.Skip == nil || s.chunk.Skip[next/64]>>(next%64)&1 == 0 {
			g.ids[n] = uint32(next)
			n++
		}
	}
	if n == next-lo && dt == runtime.F32 && s.aligned && s.dim%copiedDim != 0 {
		return matrix{as[float32](s.chunk.Data[lo*size : next*size]), n, s.dim, s.dim}, n, next
	}
	for i, r := range g.ids[:n] {
		dst, src := g.rows.row(i), s.chunk.Data[int(r)*size:][:size]
		switch {
		case dt == runtime.F16 && s.aligned:
			s.dev.k.FromF16(dst, as[uint16](src))
		case dt == runtime.BF16 && s.aligned:
			s.dev.k.FromBF16(dst, as[uint16](src))
		default:
			toF32(dst, dt, src)
		}
	}
	return g.rows, n, next
}

// scoreMany multiplies rows with all panels and offers the scores to the queries. Rows of the chunk from next on are fetched
// meanwhile.
func (c *scanner) scoreMany(rows matrix, ids []uint32, next int) {
	s, k, g, n := c.s, c.s.dev.k, &c.grid, len(ids)
	tiles, parts, panels := blocks(n, k.MR), max(1, blocks(s.dim, partDepth)), blocks(s.nq, k.NR)
	ahead := c.ahead(next)
	for p := range panels {
		panel := s.panels[p*k.NR*s.dim:][:k.NR*s.dim]
		for part := range parts {
			from, to := cut(s.dim, part, parts), cut(s.dim, part+1, parts)
			ahead := share(ahead, p*parts+part, panels*parts)
			for t := range tiles {
				lo, hi := n*t/tiles, n*(t+1)/tiles
				k.Gemm(g.tiles[lo*k.NR:], k.NR, rows.from(lo, from), rows.stride, hi-lo, panel[from*k.NR:], to-from, part > 0, share(ahead, t, tiles))
			}
		}
		k.Reached(g.marks, g.tiles, n, g.floors[p*k.NR:])
		for i, m := range g.marks[:n] {
			for ; m != 0; m &= m - 1 {
				j := bits.TrailingZeros32(m)
				if q, v := p*k.NR+j, g.tiles[i*k.NR+j]; q < s.nq && v >= g.floors[q] {
					c.hit(q, newKey(v, uint32(s.first)+ids[i]))
				}
			}
		}
	}
}

// hit adds a score.
func (c *scanner) hit(q int, k key) {
	if t := &c.tops[q]; t.add(k) {
		c.raise(q, t.floor)
		c.grid.floors[q] = c.floor(q)
	}
}

// ahead is the group of rows that follows.
func (c *scanner) ahead(next int) []float32 {
	s := c.s
	size := s.dim * s.chunk.DType.Size()
	return as[float32](s.chunk.Data[min(next, s.chunk.Rows)*size : min(next+s.groupRows(), s.chunk.Rows)*size])
}
