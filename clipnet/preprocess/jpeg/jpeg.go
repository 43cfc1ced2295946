// Package jpeg decodes JPEG images to the very pixels that libjpeg-turbo gives with its default settings.
//
// CLIP's reference features were made with Pillow, that is with libjpeg-turbo: the accurate integer inverse DCT
// ("islow"), triangle-filter chroma upsampling ("fancy") and its 16-bit fixed-point colour conversion. The standard
// library's image/jpeg uses another DCT and leaves chroma upsampling to repetition, which shifts CLIP's features.
//
// Supported are 8-bit Huffman-coded baseline, extended sequential and progressive frames (ITU-T T.81) of one, three
// or four components with any integral sampling ratio, restart intervals, and the JFIF and Adobe conventions for
// colour. Arithmetic coding, 12-bit, lossless and hierarchical frames are refused.
//
// Two things differ from libjpeg on purpose. Entropy-coded data that is damaged or ends early is an error, where
// libjpeg warns and fills in gray. And a progressive file whose scans stop before full precision is reconstructed from
// what it has, without libjpeg's smoothing across block borders.
package jpeg

import (
	"errors"
	"fmt"
)

// The kinds of error; every *Error wraps one of them.
var (
	// ErrFormat: the data is not a JPEG stream at all.
	ErrFormat = errors.New("not a JPEG")
	// ErrTruncated: the data ends before the image does.
	ErrTruncated = errors.New("truncated")
	// ErrCorrupt: the data breaks the rules of ITU-T T.81.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnsupported: the data uses a valid feature that this package leaves out.
	ErrUnsupported = errors.New("unsupported")
)

// Error says what is wrong with a JPEG stream, and where.
type Error struct {
	Kind   error  // ErrFormat, ErrTruncated, ErrCorrupt or ErrUnsupported
	Offset int    // byte offset into the stream
	Reason string // what was found there
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("jpeg: %v: %s at offset %d", e.Kind, e.Reason, e.Offset)
}

// Unwrap returns the kind, for errors.Is.
func (e *Error) Unwrap() error { return e.Kind }

// A ColorModel is what the decoded samples of a pixel mean.
type ColorModel uint8

// The colour models of decoded pixels. YCbCr is converted to RGB and YCCK to CMYK.
const (
	Gray ColorModel = iota // one sample
	RGB                    // three samples
	CMYK                   // four samples, as stored: Adobe's files store inverted inks, and so 255 is no ink
)

// Channels returns the samples of a pixel: 1, 3 or 4.
func (m ColorModel) Channels() int { return [...]int{1, 3, 4}[m] }

// Config describes an image before it is decoded.
type Config struct {
	Width, Height int // pixels
	Model         ColorModel
	Progressive   bool
	Exif          []byte // the TIFF structure of the APP1 Exif segments, a part of the input; nil without one
}

// transform is how components become the colour model's samples.
type transform uint8

const (
	asStored transform = iota
	fromYCbCr
	fromYCCK
)

// component is one colour plane of the frame.
type component struct {
	id, h, v, tq uint8
	width        int // samples a row, ceil(image width * h / hmax)
	height       int
	blocksX      int // blocks that a scan of this component alone codes
	blocksY      int
	stride       int // blocks a row in memory, whole MCUs
	rows         int // rows of blocks in memory
	plane        []byte
	coefs        []int16 // progressive only, 64 a block in natural order
	quant        [64]uint16
	latched      bool // quant was taken from the table at the component's first scan
}

// A Decoder decodes JPEG streams one after another, keeping its scratch memory. The zero value is ready; it may not
// be used concurrently.
type Decoder struct {
	data []byte
	pos  int

	cfg         Config
	comps       []component
	compStore   [4]component
	transform   transform
	hmax, vmax  int
	mcusX       int
	mcusY       int
	sawFrame    bool
	progressive bool

	quant    [4][64]uint16 // natural order
	hasQuant [4]bool
	dc, ac   [4]huffman
	restart  int // MCUs between restart markers, 0 for none

	jfif      bool
	adobe     bool
	adobeXfrm uint8

	bits   bitReader
	planes []byte
	coefs  []int16
	rowBuf []byte
}

// Open reads the headers of data up to the first scan and describes the image; Decode then decodes it. The data is
// kept until the next Open. Nothing that depends on the image's size is allocated, so a caller can apply its limits
// in between. An image that cannot be in so few bytes is refused here as truncated.
func (d *Decoder) Open(data []byte) (Config, error) {
	d.reset(data)
	if len(data) < 3 || data[0] != 0xFF || data[1] != mSOI || data[2] != 0xFF {
		if len(data) > 0 && len(data) < 3 && data[0] == 0xFF {
			return Config{}, d.fail(ErrTruncated, len(data), "%d bytes hold no header", len(data))
		}
		return Config{}, d.fail(ErrFormat, 0, "no start-of-image marker")
	}
	d.pos = 2
	for {
		m, err := d.nextMarker()
		if err != nil {
			return Config{}, err
		}
		if m == mSOS {
			break
		}
		if m == mEOI {
			return Config{}, d.fail(ErrCorrupt, d.pos-2, "end-of-image marker before any scan")
		}
		if err := d.segment(m); err != nil {
			return Config{}, err
		}
	}
	if !d.sawFrame {
		return Config{}, d.fail(ErrCorrupt, d.pos-2, "scan before the frame header")
	}
	if err := d.chooseModel(); err != nil {
		return Config{}, err
	}
	// Every block of the first scans costs at least one bit.
	blocks := 0
	for i := range d.comps {
		blocks += d.comps[i].blocksX * d.comps[i].blocksY
	}
	if blocks/8 > len(data)-d.pos {
		return Config{}, d.fail(ErrTruncated, len(data), "%d bytes left for %dx%d pixels", len(data)-d.pos, d.cfg.Width, d.cfg.Height)
	}
	return d.cfg, nil
}

// Decode decodes the image that Open described into dst: rows from the top without gaps, Channels samples a pixel.
// dst must hold Width * Height * Channels bytes.
func (d *Decoder) Decode(dst []byte) error {
	if !d.sawFrame {
		return errors.New("jpeg: Decode without a successful Open")
	}
	if need := d.cfg.Width * d.cfg.Height * d.cfg.Model.Channels(); len(dst) < need {
		return fmt.Errorf("jpeg: %d bytes for an image of %d", len(dst), need)
	}
	d.sawFrame = false // one decode an Open: the scans have been consumed
	d.allocate()
	if err := d.scans(); err != nil {
		return err
	}
	if d.progressive {
		for i := range d.comps {
			d.comps[i].reconstruct()
		}
	}
	d.output(dst)
	return nil
}

func (d *Decoder) reset(data []byte) {
	d.data, d.pos = data, 0
	d.cfg = Config{}
	d.comps = nil
	d.sawFrame, d.progressive = false, false
	d.hasQuant = [4]bool{}
	for i := range d.dc {
		d.dc[i].ok, d.ac[i].ok = false, false
	}
	d.restart = 0
	d.jfif, d.adobe, d.adobeXfrm = false, false, 0
}

func (d *Decoder) fail(kind error, offset int, format string, args ...any) error {
	return &Error{Kind: kind, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// chooseModel guesses the colour space as libjpeg does (jdapimin.c, default_decompress_parms).
func (d *Decoder) chooseModel() error {
	switch len(d.comps) {
	case 1:
		d.cfg.Model, d.transform = Gray, asStored
	case 3:
		d.cfg.Model, d.transform = RGB, fromYCbCr
		ids := [3]uint8{d.comps[0].id, d.comps[1].id, d.comps[2].id}
		if !d.jfif && (d.adobe && d.adobeXfrm == 0 || !d.adobe && ids == [3]uint8{'R', 'G', 'B'}) {
			d.transform = asStored
		}
	case 4:
		d.cfg.Model, d.transform = CMYK, asStored
		if d.adobe && d.adobeXfrm != 0 {
			d.transform = fromYCCK
		}
	default:
		return d.fail(ErrUnsupported, d.pos, "%d components", len(d.comps))
	}
	return nil
}

// allocate cuts the planes, and for progressive frames the coefficients, out of the decoder's scratch memory.
func (d *Decoder) allocate() {
	blocks := 0
	for i := range d.comps {
		blocks += d.comps[i].stride * d.comps[i].rows
	}
	if cap(d.planes) < 64*blocks {
		d.planes = make([]byte, 64*blocks)
	}
	planes := d.planes[:64*blocks]
	var coefs []int16
	if d.progressive {
		if cap(d.coefs) < 64*blocks {
			d.coefs = make([]int16, 64*blocks)
		} else {
			clear(d.coefs[:64*blocks])
		}
		coefs = d.coefs[:64*blocks]
	}
	for i := range d.comps {
		c := &d.comps[i]
		n := 64 * c.stride * c.rows
		c.plane, planes = planes[:n:n], planes[n:]
		if d.progressive {
			c.coefs, coefs = coefs[:n:n], coefs[n:]
		}
	}
}
