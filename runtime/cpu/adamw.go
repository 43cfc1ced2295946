package cpu

import (
	"math"

	"isearle/runtime"
)

// adamW compiles runtime.AdamW.
func (c *compiler) adamW(o runtime.AdamW) {
	p, g, m, v, ema, hyper := c.f32(o.P), c.f32(o.G), c.f32(o.M), c.f32(o.V), c.f32(o.EMA), c.f32(o.Hyper)
	c.eachRow(c.live(o.Rows), taskFloats/max(1, p.cols), func(_ *worker, i int) {
		h := hyper.row(0)
		adamStep(p.row(i), g.row(i), m.row(i), v.row(i), h)
		if !ema.absent() {
			average(ema.row(i), p.row(i), h[runtime.HyperEMA], h[runtime.HyperRestEMA])
		}
	})
}

// adamStep updates parameters p and moments m and v by gradient g. Conversions to float32 forbid fused multiply-adds, which
// PyTorch does not use either: so the bits are the same on every architecture.
func adamStep(p, g, m, v, hyper []float32) {
	decay, step, scale, eps := hyper[runtime.HyperDecay], hyper[runtime.HyperStep], hyper[runtime.HyperScale], hyper[runtime.HyperEps]
	beta1, beta2 := hyper[runtime.HyperBeta1], hyper[runtime.HyperBeta2]
	rest1, rest2 := hyper[runtime.HyperRest1], hyper[runtime.HyperRest2]
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	for i, x := range p {
		m[i] = float32(beta1*m[i]) + float32(rest1*g[i])
		v[i] = float32(beta2*v[i]) + float32(float32(rest2*g[i])*g[i])
		root := float32(math.Sqrt(float64(v[i])))
		p[i] = float32(x*decay) - float32(step*m[i])/(root/scale+eps)
	}
}

// average moves ema towards x, keeping a share of the past.
func average(ema, x []float32, keep, rest float32) {
	x = x[:len(ema)]
	for i, e := range ema {
		ema[i] = float32(keep*e) + float32(rest*x[i])
	}
}
