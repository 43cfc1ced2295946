package preprocess

import (
	"compress/lzw"
	"encoding/binary"
	"errors"
	"io"
)

// GIF89a. The standard library blackens the transparent colour and drops the frame's place on the screen.

// gifFrame is the first image of a file.
type gifFrame struct {
	screenW, screenH int
	x, y, w, h       int
	palette          []byte // nil where it is missing
	transparent      int    // index, -1 for none
	interlaced       bool
	codeBits         int
	offset           int // of its first data block
}

// decodeGIF gives the first frame on its screen as ModeP, or as ModeL where the palette is the gray ramp.
func (d *decoder) decodeGIF() (*Image, error) {
	f, err := d.gifHeader()
	if err != nil {
		return nil, err
	}
	w, h := max(f.screenW, f.x+f.w), max(f.screenH, f.y+f.h)
	if err := d.checkSize(w, h); err != nil {
		return nil, err
	}
	if f.w == 0 || f.h == 0 {
		return nil, d.fail(ErrCorrupt, f.offset, "frame of %dx%d pixels", f.w, f.h)
	}
	m := &Image{Width: w, Height: h, Mode: ModeL}
	if !isGrayRamp(f.palette) {
		m.Mode, m.Palette = ModeP, new([256][3]uint8)
		for i := range len(f.palette) / 3 {
			m.Palette[i] = [3]uint8(f.palette[3*i:])
		}
	}
	m.Pix = d.pixels(w * h)
	clear(m.Pix)
	if f.transparent > 0 {
		for i := range m.Pix {
			m.Pix[i] = uint8(f.transparent)
		}
	}
	return m, d.gifPixels(f, m)
}

// isGrayRamp reports that entry i is gray i for all entries, or that there are none.
func isGrayRamp(palette []byte) bool {
	for i, v := range palette {
		if int(v) != i/3 {
			return false
		}
	}
	return true
}

// gifHeader reads up to the first frame's pixels.
func (d *decoder) gifHeader() (f gifFrame, err error) {
	f.transparent = -1
	at := 13
	if len(d.data) < at {
		return f, d.fail(ErrTruncated, len(d.data), "the file ends in the screen descriptor")
	}
	f.screenW, f.screenH = int(binary.LittleEndian.Uint16(d.data[6:])), int(binary.LittleEndian.Uint16(d.data[8:]))
	if f.palette, at, err = d.gifPalette(d.data[10], at); err != nil {
		return f, err
	}
	for at < len(d.data) {
		switch d.data[at] {
		case '!':
			if at+1 >= len(d.data) {
				return f, d.fail(ErrTruncated, len(d.data), "the file ends in an extension")
			}
			// A graphic control extension holds one block of four bytes.
			if d.data[at+1] == 0xF9 && at+7 < len(d.data) && d.data[at+2] >= 4 && d.data[at+3]&1 != 0 {
				f.transparent = int(d.data[at+6])
			}
			if at, err = d.gifSkip(at + 2); err != nil {
				return f, err
			}
		case ',':
			return f, d.gifImage(&f, at)
		case ';':
			return f, d.fail(ErrCorrupt, at, "no image before the trailer")
		default: // Pillow looks for the next block
			at++
		}
	}
	return f, d.fail(ErrTruncated, len(d.data), "the file ends before an image")
}

// gifPalette reads the palette that flags announce at the offset and returns the offset behind it.
func (d *decoder) gifPalette(flags byte, at int) ([]byte, int, error) {
	if flags&0x80 == 0 {
		return nil, at, nil
	}
	n := 3 << (flags&7 + 1)
	if len(d.data)-at < n {
		return nil, at, d.fail(ErrTruncated, len(d.data), "the file ends in a palette")
	}
	return d.data[at : at+n], at + n, nil
}

// gifSkip returns the offset behind the data blocks at the offset.
func (d *decoder) gifSkip(at int) (int, error) {
	for at < len(d.data) {
		n := int(d.data[at])
		at += 1 + n
		if n == 0 {
			return at, nil
		}
	}
	return at, d.fail(ErrTruncated, len(d.data), "the file ends in an extension")
}

// gifImage reads an image descriptor.
func (d *decoder) gifImage(f *gifFrame, at int) error {
	if len(d.data)-at < 11 {
		return d.fail(ErrTruncated, len(d.data), "the file ends in an image descriptor")
	}
	b := d.data[at+1:]
	f.x, f.y = int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
	f.w, f.h = int(binary.LittleEndian.Uint16(b[4:])), int(binary.LittleEndian.Uint16(b[6:]))
	f.interlaced = b[8]&0x40 != 0
	palette, at, err := d.gifPalette(b[8], at+10)
	if err != nil {
		return err
	}
	if palette != nil {
		f.palette = palette
	}
	if at >= len(d.data) {
		return d.fail(ErrTruncated, len(d.data), "the file ends before the pixels")
	}
	f.codeBits, f.offset = int(d.data[at]), at+1
	if f.codeBits < 2 || f.codeBits > 8 {
		return d.fail(ErrCorrupt, at, "codes of %d bits", f.codeBits)
	}
	return nil
}

// gifBlocks reads the bytes of a sequence of data blocks.
type gifBlocks struct {
	data []byte // from the length of the next block on
	left []byte // of the current block
}

func (b *gifBlocks) Read(p []byte) (int, error) {
	for len(b.left) == 0 {
		if len(b.data) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		n := int(b.data[0])
		if n == 0 {
			return 0, io.EOF
		}
		b.left = b.data[1:min(1+n, len(b.data))]
		b.data = b.data[1+len(b.left):]
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

func (b *gifBlocks) ReadByte() (byte, error) {
	var p [1]byte
	_, err := b.Read(p[:])
	return p[0], err
}

// gifPixels decodes the frame's pixels into the screen m.
func (d *decoder) gifPixels(f gifFrame, m *Image) error {
	z := lzw.NewReader(&gifBlocks{data: d.data[f.offset:]}, lzw.LSB, f.codeBits)
	defer z.Close()
	// Rows come in four passes where they are interlaced.
	passes := []struct{ from, step int }{{0, 1}}
	if f.interlaced {
		passes = []struct{ from, step int }{{0, 8}, {4, 8}, {2, 4}, {1, 2}}
	}
	row := 0
	for _, p := range passes {
		for y := p.from; y < f.h; y += p.step {
			_, err := io.ReadFull(z, m.Pix[(f.y+y)*m.Width+f.x:][:f.w])
			switch {
			case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
				return d.fail(ErrTruncated, len(d.data), "the pixels end in row %d", row)
			case err != nil:
				return d.fail(ErrCorrupt, f.offset, "row %d of the pixels: %v", row, err)
			}
			row++
		}
	}
	return nil
}
