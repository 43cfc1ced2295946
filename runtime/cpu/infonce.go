package cpu

import (
	"math"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// infoNCE is a compiled runtime.InfoNCE. With J = [a; b] and P the softmax of each row of J J^T/Tau without its diagonal,
//
//	dLoss/dJ = ((P + P^T) J - 2 J') / (2 N Tau)
//
// J' being J with its halves exchanged; only the rows of b are computed, and taken back through their normalisation.
type infoNCE struct {
	o       runtime.InfoNCE
	k       *simd.Kernels
	rows    func() int
	a, b    matrix
	j       matrix    // [2N, n]
	lengths []float64 // of the rows of B
	p       matrix    // [2N, 2N]: products, then P
	terms   []float64 // of the loss
	mixed   matrix    // [N, 2N]: the rows of P + P^T that belong to b
	loss    matrix
	db      matrix
}

func (c *compiler) infoNCE(o runtime.InfoNCE) {
	n, dim := o.Rows.Cap, o.A.Cols
	l := &infoNCE{o: o, k: c.dev.k, rows: c.live(o.Rows), a: c.f32(o.A), b: c.f32(o.B), loss: c.f32(o.Loss), db: c.f32(o.DB),
		lengths: make([]float64, n), terms: make([]float64, 2*n), j: c.apart(2*n, dim), p: c.matrix(2*n, 2*n), mixed: c.apart(n, 2*n)}
	byRow := &packed{n: 2 * n, k: dim, nr: l.k.NR, data: c.floats(packedFloats(l.k, 2*n, dim))}
	byColumn := &packed{n: dim, k: 2 * n, nr: l.k.NR, data: c.floats(packedFloats(l.k, dim, 2*n))}
	if c.err != nil {
		return
	}
	both := func() int { return 2 * l.rows() }
	c.eachRow(both, normRows, l.normalise)
	// The shapes of the packed sides vary from run to run; nothing reads them before these phases begin.
	c.add(func() int { byRow.n = both(); return byRow.panels() }, func(_ *worker, t int) {
		l.k.Pack(byRow.panel(t), l.j.from(t*byRow.nr, 0), l.j.stride, byRow.width(t), dim)
	})
	c.add(func() int { byColumn.k = both(); return byColumn.panels() }, func(_ *worker, t int) { byColumn.packTransposed(l.j, t) })
	(&product{k: l.k, a: l.j, w: byRow, dst: l.p}).add(c, both)
	c.eachRow(both, normRows, l.softmax)
	c.add(func() int { return 1 }, func(*worker, int) { l.sum() })
	c.eachRow(l.rows, normRows, l.mix)
	(&product{k: l.k, a: l.mixed, w: byColumn, dst: l.db}).add(c, l.rows)
	c.eachRow(l.rows, normRows, l.finish)
}

// normalise writes row i of J.
func (l *infoNCE) normalise(_ *worker, i int) {
	n := l.rows()
	dst := l.j.row(i)
	if i < n {
		scaled(dst, l.a.row(i), length(l.a.row(i)))
		return
	}
	l.lengths[i-n] = length(l.b.row(i - n))
	scaled(dst, l.b.row(i-n), l.lengths[i-n])
}

func scaled(dst, x []float32, length float64) {
	for j, v := range x {
		dst[j] = float32(float64(v) / length)
	}
}

// softmax turns row i of the products into P's, and notes its term of the loss.
func (l *infoNCE) softmax(_ *worker, i int) {
	m := 2 * l.rows()
	x, scale := l.p.row(i)[:m], 1/l.o.Tau
	positive := x[(i+m/2)%m]
	last := m - 1
	x[i], x[last] = x[last], x[i] // the diagonal stands aside
	largest, sum := l.k.Softmax(x[:last], scale)
	x[last] = 0
	x[i], x[last] = x[last], x[i]
	l.terms[i] = (float64(largest)-float64(positive))*float64(scale) + math.Log(float64(sum))
}

// sum is the mean of the terms in their order; of no rows it is NaN.
func (l *infoNCE) sum() {
	s, m := 0.0, 2*l.rows()
	for _, v := range l.terms[:m] {
		s += v
	}
	l.loss.row(0)[0] = float32(s / float64(m))
}

// mix writes row i of b's rows of P + P^T.
func (l *infoNCE) mix(_ *worker, i int) {
	n := l.rows()
	dst := l.mixed.row(i)
	for k, v := range l.p.row(n + i)[:2*n] {
		dst[k] = v + l.p.from(k, n+i)[0]
	}
}

// finish turns row i of (P + P^T) J into the gradient by B.
func (l *infoNCE) finish(_ *worker, i int) {
	n := l.rows()
	a, b, db := l.j.row(i), l.j.row(n+i), l.db.row(i)
	along := 0.0 // the part of the gradient in b's own direction, which does not change b/|b|
	for j, v := range db {
		along += (float64(v) - 2*float64(a[j])) * float64(b[j])
	}
	scale := float64(l.o.Weight) / (2 * float64(n) * float64(l.o.Tau) * l.lengths[i])
	for j, v := range db {
		db[j] = float32(scale * (float64(v) - 2*float64(a[j]) - along*float64(b[j])))
	}
}
