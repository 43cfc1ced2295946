package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
)

// WebP (RFC 9649). golang.org/x/image decodes the two bitstreams; the container, the alpha plane and the conversion
// from YUV with libwebp's chroma upsampling, which Pillow's pixels have, are here.

// webpFrame is the first frame of a file.
type webpFrame struct {
	canvasW, canvasH int // 0 without an extended header
	hasAlpha         bool
	x, y             int
	alpha            []byte // ALPH chunk
	lossy            []byte // VP8 chunk
	lossless         []byte // VP8L chunk
	exif             []byte
	offset           int // of the bitstream
}

// decodeWebP gives ModeRGBA or ModeRGB.
func (d *decoder) decodeWebP() (*Image, error) {
	var f webpFrame
	if err := d.webpChunks(&f, d.data[12:], 12, true); err != nil {
		return nil, err
	}
	if f.lossy == nil && f.lossless == nil {
		return nil, d.fail(ErrTruncated, len(d.data), "the file ends before an image")
	}
	w, h, err := d.webpSize(&f)
	if err != nil {
		return nil, err
	}
	if f.canvasW == 0 {
		f.canvasW, f.canvasH = w, h
	}
	if f.x+w > f.canvasW || f.y+h > f.canvasH {
		return nil, d.fail(ErrCorrupt, f.offset, "frame of %dx%d pixels at %d,%d of %dx%d", w, h, f.x, f.y, f.canvasW, f.canvasH)
	}
	if err := d.checkSize(f.canvasW, f.canvasH); err != nil {
		return nil, err
	}
	if d.wantExif {
		d.orientation = orientation(f.exif)
	}
	m := &Image{Width: f.canvasW, Height: f.canvasH, Mode: ModeRGB}
	if f.hasAlpha {
		m.Mode = ModeRGBA
	}
	m.Pix = d.pixels(m.Mode.Bytes() * m.Width * m.Height)
	if w*h < m.Width*m.Height {
		clear(m.Pix)
	}
	return m, d.guard(func() error {
		if f.lossless != nil {
			return d.webpLossless(&f, m)
		}
		return d.webpLossy(&f, m, w, h)
	})
}

// webpChunks collects the first frame's chunks. Inside a frame chunk (top false) only its own parts are looked for.
func (d *decoder) webpChunks(f *webpFrame, b []byte, at int, top bool) error {
	for len(b) >= 8 {
		id, n := string(b[:4]), int(binary.LittleEndian.Uint32(b[4:]))
		if n > len(b)-8 {
			return d.fail(ErrTruncated, len(d.data), "chunk %q of %d bytes has %d", id, n, len(b)-8)
		}
		body := b[8 : 8+n]
		have := f.lossy != nil || f.lossless != nil
		switch {
		case id == "VP8X" && top && n >= 10:
			f.hasAlpha = body[0]&0x10 != 0
			f.canvasW, f.canvasH = 1+uint24(body[4:]), 1+uint24(body[7:])
		case id == "ANMF" && top && n >= 16 && !have:
			f.x, f.y = 2*uint24(body), 2*uint24(body[3:])
			if err := d.webpChunks(f, body[16:], at+24, false); err != nil {
				return err
			}
		case id == "ALPH" && !have:
			f.alpha = body
		case id == "VP8 " && !have:
			f.lossy, f.offset = body, at+8
		case id == "VP8L" && !have:
			f.lossless, f.offset = body, at+8
		case id == "EXIF" && top:
			f.exif = body
		}
		step := min(8+n+n&1, len(b))
		b, at = b[step:], at+step
	}
	return nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// webpSize reads the frame's size, and whether it has alpha, from its bitstream.
func (d *decoder) webpSize(f *webpFrame) (w, h int, err error) {
	if b := f.lossless; b != nil {
		if len(b) < 5 || b[0] != 0x2F {
			return 0, 0, d.fail(ErrCorrupt, f.offset, "no lossless header")
		}
		v := binary.LittleEndian.Uint32(b[1:])
		if f.canvasW == 0 {
			f.hasAlpha = v>>28&1 != 0
		}
		return int(v&0x3FFF) + 1, int(v>>14&0x3FFF) + 1, nil
	}
	b := f.lossy
	if len(b) < 10 || b[0]&1 != 0 || string(b[3:6]) != "\x9d\x01\x2a" {
		return 0, 0, d.fail(ErrCorrupt, f.offset, "no key frame header")
	}
	w, h = int(binary.LittleEndian.Uint16(b[6:])&0x3FFF), int(binary.LittleEndian.Uint16(b[8:])&0x3FFF)
	if w == 0 || h == 0 {
		return 0, 0, d.fail(ErrCorrupt, f.offset, "frame of %dx%d pixels", w, h)
	}
	return w, h, nil
}

// webpError explains a failure of one of the bitstream decoders.
func (d *decoder) webpError(f *webpFrame, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return d.fail(ErrTruncated, f.offset, "the bitstream ends early")
	}
	return d.fail(ErrCorrupt, f.offset, "%v", err)
}

func (d *decoder) webpLossless(f *webpFrame, m *Image) error {
	img, err := vp8l.Decode(bytes.NewReader(f.lossless))
	if err != nil {
		return d.webpError(f, err)
	}
	in, ok := img.(*image.NRGBA)
	if !ok {
		return d.fail(ErrCorrupt, f.offset, "the decoder gave a %T", img)
	}
	n := m.Mode.Bytes()
	for y := range in.Rect.Dy() {
		out := m.Pix[n*((f.y+y)*m.Width+f.x):]
		row := in.Pix[y*in.Stride:]
		for x := range in.Rect.Dx() {
			copy(out[n*x:][:n], row[4*x:])
		}
	}
	return nil
}

func (d *decoder) webpLossy(f *webpFrame, m *Image, w, h int) error {
	dec := vp8.NewDecoder()
	dec.Init(bytes.NewReader(f.lossy), len(f.lossy))
	if _, err := dec.DecodeFrameHeader(); err != nil {
		return d.webpError(f, err)
	}
	img, err := dec.DecodeFrame()
	if err != nil {
		return d.webpError(f, err)
	}
	alpha, err := d.webpAlpha(f, w, h)
	if err != nil {
		return err
	}
	n := m.Mode.Bytes()
	line := make([]byte, 4*((w+1)/2)+8)
	for y := range h {
		out := m.Pix[n*((f.y+y)*m.Width+f.x):]
		yuvRow(out, img, y, w, n, line)
		if n == 4 {
			for x := range w {
				out[4*x+3] = 255
				if alpha != nil {
					out[4*x+3] = alpha[y*w+x]
				}
			}
		}
	}
	return nil
}

// webpAlpha decodes the alpha plane (RFC 9649 section 2.7.1.2); nil where there is none.
func (d *decoder) webpAlpha(f *webpFrame, w, h int) ([]byte, error) {
	if f.alpha == nil || !f.hasAlpha {
		return nil, nil
	}
	if len(f.alpha) < 1 {
		return nil, d.fail(ErrTruncated, f.offset, "empty alpha chunk")
	}
	header, b := f.alpha[0], f.alpha[1:]
	plane := make([]byte, w*h)
	switch header & 3 {
	case 0:
		if copy(plane, b) < len(plane) {
			return nil, d.fail(ErrTruncated, f.offset, "alpha plane of %d bytes", len(b))
		}
	case 1:
		// A lossless image without its header, alpha in the green channel.
		size := uint32(w-1) | uint32(h-1)<<14
		head := binary.LittleEndian.AppendUint32([]byte{0x2F}, size)
		img, err := vp8l.Decode(io.MultiReader(bytes.NewReader(head), bytes.NewReader(b)))
		if err != nil {
			return nil, d.webpError(f, err)
		}
		in, ok := img.(*image.NRGBA)
		if !ok || len(in.Pix) < 4*len(plane) {
			return nil, d.fail(ErrCorrupt, f.offset, "the alpha plane is not %dx%d", w, h)
		}
		for i := range plane {
			plane[i] = in.Pix[4*i+1]
		}
	default:
		return nil, d.fail(ErrCorrupt, f.offset, "alpha compression %d", header&3)
	}
	unfilterAlpha(plane, w, header>>2&3)
	return plane, nil
}

// unfilterAlpha undoes the prediction of an alpha plane of width w: from the left (1), from above (2) or by gradient
// (3). The first row is always predicted from the left, the first column from above.
func unfilterAlpha(p []byte, w int, filter byte) {
	if filter == 0 {
		return
	}
	for i := 1; i < w; i++ {
		p[i] += p[i-1]
	}
	for y := w; y < len(p); y += w {
		row, above := p[y:y+w], p[y-w:y]
		row[0] += above[0]
		for x := 1; x < w; x++ {
			switch filter {
			case 1:
				row[x] += row[x-1]
			case 2:
				row[x] += above[x]
			case 3:
				g := int(row[x-1]) + int(above[x]) - int(above[x-1])
				row[x] += uint8(min(max(g, 0), 255))
			}
		}
	}
}

// yuvRow converts row y of a frame with libwebp's "fancy" upsampling: chroma is 9/16, 3/16, 3/16 and 1/16 of the
// four samples around. line is scratch for two rows of chroma.
func yuvRow(out []byte, img *image.YCbCr, y, w, n int, line []byte) {
	cw, ch := (w+1)/2, (img.Rect.Dy()+1)/2
	near, far := y/2, y/2-1+y&1*2
	far = min(max(far, 0), ch-1)
	us, vs := line[:2*cw], line[2*cw:4*cw]
	fancyChroma(us, img.Cb[near*img.CStride:][:cw], img.Cb[far*img.CStride:][:cw])
	fancyChroma(vs, img.Cr[near*img.CStride:][:cw], img.Cr[far*img.CStride:][:cw])
	luma := img.Y[y*img.YStride:][:w]
	for x, l := range luma {
		o := out[n*x : n*x+3 : n*x+3]
		o[0], o[1], o[2] = yuvToRGB(int(l), int(us[x]), int(vs[x]))
	}
}

// fancyChroma doubles a row of chroma; libwebp rounds in two steps (its UPSAMPLE_FUNC).
func fancyChroma(out, near, far []byte) {
	n := len(near)
	out[0] = uint8((3*int(near[0]) + int(far[0]) + 2) >> 2)
	for x := 1; x < n; x++ {
		tl, t, l, c := int(near[x-1]), int(near[x]), int(far[x-1]), int(far[x])
		sum := tl + t + l + c + 8
		out[2*x-1] = uint8(((sum+2*(t+l))>>3 + tl) >> 1)
		out[2*x] = uint8(((sum+2*(tl+c))>>3 + t) >> 1)
	}
	out[2*n-1] = uint8((3*int(near[n-1]) + int(far[n-1]) + 2) >> 2)
}

// yuvToRGB is libwebp's conversion from BT.601's limited range in 14-bit fixed point (its yuv.h).
func yuvToRGB(y, u, v int) (r, g, b uint8) {
	const bits = 6
	clip := func(v int) uint8 { return uint8(min(max(v>>bits, 0), 255)) }
	l := y * 19077 >> 8
	return clip(l + v*26149>>8 - 14234), clip(l - u*6419>>8 - v*13320>>8 + 8708), clip(l + u*33050>>8 - 17685)
}
