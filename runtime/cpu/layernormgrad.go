package cpu

import "isearle/runtime"

// layerNormGrad compiles runtime.LayerNormGrad. Mean and deviation come from running the forward kernel again. The backward
// kernel adds, so a DX that is overwritten, and may be DY, starts as zeros in scratch.
func (c *compiler) layerNormGrad(o runtime.LayerNormGrad) {
	x, dy, dx := c.f32(o.X), c.f32(o.DY), c.f32(o.DX)
	if c.err != nil {
		return
	}
	k, gamma, beta := c.dev.k, c.f32(o.Norm.Gamma).row(0), c.f32(o.Norm.Beta).row(0)
	c.eachRow(c.live(o.Rows), normRows, func(w *worker, i int) {
		buf := carver(w.floats(2 * x.cols))
		mean, rstd := k.LayerNorm(buf.take(x.cols), x.row(i), gamma, beta, o.Norm.Eps)
		sum := dx.row(i)
		if !o.Add {
			sum = buf.take(x.cols)
			clear(sum)
		}
		k.LayerNormGrad(sum, dy.row(i), x.row(i), gamma, mean, rstd)
		if !o.Add {
			copy(dx.row(i), sum)
		}
	})
}
