package cpu

import (
	"math"
	"math/bits"
	"unsafe"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// coarsePanels are the queries of a scan as panels of signed bytes, for products with codes as unsigned ones. With the terms
// of coarseBound, write a query as q = h w + o + d with bytes w, |d| <= D, and o, which has q's elements in a few dimensions
// and is 0 elsewhere: those few in which CLIP's features are many times larger than in others would leave no bytes for the
// rest. Then
//
//	q.x <= q.m + c h (w.v) + c (o.v) + |c| |v| D + |q| L                                                     (5)
//
// in which |v| is that of the row. GemmI8 makes y = c h ((v+128).w) - 128 c h (sum of w) in five roundings and that of the
// second factor's constant, each of at most u times 3 |c| V (|q|+D), since |(v+128).w| <= 255 sqrt n |w|, where h |w| <= |q|+D
// <= 2|q|. Half of what that may come to is added to L, times |c|: 32u |c| V. The terms of (5) are added to y as a product of
// depth T <= 7, which rounds at most 2T times; all its partial sums are below
//
//	2 |c| |v| (|q|+D) + |c| |v| slack + reach L + |base|                                                     (6)
//
// and the c v of o have rounded once. So r = 64u covers (6) in
//
//	S <= y + |c| |v| (D + (g+r)(|q|+D)) + (L + 64u |c| V) |q| (1+g+r) + base + sum over o of (c v) o         (7)
type coarsePanels struct {
	apart []int     // the dimensions of o
	words []uint32  // w, as panels of words
	scale []float32 // of each panel, as GemmI8 wants it
	terms []float32 // the panels of (7): slack, reach, base and o
	norm  []float64 // |q|; not finite where nothing is known of a query
	limit float64   // of |c|V + L

	bytes []int8
	rest  []float32
}

const (
	largestByte = 127
	// maxPanelDim keeps sums of 255*127 within 32 bits.
	maxPanelDim = 1 << 16
	// mostApart is how many dimensions may be kept apart, farApart how many times as large as others they are on average: the
	// mean absolute value of a normal variable is 0.8 of its root mean square.
	mostApart, farApart = 4, 3
)

func (p *coarsePanels) depth() int { return 3 + len(p.apart) }

// prepare takes over the queries of a scan.
func (p *coarsePanels) prepare(b *coarseBound, s *search) {
	nr, n := s.dev.k.NR, b.n
	panels := blocks(s.nq, nr)
	p.setApart(s)
	p.words = resized(p.words, panels*nr*n/4)
	p.scale = resized(p.scale, panels*2*nr)
	p.terms = resized(p.terms, panels*p.depth()*nr)
	p.norm = resized(p.norm, s.nq)
	p.bytes, p.rest = resized(p.bytes, nr*n), resized(p.rest, n)
	clear(p.scale)
	clear(p.terms)
	for at := 0; at < s.nq; at += nr {
		rows := min(nr, s.nq-at)
		for i := range rows {
			p.query(b, s, at+i, nr)
		}
		words := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(p.bytes))), nr*n/4)
		panel := unsafe.Slice((*float32)(unsafe.Pointer(&p.words[at*n/4])), nr*n/4)
		s.dev.k.Pack(panel, words, n/4, rows, n/4)
	}
}

// query prepares query q.
func (p *coarsePanels) query(b *coarseBound, s *search, q, nr int) {
	x, w := s.queries[q*b.n:][:b.n], p.bytes[q%nr*b.n:][:b.n]
	norm := math.Sqrt(dot64(x, x))
	copy(p.rest, x)
	for _, j := range p.apart {
		p.rest[j] = 0
	}
	step := integers(w, p.rest, largestByte)
	d := lost(w, p.rest, step) + 1e-15*norm
	if !((norm+d)*b.size() < noOverflow) {
		norm = math.NaN()
	}
	p.norm[q] = norm
	sum := 0
	for _, v := range w {
		sum += int(v)
	}
	scale := p.scale[q/nr*2*nr:][q%nr:]
	scale[0], scale[nr] = step, float32(float64(step)*float64(sum))
	g := b.gamma()
	const r = 64 * unitRoundoff
	p.setTerm(q, nr, 0, upwards(d+(g+r)*(norm+d)))
	p.setTerm(q, nr, 1, upwards(norm*(1+g+r)))
	for i, j := range p.apart {
		p.setTerm(q, nr, 3+i, x[j])
	}
}

func (p *coarsePanels) setTerm(q, nr, i int, v float32) {
	p.terms[(q/nr*p.depth()+i)*nr+q%nr] = v
}

// setApart chooses the dimensions in which queries are far larger than elsewhere.
func (p *coarsePanels) setApart(s *search) {
	p.apart = p.apart[:0]
	p.rest = resized(p.rest, s.dim)
	clear(p.rest)
	for q := range s.nq {
		x := s.queries[q*s.dim:][:s.dim]
		by := float32(1 / (float64(s.nq) * math.Sqrt(dot64(x, x))))
		if !(by > 0 && by <= math.MaxFloat32) {
			continue
		}
		for j, v := range x {
			p.rest[j] += float32(math.Abs(float64(v * by)))
		}
	}
	far := float32(farApart / math.Sqrt(float64(s.dim)))
	for range mostApart {
		most := 0
		for j, v := range p.rest {
			if v > p.rest[most] {
				most = j
			}
		}
		if !(p.rest[most] > far) {
			return
		}
		p.apart = append(p.apart, most)
		p.rest[most] = 0
	}
}

// complete adds what depends on the mean.
func (p *coarsePanels) complete(b *coarseBound, s *search) {
	mean := math.Sqrt(dot64(b.mean, b.mean))
	p.limit = math.Inf(1)
	for q, norm := range p.norm {
		base := b.base(s.queries[q*b.n:][:b.n], norm, mean, 64*unitRoundoff) + normal*norm
		p.setTerm(q, s.dev.k.NR, 2, upwards(base))
		if norm == norm {
			p.limit = min(p.limit, limit(norm, mean))
		}
	}
}

// panelRows is what a worker needs to compare a group of rows with panels.
type panelRows struct {
	words  []uint32 // codes as unsigned bytes, rows stride apart
	stride int
	scale  []float32 // as GemmI8 wants it
	terms  []float32 // of (7)
	work   []float32 // of GemmI8
}

// boundMany finds the candidates of many queries among rows lo to hi-1 of the chunk.
func (c *scanner) boundMany(w *worker, lo, hi int) {
	s, p := c.s, &c.panels
	c.beginGrid(w)
	n := s.groupRows()
	p.stride = wordStride(runtime.I8, s.dim)
	p.words = resized(p.words, simd.TallRows(n)*p.stride)
	p.scale = resized(p.scale, 2*n)
	p.terms = resized(p.terms, n*s.coarse.panels.depth())
	p.work = resized(p.work, s.dev.k.TileWork(min(n, s.dev.k.WordRows)))
	for ; lo < hi; lo += n {
		n := min(n, hi-lo)
		c.shiftRows(lo, n)
		c.boundPanels(lo, n)
	}
}

// shiftRows prepares rows r to r+n-1 of the chunk. That is done in f32: the roundings of |c||v| are made up for by a factor,
// those of L + 64u |c| V by r, of which (6) needs but a part.
func (c *scanner) shiftRows(r, n int) {
	s, p, b := c.s, &c.panels, &c.s.coarse.panels
	k, depth, size := s.chunk.Coarse, b.depth(), float32(s.coarse.size())
	// A sum of bytes, at most 1<<15 for each, is multiplied with the scale before the step.
	limit, largest := float32(b.limit), float32(noOverflow/(1<<15)/float64(s.dim))
	for i := range n {
		codes, scale := k.Codes[(r+i)*s.dim:][:s.dim], k.Scale[r+i]
		squares := c.shiftRow(i, codes)
		c := float32(math.Abs(float64(scale)))
		loss := k.Loss[r+i] + c*(64*unitRoundoff)*size
		terms := p.terms[i*depth:][:depth]
		terms[0] = c*float32(math.Sqrt(float64(squares)))*(1+8*unitRoundoff) + normal
		terms[1], terms[2] = loss, 1
		if !(c*size+loss < limit && c < largest) {
			terms[1] = float32(math.Inf(1))
		}
		for t, j := range b.apart {
			terms[3+t] = scale * float32(codes[j])
		}
		p.scale[2*i], p.scale[2*i+1] = scale, -largestCode*scale
	}
}

// shiftRow makes words of the codes of the group's row i, and returns the sum of their squares.
func (c *scanner) shiftRow(i int, codes []int8) (squares int32) {
	k, p := c.s.dev.k, &c.panels
	if !k.Tiles {
		return k.Shift(p.words[i*p.stride:], codes)
	}
	const line = 4 * simd.TileRows
	for at := 0; at < len(codes); at += line {
		squares += k.Shift(p.words[simd.TileAt(i, at/4, p.stride):], codes[at:min(at+line, len(codes))])
	}
	return squares
}

// boundPanels compares rows r to r+n-1 of the chunk, which are prepared, with all queries.
func (c *scanner) boundPanels(r, n int) {
	s, k, p, b, g := c.s, c.s.dev.k, &c.panels, &c.s.coarse.panels, &c.grid
	words, depth := s.dim/4, b.depth()
	tiles, least, panels := blocks(n, k.WordRows), blocks(n, k.MR), blocks(s.nq, k.NR)
	ahead := c.codesAhead(r + n)
	for j := range panels {
		panel, scale, terms := b.words[j*k.NR*words:][:k.NR*words], b.scale[j*2*k.NR:], b.terms[j*depth*k.NR:]
		for t := range tiles {
			lo, hi := n*t/tiles, n*(t+1)/tiles
			k.GemmI8(g.tiles[lo*k.NR:], k.NR, p.words[lo*p.stride:], p.stride, hi-lo, panel, words, p.scale[2*lo:], scale, p.work, share(ahead, j*tiles+t, panels*tiles))
		}
		for t := range least {
			lo, hi := n*t/least, n*(t+1)/least
			k.Gemm(g.tiles[lo*k.NR:], k.NR, p.terms[lo*depth:], depth, hi-lo, terms, depth, true, nil)
		}
		k.Reached(g.marks, g.tiles, n, g.floors[j*k.NR:])
		for i, m := range g.marks[:n] {
			if m != 0 && (s.chunk.Skip == nil || s.chunk.Skip[(r+i)/64]>>((r+i)%64)&1 == 0) {
				c.mark(j*k.NR, m, g.tiles[i*k.NR:], r+i)
			}
		}
	}
}

// codesAhead is the codes of the group that begins with row r.
func (c *scanner) codesAhead(r int) []float32 {
	s := c.s
	codes := s.chunk.Coarse.Codes[min(r, s.chunk.Rows)*s.dim : min(r+s.groupRows(), s.chunk.Rows)*s.dim]
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(codes))), len(codes)/4)
}

// mark adds a row as a candidate of queries q, q+1, ... by the bits of m.
func (c *scanner) mark(q int, m uint32, bounds []float32, row int) {
	for ; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m)
		if q+i < c.s.nq && !(bounds[i] < c.grid.floors[q+i]) {
			c.candidate(q+i, bounds[i], row)
		}
	}
}

// resized returns a slice of n elements, of undefined content, in v's memory if it has room.
func resized[T any](v []T, n int) []T {
	if cap(v) < n {
		return make([]T, n)
	}
	return v[:n]
}
