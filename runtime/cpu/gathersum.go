package cpu

import "isearle/runtime"

// gatherSum compiles runtime.GatherSum.
func (c *compiler) gatherSum(o runtime.GatherSum) {
	src, dst, starts, list := c.f32(o.Src), c.f32(o.Dst), c.i32(o.Starts), c.i32(o.List)
	c.eachRow(c.live(o.Rows), 1, func(_ *worker, j int) {
		sum := dst.row(j)
		clear(sum)
		for _, i := range list[starts[j]:starts[j+1]] {
			c.dev.k.Bias(sum, src.row(int(i)))
		}
	})
}
