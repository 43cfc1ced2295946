package preprocess

import (
	"encoding/binary"
	"math"

	"isearle/clipnet/preprocess/internal/pixel"
)

// resampler is the scratch memory of one resize.
type resampler struct {
	loops  *pixel.Kernels // nil until the first resize
	h, v   taps
	row    pixel.RowTaps // of h
	column pixel.Columns // of v
	middle []byte
	rows   []byte
}

// resize writes the crop of the resized image to dst, in the image's own mode with its alpha premultiplied where
// the caller has premultiplied it. Only the rows and columns that the crop needs are computed; each sample is computed
// as Pillow does it for the whole image: rows first, rounded to the sample type, then columns.
func (r *resampler) resize(m *Image, g geometry, f Filter, dst []byte) {
	if m.Mode == ModeP || m.Mode == Mode1 {
		nearest(m, g, dst)
		return
	}
	r.set(g, f)
	x0, y0, x1, y1 := r.window()
	n := m.Mode.Bytes()
	src, size := m.Pix[n*(y0*m.Width+x0):], n*g.cropD
	if g.verticalFirst() {
		r.middle = resized(r.middle, n*(x1-x0)*g.cropD)
		r.resizeColumns(r.middle, n*(x1-x0), src, n*m.Width, y0, m.Mode)
		r.resizeRows(dst, size, r.middle, n*(x1-x0), g.cropD, x0, x1-x0, m.Mode)
		return
	}
	stride := size + pixel.RowSlack
	r.middle = resized(r.middle, stride*(y1-y0))
	r.resizeRows(r.middle, stride, src, n*m.Width, y1-y0, x0, x1-x0, m.Mode)
	r.resizeColumns(dst, size, r.middle, stride, y0, m.Mode)
}

// set computes the coefficients of both directions.
func (r *resampler) set(g geometry, f Filter) {
	if r.loops == nil {
		r.loops = pixel.Best()
	}
	if r.h.set(f, g.paddedW, g.resizedW, g.cropX, g.cropD, g.padX, g.width) {
		r.row.Set(r.h.first, r.h.count, r.h.fixed, r.h.size)
	}
	if r.v.set(f, g.paddedH, g.resizedH, g.cropY, g.cropD, g.padY, g.height) {
		r.column.Set(r.v.count, r.v.fixed, r.v.size)
	}
}

// window is the part of the image that the coefficients of set meet.
func (r *resampler) window() (x0, y0, x1, y1 int) {
	x0, x1 = r.h.span()
	y0, y1 = r.v.span()
	return x0, y0, x1, y1
}

// resizeRows resizes height rows of width pixels, the first of them at x0 of the image.
func (r *resampler) resizeRows(dst []byte, dstStride int, src []byte, srcStride, height, x0, width int, mode Mode) {
	if mode == ModeI16 {
		r.rows16(dst, src, srcStride, dstStride, height, x0)
		return
	}
	r.row.Place(mode.Bytes(), x0, width)
	if dstStride >= mode.Bytes()*len(r.h.first)+pixel.RowSlack {
		r.loops.Rows(dst, dstStride, src, srcStride, height, &r.row)
		return
	}
	slack := dstStride + pixel.RowSlack
	r.rows = resized(r.rows, height*slack)
	r.loops.Rows(r.rows, slack, src, srcStride, height, &r.row)
	for y := range height {
		copy(dst[y*dstStride:][:dstStride], r.rows[y*slack:])
	}
}

// resizeColumns resizes columns, the first row of which is y0 of the image, to rows of width bytes.
func (r *resampler) resizeColumns(dst []byte, width int, src []byte, srcStride, y0 int, mode Mode) {
	if mode == ModeI16 {
		r.columns16(dst, src, srcStride, width, len(r.v.first), y0)
		return
	}
	for y, first := range r.v.first {
		r.loops.Column(dst[y*width:][:width], src[max(first-y0, 0)*srcStride:], srcStride, r.column.At(y))
	}
}

// rows16 is resizeRows for 16-bit gray, in double precision as Pillow computes it.
func (r *resampler) rows16(dst, src []byte, srcStride, dstStride, height, x0 int) {
	for y := range height {
		in, out := src[y*srcStride:], dst[y*dstStride:]
		for i, first := range r.h.first {
			sum := 0.0
			for x, w := range r.h.weight[i*r.h.size:][:r.h.count[i]] {
				sum += float64(float64(binary.LittleEndian.Uint16(in[2*(first-x0+x):])) * w)
			}
			binary.LittleEndian.PutUint16(out[2*i:], clip16(sum))
		}
	}
}

// columns16 is resizeColumns for 16-bit gray.
func (r *resampler) columns16(dst, src []byte, srcStride, width, height, y0 int) {
	for y := range height {
		w := r.v.weight[y*r.v.size:][:r.v.count[y]]
		in, out := src[max(r.v.first[y]-y0, 0)*srcStride:], dst[y*width:]
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
