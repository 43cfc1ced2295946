package pixel

import "fmt"

// checked wraps the loops of k so that wrong lengths panic before memory is touched, as an index would.
func checked(k Kernels) *Kernels {
	c := k
	c.Block = func(b *Bits, dc, ac *Codes, blk *Block, pred *int32, from int) int {
		if b.Pos < 0 || b.N < 0 || b.N > 63 || from < -1 || from >= 63 {
			panic(fmt.Sprintf("pixel: block from byte %d, %d bits, behind coefficient %d", b.Pos, b.N, from))
		}
		need(len(b.Data)-b.Pos, blockBytes-(from+1)*(16+15)/8)
		return k.Block(b, dc, ac, blk, pred, from)
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
