package cpu

import (
	"math"

	"isearle/runtime"
)

// cosineLoss compiles runtime.CosineLoss.
func (c *compiler) cosineLoss(o runtime.CosineLoss) {
	a, b, noise := c.f32(o.A), c.f32(o.B), c.f32(o.Noise)
	weight, loss, da := c.f32(o.Weight), c.f32(o.Loss), c.f32(o.DA)
	c.eachRow(c.live(o.Rows), 1, func(_ *worker, i int) {
		l := cosineRow{a: a.row(i), b: b.row(i), unit: o.Unit}
		if !noise.absent() {
			l.noise = noise.row(i)
		}
		loss.row(i)[0] = l.grad(da.row(i), float64(weight.row(i)[0]))
	})
}

// cosineRow is the loss of one row, in float64 and in the elements' order: rows are few, so exactness is worth more than
// vectors.
type cosineRow struct {
	a, b, noise []float32
	unit        bool
	scale       float64 // 1, or 1/|a| if unit
}

// at is the element of a with its noise.
func (l *cosineRow) at(j int) float64 {
	x := float64(l.a[j]) * l.scale
	if l.noise != nil {
		x += float64(l.noise[j])
	}
	return x
}

// grad writes weight times the gradient to da and returns the loss.
func (l *cosineRow) grad(da []float32, weight float64) float32 {
	const eps = 1e-12 // of PyTorch's CosineEmbeddingLoss
	if l.scale = 1; l.unit {
		l.scale = 1 / length(l.a)
	}
	xx, bb, xb := eps, eps, 0.0
	for j, v := range l.b {
		x, b := l.at(j), float64(v)
		xx += float64(x * x)
		bb += float64(b * b)
		xb += float64(x * b)
	}
	root := math.Sqrt(xx * bb)
	cosine := xb / root
	slope := func(j int) float64 { return cosine/xx*l.at(j) - float64(l.b[j])/root }
	along := 0.0 // the part of the gradient in a's own direction, which does not change a/|a|
	if l.unit {
		for j, v := range l.a {
			along += slope(j) * (float64(v) * l.scale)
		}
	}
	for j, v := range l.a {
		g := slope(j) - along*(float64(v)*l.scale)
		da[j] = float32(weight * g * l.scale)
	}
	return float32(1 - cosine)
}

// length is the Euclidean norm, exact enough in float64 to make its order immaterial.
func length(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}
