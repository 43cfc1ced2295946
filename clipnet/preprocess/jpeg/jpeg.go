// Package jpeg decodes JPEG images to the very pixels that libjpeg-turbo gives with its default settings.
//
// CLIP's reference features were made with Pillow, that is with libjpeg-turbo: the accurate integer inverse DCT
// ("islow"), triangle-filter chroma upsampling ("fancy") and its 16-bit fixed-point colour conversion. The standard
// library's image/jpeg uses another DCT and leaves chroma upsampling to repetition, which shifts CLIP's features.
//
// Supported are 8-bit Huffman-coded baseline, extended sequential and progressive frames (ITU-T T.81) of one, three
// or four components with any integral sampling ratio, restart intervals, and the JFIF and Adobe conventions for
// colour. Arithmetic coding, 12-bit, lossless and hierarchical frames are refused. The loops over samples are package pixel's.
//
// Two things differ from libjpeg on purpose. Entropy-coded data that is damaged or ends early is an error, where
// libjpeg warns and fills in gray. And a progressive file whose scans stop before full precision is reconstructed from
// what it has, without libjpeg's smoothing across block borders.
package jpeg

import (
	"errors"
	"fmt"

	"isearle/clipnet/preprocess/internal/pixel"
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

// colours is how components become the colour model's samples.
type colours uint8

const (
	asStored colours = iota
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
	groups       int // groups of blocks a row in memory: at least whole MCUs
	rows         int // rows of blocks in the plane, whole MCUs
	plane        []byte
	coefs        []int16 // rows of blocks in the order of pixel.Coef: all if progressive, else those of one MCU
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
	colours     colours
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

	current scan
	window  window
	loops   *pixel.Kernels // nil until the first Decode
	bits    bitReader
	planes  []byte
	coefs   []int16
	rowBuf  []byte
}

// window is a rectangle of pixels, from x0, y0 up to x1, y1.
type window struct{ x0, y0, x1, y1 int }

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
	return d.DecodeWindow(dst, 0, 0, d.cfg.Width, d.cfg.Height)
}

// DecodeWindow is Decode for the pixels from (x0, y0) up to (x1, y1) only: those outside are not written, and the work for
// them is spared, but errors are found in the whole stream.
func (d *Decoder) DecodeWindow(dst []byte, x0, y0, x1, y1 int) error {
	if !d.sawFrame {
		return errors.New("jpeg: Decode without a successful Open")
	}
	if need := d.cfg.Width * d.cfg.Height * d.cfg.Model.Channels(); len(dst) < need {
		return fmt.Errorf("jpeg: %d bytes for an image of %d", len(dst), need)
	}
	d.window = window{max(x0, 0), max(y0, 0), min(x1, d.cfg.Width), min(y1, d.cfg.Height)}
	d.sawFrame = false // one decode an Open: the scans have been consumed
	d.allocate()
	if err := d.scans(); err != nil {
		return err
	}
	if d.window.x0 >= d.window.x1 || d.window.y0 >= d.window.y1 {
		return nil
	}
	if d.progressive {
		for i := range d.comps {
			c := &d.comps[i]
			d.transform(c, 0, 0, c.rows)
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
		d.cfg.Model, d.colours = Gray, asStored
	case 3:
		d.cfg.Model, d.colours = RGB, fromYCbCr
		ids := [3]uint8{d.comps[0].id, d.comps[1].id, d.comps[2].id}
		if !d.jfif && (d.adobe && d.adobeXfrm == 0 || !d.adobe && ids == [3]uint8{'R', 'G', 'B'}) {
			d.colours = asStored
		}
	case 4:
		d.cfg.Model, d.colours = CMYK, asStored
		if d.adobe && d.adobeXfrm != 0 {
			d.colours = fromYCCK
		}
	default:
		return d.fail(ErrUnsupported, d.pos, "%d components", len(d.comps))
	}
	return nil
}

// allocate cuts the planes and the coefficients out of the decoder's scratch memory.
func (d *Decoder) allocate() {
	if d.loops == nil {
		d.loops = pixel.Best()
	}
	samples, coefs := 0, 0
	for i := range d.comps {
		c := &d.comps[i]
		samples += c.rows * c.rowSamples()
		coefs += d.heldRows(c) * c.rowSamples()
	}
	const behind = 8 * pixel.Group // what a view of the last block covers beyond it
	d.planes, d.coefs = resized(d.planes, samples), resized(d.coefs, coefs+behind)
	clear(d.coefs)
	planes, held := d.planes, d.coefs
	for i := range d.comps {
		c := &d.comps[i]
		n, m := c.rows*c.rowSamples(), d.heldRows(c)*c.rowSamples()
		c.plane, planes = planes[:n:n], planes[n:]
		c.coefs, held = held[:m+behind], held[m:]
	}
}

// heldRows is the number of rows of blocks whose coefficients are held at a time.
func (d *Decoder) heldRows(c *component) int {
	if d.progressive {
		return c.rows
	}
	return int(c.v)
}

// rowSamples is the number of samples, or coefficients, of a row of blocks in memory.
func (c *component) rowSamples() int { return 64 * pixel.Group * c.groups }

// stride is the number of samples of a row in memory.
func (c *component) stride() int { return 8 * pixel.Group * c.groups }

// block returns the coefficients of block x of row y of those held.
func (c *component) block(x, y int) *pixel.Block {
	return (*pixel.Block)(c.coefs[y*c.rowSamples()+pixel.Coef(x, 0):])
}

// resized returns a slice of n elements, s's memory where it is large enough. The elements are undefined.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
