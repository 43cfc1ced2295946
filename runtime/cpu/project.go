package cpu

import "isearle/runtime"

// project compiles runtime.Project: pooled rows are normalised (or gathered), multiplied, and scaled to unit length.
func (c *compiler) project(o runtime.Project) {
	rows, x, out, pool := c.live(o.Rows), c.f32(o.X), c.f32(o.Out), c.i32(o.Pool)
	w := c.weight(o.W)
	if c.err != nil {
		return
	}
	p := &product{k: c.dev.k, w: w.fwd, dst: out}
	c.left(p, x, o.Norm, o.Rows, pool)
	if c.err != nil {
		return
	}
	p.add(c, rows)
	if o.Unit {
		c.add(rows, func(_ *worker, i int) { unit(out.row(i)) })
	}
}

// unit scales a vector to length one; zero stays zero.
func unit(x []float32) {
	l := length(x)
	if l == 0 {
		return
	}
	r := 1 / l
	for i, v := range x {
		x[i] = float32(float64(v) * r)
	}
}

// copyRows compiles runtime.CopyRows.
func (c *compiler) copyRows(o runtime.CopyRows) {
	c.move(c.f32(o.Src), c.i32(o.SrcRows), c.f32(o.Dst), c.i32(o.DstRows), c.live(o.Rows), o.Add)
}

// move appends the phase dst[to[i]] = src[from[i]], or += with add; a nil table is the identity, a negative index skips.
func (c *compiler) move(src matrix, from []int32, dst matrix, to []int32, rows func() int, add bool) {
	index := func(t []int32, i int) int {
		if t == nil {
			return i
		}
		return int(t[i])
	}
	c.eachRow(rows, normRows, func(_ *worker, i int) {
		switch s, d := index(from, i), index(to, i); {
		case s < 0 || d < 0:
		case add:
			c.dev.k.Bias(dst.row(d), src.row(s))
		default:
			copy(dst.row(d), src.row(s))
		}
	})
}
