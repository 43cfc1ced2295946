package preprocess

import (
	"encoding/binary"
	"math"
)

// resampler is the scratch memory of one resize.
type resampler struct {
	h, v    taps
	packed  []uint64
	packed3 [][3]uint64
	middle  []byte
	lines   []byte
}

// The resize multiplies two 8-bit samples at once: they stand 32 bits apart in a word, times one signed coefficient,
// and the sums of both, which fit 32 signed bits, are told apart at the end by undoing the lower one's borrow.
const (
	half     = 1<<(fixedBits-1) | 1<<(fixedBits-1)<<32 // 0.5 in both sums
	pairMask = 0x000000FF000000FF
)

// pair splits two sums and rounds them to samples.
func pair(s uint64) (lo, hi uint8) {
	l := int32(s)
	return clip8(l), clip8(int32((s - uint64(int64(l))) >> 32))
}

// clip8 drops the fraction of a sum and limits it to a sample.
func clip8(v int32) uint8 {
	v >>= fixedBits
	if uint32(v) > 255 {
		v = ^(v >> 31)
	}
	return uint8(v)
}

// resize writes the crop of the resized image to dst, in the image's own mode with its alpha premultiplied where
// the caller has premultiplied it. Only the rows and columns that the crop needs are computed; each sample is computed
// as Pillow does it for the whole image: rows first, rounded to the sample type, then columns.
func (r *resampler) resize(m *Image, g geometry, f Filter, dst []byte) {
	if m.Mode == ModeP || m.Mode == Mode1 {
		nearest(m, g, dst)
		return
	}
	r.h.set(f, g.paddedW, g.resizedW, g.cropX, g.cropD, g.padX, g.width)
	r.v.set(f, g.paddedH, g.resizedH, g.cropY, g.cropD, g.padY, g.height)
	n := m.Mode.Bytes()
	if g.verticalFirst() {
		from, to := r.h.span()
		r.shiftTaps(&r.h, from)
		src := m.Pix[n*from:]
		r.middle = resized(r.middle, g.cropD*n*(to-from)+8)
		r.columns(r.middle, src, n*m.Width, n*(to-from), g.cropD, m.Mode)
		r.rows(dst, r.middle, n*(to-from), n*g.cropD, g.cropD, to-from, m.Mode)
		return
	}
	from, to := r.v.span()
	r.shiftTaps(&r.v, from)
	row := n * g.cropD
	r.middle = resized(r.middle, (to-from)*row+8)
	r.rows(r.middle, m.Pix[from*n*m.Width:], n*m.Width, row, to-from, m.Width, m.Mode)
	r.columns(dst, r.middle, row, row, g.cropD, m.Mode)
}

// shiftTaps makes the taps count from the input sample from.
func (r *resampler) shiftTaps(t *taps, from int) {
	for i := range t.first {
		t.first[i] = max(t.first[i]-from, 0)
	}
}

// rows resamples height rows of width pixels.
func (r *resampler) rows(dst, src []byte, srcStride, dstStride, height, width int, mode Mode) {
	if mode == ModeI16 {
		r.rows16(dst, src, srcStride, dstStride, height)
		return
	}
	n := mode.Bytes()
	from, to := r.h.span()
	if n == 3 {
		r.packed3 = resized(r.packed3, to-from)
	} else {
		r.packed = resized(r.packed, n*(to-from))
	}
	for y := 0; y < height; y += 2 {
		a := src[y*srcStride:][:n*width]
		b, out := a, dst[y*dstStride:]
		outB := out
		if y+1 < height {
			b, outB = src[(y+1)*srcStride:][:n*width], dst[(y+1)*dstStride:]
		}
		a, b = a[n*from:n*to], b[n*from:n*to]
		switch n {
		case 1:
			packPair(r.packed, a, b)
			rowPair1(out, outB, r.packed, &r.h, from)
		case 3:
			packPair3(r.packed3, a, b)
			rowPair3(out, outB, r.packed3, &r.h, from)
		default:
			packPair(r.packed, a, b)
			rowPairN(out, outB, r.packed, &r.h, from, n)
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

func rowPair1(a, b []byte, packed []uint64, t *taps, from int) {
	for i, first := range t.first {
		k := t.fixed[i*t.size:][:t.count[i]]
		p := packed[max(first-from, 0):][:len(k)]
		s := uint64(half)
		for x, c := range k {
			s += p[x] * uint64(int64(c))
		}
		a[i], b[i] = pair(s)
	}
}

func rowPair3(a, b []byte, packed [][3]uint64, t *taps, from int) {
	for i, first := range t.first {
		k := t.fixed[i*t.size:][:t.count[i]]
		p := packed[max(first-from, 0):][:len(k)]
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
func rowPairN(a, b []byte, packed []uint64, t *taps, from, n int) {
	for i, first := range t.first {
		k := t.fixed[i*t.size:][:t.count[i]]
		p := packed[n*max(first-from, 0):]
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

// columns resamples width bytes of each row into height rows. src must have 8 bytes more than its rows.
func (r *resampler) columns(dst, src []byte, srcStride, width, height int, mode Mode) {
	if mode == ModeI16 {
		r.columns16(dst, src, srcStride, width, height)
		return
	}
	r.lines = resized(r.lines, width+8)
	for y := range height {
		k := r.v.fixed[y*r.v.size:][:r.v.count[y]]
		columnSums(r.lines, src[r.v.first[y]*srcStride:], srcStride, width, k)
		copy(dst[y*width:][:width], r.lines)
	}
}

// columnSums computes one output row, eight samples at a time.
func columnSums(out, src []byte, stride, width int, k []int32) {
	for x := 0; x < width; x += 8 {
		s0, s1, s2, s3 := uint64(half), uint64(half), uint64(half), uint64(half)
		at := x
		for _, c := range k {
			var v uint64
			if at+8 <= len(src) {
				v = binary.LittleEndian.Uint64(src[at:])
			} else { // the very last bytes of an image
				var tail [8]byte
				copy(tail[:], src[at:])
				v = binary.LittleEndian.Uint64(tail[:])
			}
			c := uint64(int64(c))
			s0 += v & pairMask * c
			s1 += v >> 8 & pairMask * c
			s2 += v >> 16 & pairMask * c
			s3 += v >> 24 & pairMask * c
			at += stride
		}
		o := out[x : x+8 : x+8]
		o[0], o[4] = pair(s0)
		o[1], o[5] = pair(s1)
		o[2], o[6] = pair(s2)
		o[3], o[7] = pair(s3)
	}
}

// rows16 is rows for 16-bit gray, in double precision as Pillow computes it.
func (r *resampler) rows16(dst, src []byte, srcStride, dstStride, height int) {
	for y := range height {
		in, out := src[y*srcStride:], dst[y*dstStride:]
		for i, first := range r.h.first {
			sum := 0.0
			for x, w := range r.h.weight[i*r.h.size:][:r.h.count[i]] {
				sum += float64(float64(binary.LittleEndian.Uint16(in[2*(first+x):])) * w)
			}
			binary.LittleEndian.PutUint16(out[2*i:], clip16(sum))
		}
	}
}

// columns16 is columns for 16-bit gray; width is in bytes.
func (r *resampler) columns16(dst, src []byte, srcStride, width, height int) {
	for y := range height {
		w := r.v.weight[y*r.v.size:][:r.v.count[y]]
		in, out := src[r.v.first[y]*srcStride:], dst[y*width:]
		for x := 0; x < width; x += 2 {
			sum := 0.0
			for i, c := range w {
				sum += float64(float64(binary.LittleEndian.Uint16(in[i*srcStride+x:])) * c)
			}
			binary.LittleEndian.PutUint16(out[x:], clip16(sum))
		}
	}
}

// clip16 rounds a sum half away from zero and limits it to a sample.
func clip16(sum float64) uint16 {
	return uint16(min(max(int(sum+math.Copysign(0.5, sum)), 0), 65535))
}

// nearest resizes without interpolation, for palette and bilevel images. Positions are summed up step by step, as in
// Pillow's ImagingScaleAffine, so that rounding falls the same way.
func nearest(m *Image, g geometry, dst []byte) {
	xs := positions(g.paddedW, g.resizedW, g.cropX, g.cropD)
	ys := positions(g.paddedH, g.resizedH, g.cropY, g.cropD)
	for y, sy := range ys {
		out := dst[y*g.cropD:][:g.cropD]
		clear(out)
		if sy -= g.padY; sy < 0 || sy >= m.Height {
			continue
		}
		row := m.Pix[sy*m.Width:][:m.Width]
		for x, sx := range xs {
			if sx -= g.padX; sx >= 0 && sx < m.Width {
				out[x] = row[sx]
			}
		}
	}
}

// positions returns the input sample of each of the n output samples from from on.
func positions(in, out, from, n int) []int {
	step := float64(in) / float64(out)
	pos := step * 0.5
	if from > 1<<28 { // no Pillow could hold this image; do not count up to it
		pos += float64(float64(from) * step)
		from = 0
	}
	for range from {
		pos += step
	}
	xs := make([]int, n)
	for i := range xs {
		xs[i] = int(pos)
		pos += step
	}
	return xs
}

// crop copies the crop out of an image that keeps its size.
func crop(m *Image, g geometry, dst []byte) {
	n := m.Mode.Bytes()
	clear(dst)
	for y := range g.cropD {
		sy := g.cropY + y - g.padY
		if sy < 0 || sy >= m.Height {
			continue
		}
		from := max(g.padX-g.cropX, 0)
		sx := g.cropX + from - g.padX
		if count := min(g.cropD-from, m.Width-sx); count > 0 {
			copy(dst[n*(y*g.cropD+from):][:n*count], m.Pix[n*(sy*m.Width+sx):])
		}
	}
}
