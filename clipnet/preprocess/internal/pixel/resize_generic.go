package pixel

import "encoding/binary"

// The resize multiplies two 8-bit samples at once: they stand 32 bits apart in a word, times one signed coefficient,
// and the sums of both, which fit 32 signed bits, are told apart at the end by undoing the lower one's borrow.
const (
	half     = 1<<(FixedBits-1) | 1<<(FixedBits-1)<<32 // 0.5 in both sums
	pairMask = 0x000000FF000000FF
)

// pair splits two sums and rounds them to samples.
func pair(s uint64) (lo, hi uint8) {
	l := int32(s)
	return clip8(l), clip8(int32((s - uint64(int64(l))) >> 32))
}

// clip8 drops the fraction of a sum and limits it to a sample.
func clip8(v int32) uint8 { return clamp(v >> FixedBits) }

// rowsGeneric is Rows, two rows at a time.
func rowsGeneric(dst []byte, dstStride int, src []byte, srcStride, height int, t *RowTaps) {
	n := t.channels
	size := n * t.width
	if n == 3 {
		t.packed3 = resized(t.packed3, t.width)
	} else {
		t.packed = resized(t.packed, size)
	}
	for y := 0; y < height; y += 2 {
		last := min(y+1, height-1)
		a, b := src[y*srcStride:][:size], src[last*srcStride:][:size]
		outA, outB := dst[y*dstStride:], dst[last*dstStride:]
		switch n {
		case 1:
			packPair(t.packed, a, b)
			rowPair1(outA, outB, t)
		case 3:
			packPair3(t.packed3, a, b)
			rowPair3(outA, outB, t)
		default:
			packPair(t.packed, a, b)
			rowPairN(outA, outB, t)
		}
	}
}

// packPair puts two rows side by side for one multiplication.
func packPair(p []uint64, a, b []byte) {
	b, p = b[:len(a)], p[:len(a)]
	for i, v := range a {
		p[i] = uint64(v) | uint64(b[i])<<32
	}
}

// packPair3 is packPair for pixels of three samples.
func packPair3(p [][3]uint64, a, b []byte) {
	for i := range p {
		u, v := a[3*i:3*i+3:3*i+3], b[3*i:3*i+3:3*i+3]
		p[i] = [3]uint64{uint64(u[0]) | uint64(v[0])<<32, uint64(u[1]) | uint64(v[1])<<32, uint64(u[2]) | uint64(v[2])<<32}
	}
}

// taps returns the place of output i's first pixel and its coefficients.
func (t *RowTaps) taps(i int) (first int, k []int32) {
	return int(t.offsets[i]) / t.channels, t.fixed[i*4*t.quads:][:t.count[i]]
}

func rowPair1(a, b []byte, t *RowTaps) {
	for i := range t.outputs {
		first, k := t.taps(i)
		p := t.packed[first:][:len(k)]
		s := uint64(half)
		for x, c := range k {
			s += p[x] * uint64(int64(c))
		}
		a[i], b[i] = pair(s)
	}
}

func rowPair3(a, b []byte, t *RowTaps) {
	for i := range t.outputs {
		first, k := t.taps(i)
		p := t.packed3[first:][:len(k)]
		s0, s1, s2 := uint64(half), uint64(half), uint64(half)
		for x, c := range k {
			px, c := &p[x], uint64(int64(c))
			s0 += px[0] * c
			s1 += px[1] * c
			s2 += px[2] * c
		}
		oa, ob := a[3*i:3*i+3:3*i+3], b[3*i:3*i+3:3*i+3]
		oa[0], ob[0] = pair(s0)
		oa[1], ob[1] = pair(s1)
		oa[2], ob[2] = pair(s2)
	}
}

// rowPairN is for two or four samples a pixel.
func rowPairN(a, b []byte, t *RowTaps) {
	n := t.channels
	for i := range t.outputs {
		first, k := t.taps(i)
		p := t.packed[n*first:]
		for c := 0; c < n; c += 2 {
			s0, s1 := uint64(half), uint64(half)
			at := c
			for _, w := range k {
				w := uint64(int64(w))
				s0 += p[at] * w
				s1 += p[at+1] * w
				at += n
			}
			a[n*i+c], b[n*i+c] = pair(s0)
			a[n*i+c+1], b[n*i+c+1] = pair(s1)
		}
	}
}

// columnGeneric is Column, eight samples at a time.
func columnGeneric(dst, src []byte, stride int, t ColumnTaps) {
	x := 0
	for ; x+8 <= len(dst); x += 8 {
		s0, s1, s2, s3 := uint64(half), uint64(half), uint64(half), uint64(half)
		at := x
		for _, c := range t.fixed {
			v, c := binary.LittleEndian.Uint64(src[at:]), uint64(int64(c))
			s0 += v & pairMask * c
			s1 += v >> 8 & pairMask * c
			s2 += v >> 16 & pairMask * c
			s3 += v >> 24 & pairMask * c
			at += stride
		}
		o := dst[x : x+8 : x+8]
		o[0], o[4] = pair(s0)
		o[1], o[5] = pair(s1)
		o[2], o[6] = pair(s2)
		o[3], o[7] = pair(s3)
	}
	for ; x < len(dst); x++ {
		s := int32(1) << (FixedBits - 1)
		for i, c := range t.fixed {
			s += int32(src[i*stride+x]) * c
		}
		dst[x] = clip8(s)
	}
}
