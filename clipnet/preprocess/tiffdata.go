package preprocess

import (
	"bytes"
	"errors"
	"io"
	"math/bits"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// Compression schemes.
const (
	tiffPlain      = 1
	tiffCCITTGroup = 3 // Group 3, one-dimensional
	tiffCCITTFax4  = 4
	tiffLZW        = 5
	tiffDeflate    = 8
	tiffPackBits   = 32773
	tiffOldDeflate = 32946
)

// tiffPixels decodes all strips or tiles into the image.
func (d *decoder) tiffPixels(t *tiffFile, m *Image) error {
	planes := 1
	if t.planar {
		planes = t.samples
	}
	for p := range planes {
		for i := range t.across * t.down {
			x, y := i%t.across*t.chunkW, i/t.across*t.chunkH
			w, h := min(t.chunkW, t.width-x), min(t.chunkH, t.height-y)
			rows := t.chunkH
			if t.tags[tiffTileWidth] == nil {
				rows = h // the last strip is cut, a tile never
			}
			raw, err := d.tiffChunk(t, p*t.across*t.down+i, rows)
			if err != nil {
				return err
			}
			for r := range h {
				row := raw[r*t.rowBytes():][:t.rowBytes()]
				t.unpack(m, row, p, x, y+r, w)
			}
		}
	}
	t.finish(m)
	return nil
}

// tiffChunk decompresses a strip or tile of so many rows and undoes its predictor.
func (d *decoder) tiffChunk(t *tiffFile, i, rows int) ([]byte, error) {
	at := int(t.offsets[i])
	in := d.data[at:][:t.counts[i]]
	if t.get(tiffFillOrder, 1) == 2 {
		in = bytes.Clone(in)
		for i, b := range in {
			in[i] = bits.Reverse8(b)
		}
	}
	out := resized(d.plain, rows*t.rowBytes())
	d.plain = out
	if err := d.tiffDecompress(t, out, in, rows); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, d.fail(ErrTruncated, at+len(in), "strip or tile %d ends early", i)
		}
		if _, ok := errors.AsType[*Error](err); ok {
			return nil, err
		}
		return nil, d.fail(ErrCorrupt, at, "strip or tile %d: %v", i, err)
	}
	switch predictor := t.get(tiffPredictor, 1); {
	case predictor == 1:
	case predictor == 2 && (t.bits == 8 || t.bits == 16):
		for r := range rows {
			t.undoDifferences(out[r*t.rowBytes():][:t.rowBytes()])
		}
	default:
		return nil, d.fail(ErrUnsupported, -1, "predictor %d for %d bits", predictor, t.bits)
	}
	return out, nil
}

// tiffDecompress fills out.
func (d *decoder) tiffDecompress(t *tiffFile, out, in []byte, rows int) error {
	switch c := t.get(tiffCompression, tiffPlain); c {
	case tiffPlain:
		if copy(out, in) < len(out) {
			return io.ErrUnexpectedEOF
		}
		return nil
	case tiffPackBits:
		return unpackRuns(out, in)
	case tiffLZW:
		z := lzw.NewReader(bytes.NewReader(in), lzw.MSB, 8)
		defer z.Close()
		_, err := io.ReadFull(z, out)
		return err
	case tiffDeflate, tiffOldDeflate:
		z, err := d.inflate(bytes.NewReader(in))
		if err != nil {
			return err
		}
		_, err = io.ReadFull(z, out)
		return err
	case tiffCCITTGroup, tiffCCITTFax4:
		format := ccitt.Group3
		if c == tiffCCITTFax4 {
			format = ccitt.Group4
		}
		return d.guard(func() error {
			// A white pixel is 0 in the file; the reader gives 1 for it unless told to invert.
			r := ccitt.NewReader(bytes.NewReader(in), ccitt.MSB, format, t.chunkW, rows, &ccitt.Options{Invert: true})
			_, err := io.ReadFull(r, out)
			return err
		})
	}
	return nil
}

// unpackRuns decodes PackBits, TIFF 6.0 section 9.
func unpackRuns(out, in []byte) error {
	for len(out) > 0 {
		if len(in) < 2 {
			return io.ErrUnexpectedEOF
		}
		n := int(int8(in[0]))
		switch {
		case n >= 0:
			if n+1 > len(in)-1 {
				return io.ErrUnexpectedEOF
			}
			out = out[copy(out, in[1:n+2]):]
			in = in[n+2:]
		case n == -128:
			in = in[1:]
		default:
			run := out[:min(1-n, len(out))]
			for i := range run {
				run[i] = in[1]
			}
			out, in = out[len(run):], in[2:]
		}
	}
	return nil
}

// undoDifferences undoes predictor 2 in one row: each sample is stored as the difference to the pixel before.
func (t *tiffFile) undoDifferences(row []byte) {
	n := t.chunkSamples()
	if t.bits == 8 {
		for i := n; i < len(row); i++ {
			row[i] += row[i-n]
		}
		return
	}
	for i := 2 * n; i+1 < len(row); i += 2 {
		t.order.PutUint16(row[i:], t.order.Uint16(row[i:])+t.order.Uint16(row[i-2*n:]))
	}
}

// unpack writes w pixels of a row at x, y: all samples, or those of one plane.
func (t *tiffFile) unpack(m *Image, row []byte, plane, x, y, w int) {
	n := m.Mode.Bytes()
	out := m.Pix[n*(y*m.Width+x):]
	if m.Mode == ModeI16 {
		for i := range w {
			v := t.order.Uint16(row[2*i:])
			out[2*i], out[2*i+1] = uint8(v), uint8(v>>8)
		}
		return
	}
	if t.bits < 8 {
		scale := uint8(1)
		if m.Mode != ModeP {
			scale = uint8(255 / (1<<t.bits - 1))
		}
		unpackBits(out, row, w, t.bits, 1, scale)
		return
	}
	size, high := t.bits/8, 0
	if t.bits == 16 && t.order.Uint16([]byte{1, 0}) == 1 {
		high = 1
	}
	if t.planar {
		if plane < n {
			for i := range w {
				out[n*i+plane] = row[size*i+high]
			}
		}
		return
	}
	for i := range w {
		for c := range n {
			out[n*i+c] = row[size*(t.samples*i+c)+high]
		}
	}
}

// finish inverts white-is-zero samples and divides colours by premultiplied alpha, as Pillow's unpackers do. Pillow
// leaves 16-bit gray as stored.
func (t *tiffFile) finish(m *Image) {
	switch {
	case t.photo == tiffWhiteIsZero && m.Mode != ModeI16:
		for i, v := range m.Pix {
			m.Pix[i] = ^v
		}
	case m.Mode == ModeRGBA && t.get(tiffExtraSamples, tiffUnassociated) == tiffAssociated:
		for p := m.Pix; len(p) >= 4; p = p[4:] {
			if p[3] == 0 {
				clear(p[:3])
				continue
			}
			for c := range 3 {
				p[c] = straight(p[c], p[3])
			}
		}
	}
}
