package preprocess

import (
	"math"
	"slices"

	"isearle/clipnet/preprocess/internal/pixel"
)

// Source is an image for a device that resizes: what runtime.Resample takes of an image. The crop that it gives is Crop's, bit for bit.
type Source struct {
	// Pix are R, G, B of Width x Height pixels, rows from the top: the part of the decoded image that the crop needs, at most MaxSource
	// on either side, or the crop itself.
	Pix           []byte
	Width, Height int
	ColumnsFirst  bool // columns are summed before rows
	// Taps are, of each column and then of each row of the crop, the first of its pixels, their number, and MaxTaps coefficients times
	// 2^22: [2*Size, 2+MaxTaps].
	Taps []int32
}

// MaxSource is how many pixels a Source has at most on a side: a device has room for that many. Images of which the crop needs more are
// resized here.
const MaxSource = 1024

// Set makes s a copy of o in s's own memory.
func (s *Source) Set(o *Source) {
	pix, taps := append(s.Pix[:0], o.Pix...), append(s.Taps[:0], o.Taps...)
	*s = *o
	s.Pix, s.Taps = pix, taps
}

// MaxTaps is the number of coefficients that a Source has for each column and row of the crop.
func (p *Preprocessor) MaxTaps() int {
	side := max(MaxSource, p.opts.Size)
	return 2*int(math.Ceil(p.opts.Filter.support()*float64(side)/float64(p.opts.Size))) + 1
}

// Table is the normalised value of each sample of each channel, as Normalize gives it.
func (p *Preprocessor) Table() *[3][256]float32 { return &p.table }

// SourceFile reads and decodes an image file for a device that resizes; dst's memory is used again. Errors are File's.
func (p *Preprocessor) SourceFile(path string, dst *Source) error {
	return p.withFile(path, func(s *scratch, data []byte) error { return p.source(s, path, data, dst) })
}

// Source is SourceFile for an image in memory; the name is for errors only.
func (p *Preprocessor) Source(name string, data []byte, dst *Source) error {
	s := p.scratch.Get().(*scratch)
	defer p.scratch.Put(s)
	return p.source(s, name, data, dst)
}

func (p *Preprocessor) source(s *scratch, name string, data []byte, dst *Source) error {
	m, err := s.decoder.decode(name, data)
	if err != nil {
		return err
	}
	p.early(s, m)
	if g := p.opts.plan(m.Width, m.Height); !p.window(s, m, g, dst) {
		dst.Pix = resized(dst.Pix, p.CropBytes())
		p.cropInto(s, m, dst.Pix)
		p.whole(dst)
	}
	return nil
}

// window makes dst the part of an image that its crop needs, and says whether that can be: images with alpha, 16 bits or inks that are
// converted last, or by nearest neighbour, are resized otherwise than by Resample.
func (p *Preprocessor) window(s *scratch, m *Image, g geometry, dst *Source) bool {
	if m.Mode != ModeRGB && m.Mode != ModeL || g.sameSize() {
		return false
	}
	r, most := &s.resize, p.MaxTaps()
	r.set(g, p.opts.Filter)
	x0, y0, x1, y1 := r.window()
	if max(r.h.size, r.v.size) > most || max(x1-x0, y1-y0) > MaxSource || x0 == x1 || y0 == y1 {
		return false
	}
	dst.Width, dst.Height, dst.ColumnsFirst = x1-x0, y1-y0, g.verticalFirst()
	dst.Pix = resized(dst.Pix, 3*dst.Width*dst.Height)
	n := m.Mode.Bytes()
	for y := range dst.Height {
		m.rgbInto(dst.Pix[3*y*dst.Width:][:3*dst.Width], m.Pix[n*((y0+y)*m.Width+x0):], false)
	}
	dst.Taps = slices.Grow(dst.Taps[:0], 2*p.opts.Size*(2+most))
	dst.Taps = r.v.appendTo(r.h.appendTo(dst.Taps, x0, most), y0, most)
	return true
}

// appendTo appends the taps as a Source has them, counted from input sample from on.
func (t *taps) appendTo(to []int32, from, most int) []int32 {
	for i, n := range t.count {
		to = append(to, int32(max(t.first[i]-from, 0)), int32(n))
		to = append(to, t.fixed[i*t.size:][:n]...)
		to = append(to, make([]int32, most-n)...)
	}
	return to
}

// whole makes taps that leave a crop in dst.Pix as it is: one coefficient of 1.
func (p *Preprocessor) whole(dst *Source) {
	d, line := p.opts.Size, 2+p.MaxTaps()
	dst.Width, dst.Height, dst.ColumnsFirst = d, d, false
	dst.Taps = resized(dst.Taps, 2*d*line)
	clear(dst.Taps)
	for i := range 2 * d {
		t := dst.Taps[i*line:]
		t[0], t[1], t[2] = int32(i%d), 1, 1<<pixel.FixedBits
	}
}
