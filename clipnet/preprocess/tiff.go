package preprocess

import (
	"encoding/binary"
	"slices"
)

// TIFF 6.0, baseline and the extensions in common use: strips and tiles, LZW, deflate, PackBits and CCITT coding,
// predictors, planes, CMYK and alpha. Modes are Pillow's (TiffImagePlugin.OPEN_INFO). JPEG-in-TIFF, YCbCr, Lab, floating
// point and BigTIFF are refused. Two of Pillow 13's faults are not repeated: it resizes big-endian 16-bit gray with the
// bytes of each sample swapped, and takes the wrong bytes of uncompressed 16-bit planes.

// Tags, TIFF 6.0 appendix A.
const (
	tiffWidth          = 256
	tiffHeight         = 257
	tiffBits           = 258
	tiffCompression    = 259
	tiffPhotometric    = 262
	tiffFillOrder      = 266
	tiffStripOffsets   = 273
	tiffSamples        = 277
	tiffRowsPerStrip   = 278
	tiffStripCounts    = 279
	tiffPlanar         = 284
	tiffT4Options      = 292
	tiffPredictor      = 317
	tiffColorMap       = 320
	tiffTileWidth      = 322
	tiffTileHeight     = 323
	tiffTileOffsets    = 324
	tiffTileCounts     = 325
	tiffExtraSamples   = 338
	tiffSampleFormat   = 339
	tiffWhiteIsZero    = 0
	tiffBlackIsZero    = 1
	tiffRGB            = 2
	tiffPalette        = 3
	tiffCMYK           = 5
	tiffAssociated     = 1 // ExtraSamples: premultiplied alpha
	tiffUnassociated   = 2 // straight alpha
	tiffCorelAlpha     = 999
	tiffUnspecified    = 0
	tiffMaxSamples     = 8
	tiffHeaderBytes    = 8
	tiffEntryBytes     = 12
	tiffMaxCompression = 4096 // no coding but CCITT's makes more bytes of one
)

// tiffFile is the first directory.
type tiffFile struct {
	order   binary.ByteOrder
	tags    map[uint16][]uint32
	width   int
	height  int
	bits    int // of a sample
	samples int // of a pixel
	photo   uint32
	planar  bool
	chunkW  int // a strip's or tile's pixels a row
	chunkH  int
	across  int // tiles a row
	down    int
	offsets []uint32
	counts  []uint32
}

// get returns the first value of a tag, or a default.
func (t *tiffFile) get(tag uint16, missing uint32) uint32 {
	if v := t.tags[tag]; len(v) > 0 {
		return v[0]
	}
	return missing
}

// decodeTIFF gives the first page, turned as its orientation tag says, as Pillow does.
func (d *decoder) decodeTIFF() (*Image, error) {
	t, err := d.tiffDirectory()
	if err != nil {
		return nil, err
	}
	m := &Image{Width: t.width, Height: t.height}
	if m.Mode, err = d.tiffMode(t); err != nil {
		return nil, err
	}
	if m.Mode == ModeP {
		if m.Palette, err = d.tiffPalette(t); err != nil {
			return nil, err
		}
	}
	if err := d.tiffChunks(t); err != nil {
		return nil, err
	}
	m.Pix = d.pixels(m.Mode.Bytes() * t.width * t.height)
	if err := d.tiffPixels(t, m); err != nil {
		return nil, err
	}
	d.orientation = int(t.get(tagOrientation, 1))
	return m, nil
}

// tiffDirectory reads the tags and checks what every image needs.
func (d *decoder) tiffDirectory() (*tiffFile, error) {
	if len(d.data) < tiffHeaderBytes {
		return nil, d.fail(ErrTruncated, len(d.data), "the file ends in its header")
	}
	t := &tiffFile{order: binary.LittleEndian, tags: map[uint16][]uint32{}}
	if d.data[0] == 'M' {
		t.order = binary.BigEndian
	}
	if t.order.Uint16(d.data[2:]) == 43 {
		return nil, d.fail(ErrUnsupported, 2, "BigTIFF")
	}
	at := int(t.order.Uint32(d.data[4:]))
	if at > len(d.data)-2 {
		return nil, d.fail(ErrTruncated, len(d.data), "the directory is at %d", at)
	}
	n := int(t.order.Uint16(d.data[at:]))
	if n > (len(d.data)-at-2)/tiffEntryBytes {
		return nil, d.fail(ErrTruncated, len(d.data), "directory of %d entries at %d", n, at)
	}
	for i := range n {
		if err := d.tiffEntry(t, at+2+i*tiffEntryBytes); err != nil {
			return nil, err
		}
	}
	t.width, t.height = int(t.get(tiffWidth, 0)), int(t.get(tiffHeight, 0))
	if err := d.checkSize(t.width, t.height); err != nil {
		return nil, err
	}
	t.photo, t.bits, t.samples = t.get(tiffPhotometric, tiffWhiteIsZero), int(t.get(tiffBits, 1)), int(t.get(tiffSamples, 1))
	t.planar = t.get(tiffPlanar, 1) == 2 && t.samples > 1
	if t.samples < 1 || t.samples > tiffMaxSamples {
		return nil, d.fail(ErrUnsupported, at, "%d samples a pixel", t.samples)
	}
	for _, b := range t.tags[tiffBits] {
		if int(b) != t.bits {
			return nil, d.fail(ErrUnsupported, at, "samples of %d bits", t.tags[tiffBits])
		}
	}
	for _, f := range t.tags[tiffSampleFormat] {
		if f != 1 {
			return nil, d.fail(ErrUnsupported, at, "sample format %d", f)
		}
	}
	return t, nil
}

// tiffEntry reads one entry if its tag is used.
func (d *decoder) tiffEntry(t *tiffFile, at int) error {
	e := d.data[at:]
	tag, kind, n := t.order.Uint16(e), t.order.Uint16(e[2:]), int(t.order.Uint32(e[4:]))
	if (tag < tiffWidth || tag > tiffSampleFormat) && tag != tagOrientation {
		return nil
	}
	size := map[uint16]int{1: 1, 3: 2, 4: 4}[kind] // BYTE, SHORT, LONG
	if size == 0 {
		return nil // text and rationals: none of the tags used
	}
	if n > len(d.data)/size {
		return d.fail(ErrTruncated, len(d.data), "tag %d of %d values", tag, n)
	}
	b := e[8:12]
	if n*size > 4 {
		off := int(t.order.Uint32(b))
		if off > len(d.data)-n*size {
			return d.fail(ErrTruncated, len(d.data), "the %d values of tag %d are at %d", n, tag, off)
		}
		b = d.data[off:]
	}
	v := make([]uint32, n)
	for i := range v {
		switch size {
		case 1:
			v[i] = uint32(b[i])
		case 2:
			v[i] = uint32(t.order.Uint16(b[2*i:]))
		case 4:
			v[i] = t.order.Uint32(b[4*i:])
		}
	}
	t.tags[tag] = v
	return nil
}

// tiffMode chooses the mode as Pillow does.
func (d *decoder) tiffMode(t *tiffFile) (Mode, error) {
	extra := int(-1)
	if v := t.tags[tiffExtraSamples]; len(v) > 0 {
		extra = int(v[0])
	}
	deep := t.bits == 8 || t.bits == 16
	switch {
	case t.photo <= tiffBlackIsZero && t.samples == 1 && t.bits == 1:
		return Mode1, nil
	case t.photo <= tiffBlackIsZero && t.samples == 1 && t.bits == 16:
		return ModeI16, nil
	case t.photo <= tiffBlackIsZero && t.samples == 1 && slices.Contains([]int{2, 4, 8}, t.bits):
		return ModeL, nil
	case t.photo == tiffBlackIsZero && t.samples == 2 && t.bits == 8 && extra == tiffUnassociated:
		return ModeLA, nil
	case t.photo == tiffBlackIsZero && t.samples == 2 && t.bits == 8 && extra == tiffUnspecified:
		return ModeL, nil
	case t.photo == tiffRGB && deep && t.samples == 3, t.photo == tiffRGB && deep && t.samples > 3 && extra == tiffUnspecified:
		return ModeRGB, nil
	case t.photo == tiffRGB && deep && t.samples > 3 &&
		slices.Contains([]int{-1, tiffAssociated, tiffUnassociated, tiffCorelAlpha}, extra):
		return ModeRGBA, nil
	case t.photo == tiffPalette && t.samples == 1 && slices.Contains([]int{1, 2, 4, 8}, t.bits):
		return ModeP, nil
	case t.photo == tiffCMYK && deep && t.samples >= 4:
		return ModeCMYK, nil
	}
	return 0, d.fail(ErrUnsupported, -1, "photometric interpretation %d with %d samples of %d bits", t.photo, t.samples, t.bits)
}

// tiffPalette keeps the high bytes of the colour map, which holds all reds, then greens, then blues.
func (d *decoder) tiffPalette(t *tiffFile) (*[256][3]uint8, error) {
	n := 1 << t.bits
	v := t.tags[tiffColorMap]
	if len(v) != 3*n {
		return nil, d.fail(ErrCorrupt, -1, "colour map of %d values for %d bits", len(v), t.bits)
	}
	p := new([256][3]uint8)
	for i := range n {
		p[i] = [3]uint8{uint8(v[i] >> 8), uint8(v[n+i] >> 8), uint8(v[2*n+i] >> 8)}
	}
	return p, nil
}

// tiffChunks works out the strips or tiles and checks that the file can hold the pixels.
func (d *decoder) tiffChunks(t *tiffFile) error {
	if t.tags[tiffTileWidth] != nil {
		t.chunkW, t.chunkH = int(t.get(tiffTileWidth, 0)), int(t.get(tiffTileHeight, 0))
		t.offsets, t.counts = t.tags[tiffTileOffsets], t.tags[tiffTileCounts]
		// A tile may reach past a small image; one that is much larger than the image is a trap.
		if t.chunkW < 1 || t.chunkH < 1 || t.chunkW > max(4*t.width*t.height, 1<<20)/t.chunkH {
			return d.fail(ErrCorrupt, -1, "tiles of %dx%d pixels", t.chunkW, t.chunkH)
		}
	} else {
		t.chunkW, t.chunkH = t.width, int(min(t.get(tiffRowsPerStrip, 1<<32-1), uint32(t.height)))
		t.offsets, t.counts = t.tags[tiffStripOffsets], t.tags[tiffStripCounts]
		if t.chunkH < 1 {
			return d.fail(ErrCorrupt, -1, "strips of %d rows", t.chunkH)
		}
	}
	t.across, t.down = (t.width+t.chunkW-1)/t.chunkW, (t.height+t.chunkH-1)/t.chunkH
	n := t.across * t.down
	if t.planar {
		n *= t.samples
	}
	if t.counts == nil && t.get(tiffCompression, tiffPlain) == tiffPlain && len(t.offsets) == 1 && n == 1 {
		t.counts = []uint32{uint32(min(t.chunkBytes(), 1<<32-1))}
	}
	if len(t.offsets) < n || len(t.counts) < n {
		return d.fail(ErrCorrupt, -1, "%d offsets and %d lengths of %d strips or tiles", len(t.offsets), len(t.counts), n)
	}
	compressed := 0
	for i := range n {
		if int(t.offsets[i])+int(t.counts[i]) > len(d.data) {
			return d.fail(ErrTruncated, len(d.data), "strip or tile %d of %d bytes is at %d", i, t.counts[i], t.offsets[i])
		}
		compressed += int(t.counts[i])
	}
	fax, err := d.tiffCoding(t)
	if err == nil && !fax && t.chunkBytes()/tiffMaxCompression*n > compressed {
		return d.fail(ErrTruncated, len(d.data), "%d bytes of strips or tiles for %dx%d pixels", compressed, t.width, t.height)
	}
	return err
}

// tiffCoding checks that the strips or tiles can be decompressed; fax coding makes any number of bytes of one.
func (d *decoder) tiffCoding(t *tiffFile) (fax bool, err error) {
	c := t.get(tiffCompression, tiffPlain)
	switch c {
	case tiffPlain, tiffLZW, tiffDeflate, tiffPackBits, tiffOldDeflate:
		return false, nil
	case tiffCCITTGroup, tiffCCITTFax4:
		if t.bits == 1 && t.samples == 1 && (c == tiffCCITTFax4 || t.get(tiffT4Options, 0)&1 == 0) {
			return true, nil
		}
	}
	return false, d.fail(ErrUnsupported, -1, "compression %d with options %d", c, t.get(tiffT4Options, 0))
}

// chunkBytes returns the size of a decoded strip or tile.
func (t *tiffFile) chunkBytes() int { return t.chunkH * t.rowBytes() }

// rowBytes returns the size of one row of a decoded strip or tile.
func (t *tiffFile) rowBytes() int { return (t.chunkW*t.chunkSamples()*t.bits + 7) / 8 }

// chunkSamples returns the samples of a pixel in one strip or tile.
func (t *tiffFile) chunkSamples() int {
	if t.planar {
		return 1
	}
	return t.samples
}
