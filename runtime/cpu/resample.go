package cpu

import "isearle/runtime"

// resample compiles runtime.Resample: a task is an image.
func (c *compiler) resample(o runtime.Resample) {
	places, taps, norm, out := c.i32(o.Places), c.i32(o.Taps), c.f32(o.Norm), c.f32(o.Out)
	src, mid := c.bytes(o.Src), c.bytes(o.Mid)
	if c.err != nil {
		return
	}
	one := 2 + o.Most
	c.eachRow(c.live(o.Images), 1, func(w *worker, i int) {
		p := places[5*i : 5*i+5]
		width, height, size := int(p[1]), int(p[2]), o.Size
		image, between := src[p[0]:], mid[p[4]:]
		across := taps[2*i*size*one:][:size*one]
		down := taps[(2*i+1)*size*one:][:size*one]
		crop := runtime.Float32Bytes(w.floats((3*size*size + 3) / 4))
		if p[3] != 0 {
			resampled(between, 1, width, image, 1, width, width, down, one)
			resampled(crop, size, 1, between, width, 1, size, across, one)
		} else {
			resampled(between, size, 1, image, width, 1, height, across, one)
			resampled(crop, 1, size, between, 1, size, size, down, one)
		}
		dst, plane := out.row(i), size*size
		for at := range plane {
			for ch := range 3 {
				dst[ch*plane+at] = norm.row(ch)[crop[3*at+ch]]
			}
		}
	})
}

// resampled sums pixels along one axis on lines of the other: sample x of line l is pixel l*line + x*step, in dst and in src.
func resampled(dst []byte, dstLine, dstStep int, src []byte, srcLine, srcStep, lines int, taps []int32, one int) {
	for x := 0; len(taps) > 0; x, taps = x+1, taps[one:] {
		first, weights := int(taps[0]), taps[2:2+taps[1]]
		for l := range lines {
			sum := [3]int32{1 << (runtime.ResampleBits - 1), 1 << (runtime.ResampleBits - 1), 1 << (runtime.ResampleBits - 1)}
			for i, w := range weights {
				p := src[3*(l*srcLine+(first+i)*srcStep):][:3]
				for ch, v := range p {
					sum[ch] += w * int32(v)
				}
			}
			for ch, v := range sum {
				dst[3*(l*dstLine+x*dstStep)+ch] = byte(min(max(v>>runtime.ResampleBits, 0), 255))
			}
		}
	}
}
