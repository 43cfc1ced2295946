package preprocess

import (
	"encoding/binary"
	"math"
)

// Windows and OS/2 bitmaps, as Pillow's BmpImagePlugin reads them: which ones are gray, which masks are known and that
// the fourth byte of plain 32-bit pixels means nothing decide how an image is resized.

// Compression codes of the bitmap header.
const (
	bmpPlain  = 0
	bmpRLE8   = 1
	bmpRLE4   = 2
	bmpMasks  = 3
	bmpHeader = 14 // bytes of the file header
)

// bmpFile is what the headers say.
type bmpFile struct {
	width, height int
	topDown       bool
	bits          int
	compression   uint32
	colors        int
	entry         int // bytes of a palette entry
	masks         [4]uint32
	palette       []byte
	offset        int // of the pixels
}

// bmpChannels gives, for the masks that Pillow knows, the byte of red, green, blue and alpha (-1 for none) in a pixel.
var bmpChannels = map[[4]uint32][4]int{
	{0xFF0000, 0xFF00, 0xFF, 0}:          {2, 1, 0, -1},
	{0xFF000000, 0xFF0000, 0xFF00, 0}:    {3, 2, 1, -1},
	{0xFF000000, 0xFF00, 0xFF, 0}:        {3, 1, 0, -1},
	{0xFF000000, 0xFF0000, 0xFF00, 0xFF}: {3, 2, 1, 0},
	{0xFF, 0xFF00, 0xFF0000, 0xFF000000}: {0, 1, 2, 3},
	{0xFF0000, 0xFF00, 0xFF, 0xFF000000}: {2, 1, 0, 3},
	{0xFF000000, 0xFF00, 0xFF, 0xFF0000}: {3, 1, 0, 2},
	{0, 0, 0, 0}:                         {2, 1, 0, 3},
}

// decodeBMP gives Mode1, ModeL, ModeP, ModeRGB or ModeRGBA.
func (d *decoder) decodeBMP() (*Image, error) {
	f, err := d.bmpHeaders()
	if err != nil {
		return nil, err
	}
	m := &Image{Width: f.width, Height: f.height, Mode: ModeRGB}
	if f.bits <= 8 {
		f.paletteInto(m)
	} else if ch, ok := bmpChannels[f.masks]; ok && f.bits == 32 && f.compression == bmpMasks && ch[3] >= 0 {
		m.Mode = ModeRGBA
	}
	if f.compression == bmpRLE8 || f.compression == bmpRLE4 {
		// A run makes up to 255 pixels of two bytes; skips leave pixels out, so a short file may still be whole.
		m.Pix = d.pixels(f.width * f.height)
		return m, d.bmpRuns(f, m)
	}
	stride := (f.width*f.bits + 31) / 32 * 4
	if need := stride*(f.height-1) + (f.width*f.bits+7)/8; need > len(d.data)-f.offset {
		return nil, d.fail(ErrTruncated, len(d.data), "%d bytes of pixels of %d", max(len(d.data)-f.offset, 0), need)
	}
	m.Pix = d.pixels(m.Mode.Bytes() * f.width * f.height)
	for y := range f.height {
		at := f.offset + stride*f.row(y)
		f.unpack(m, m.Pix[y*f.width*m.Mode.Bytes():], d.data[at:])
	}
	return m, nil
}

// row returns where row y from the top stands in the file.
func (f *bmpFile) row(y int) int {
	if f.topDown {
		return y
	}
	return f.height - 1 - y
}

// bmpHeaders reads the file header, the bitmap header and the palette.
func (d *decoder) bmpHeaders() (*bmpFile, error) {
	if len(d.data) < bmpHeader+4 {
		return nil, d.fail(ErrTruncated, len(d.data), "the file ends in its header")
	}
	le := binary.LittleEndian
	size := int(le.Uint32(d.data[bmpHeader:]))
	f := &bmpFile{offset: int(le.Uint32(d.data[10:]))}
	switch size {
	case 12, 40, 52, 56, 64, 108, 124:
	default:
		return nil, d.fail(ErrUnsupported, bmpHeader, "bitmap header of %d bytes", size)
	}
	end := bmpHeader + size
	if len(d.data) < end {
		return nil, d.fail(ErrTruncated, len(d.data), "the file ends in its bitmap header")
	}
	b := d.data[bmpHeader:end]
	if size == 12 {
		f.width, f.height = int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
		f.bits, f.entry = int(le.Uint16(b[10:])), 3
	} else {
		f.width, f.height = int(int32(le.Uint32(b[4:]))), int(int32(le.Uint32(b[8:])))
		if f.height < 0 {
			f.topDown, f.height = true, -f.height
		}
		f.bits, f.compression, f.entry = int(le.Uint16(b[14:])), le.Uint32(b[16:]), 4
		f.colors = int(le.Uint32(b[32:]))
	}
	if err := d.checkSize(f.width, f.height); err != nil {
		return nil, err
	}
	end, err := d.bmpMasks(f, b, end)
	if err != nil {
		return nil, err
	}
	return f, d.bmpPalette(f, end)
}

// bmpMasks checks depth and compression and reads the channel masks; end is where the header ends.
func (d *decoder) bmpMasks(f *bmpFile, b []byte, end int) (int, error) {
	switch f.compression {
	case bmpPlain:
		f.masks = [4]uint32{0xFF0000, 0xFF00, 0xFF, 0}
		if f.bits == 16 {
			f.masks = [4]uint32{0x7C00, 0x3E0, 0x1F, 0}
		}
	case bmpMasks:
		at, n := bmpHeader+40, 3
		if len(b) >= 56 {
			n = 4
		} else if len(b) < 52 {
			end += 12 // behind a header of 40 bytes
		}
		if len(d.data) < at+4*n {
			return end, d.fail(ErrTruncated, len(d.data), "the file ends in its masks")
		}
		for i := range n {
			f.masks[i] = binary.LittleEndian.Uint32(d.data[at+4*i:])
		}
		if f.bits < 32 {
			f.masks[3] = 0
		}
		_, known := bmpChannels[f.masks]
		rgb := [3]uint32(f.masks[:3])
		switch {
		case f.bits == 32 && known, f.bits == 24 && rgb == [3]uint32{0xFF0000, 0xFF00, 0xFF}:
		case f.bits == 16 && (rgb == [3]uint32{0xF800, 0x7E0, 0x1F} || rgb == [3]uint32{0x7C00, 0x3E0, 0x1F}):
		default:
			return end, d.fail(ErrUnsupported, at, "masks %#x of %d bits", f.masks, f.bits)
		}
	case bmpRLE8, bmpRLE4:
		if f.bits != 8 && f.bits != 4 {
			return end, d.fail(ErrCorrupt, bmpHeader, "run-length coding of %d bits", f.bits)
		}
	default:
		return end, d.fail(ErrUnsupported, bmpHeader, "compression %d", f.compression)
	}
	switch f.bits {
	case 1, 4, 8, 16, 24, 32:
		return end, nil
	}
	return end, d.fail(ErrUnsupported, bmpHeader, "%d bits a pixel", f.bits)
}

// bmpPalette reads the palette at the offset and settles where the pixels are.
func (d *decoder) bmpPalette(f *bmpFile, at int) error {
	if f.bits <= 8 {
		if f.colors == 0 {
			f.colors = 1 << f.bits
		}
		if f.colors < 0 || f.colors > 65536 {
			return d.fail(ErrUnsupported, at, "palette of %d colours", f.colors)
		}
		n := f.entry * f.colors
		if len(d.data)-at < n {
			return d.fail(ErrTruncated, len(d.data), "the file ends in its palette")
		}
		f.palette = d.data[at : at+n]
		at += n
	}
	// Some writers give the palette's offset for the pixels'; Pillow corrects it.
	if f.offset == 0 || f.bits <= 8 && f.offset < at {
		f.offset = at
	}
	if f.offset > len(d.data) {
		return d.fail(ErrTruncated, len(d.data), "the pixels start at %d", f.offset)
	}
	return nil
}

// paletteInto chooses the mode of an indexed bitmap: a palette that is black and white or the gray ramp is none.
func (f *bmpFile) paletteInto(m *Image) {
	gray := true
	for i := range f.colors {
		want := i
		if f.colors == 2 {
			want = 255 * i
		}
		for _, v := range f.palette[i*f.entry:][:3] {
			gray = gray && int(v) == want
		}
	}
	switch {
	case gray && f.colors <= 2:
		m.Mode = Mode1
	case gray:
		m.Mode = ModeL
	default:
		m.Mode, m.Palette = ModeP, new([256][3]uint8)
		for i := range min(f.colors, 256) {
			c := f.palette[i*f.entry:]
			m.Palette[i] = [3]uint8{c[2], c[1], c[0]}
		}
	}
}

// unpack writes one row.
func (f *bmpFile) unpack(m *Image, out, in []byte) {
	switch f.bits {
	case 1, 4:
		scale := uint8(1)
		if m.Mode == Mode1 {
			scale = math.MaxUint8
		}
		unpackBits(out, in, f.width, f.bits, 1, scale)
	case 8:
		copy(out[:f.width], in)
	case 16:
		green, red := 5, uint(10)
		if f.masks[1] == 0x7E0 {
			green, red = 6, 11
		}
		for x := range f.width {
			v := int(binary.LittleEndian.Uint16(in[2*x:]))
			out[3*x] = uint8(v >> red & 31 * 255 / 31)
			out[3*x+1] = uint8(v >> 5 & (1<<green - 1) * 255 / (1<<green - 1))
			out[3*x+2] = uint8(v & 31 * 255 / 31)
		}
	case 24:
		for x := range f.width {
			out[3*x], out[3*x+1], out[3*x+2] = in[3*x+2], in[3*x+1], in[3*x]
		}
	case 32:
		n, ch := m.Mode.Bytes(), bmpChannels[f.masks]
		for x := range f.width {
			for c := range n {
				out[n*x+c] = in[4*x+ch[c]]
			}
		}
	}
}

// bmpRuns decodes run-length coded indices; pixels that are skipped are index 0.
func (d *decoder) bmpRuns(f *bmpFile, m *Image) error {
	clear(m.Pix)
	x, y := 0, 0
	at := f.offset
	put := func(v byte) {
		if x < f.width && y < f.height {
			m.Pix[f.row(y)*f.width+x] = v
		}
		x++
	}
	for {
		if len(d.data)-at < 2 {
			return d.fail(ErrTruncated, len(d.data), "the pixels end in row %d", y)
		}
		n, v := int(d.data[at]), d.data[at+1]
		at += 2
		switch {
		case n > 0:
			for i := range n {
				put(f.runIndex(v, i))
			}
		case v == 0:
			x, y = 0, y+1
		case v == 1:
			return nil
		case v == 2:
			if len(d.data)-at < 2 {
				return d.fail(ErrTruncated, len(d.data), "the pixels end in row %d", y)
			}
			x, y = x+int(d.data[at]), y+int(d.data[at+1])
			at += 2
		default:
			size := int(v)
			if f.compression == bmpRLE4 {
				size = (size + 1) / 2
			}
			if len(d.data)-at < size {
				return d.fail(ErrTruncated, len(d.data), "the pixels end in row %d", y)
			}
			for i := range int(v) {
				if f.compression == bmpRLE4 {
					put(f.runIndex(d.data[at+i/2], i))
				} else {
					put(d.data[at+i])
				}
			}
			at += (size + 1) &^ 1
		}
		if y >= f.height || y == f.height-1 && x >= f.width {
			return nil
		}
	}
}

// runIndex returns the i-th index that a byte of a run stands for.
func (f *bmpFile) runIndex(v byte, i int) byte {
	if f.compression == bmpRLE8 {
		return v
	}
	if i&1 == 0 {
		return v >> 4
	}
	return v & 15
}
