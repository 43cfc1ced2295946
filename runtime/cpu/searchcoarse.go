package cpu

import (
	"math"
	"math/bits"
	"slices"

	"isearle/runtime/cpu/simd"
)

// coarseBound bounds scores from above by means of a chunk's coarse copy, so that rows which cannot be among the best are
// not read. Write a row as x = m + c v + e with the mean m, the scale c, the codes v and |e| <= L, its loss; and a query as
// q = h w + d with a step h, integers w and |d| <= D. n is the dimension, V = 128 sqrt n, u = 2^-24 the unit roundoff of f32,
// tiny = 2^-149 its smallest number. Then |v| <= V, and
//
//	q.x = q.m + c h (w.v) + c (d.v) + q.e <= q.m + c h (w.v) + |c| D V + |q| L                               (1)
//
// The exact kernel returns S, a chain of n multiply-adds; a term goes through at most n+1 roundings (the portable kernels
// round products apart), and where these underflow each loses at most tiny more. So, as long as nothing overflows, with
// g = (n+1)u / (1 - (n+1)u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1):
//
//	|S - q.x| <= g |q| |x| + 2 n tiny,    |x| <= |m| + |c| V + L                                             (2)
//
// The product w.v is made in integers and is exact. Its bound (simd.Kernels.Bounds) takes six roundings in f32, each of at
// most u times a partial result, all of which are below
//
//	|c| (h |w.v| + slack) + reach L + |base|,    h |w.v| <= (|q| + D) V,                                      (3)
//
// and loses at most 2 tiny of the factor of c, and 8 tiny, where results underflow. For these losses, and those of (2), there is
// normal = 2^-126, the smallest number with which arithmetic is not slow. Together, with r = 16u for (3):
//
//	S <= q.m + g|q||m| + r(|q.m| + g|q||m|) + normal  +  c h (w.v)
//	     `---------------- base --------------------'
//	     + |c| ((D + (g+r)(|q|+D)) V + normal)  +  L |q| (1+g+r)                                             (4)
//	           `------------ slack ----------'    `- reach -'
//
// D <= |q|, so that r's share of slack is at least 16u/2.6 of it: enough for (3). Sums and products of (4), and |q|, |m|, D
// and q.m, are computed in f64 and rounded upwards; their relative errors, below (n+8) 2^-52, are outweighed many times by
// the factor 1.01 on g. No partial sum overflows while |q| times |m| + |c|V + L is below 2^126, as each is at most 2.6 times
// that; rows for which this is not known, and rows whose bound is NaN, are kept.
//
// Many queries are compared with codes panel by panel, in searchpanel.go.
type coarseBound struct {
	way      coarseWay // of the chunk
	prepared coarseWay // what the queries are prepared for
	mean     []float32 // of the chunk, for which queries have been completed
	n        int
	words    []int16 // w, by query
	queries  []coarseQuery
	panels   coarsePanels
}

// coarseWay is how use is made of a coarse copy.
type coarseWay int

const (
	readAll coarseWay = iota // none
	byQuery
	byPanel
)

// coarseQuery is what does not depend on the gallery, and the bound.
type coarseQuery struct {
	norm, lost float64 // |q|, D
	bound      simd.BoundOf
}

const (
	unitRoundoff = 0x1p-24
	normal       = 0x1p-126 // at least (2n+12) tiny
	noOverflow   = 0x1p126
	largestCode  = 128
)

// coarseQueries is up to how many queries are compared with codes one by one, where a tile of a product has as many rows. Panels
// take over where they are faster; where they are not, more queries are bound by arithmetic, of which codes need as much.
const coarseQueries = 8

// gamma is g, with a margin for the bound's own rounding.
func (b *coarseBound) gamma() float64 {
	nu := float64(b.n+1) * unitRoundoff
	return 1.01 * nu / (1 - nu)
}

// size is V.
func (b *coarseBound) size() float64 { return largestCode * math.Sqrt(float64(b.n)) }

// begin forgets the queries of the last scan.
func (b *coarseBound) begin(dim int) { b.n, b.prepared, b.mean = dim, readAll, b.mean[:0] }

// chunk prepares for a search's chunk.
func (b *coarseBound) chunk(s *search) {
	c := s.chunk.Coarse
	switch {
	case c == nil || s.dim%simd.ScanDepth != 0 || s.dim > maxPanelDim:
		b.way = readAll
	case s.nq <= min(coarseQueries, s.dev.k.MR):
		b.way = byQuery
	case s.dev.k.FastI8:
		b.way = byPanel
	default:
		b.way = readAll
	}
	if b.way == readAll {
		return
	}
	for _, w := range s.workers {
		w.roomForCandidates()
	}
	if b.prepared != b.way {
		b.prepared, b.mean = b.way, b.mean[:0]
		if b.way == byQuery {
			b.prepare(s.queries)
		} else {
			b.panels.prepare(b, s)
		}
	}
	if slices.Equal(b.mean, c.Mean) {
		return
	}
	b.mean = append(b.mean[:0], c.Mean...)
	if b.way == byQuery {
		b.complete(s.queries)
	} else {
		b.panels.complete(b, s)
	}
}

// prepare takes over the queries of a scan.
func (b *coarseBound) prepare(queries []float32) {
	if cap(b.words) < len(queries) {
		b.words = make([]int16, len(queries))
	}
	b.words, b.queries = b.words[:len(queries)], b.queries[:0]
	most := float64(min(math.MaxInt16, math.MaxInt32/(largestCode*b.n)))
	g, size := b.gamma(), b.size()
	const r = 16 * unitRoundoff
	for at := 0; at < len(queries); at += b.n {
		x, w := queries[at:at+b.n], b.words[at:at+b.n]
		q := coarseQuery{norm: math.Sqrt(dot64(x, x))}
		step := integers(w, x, most)
		q.lost = lost(w, x, step) + 1e-15*q.norm
		q.bound = simd.BoundOf{
			Step:  step,
			Slack: upwards((q.lost+(g+r)*(q.norm+q.lost))*size + normal),
			Reach: upwards(q.norm * (1 + g + r)),
			Size:  upwards(size),
		}
		b.queries = append(b.queries, q)
	}
}

// complete adds what depends on the mean.
func (b *coarseBound) complete(queries []float32) {
	mean := math.Sqrt(dot64(b.mean, b.mean))
	for i := range b.queries {
		q := &b.queries[i]
		q.bound.Base = upwards(b.base(queries[i*b.n:][:b.n], q.norm, mean, 16*unitRoundoff))
		q.bound.Limit = -1
		if (q.norm+q.lost)*b.size() < noOverflow {
			q.bound.Limit = float32(limit(q.norm, mean))
		}
	}
}

// base is that of (4), with r.
func (b *coarseBound) base(query []float32, norm, mean, r float64) float64 {
	center, width := dot64(query, b.mean), b.gamma()*norm*mean
	return center + width + r*(math.Abs(center)+width) + normal
}

// limit is below what |c|V + L may be.
func limit(norm, mean float64) float64 { return (noOverflow/norm)*(1-1e-6) - mean }

// integers writes what is nearest to x in units of a step, from -most to most, and returns the step. Where x is not finite
// there are no integers, and its norm says so.
func integers[T int8 | int16](w []T, x []float32, most float64) (step float32) {
	largest := float32(0)
	for _, v := range x {
		largest = max(largest, float32(math.Abs(float64(v))))
	}
	step = float32(float64(largest) / most)
	if !(step > 0 && step <= math.MaxFloat32) {
		clear(w)
		return 0
	}
	by := 1 / float64(step)
	for i, v := range x {
		w[i] = T(max(-most, min(most, math.RoundToEven(float64(v)*by))))
	}
	return step
}

// lost is the norm of x - step*w.
func lost[T int8 | int16](w []T, x []float32, step float32) float64 {
	s := 0.0
	for i, v := range x {
		d := float64(v) - float64(step)*float64(w[i])
		s += d * d
	}
	return math.Sqrt(s)
}

// upwards is an f32 that is not below v.
func upwards(v float64) float32 {
	f := float32(v)
	if float64(f) < v {
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	return f
}

// dot64 is a product in f64, in which squares of f32 neither overflow nor underflow.
func dot64(x, y []float32) float64 {
	s := 0.0
	for i, v := range x {
		s += float64(v) * float64(y[i])
	}
	return s
}

// coarseRows is what a worker needs to make bounds of ScanRows rows.
type coarseRows struct {
	bounds, scale, loss [simd.ScanRows]float32
	codes               []int8
	query               simd.BoundOf
}

// boundFew finds the candidates of few queries among rows lo to hi-1 of the chunk.
func (c *scanner) boundFew(lo, hi int) {
	s, b, w := c.s, c.s.chunk.Coarse, &c.coarse
	for r := lo; r < hi; r += simd.ScanRows {
		n := min(simd.ScanRows, hi-r)
		alive := uint64(1)<<n - 1
		if s.chunk.Skip != nil {
			alive &^= window(s.chunk.Skip, r)
		}
		if alive == 0 {
			continue
		}
		codes, scale, loss := b.Codes[r*s.dim:], b.Scale[r:], b.Loss[r:]
		if n < simd.ScanRows {
			codes, scale, loss = w.pad(codes[:n*s.dim], scale[:n], loss[:n], s.dim)
		}
		for q := range s.nq {
			w.query = s.coarse.queries[q].bound
			w.query.Floor = c.floor(q)
			keep := s.dev.k.Bounds(w.bounds[:], codes, s.dim, s.coarse.words[q*s.dim:], s.dim, scale, loss, &w.query)
			for keep &= alive; keep != 0; keep &= keep - 1 {
				i := bits.TrailingZeros64(keep)
				bound := w.bounds[i]
				if size := float32(math.Abs(float64(scale[i]))) * w.query.Size; !(size+loss[i] < w.query.Limit) {
					bound = float32(math.NaN())
				}
				c.candidate(q, bound, r+i)
			}
		}
	}
}

// pad copies fewer rows than ScanRows to where as many can be read.
func (w *coarseRows) pad(codes []int8, scale, loss []float32, dim int) ([]int8, []float32, []float32) {
	if w.codes == nil {
		w.codes = make([]int8, simd.ScanRows*dim)
	}
	copy(w.codes, codes)
	copy(w.scale[:], scale)
	copy(w.loss[:], loss)
	return w.codes, w.scale[:], w.loss[:]
}
