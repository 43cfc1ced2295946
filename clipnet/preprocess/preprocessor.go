package preprocess

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"isearle/clipnet/preprocess/internal/pixel"
)

// A Preprocessor turns images into pixels under fixed options. It may be used concurrently, one image a goroutine.
type Preprocessor struct {
	opts    Options
	table   [3][256]float32 // normalised value of each sample of each channel
	scale   *pixel.Scale    // for the loop that computes the table's values; nil if it does not
	scratch sync.Pool       // of *scratch
}

// scratch is what one image needs while it is worked on.
type scratch struct {
	decoder decoder
	resize  resampler
	small   []byte // the crop in the image's own mode
	rgb     []byte // the crop
	file    []byte
}

// New checks the options.
func New(o Options) (*Preprocessor, error) {
	if o.MaxPixels == 0 {
		o.MaxPixels = DefaultMaxPixels
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	p := &Preprocessor{opts: o}
	for c := range p.table {
		for v := range p.table[c] {
			// torchvision's steps, each rounded to float32: ToTensor's division, then sub_ and div_.
			p.table[c][v] = float32(float32(float32(v)/255)-o.Mean[c]) / o.Std[c]
		}
	}
	p.scale = p.exactScale()
	p.scratch.New = func() any {
		s := new(scratch)
		s.decoder.maxPixels, s.decoder.wantExif = o.MaxPixels, o.ExifOrientation
		s.decoder.needed = func(w, h int) (x0, y0, x1, y1 int) {
			g := o.plan(w, h)
			if g.sameSize() {
				return g.cropX - g.padX, g.cropY - g.padY, g.cropX - g.padX + g.cropD, g.cropY - g.padY + g.cropD
			}
			s.resize.set(g, o.Filter)
			return s.resize.window()
		}
		return s
	}
	return p, nil
}

// exactScale returns the scale for pixel's Normalize if that gives the table's values to the bit.
func (p *Preprocessor) exactScale() *pixel.Scale {
	const n = 2 * 256 // the last of them may be left out
	var src [3 * n]byte
	for i := range src {
		src[i] = uint8(i / 3)
	}
	var dst [3 * n]float32
	scale := pixel.NewScale(p.opts.Mean, p.opts.Std)
	done := pixel.Best().Normalize(dst[:], n, src[:], scale)
	for c := range 3 {
		for v, want := range p.table[c] {
			if done < 256 || dst[c*n+v] != want {
				return nil
			}
		}
	}
	return scale
}

// Options returns the options, with the defaults filled in.
func (p *Preprocessor) Options() Options { return p.opts }

// CropBytes returns the size of a crop: D*D*3.
func (p *Preprocessor) CropBytes() int { return 3 * p.opts.Size * p.opts.Size }

// PixelCount returns the size of the pixels of one image: 3*D*D.
func (p *Preprocessor) PixelCount() int { return p.CropBytes() }

// File reads an image file and writes its pixels to dst: [3, D, D] float32, channels first, normalised.
// It returns an *Error where the file is no whole image, and the operating system's error where it cannot be read.
func (p *Preprocessor) File(path string, dst []float32) error {
	return p.withFile(path, func(s *scratch, data []byte) error { return p.pixels(s, path, data, dst) })
}

// Decode is File for an image in memory; the name is for errors only.
func (p *Preprocessor) Decode(name string, data []byte, dst []float32) error {
	s := p.scratch.Get().(*scratch)
	defer p.scratch.Put(s)
	return p.pixels(s, name, data, dst)
}

// CropFile reads an image file and writes its crop to dst: [D, D, 3] bytes, rows from the top, RGB interleaved.
// These are the pixels before normalisation.
func (p *Preprocessor) CropFile(path string, dst []byte) error {
	return p.withFile(path, func(s *scratch, data []byte) error { return p.crop(s, path, data, dst) })
}

// Crop is CropFile for an image in memory.
func (p *Preprocessor) Crop(name string, data []byte, dst []byte) error {
	s := p.scratch.Get().(*scratch)
	defer p.scratch.Put(s)
	return p.crop(s, name, data, dst)
}

// Normalize turns a crop into pixels: (v/255 - mean) / std, [D, D, 3] to [3, D, D].
func (p *Preprocessor) Normalize(crop []byte, dst []float32) {
	n := p.opts.Size * p.opts.Size
	crop = crop[:3*n]
	r, g, b := dst[:n], dst[n:2*n], dst[2*n:3*n]
	done := 0
	if p.scale != nil {
		done = pixel.Best().Normalize(dst, n, crop, p.scale)
	}
	for i := done; i < n; i++ {
		c := crop[3*i : 3*i+3 : 3*i+3]
		r[i], g[i], b[i] = p.table[0][c[0]], p.table[1][c[1]], p.table[2][c[2]]
	}
}

func (p *Preprocessor) pixels(s *scratch, name string, data []byte, dst []float32) error {
	if len(dst) < p.PixelCount() {
		return fmt.Errorf("preprocess: %d floats for %d", len(dst), p.PixelCount())
	}
	s.rgb = resized(s.rgb, p.CropBytes())
	if err := p.crop(s, name, data, s.rgb); err != nil {
		return err
	}
	p.Normalize(s.rgb, dst)
	return nil
}

func (p *Preprocessor) crop(s *scratch, name string, data []byte, dst []byte) error {
	if len(dst) < p.CropBytes() {
		return fmt.Errorf("preprocess: %d bytes for a crop of %d", len(dst), p.CropBytes())
	}
	m, err := s.decoder.decode(name, data)
	if err != nil {
		return err
	}
	p.early(s, m)
	p.cropInto(s, m, dst[:p.CropBytes()])
	return nil
}

// early converts a decoded image to RGB, or gray, where that comes first.
func (p *Preprocessor) early(s *scratch, m *Image) {
	if p.opts.Order == RGBFirst {
		m.toRGB()
		s.decoder.pix = m.Pix[:0] // it may have grown
	}
}

// cropInto pads, resizes, crops and converts a decoded image, which it uses up.
func (p *Preprocessor) cropInto(s *scratch, m *Image, dst []byte) {
	g := p.opts.plan(m.Width, m.Height)
	small := dst
	if m.Mode != ModeRGB {
		s.small = resized(s.small, p.opts.Size*p.opts.Size*m.Mode.Bytes())
		small = s.small
	}
	premultiplied := false
	if g.sameSize() {
		crop(m, g, small)
	} else {
		premultiplied = m.Mode == ModeLA || m.Mode == ModeRGBA
		if premultiplied {
			m.premultiply()
		}
		s.resize.resize(m, g, p.opts.Filter, small)
	}
	if m.Mode != ModeRGB {
		m.rgbInto(dst, small, premultiplied)
	}
}

// maxFileBytes bounds the files that are read for an image of so many pixels: twice the largest plain pixel, RGBA of 16
// bits, and room for metadata.
func maxFileBytes(maxPixels int) int64 { return 64<<20 + 16*int64(maxPixels) }

// withFile reads a file into scratch memory and passes it on. A file that is no image is not read beyond its beginning.
func (p *Preprocessor) withFile(path string, use func(*scratch, []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("preprocess: %w", err)
	}
	defer f.Close()
	s := p.scratch.Get().(*scratch)
	defer p.scratch.Put(s)
	s.file = resized(s.file, magicBytes)
	n, err := io.ReadFull(f, s.file)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("preprocess: %w", err)
	}
	if n < magicBytes || sniff(s.file) == nil {
		return use(s, s.file[:n]) // which says what is wrong with it
	}
	limit := maxFileBytes(p.opts.MaxPixels)
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		return &Error{Name: path, Kind: ErrTooLarge, Offset: -1, Reason: fmt.Sprintf("a file of %d bytes is over the limit of %d", info.Size(), limit)}
	} else if err == nil {
		s.file = slices.Grow(s.file, max(int(info.Size())+1-len(s.file), 0))
	}
	if s.file, err = readRest(f, s.file, limit); err != nil {
		return fmt.Errorf("preprocess: %w", err)
	}
	if int64(len(s.file)) > limit {
		return &Error{Name: path, Kind: ErrTooLarge, Offset: -1, Reason: fmt.Sprintf("the file has more than %d bytes", limit)}
	}
	return use(s, s.file)
}

// readRest appends what is left of a file to b, at most up to one byte over the limit.
func readRest(f io.Reader, b []byte, limit int64) ([]byte, error) {
	r := io.LimitReader(f, limit+1-int64(len(b)))
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}
