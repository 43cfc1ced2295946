package preprocess

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"isearle/clipnet/preprocess/jpeg"
)

// decoder decodes one image after another, keeping its scratch memory.
type decoder struct {
	name        string
	format      string
	data        []byte
	maxPixels   int
	wantExif    bool
	orientation int // EXIF's, 0 where there is none or it is not wanted
	// needed says which pixels of an image of w x h are asked for; others may be left as they are. nil means all.
	needed func(w, h int) (x0, y0, x1, y1 int)

	jpeg  jpeg.Decoder
	zlib  io.Reader
	pix   []byte // of the image decoded last
	plain []byte // a format's decompressed rows
}

// Decode decodes an image file that is in memory. The name is for errors only; maxPixels is as in Options. EXIF
// orientation is ignored, but a TIFF's own orientation is applied, both as Pillow does.
func Decode(name string, data []byte, maxPixels int) (*Image, error) {
	if maxPixels == 0 {
		maxPixels = DefaultMaxPixels
	}
	d := decoder{maxPixels: maxPixels}
	return d.decode(name, data)
}

// RGB returns the image's pixels as RGB, three bytes each, converted as Pillow's convert("RGB") does save for 16-bit
// gray, whose high byte is kept. The image is used up.
func (m *Image) RGB() []byte {
	m.toRGB()
	if m.Mode == ModeRGB {
		return m.Pix
	}
	rgb := make([]byte, 3*m.Width*m.Height)
	m.rgbInto(rgb, m.Pix, false)
	return rgb
}

// A format is one of the file formats, told by how a file begins; "?" stands for any byte.
type format struct {
	name, magic string
	decode      func(*decoder) (*Image, error)
}

var formats = []format{
	{"JPEG", "\xFF\xD8\xFF", (*decoder).decodeJPEG},
	{"PNG", pngMagic, (*decoder).decodePNG},
	{"GIF", "GIF87a", (*decoder).decodeGIF},
	{"GIF", "GIF89a", (*decoder).decodeGIF},
	{"WebP", "RIFF????WEBP", (*decoder).decodeWebP},
	{"TIFF", "II*\x00", (*decoder).decodeTIFF},
	{"TIFF", "MM\x00*", (*decoder).decodeTIFF},
	{"TIFF", "II+\x00", (*decoder).decodeTIFF},
	{"TIFF", "MM\x00+", (*decoder).decodeTIFF},
	{"BMP", "BM", (*decoder).decodeBMP},
}

// magicBytes is how much of a file tells its format.
const magicBytes = 12

// sniff returns the format of a file that begins with head, or nil.
func sniff(head []byte) *format {
	for i, f := range formats {
		if len(head) < len(f.magic) {
			continue
		}
		match := true
		for j := range len(f.magic) {
			match = match && (f.magic[j] == '?' || f.magic[j] == head[j])
		}
		if match {
			return &formats[i]
		}
	}
	return nil
}

// decode decodes data. The image's pixels may be overwritten by the next call.
func (d *decoder) decode(name string, data []byte) (*Image, error) {
	d.name, d.data, d.format, d.orientation = name, data, "", 0
	if len(data) == 0 {
		return nil, d.fail(ErrTruncated, 0, "the file is empty")
	}
	f := sniff(data[:min(len(data), magicBytes)])
	if f == nil {
		return nil, d.fail(ErrNotImage, -1, "it begins with %q", data[:min(len(data), 8)])
	}
	d.format = f.name
	m, err := f.decode(d)
	if err != nil {
		return nil, err
	}
	d.pix = m.Pix
	return m.oriented(d.orientation), nil
}

// fail makes the Error for the image at hand; an offset of -1 is none.
func (d *decoder) fail(kind error, offset int, format string, args ...any) error {
	return &Error{Name: d.name, Format: d.format, Kind: kind, Offset: int64(offset), Reason: fmt.Sprintf(format, args...)}
}

// checkSize refuses images over the limit, before anything of their size is allocated.
func (d *decoder) checkSize(w, h int) error {
	if w <= 0 || h <= 0 {
		return d.fail(ErrCorrupt, -1, "%dx%d pixels", w, h)
	}
	if w > d.maxPixels/h {
		return d.fail(ErrTooLarge, -1, "%dx%d pixels are over the limit of %d", w, h, d.maxPixels)
	}
	return nil
}

// pixels returns scratch memory for an image of n bytes, not cleared.
func (d *decoder) pixels(n int) []byte {
	d.pix = resized(d.pix, n)
	return d.pix
}

// guard calls another package's decoder and turns a panic in it into an error.
func (d *decoder) guard(call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			where, _, _ := strings.Cut(string(debug.Stack()), "\n")
			err = d.fail(ErrCorrupt, -1, "the decoder failed: %v (%s)", r, where)
		}
	}()
	return call()
}

// decodeJPEG gives ModeL, ModeRGB or ModeCMYK.
func (d *decoder) decodeJPEG() (*Image, error) {
	cfg, err := d.jpeg.Open(d.data)
	if err != nil {
		return nil, d.jpegError(err)
	}
	if err := d.checkSize(cfg.Width, cfg.Height); err != nil {
		return nil, err
	}
	m := &Image{Width: cfg.Width, Height: cfg.Height, Mode: ModeL}
	switch cfg.Model {
	case jpeg.RGB:
		m.Mode = ModeRGB
	case jpeg.CMYK:
		m.Mode = ModeCMYK
	}
	if d.wantExif {
		d.orientation = orientation(cfg.Exif)
	}
	m.Pix = d.pixels(m.Mode.Bytes() * m.Width * m.Height)
	if d.needed == nil || d.orientation > 1 {
		err = d.jpeg.Decode(m.Pix)
	} else {
		x0, y0, x1, y1 := d.needed(m.Width, m.Height)
		err = d.jpeg.DecodeWindow(m.Pix, x0, y0, x1, y1)
	}
	if err != nil {
		return nil, d.jpegError(err)
	}
	if m.Mode == ModeCMYK { // Pillow takes every CMYK JPEG for Adobe's inverted inks
		for i, v := range m.Pix {
			m.Pix[i] = ^v
		}
	}
	return m, nil
}

func (d *decoder) jpegError(err error) error {
	je, ok := errors.AsType[*jpeg.Error](err)
	if !ok {
		return d.fail(ErrCorrupt, -1, "%v", err)
	}
	kind := ErrCorrupt
	switch je.Kind {
	case jpeg.ErrFormat:
		kind = ErrNotImage
	case jpeg.ErrTruncated:
		kind = ErrTruncated
	case jpeg.ErrUnsupported:
		kind = ErrUnsupported
	}
	return d.fail(kind, je.Offset, "%s", je.Reason)
}
