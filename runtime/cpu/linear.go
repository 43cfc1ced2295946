package cpu

import "isearle/runtime"

// normRows is how many rows one task of a layer normalisation takes.
const normRows = 16

// linear compiles runtime.Linear: rows are normalised into scratch of their own, in the weight's type, multiplied, and finished tile
// by tile while these are in the first-level cache.
func (c *compiler) linear(o runtime.Linear) {
	p := &product{k: c.dev.k, dst: c.f32(o.Out), aside: o.Residual.Slot == o.Out.Slot}
	if o.W != nil {
		p.w = c.weight(o.W).fwd
	} else {
		p.w = c.dense(o.Dense)
	}
	c.left(p, c.f32(o.X), o.Norm, o.Rows, nil)
	if c.err != nil {
		return
	}
	p.end = c.epilogue(o)
	p.add(c, c.live(o.Rows))
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

// layerNorm compiles runtime.LayerNorm.
func (c *compiler) layerNorm(o runtime.LayerNorm) {
	k, x, out := c.dev.k, c.f32(o.X), c.f32(o.Out)
	gamma, beta := c.f32(o.Norm.Gamma), c.f32(o.Norm.Beta)
	if c.err != nil {
		return
	}
	c.eachRow(c.live(o.Rows), normRows, func(_ *worker, i int) {
		k.LayerNorm(out.row(i), x.row(i), gamma.row(0), beta.row(0), o.Norm.Eps)
	})
}
