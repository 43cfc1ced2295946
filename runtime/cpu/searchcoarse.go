package cpu

import (
	"math"

	"isearle/runtime"
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
// and loses at most 2 tiny of the factor of c, and 8 tiny, where results underflow. Together, with r = 16u for (3):
//
//	S <= q.m + g|q||m| + r(|q.m| + g|q||m|) + (2n+8) tiny  +  c h (w.v)
//	     `------------------- base ---------------------'
//	     + |c| ((D + (g+r)(|q|+D)) V + 2 tiny)  +  L |q| (1+g+r)                                             (4)
//	           `------------ slack -----------'    `- reach -'
//
// D <= |q|, so that r's share of slack is at least 16u/2.6 of it: enough for (3). Sums and products of (4), and |q|, |m|, D
// and q.m, are computed in f64 and rounded upwards; their relative errors, below (n+8) 2^-52, are outweighed many times by
// the factor 1.01 on g. No partial sum overflows while |q| times |m| + |c|V + L is below 2^126, as each is at most 2.6 times
// that; rows for which this is not known, and rows whose bound is NaN, are kept.
type coarseBound struct {
	on       bool
	prepared bool // the queries of this scan
	n        int
	words    []int16 // w, by query
	queries  []coarseQuery
}

// coarseQuery is what does not depend on the gallery, and the bound.
type coarseQuery struct {
	norm, lost float64 // |q|, D
	bound      simd.BoundOf
}

const (
	unitRoundoff = 0x1p-24
	tiny         = 0x1p-149
	noOverflow   = 0x1p126
	largestCode  = 128
)

// gamma is g, with a margin for the bound's own rounding.
func (b *coarseBound) gamma() float64 {
	nu := float64(b.n+1) * unitRoundoff
	return 1.01 * nu / (1 - nu)
}

// chunk prepares for a chunk's coarse copy, which is made use of where that costs less than it saves.
func (b *coarseBound) chunk(queries []float32, dim int, c *runtime.Coarse) {
	b.on = c != nil && dim%simd.ScanDepth == 0 && len(queries) <= coarseQueries*dim
	if !b.on {
		return
	}
	if !b.prepared {
		b.prepare(queries, dim)
	}
	mean := math.Sqrt(dot64(c.Mean, c.Mean))
	for i := range b.queries {
		q := &b.queries[i]
		center := dot64(queries[i*dim:][:dim], c.Mean)
		width := b.gamma() * q.norm * mean
		q.bound.Base = upwards(center + width + 16*unitRoundoff*(math.Abs(center)+width) + float64(2*dim+8)*tiny)
		q.bound.Limit = -1
		if (q.norm+q.lost)*float64(q.bound.Size) < noOverflow {
			q.bound.Limit = float32((noOverflow/q.norm)*(1-1e-6) - mean)
		}
	}
}

// coarseQueries is up to how many queries bounds cost less than scores: they are made query by query.
const coarseQueries = 8

// prepare takes over the queries of a scan.
func (b *coarseBound) prepare(queries []float32, dim int) {
	b.prepared, b.n = true, dim
	if cap(b.words) < len(queries) {
		b.words = make([]int16, len(queries))
	}
	b.words, b.queries = b.words[:len(queries)], b.queries[:0]
	size := largestCode * math.Sqrt(float64(dim))
	g := b.gamma()
	const r = 16 * unitRoundoff
	for at := 0; at < len(queries); at += dim {
		x := queries[at : at+dim]
		q := coarseQuery{norm: math.Sqrt(dot64(x, x))}
		step := widen(b.words[at:at+dim], x)
		q.lost = lost(b.words[at:at+dim], x, step) + 1e-15*q.norm
		q.bound = simd.BoundOf{
			Step:  step,
			Slack: upwards((q.lost+(g+r)*(q.norm+q.lost))*size + 2*tiny),
			Reach: upwards(q.norm * (1 + g + r)),
			Size:  upwards(size),
		}
		b.queries = append(b.queries, q)
	}
}

// widen writes a query as integers, of which the products with codes add up in 32 bits, and returns their step. Where the
// query is not finite there are no integers, and its norm says so.
func widen(w []int16, q []float32) (step float32) {
	largest := float32(0)
	for _, v := range q {
		largest = max(largest, float32(math.Abs(float64(v))))
	}
	most := float64(min(math.MaxInt16, math.MaxInt32/(largestCode*len(q))))
	step = float32(float64(largest) / most)
	if !(step > 0 && step <= math.MaxFloat32) {
		clear(w)
		return 0
	}
	for i, v := range q {
		w[i] = int16(max(-most, min(most, math.RoundToEven(float64(v)/float64(step)))))
	}
	return step
}

// lost is the norm of q - step*w.
func lost(w []int16, q []float32, step float32) float64 {
	s := 0.0
	for i, v := range q {
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

// coarseRows is what a worker needs to make bounds.
type coarseRows struct {
	bounds, scale, loss [simd.ScanRows]float32
	codes               []int8
	query               simd.BoundOf
}

// survivors returns those of rows r to r+n-1 of the chunk, out of the set alive, whose bound reaches some query's floor.
func (c *scanner) survivors(r, n int, alive uint64) uint64 {
	s := c.s
	for q := range s.nq {
		if math.IsInf(float64(c.floor(q)), -1) {
			return alive
		}
	}
	keep := uint64(0)
	for i := 0; i < n; i += simd.ScanRows {
		few := uint64(1)<<min(simd.ScanRows, n-i) - 1
		if alive>>i&few != 0 {
			keep |= c.reached(r+i, min(simd.ScanRows, n-i)) & few << i
		}
	}
	return keep & alive
}

// reached is survivors for at most ScanRows rows, whether alive or not.
func (c *scanner) reached(r, n int) (keep uint64) {
	s, b, w := c.s, c.s.chunk.Coarse, &c.coarse
	codes, scale, loss := b.Codes[r*s.dim:], b.Scale[r:], b.Loss[r:]
	if n < simd.ScanRows {
		if w.codes == nil {
			w.codes = make([]int8, simd.ScanRows*s.dim)
		}
		copy(w.codes, codes[:n*s.dim])
		copy(w.scale[:], scale[:n])
		copy(w.loss[:], loss[:n])
		codes, scale, loss = w.codes, w.scale[:], w.loss[:]
	}
	for q := range s.nq {
		w.query = s.coarse.queries[q].bound
		w.query.Floor = c.floor(q)
		keep |= s.dev.k.Bounds(w.bounds[:], codes, s.dim, s.coarse.words[q*s.dim:], s.dim, scale, loss, &w.query)
	}
	return keep
}
