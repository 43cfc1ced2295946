package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zlib"
)

// PNG, Third Edition (W3C 2025). The standard library's decoder does not tell bilevel from gray, 2- and 4-bit depths
// from 8-bit ones, or an alpha channel from a transparent colour, all of which change what a resize does.

const pngMagic = "\x89PNG\r\n\x1a\n"

// Colour types, section 11.2.1.
const (
	pngGray      = 0
	pngRGB       = 2
	pngPalette   = 3
	pngGrayAlpha = 4
	pngRGBA      = 6
)

// maxInflate is the largest ratio of deflate (RFC 1951): 258 bytes for two bits.
const maxInflate = 1032

// pngFile is what the chunks say.
type pngFile struct {
	width, height, depth, color int
	interlaced                  bool
	palette                     []byte
	exif                        []byte
	data                        [][]byte // of the IDAT chunks
	offset                      int      // of the first of them
}

// decodePNG gives every mode but ModeCMYK. A transparent colour (tRNS) is left out: converting to RGB drops it.
func (d *decoder) decodePNG() (*Image, error) {
	p, err := d.pngChunks()
	if err != nil {
		return nil, err
	}
	m := &Image{Width: p.width, Height: p.height, Mode: p.mode()}
	if m.Mode == ModeP {
		if p.palette == nil {
			return nil, d.fail(ErrCorrupt, p.offset, "no palette before the pixels")
		}
		m.Palette = new([256][3]uint8)
		for i := range len(p.palette) / 3 {
			m.Palette[i] = [3]uint8(p.palette[3*i:])
		}
	}
	if d.wantExif {
		d.orientation = orientation(p.exif)
	}
	compressed := 0
	for _, b := range p.data {
		compressed += len(b)
	}
	if need := p.rawSize(); need/maxInflate > compressed {
		return nil, d.fail(ErrTruncated, len(d.data), "%d compressed bytes cannot hold %d", compressed, need)
	}
	m.Pix = d.pixels(m.Width * m.Height * m.Mode.Bytes())
	if err := d.pngPixels(p, m); err != nil {
		return nil, err
	}
	return m, nil
}

// mode is Pillow's choice (PngImagePlugin._MODES); 16-bit gray with alpha becomes RGBA there.
func (p *pngFile) mode() Mode {
	switch p.color {
	case pngRGB:
		return ModeRGB
	case pngPalette:
		return ModeP
	case pngGrayAlpha:
		if p.depth == 8 {
			return ModeLA
		}
		return ModeRGBA
	case pngRGBA:
		return ModeRGBA
	}
	switch p.depth {
	case 1:
		return Mode1
	case 16:
		return ModeI16
	}
	return ModeL
}

// bitsPerPixel returns the size of a pixel in the file.
func (p *pngFile) bitsPerPixel() int {
	return p.depth * [...]int{pngGray: 1, pngRGB: 3, pngPalette: 1, pngGrayAlpha: 2, pngRGBA: 4}[p.color]
}

// pngPass is one pass of Adam7: where its pixels start and how far they are apart.
type pngPass struct{ x0, y0, dx, dy int }

var (
	onePass = []pngPass{{0, 0, 1, 1}}
	adam7   = []pngPass{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}
)

func (p *pngFile) passes() []pngPass {
	if p.interlaced {
		return adam7
	}
	return onePass
}

// size returns the pixels a row and the rows of a pass.
func (q pngPass) size(p *pngFile) (w, h int) {
	w, h = (p.width-q.x0+q.dx-1)/q.dx, (p.height-q.y0+q.dy-1)/q.dy
	if w <= 0 || h <= 0 {
		return 0, 0
	}
	return w, h
}

// rawSize returns the bytes that the compressed data must hold.
func (p *pngFile) rawSize() int {
	n := 0
	for _, q := range p.passes() {
		w, h := q.size(p)
		n += h * (1 + (w*p.bitsPerPixel()+7)/8)
	}
	return n
}

// pngChunks reads the chunks up to the end, or up to where a broken tail behind the pixels starts.
func (d *decoder) pngChunks() (*pngFile, error) {
	p := &pngFile{}
	for at := len(pngMagic); ; {
		rest := d.data[at:]
		if len(rest) < 8 {
			if p.data != nil {
				return p, nil
			}
			return nil, d.fail(ErrTruncated, len(d.data), "the file ends before the pixels")
		}
		n, kind := int(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		whole := n <= len(rest)-12
		body := rest[8:min(len(rest), 8+n)]
		if p.width == 0 && kind != "IHDR" {
			return nil, d.fail(ErrCorrupt, at, "chunk %q before the header", kind)
		}
		critical := kind[0]&0x20 == 0
		if !whole && critical && kind != "IDAT" && p.data == nil {
			return nil, d.fail(ErrTruncated, len(d.data), "chunk %q of %d bytes has %d", kind, n, len(body))
		}
		if whole && critical && crc32.ChecksumIEEE(rest[4:8+n]) != binary.BigEndian.Uint32(rest[8+n:]) {
			return nil, d.fail(ErrCorrupt, at, "wrong checksum of chunk %q", kind)
		}
		if done, err := d.pngChunk(p, kind, body, at); done || err != nil {
			return p, err
		}
		if !whole {
			at = len(d.data)
			continue
		}
		at += 12 + n
	}
}

// pngChunk takes one chunk; done is true at the end of the image.
func (d *decoder) pngChunk(p *pngFile, kind string, b []byte, at int) (done bool, err error) {
	switch kind {
	case "IHDR":
		if p.width != 0 {
			return false, d.fail(ErrCorrupt, at, "second header")
		}
		return false, d.pngHeader(p, b, at)
	case "PLTE":
		if len(b)%3 != 0 || len(b) > 3*256 || len(b) == 0 {
			return false, d.fail(ErrCorrupt, at, "palette of %d bytes", len(b))
		}
		p.palette = b
	case "IDAT":
		if p.data == nil {
			p.offset = at
		}
		p.data = append(p.data, b)
	case "eXIf":
		p.exif = b
	case "IEND":
		if p.data == nil {
			return false, d.fail(ErrCorrupt, at, "end of the image before its pixels")
		}
		return true, nil
	}
	return false, nil
}

func (d *decoder) pngHeader(p *pngFile, b []byte, at int) error {
	if len(b) < 13 {
		return d.fail(ErrCorrupt, at, "header of %d bytes", len(b))
	}
	w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if w == 0 || h == 0 || w > 1<<31-1 || h > 1<<31-1 {
		return d.fail(ErrCorrupt, at, "%dx%d pixels", w, h)
	}
	p.width, p.height, p.depth, p.color = int(w), int(h), int(b[8]), int(b[9])
	depths, ok := map[int]string{
		pngGray: "\x01\x02\x04\x08\x10", pngRGB: "\x08\x10", pngPalette: "\x01\x02\x04\x08", pngGrayAlpha: "\x08\x10", pngRGBA: "\x08\x10",
	}[p.color]
	if !ok || bytes.IndexByte([]byte(depths), b[8]) < 0 {
		return d.fail(ErrCorrupt, at, "colour type %d of %d bits", p.color, p.depth)
	}
	if b[10] != 0 || b[11] != 0 || b[12] > 1 {
		return d.fail(ErrUnsupported, at, "compression %d, filter %d, interlace %d", b[10], b[11], b[12])
	}
	p.interlaced = b[12] == 1
	return d.checkSize(p.width, p.height)
}

// pngPixels inflates, unfilters and unpacks the rows.
func (d *decoder) pngPixels(p *pngFile, m *Image) error {
	readers := make([]io.Reader, len(p.data))
	for i, b := range p.data {
		readers[i] = bytes.NewReader(b)
	}
	z, err := d.inflate(io.MultiReader(readers...))
	if err != nil {
		return d.inflateError(err, p.offset, 0)
	}
	row := 0
	for _, q := range p.passes() {
		w, h := q.size(p)
		n := (w*p.bitsPerPixel() + 7) / 8
		// Two rows with a filter byte each; the one above the first is zeros.
		d.plain = resized(d.plain, 2*(1+n))
		clear(d.plain)
		prev, cur := d.plain[:1+n], d.plain[1+n:]
		for y := range h {
			if _, err := io.ReadFull(z, cur); err != nil {
				return d.inflateError(err, p.offset, row)
			}
			if !unfilter(cur[0], cur[1:], prev[1:], (p.bitsPerPixel()+7)/8) {
				return d.fail(ErrCorrupt, p.offset, "filter %d in row %d of the pixels", cur[0], row)
			}
			p.unpack(m, cur[1:], q, w, q.y0+y*q.dy)
			prev, cur = cur, prev
			row++
		}
	}
	// All pixels are there. What follows matters only where the checksum says that they are wrong.
	var tail [1]byte
	if _, err := z.Read(tail[:]); errors.Is(err, zlib.ErrChecksum) {
		return d.fail(ErrCorrupt, p.offset, "wrong checksum of the compressed pixels")
	}
	return nil
}

// inflate returns a reader of zlib data, the same one each time: it holds its window and tables.
func (d *decoder) inflate(r io.Reader) (io.Reader, error) {
	if reset, ok := d.zlib.(zlib.Resetter); ok {
		return d.zlib, reset.Reset(r, nil)
	}
	z, err := zlib.NewReader(r)
	if err == nil {
		d.zlib = z
	}
	return z, err
}

// inflateError explains a failure to inflate the given row of pixels.
func (d *decoder) inflateError(err error, offset, row int) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return d.fail(ErrTruncated, len(d.data), "the pixels end in row %d", row)
	}
	return d.fail(ErrCorrupt, offset, "row %d of the pixels: %v", row, err)
}

// unfilter undoes a row's filter (section 9.2) with the row above it; bpp is the bytes of a pixel, at least 1.
func unfilter(filter byte, cur, prev []byte, bpp int) bool {
	prev = prev[:len(cur)]
	switch filter {
	case 0:
	case 1:
		for i := bpp; i < len(cur); i++ {
			cur[i] += cur[i-bpp]
		}
	case 2:
		for i, v := range prev {
			cur[i] += v
		}
	case 3:
		for i := range min(bpp, len(cur)) {
			cur[i] += prev[i] / 2
		}
		for i := bpp; i < len(cur); i++ {
			cur[i] += uint8((int(cur[i-bpp]) + int(prev[i])) / 2)
		}
	case 4:
		for i := range min(bpp, len(cur)) {
			cur[i] += prev[i]
		}
		for i := bpp; i < len(cur); i++ {
			cur[i] += paeth(cur[i-bpp], prev[i], prev[i-bpp])
		}
	default:
		return false
	}
	return true
}

// paeth chooses the neighbour nearest to left + above - aboveLeft. It has no branches: which it is cannot be predicted.
func paeth(left, above, aboveLeft uint8) uint8 {
	a, b, c := int(left), int(above), int(aboveLeft)
	pa, pb := b-c, a-c
	pc := pa + pb
	pa, pb, pc = max(pa, -pa), max(pb, -pb), max(pc, -pc)
	// A mask of ones where the first is the smaller one.
	byB := (pb - pa) >> 63
	nearest := a ^ (a^b)&byB
	byC := (pc - min(pa, pb)) >> 63
	return uint8(nearest ^ (nearest^c)&byC)
}

// unpack writes one row of w pixels of a pass into row y of the image.
func (p *pngFile) unpack(m *Image, in []byte, q pngPass, w, y int) {
	n := m.Mode.Bytes()
	out := m.Pix[n*(y*m.Width+q.x0):]
	step := n * q.dx
	switch {
	case p.depth == 8 && q.dx == 1:
		copy(out[:n*w], in)
	case p.depth == 8:
		for x := range w {
			copy(out[x*step:][:n], in[n*x:])
		}
	case m.Mode == ModeI16:
		for x := range w {
			out[x*step], out[x*step+1] = in[2*x+1], in[2*x]
		}
	case p.depth == 16 && p.color == pngGrayAlpha:
		for x := range w {
			l := in[4*x]
			copy(out[x*step:][:4], []byte{l, l, l, in[4*x+2]})
		}
	case p.depth == 16: // Pillow keeps the high byte
		for x := range w {
			for c := range n {
				out[x*step+c] = in[2*(n*x+c)]
			}
		}
	default:
		scale := uint8(1)
		if m.Mode != ModeP {
			scale = uint8(255 / (1<<p.depth - 1))
		}
		unpackBits(out, in, w, p.depth, step, scale)
	}
}

// unpackBits spreads w samples of 1, 2 or 4 bits, the first in the high bits, and multiplies them.
func unpackBits(out, in []byte, w, depth, step int, scale uint8) {
	mask := uint8(1<<depth - 1)
	for x := range w {
		bit := x * depth
		out[x*step] = in[bit/8] >> (8 - depth - bit%8) & mask * scale
	}
}
