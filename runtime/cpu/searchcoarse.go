package cpu

import (
	"math"

	"isearle/runtime"
)

// coarseBound bounds scores from above by means of a chunk's coarse copy, so that rows which cannot be among the best are
// not read. Write a row as x = m + c*v + e with the mean m, the scale c, the codes v and |e| <= L, its loss; n for the
// dimension, u = 2^-24 for the unit roundoff of f32, tiny = 2^-149 for its smallest number. For a query q:
//
//	q.x = q.m + c (q.v) + q.e <= q.m + c (q.v) + |q| L                                                       (1)
//
// The exact kernel returns S, a chain of n multiply-adds; a term goes through at most n+1 roundings (the portable kernels
// round products apart), and where these underflow each loses at most tiny more. So, as long as nothing overflows, with
// g = (n+1)u / (1 - (n+1)u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1):
//
//	|S - q.x| <= g |q| |x| + 2 n tiny,    |x| <= |m| + c |v| + L,    |v| <= 128 sqrt n                        (2)
//
// The same kernel gives s for q.v, with |s - q.v| <= g |q| |v| + 2 n tiny. Together:
//
//	S <= q.m + g|q||m| + 2 n tiny  +  c (s + 2 g|q| 128 sqrt n + 2 n tiny)  +  L |q| (1 + g)                  (3)
//	     `------- base ---------'          `---------- slack ----------'        `- reach -'
//
// Sums and products of (3), and |q|, |m| and q.m, are computed in f64. Their relative errors are below (n+8) 2^-52, which the
// factor 1.01 on g outweighs many times in each of the three terms. No partial sum of S or s overflows while |q| times
// |m| + c 128 sqrt n + L is below 2^127, as each is at most 1+g times that; rows for which this is not known, and rows whose
// bound is NaN, are kept.
type coarseBound struct {
	on    bool
	n     int
	norms []float64 // |q|, by query
	base  []float64
	slack []float64
	reach []float64

	mean   float64 // |m|
	spread float64 // 128 sqrt n
	limit  float64 // of |m| + c 128 sqrt n + L
}

const (
	unitRoundoff = 0x1p-24
	tiny         = 0x1p-149
	noOverflow   = 0x1p127
)

// gamma is g, with a margin for the bound's own rounding.
func (b *coarseBound) gamma() float64 {
	nu := float64(b.n+1) * unitRoundoff
	return 1.01 * nu / (1 - nu)
}

func (b *coarseBound) begin(queries []float32, dim int) {
	b.n, b.spread = dim, 128*math.Sqrt(float64(dim))
	b.norms, b.base, b.slack, b.reach = b.norms[:0], b.base[:0], b.slack[:0], b.reach[:0]
	g := b.gamma()
	largest := 0.0
	for ; len(queries) > 0; queries = queries[dim:] {
		norm := math.Sqrt(dot64(queries[:dim], queries[:dim]))
		largest = max(largest, norm) // NaN stays
		b.norms = append(b.norms, norm)
		b.base = append(b.base, 0)
		b.slack = append(b.slack, 2*g*norm*b.spread+2*float64(dim)*tiny)
		b.reach = append(b.reach, norm*(1+g))
	}
	b.limit = noOverflow / largest
	if !(largest*b.spread < noOverflow) {
		b.limit = 0
	}
}

// chunk prepares for a chunk; worthwhile says whether a first pass costs less than it saves.
func (b *coarseBound) chunk(queries []float32, c *runtime.Coarse, worthwhile bool) {
	b.on = c != nil && worthwhile
	if !b.on {
		return
	}
	b.mean = math.Sqrt(dot64(c.Mean, c.Mean))
	g := b.gamma()
	for q, norm := range b.norms {
		b.base[q] = dot64(queries[q*b.n:][:b.n], c.Mean) + g*norm*b.mean + 2*float64(b.n)*tiny
	}
}

// dot64 is a product in f64, in which squares of f32 neither overflow nor underflow.
func dot64(x, y []float32) float64 {
	s := 0.0
	for i, v := range x {
		s += float64(v) * float64(y[i])
	}
	return s
}

// survivors returns those of rows r to r+n-1 of the chunk, out of the set alive, whose bound reaches some query's floor.
// There are at most MR queries.
func (c *scanner) survivors(r, n int, alive uint64) uint64 {
	s, k, b := c.s, c.s.dev.k, &c.s.coarse
	for q := range s.nq {
		if math.IsInf(float64(c.floor(q)), -1) {
			return alive
		}
	}
	coarse := s.chunk.Coarse
	scale, loss := coarse.Scale[r:r+n], coarse.Loss[r:r+n]
	k.PackI8(c.panel, coarse.Codes[r*s.dim:], s.dim, n, s.dim)
	k.Gemm(c.tile, k.NR, s.queries, s.dim, s.nq, c.panel, s.dim, false, nil)
	keep := uint64(0)
	for i := range n {
		if !(b.mean+math.Abs(float64(scale[i]))*b.spread+float64(loss[i]) < b.limit) {
			keep |= 1 << i
		}
	}
	for q := range s.nq {
		floor := float64(c.floor(q))
		base, slack, reach := b.base[q], b.slack[q], b.reach[q]
		for i, v := range c.tile[q*k.NR:][:n] {
			c := float64(scale[i])
			if !(base+c*float64(v)+math.Abs(c)*slack+float64(loss[i])*reach < floor) {
				keep |= 1 << i
			}
		}
	}
	return keep & alive
}
