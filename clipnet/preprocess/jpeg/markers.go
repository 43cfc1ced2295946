package jpeg

import (
	"encoding/binary"

	"isearle/clipnet/preprocess/internal/pixel"
)

// Marker codes, ITU-T T.81 table B.1.
const (
	mSOF0 = 0xC0 // baseline
	mSOF1 = 0xC1 // extended sequential
	mSOF2 = 0xC2 // progressive
	mDHT  = 0xC4
	mJPG  = 0xC8
	mDAC  = 0xCC
	mSOFf = 0xCF
	mRST0 = 0xD0
	mRST7 = 0xD7
	mSOI  = 0xD8
	mEOI  = 0xD9
	mSOS  = 0xDA
	mDQT  = 0xDB
	mDNL  = 0xDC
	mDRI  = 0xDD
	mDHP  = 0xDE
	mEXP  = 0xDF
	mAPP0 = 0xE0
	mAPP1 = 0xE1
	mAPPe = 0xEE
	mAPPf = 0xEF
	mCOM  = 0xFE
	mTEM  = 0x01
)

// nextMarker skips to the next marker, over stray bytes as libjpeg does, and returns its code with d.pos behind it.
func (d *Decoder) nextMarker() (uint8, error) {
	for p := d.pos; p+1 < len(d.data); p++ {
		if d.data[p] != 0xFF {
			continue
		}
		m := d.data[p+1]
		if m == 0 || m == 0xFF {
			continue
		}
		d.pos = p + 2
		return m, nil
	}
	return 0, d.fail(ErrTruncated, len(d.data), "no further marker")
}

// body returns the segment at d.pos without its length and moves past it.
func (d *Decoder) body(m uint8) ([]byte, error) {
	if len(d.data)-d.pos < 2 {
		return nil, d.fail(ErrTruncated, len(d.data), "marker %#02x has no length", m)
	}
	n := int(binary.BigEndian.Uint16(d.data[d.pos:]))
	if n < 2 {
		return nil, d.fail(ErrCorrupt, d.pos, "marker %#02x has length %d", m, n)
	}
	if n > len(d.data)-d.pos {
		return nil, d.fail(ErrTruncated, len(d.data), "marker %#02x of %d bytes has %d", m, n, len(d.data)-d.pos)
	}
	b := d.data[d.pos+2 : d.pos+n]
	d.pos += n
	return b, nil
}

// segment reads one marker segment other than SOS and EOI.
func (d *Decoder) segment(m uint8) error {
	at := d.pos - 2
	switch {
	case m >= mRST0 && m <= mRST7 || m == mTEM:
		return nil
	case m == mSOI:
		return d.fail(ErrCorrupt, at, "second start-of-image marker")
	}
	b, err := d.body(m)
	if err != nil {
		return err
	}
	switch {
	case m == mDHT:
		return d.huffmanTables(b, at)
	case m == mDQT:
		return d.quantTables(b, at)
	case m == mDRI:
		if len(b) != 2 {
			return d.fail(ErrCorrupt, at, "restart interval of %d bytes", len(b))
		}
		d.restart = int(binary.BigEndian.Uint16(b))
	case m == mSOF0 || m == mSOF1 || m == mSOF2:
		d.progressive = m == mSOF2
		return d.frame(b, at)
	case m == mDAC || m > 0xC8 && m <= mSOFf:
		return d.fail(ErrUnsupported, at, "arithmetic coding (marker %#02x)", m)
	case m > mSOF2 && m <= mJPG || m == mDHP || m == mEXP:
		return d.fail(ErrUnsupported, at, "lossless or hierarchical frame (marker %#02x)", m)
	case m == mAPP0:
		d.jfif = d.jfif || len(b) >= 14 && string(b[:5]) == "JFIF\x00"
	case m == mAPP1:
		d.exif(b)
	case m == mAPPe:
		if len(b) >= 12 && string(b[:5]) == "Adobe" {
			d.adobe, d.adobeXfrm = true, b[11]
		}
	case m == mDNL || m > mAPP0 && m <= mAPPf || m >= 0xF0 && m <= mCOM:
	default:
		return d.fail(ErrCorrupt, at, "unknown marker %#02x", m)
	}
	return nil
}

// exif joins the Exif segments: a structure longer than a segment goes on in the next one.
func (d *Decoder) exif(b []byte) {
	const id = "Exif\x00\x00"
	if len(b) < len(id) || string(b[:len(id)]) != id {
		return
	}
	b = b[len(id):]
	if d.cfg.Exif == nil {
		d.cfg.Exif = b[:len(b):len(b)]
		return
	}
	d.cfg.Exif = append(d.cfg.Exif, b...)
}

func (d *Decoder) quantTables(b []byte, at int) error {
	for len(b) > 0 {
		id, wide := b[0]&15, b[0]>>4
		size := 64 << wide
		if id > 3 || wide > 1 {
			return d.fail(ErrCorrupt, at, "quantisation table %d of precision %d", id, wide)
		}
		if len(b) < 1+size {
			return d.fail(ErrCorrupt, at, "quantisation table %d is short", id)
		}
		t := &d.quant[id]
		for k := range 64 {
			i := pixel.Zigzag(k)
			if wide == 1 {
				t[i] = binary.BigEndian.Uint16(b[1+2*k:])
			} else {
				t[i] = uint16(b[1+k])
			}
		}
		d.hasQuant[id] = true
		b = b[1+size:]
	}
	return nil
}

func (d *Decoder) huffmanTables(b []byte, at int) error {
	for len(b) > 0 {
		if len(b) < 17 {
			return d.fail(ErrCorrupt, at, "Huffman table is short")
		}
		class, id := b[0]>>4, b[0]&15
		if class > 1 || id > 3 {
			return d.fail(ErrCorrupt, at, "Huffman table %d of class %d", id, class)
		}
		n := 0
		for _, c := range b[1:17] {
			n += int(c)
		}
		if n > 256 || len(b) < 17+n {
			return d.fail(ErrCorrupt, at, "Huffman table of %d codes in %d bytes", n, len(b)-17)
		}
		t := &d.dc[id]
		if class == 1 {
			t = &d.ac[id]
		}
		if reason := t.build(b[1:17], b[17:17+n], class == 1); reason != "" {
			return d.fail(ErrCorrupt, at, "Huffman table %d of class %d: %s", id, class, reason)
		}
		b = b[17+n:]
	}
	return nil
}

// frame reads the frame header: size and components.
func (d *Decoder) frame(b []byte, at int) error {
	if d.sawFrame {
		return d.fail(ErrCorrupt, at, "second frame header")
	}
	if len(b) < 6 || len(b) < 6+3*int(b[5]) {
		return d.fail(ErrCorrupt, at, "frame header of %d bytes", len(b))
	}
	if b[0] != 8 {
		return d.fail(ErrUnsupported, at, "%d-bit samples", b[0])
	}
	h, w, n := int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:])), int(b[5])
	if w == 0 || h == 0 {
		return d.fail(ErrUnsupported, at, "image of %dx%d pixels", w, h)
	}
	if n != 1 && n != 3 && n != 4 {
		return d.fail(ErrUnsupported, at, "%d components", n)
	}
	d.cfg.Width, d.cfg.Height, d.cfg.Progressive = w, h, d.progressive
	d.comps = d.compStore[:n]
	d.hmax, d.vmax = 1, 1
	for i := range d.comps {
		c, s := &d.comps[i], b[6+3*i:]
		*c = component{id: s[0], h: s[1] >> 4, v: s[1] & 15, tq: s[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return d.fail(ErrCorrupt, at, "component %d has sampling %dx%d and quantisation table %d", i, c.h, c.v, c.tq)
		}
		for _, o := range d.comps[:i] {
			if o.id == c.id {
				return d.fail(ErrCorrupt, at, "two components are named %d", c.id)
			}
		}
		d.hmax, d.vmax = max(d.hmax, int(c.h)), max(d.vmax, int(c.v))
	}
	d.mcusX, d.mcusY = ceilDiv(w, 8*d.hmax), ceilDiv(h, 8*d.vmax)
	for i := range d.comps {
		c := &d.comps[i]
		if d.hmax%int(c.h) != 0 || d.vmax%int(c.v) != 0 {
			return d.fail(ErrUnsupported, at, "component %d has sampling %dx%d of %dx%d", i, c.h, c.v, d.hmax, d.vmax)
		}
		c.width, c.height = ceilDiv(w*int(c.h), d.hmax), ceilDiv(h*int(c.v), d.vmax)
		c.blocksX, c.blocksY = ceilDiv(c.width, 8), ceilDiv(c.height, 8)
		c.groups, c.rows = ceilDiv(d.mcusX*int(c.h), pixel.Group), d.mcusY*int(c.v)
	}
	d.sawFrame = true
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
