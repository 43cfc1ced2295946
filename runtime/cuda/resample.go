//go:build cuda

package cuda

import (
	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

type resampleArgs struct {
	Src, Mid     uint64
	Places, Taps table
	Norm, Out    view
	Images       dim
	Size, Most   int32
}

// resampleBlocks share an image's pixels; images differ in size, and what is over has nothing to do.
const resampleBlocks = 64

func (c *compiler) resample(o runtime.Resample) {
	a := resampleArgs{c.pointer(o.Src), c.pointer(o.Mid), c.table(o.Places), c.table(o.Taps), c.f32(o.Norm), c.f32(o.Out), c.dim(o.Images, 1),
		c.i32(o.Size), c.i32(o.Most)}
	cfg := driver.Config{Grid: [3]int{min(resampleBlocks, blocks(4*o.Size*o.Size, 256)), o.Images.Cap, 1}, Block: 256}
	for i, kernel := range []string{"resample_first", "resample_second"} {
		c.part(func(op runtime.Work, table func(runtime.View) []int32) runtime.Work {
			w := o.Passes(table)[i]
			w.Shape = op.Shape
			return w
		}, "preprocess.cu", kernel, cfg, a)
	}
}
