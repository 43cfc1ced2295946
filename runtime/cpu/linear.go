package cpu

import "isearle/runtime"

// normRows is how many rows one task of a layer normalisation takes.
const normRows = 16

// linear compiles runtime.Linear: rows are normalised into scratch of their own, multiplied, and finished tile by tile while
// these are in the first-level cache.
func (c *compiler) linear(o runtime.Linear) {
	rows := c.live(o.Rows)
	x := c.normed(o.X, o.Norm, o.Rows)
	p := &product{k: c.dev.k, a: x, dst: c.f32(o.Out), aside: o.Residual.Slot == o.Out.Slot}
	if o.W != nil {
		p.w = c.weight(o.W).fwd
	} else {
		p.w = c.dense(o.Dense)
	}
	if c.err != nil {
		return
	}
	p.end = c.epilogue(o)
	p.add(c, rows)
}

// epilogue is that of a Linear.
func (c *compiler) epilogue(o runtime.Linear) epilogue {
	e := epilogue{res: c.f32(o.Residual), pre: c.f32(o.Pre)}
	if !o.Bias.Absent() {
		e.bias = c.f32(o.Bias).row(0)
	}
	if o.Act != runtime.Identity || e.bias != nil || !e.res.absent() || !e.pre.absent() {
		e.tile, e.add = tileOf(c.dev.k, o.Act), c.dev.k.TileBias
	}
	return e
}

// dense packs a weight that may change between runs, as a phase of every run.
func (c *compiler) dense(v runtime.View) *packed {
	m, k := c.f32(v), c.dev.k
	if c.err != nil {
		return nil
	}
	p := &packed{n: v.Rows, k: v.Cols, nr: k.NR, data: c.floats(packedFloats(k, v.Rows, v.Cols))}
	c.add(p.panels, func(_ *worker, j int) {
		k.Pack(p.panel(j), m.from(j*p.nr, 0), m.stride, p.width(j), p.k)
	})
	return p
}

// normed returns x, or a matrix that a new phase fills with the normalised rows of x.
func (c *compiler) normed(x runtime.View, n runtime.Norm, d runtime.Dim) matrix {
	if n.Gamma.Absent() {
		return c.f32(x)
	}
	out := c.matrix(d.Cap, x.Cols)
	c.norm(c.f32(x), n, c.live(d), out, nil)
	return out
}

// norm appends the phase out[i] = Norm(x[pool[i]]).
func (c *compiler) norm(x matrix, n runtime.Norm, rows func() int, out matrix, pool []int32) {
	if c.err != nil {
		return
	}
	k, gamma, beta := c.dev.k, c.f32(n.Gamma).row(0), c.f32(n.Beta).row(0)
	c.eachRow(rows, normRows, func(_ *worker, i int) {
		src := i
		if pool != nil {
			src = int(pool[i])
		}
		k.LayerNorm(out.row(i), x.row(src), gamma, beta, n.Eps)
	})
}

// layerNorm compiles runtime.LayerNorm.
func (c *compiler) layerNorm(o runtime.LayerNorm) {
	c.norm(c.f32(o.X), o.Norm, c.live(o.Rows), c.f32(o.Out), nil)
}
