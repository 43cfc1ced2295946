package pixel

import "fmt"

// checked wraps the loops of k so that wrong lengths panic before memory is touched, as an index would.
func checked(k Kernels) *Kernels {
	c := k
	c.MCUs = func(b *Bits, units []Unit, c *Cursor) {
		if c.MCUs < 1 {
			return
		}
		if b.Pos < 0 || b.N < 0 || b.N > 63 || c.K < -1 || c.Unit < 0 || c.Unit >= len(units) {
			panic(fmt.Sprintf("pixel: MCUs from byte %d, %d bits, coefficient %d of block %d of %d", b.Pos, b.N, c.K, c.Unit, len(units)))
		}
		need(len(b.Data)-b.End, BlockBytes)
		need(len(b.Data)-b.Pos, blockBytes-(min(c.K, 63)+1)*(16+15)/8)
		for i := range units {
			u, more := &units[i], c.MCUs
			if i < c.Unit { // it is done in the MCU at hand
				more--
			}
			if u.Block < 0 || u.Step < 0 {
				panic(fmt.Sprintf("pixel: block %d and every %d", u.Block, u.Step))
			}
			if more > 0 {
				need(len(u.Row), Coef(u.Block+(more-1)*u.Step, 0)+len(Block{}))
			}
		}
		k.MCUs(b, units, c)
	}
	c.IDCT = func(dst []byte, stride int, coefs []int16, quant *[64]uint16, groups int) {
		if groups < 1 {
			return
		}
		need(len(dst), 7*stride+8*Group*groups)
		need(stride, 8*Group*groups)
		need(len(coefs), 64*Group*groups)
		k.IDCT(dst, stride, coefs, quant, groups)
	}
	c.H2V1 = func(dst, src []byte) {
		need(len(src), 2)
		need(len(dst), 2*len(src))
		k.H2V1(dst, src)
	}
	c.H2V2 = func(dst, near, far []byte) {
		need(len(near), 2)
		need(len(far), len(near))
		need(len(dst), 2*len(near))
		k.H2V2(dst, near, far)
	}
	c.RGB = func(dst, y, cb, cr []byte) {
		need(len(cb), len(y))
		need(len(cr), len(y))
		need(len(dst), 3*len(y))
		k.RGB(dst, y, cb, cr)
	}
	c.Rows = func(dst []byte, dstStride int, src []byte, srcStride, height int, t *RowTaps) {
		if height < 1 {
			return
		}
		need(dstStride, t.outputs*t.channels+RowSlack)
		need(len(dst), height*dstStride)
		need(srcStride, t.width*t.channels)
		need(len(src), (height-1)*srcStride+t.width*t.channels)
		k.Rows(dst, dstStride, src, srcStride, height, t)
	}
	c.Column = func(dst, src []byte, stride int, t ColumnTaps) {
		if t.count > 0 {
			need(stride, len(dst))
			need(len(src), (t.count-1)*stride+len(dst))
		}
		k.Column(dst, src, stride, t)
	}
	c.Normalize = func(dst []float32, plane int, src []byte, s *Scale) int {
		n := len(src) / 3
		need(plane, n)
		need(len(dst), 2*plane+n)
		return k.Normalize(dst, plane, src, s)
	}
	return &c
}

func need(have, want int) {
	if have < want {
		panic(fmt.Sprintf("pixel: %d elements where %d are needed", have, want))
	}
}
