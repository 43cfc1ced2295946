package cpu

import (
	"fmt"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// taskFloats is about how many elements one task of an element-wise operation takes: some microseconds of work.
const taskFloats = 8 << 10

// linearGrad compiles runtime.LinearGrad: the activation's derivative row by row, then the product with the transposed weight.
func (c *compiler) linearGrad(o runtime.LinearGrad) {
	rows, k := c.live(o.Rows), c.dev.k
	g, dx := c.f32(o.DY), c.f32(o.DX)
	if o.Act != runtime.Identity || !o.DPre.Absent() && o.DPre != o.DY {
		dy, pre, dpre := g, c.f32(o.Pre), c.f32(o.DPre)
		if o.DPre.Absent() {
			dpre = c.apart(o.Rows.Cap, dy.cols)
		}
		slope := actGrad(k, o.Act)
		c.eachRow(rows, taskFloats/max(1, dy.cols), func(_ *worker, i int) {
			if o.Act == runtime.Identity {
				copy(dpre.row(i), dy.row(i))
			} else {
				slope(dpre.row(i), dy.row(i), pre.row(i))
			}
		})
		g = dpre
	}
	if o.DX.Absent() {
		return
	}
	p := &product{k: k, dst: dx, aside: o.Add}
	if o.W == nil {
		p.w = c.denseTransposed(o.Dense)
	} else if p.w = c.weight(o.W).bwd; p.w == nil && c.err == nil {
		c.err = fmt.Errorf("weight is packed without Grad: %w", runtime.ErrPlan)
	}
	c.left(p, g, runtime.Norm{}, o.Rows, nil)
	if c.err != nil {
		return
	}
	if o.Add {
		p.end = epilogue{tile: k.TileBias, res: dx}
	}
	p.add(c, rows)
}

// actGrad returns the kernel that multiplies a gradient by an activation's derivative.
func actGrad(k *simd.Kernels, a runtime.Activation) func(dst, dy, pre []float32) {
	switch a {
	case runtime.QuickGELU:
		return k.QuickGELUGrad
	case runtime.GELU:
		return k.GELUGrad
	case runtime.GELUTanh:
		return k.GELUTanhGrad
	}
	return reluGrad
}

func reluGrad(dst, dy, pre []float32) {
	dy, pre = dy[:len(dst)], pre[:len(dst)]
	for i := range dst {
		if pre[i] > 0 {
			dst[i] = dy[i]
		} else {
			dst[i] = 0
		}
	}
}

// denseTransposed packs the transpose of a weight that may change between runs, as a phase of every run.
func (c *compiler) denseTransposed(v runtime.View) *packed {
	p := &packed{n: v.Cols, k: v.Rows, nr: c.dev.k.NR, data: c.floats(packedFloats(c.dev.k, v.Cols, v.Rows))}
	m := c.f32(v)
	c.add(p.panels, func(_ *worker, j int) { p.packTransposed(m, j) })
	return p
}

// packTransposed fills panel j of the transpose of the first k rows of m: its rows are m's columns, which a panel holds as
// they are.
func (p *packed) packTransposed(m matrix, j int) {
	dst, width := p.panel(j), p.width(j)
	for r := range p.k {
		to := dst[r*p.nr : (r+1)*p.nr]
		clear(to[copy(to, m.from(r, j*p.nr)[:width]):])
	}
}
