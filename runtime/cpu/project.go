package cpu

import (
	"math"

	"isearle/runtime"
)

// project compiles runtime.Project: pooled rows are normalised (or gathered), multiplied, and scaled to unit length.
func (c *compiler) project(o runtime.Project) {
	rows, x, out, pool := c.live(o.Rows), c.f32(o.X), c.f32(o.Out), c.i32(o.Pool)
	w := c.weight(o.W)
	if c.err != nil {
		return
	}
	a := x
	if !o.Norm.Gamma.Absent() || pool != nil {
		a = matrix{c.floats(o.Rows.Cap * x.cols), o.Rows.Cap, x.cols, x.cols}
		if !o.Norm.Gamma.Absent() {
			c.norm(x, o.Norm, rows, a, pool)
		} else {
			c.move(x, pool, a, nil, rows)
		}
	}
	p := &product{k: c.dev.k, a: a, w: w.fwd, dst: out}
	p.add(c, rows)
	if o.Unit {
		c.add(rows, func(_ *worker, i int) { unit(out.row(i)) })
	}
}

// unit scales a vector to length one; the sum of squares is exact enough in f64 to make its order immaterial.
func unit(x []float32) {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	if s == 0 {
		return
	}
	r := 1 / math.Sqrt(s)
	for i, v := range x {
		x[i] = float32(float64(v) * r)
	}
}

// copyRows compiles runtime.CopyRows.
func (c *compiler) copyRows(o runtime.CopyRows) {
	c.move(c.f32(o.Src), c.i32(o.SrcRows), c.f32(o.Dst), c.i32(o.DstRows), c.live(o.Rows))
}

// move appends the phase dst[to[i]] = src[from[i]]; a nil table is the identity, a negative index skips.
func (c *compiler) move(src matrix, from []int32, dst matrix, to []int32, rows func() int) {
	index := func(t []int32, i int) int {
		if t == nil {
			return i
		}
		return int(t[i])
	}
	c.add(func() int { return blocks(rows(), normRows) }, func(_ *worker, task int) {
		for i := task * normRows; i < min((task+1)*normRows, rows()); i++ {
			if s, d := index(from, i), index(to, i); s >= 0 && d >= 0 {
				copy(dst.row(d), src.row(s))
			}
		}
	})
}
