package cpu

import "isearle/runtime"

// multiply compiles runtime.Multiply.
func (c *compiler) multiply(o runtime.Multiply) {
	x, y, out := c.f32(o.X), c.f32(o.Y), c.f32(o.Out)
	c.eachRow(c.live(o.Rows), taskFloats/max(1, out.cols), func(_ *worker, i int) {
		a, b, dst := x.row(i), y.row(i), out.row(i)
		b, dst = b[:len(a)], dst[:len(a)]
		for j, v := range a {
			dst[j] = v * b[j]
		}
	})
}
