package preprocess

import "slices"

// Mode is the layout of an image's pixels, with Pillow's names: what a resize does depends on it.
type Mode uint8

// The modes that decoding gives.
const (
	Mode1    Mode = iota // bilevel: one byte a pixel, 0 or 255
	ModeL                // gray, one byte
	ModeI16              // 16-bit gray, two bytes, little-endian
	ModeLA               // gray and straight alpha
	ModeRGB              // three bytes
	ModeRGBA             // three bytes and straight alpha
	ModeP                // one byte, an index into the palette
	ModeCMYK             // four inks, 0 is none
)

// Bytes returns the size of a pixel.
func (m Mode) Bytes() int { return [...]int{1, 1, 2, 2, 3, 4, 1, 4}[m] }

// String returns Pillow's name.
func (m Mode) String() string {
	return [...]string{"1", "L", "I;16", "LA", "RGB", "RGBA", "P", "CMYK"}[m]
}

// Image is a decoded image: rows from the top, without gaps.
type Image struct {
	Mode          Mode
	Width, Height int
	Pix           []byte
	Palette       *[256][3]uint8 // of ModeP; entries that the file leaves out are black
}

// mulDiv255 is a*b/255 rounded, Pillow's MULDIV255.
func mulDiv255(a, b uint8) uint8 {
	t := uint32(a)*uint32(b) + 128
	return uint8((t>>8 + t) >> 8)
}

// toRGB converts the image in place to ModeRGB, or where all channels would be equal to ModeL, as Pillow's
// convert("RGB") does; 16-bit gray keeps its high byte.
func (m *Image) toRGB() {
	n := m.Width * m.Height
	p := m.Pix
	switch m.Mode {
	case Mode1:
		m.Mode = ModeL
	case ModeI16:
		for i := range n {
			p[i] = p[2*i+1]
		}
		m.Mode, m.Pix = ModeL, p[:n]
	case ModeLA:
		for i := range n {
			p[i] = p[2*i]
		}
		m.Mode, m.Pix = ModeL, p[:n]
	case ModeRGBA:
		for i := range n {
			p[3*i], p[3*i+1], p[3*i+2] = p[4*i], p[4*i+1], p[4*i+2]
		}
		m.Mode, m.Pix = ModeRGB, p[:3*n]
	case ModeCMYK:
		for i := range n {
			p[3*i], p[3*i+1], p[3*i+2] = cmykToRGB(p[4*i], p[4*i+1], p[4*i+2], p[4*i+3])
		}
		m.Mode, m.Pix = ModeRGB, p[:3*n]
	case ModeP:
		m.Pix = slices.Grow(p, 2*n)[:3*n]
		for i := n - 1; i >= 0; i-- { // from the end: the indices are still in front
			c := &m.Palette[m.Pix[i]]
			m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2] = c[0], c[1], c[2]
		}
		m.Mode, m.Palette = ModeRGB, nil
	}
}

func cmykToRGB(c, m, y, k uint8) (r, g, b uint8) {
	nk := 255 - k
	return nk - mulDiv255(c, nk), nk - mulDiv255(m, nk), nk - mulDiv255(y, nk)
}

// premultiply multiplies the colours of an image with alpha by it.
func (m *Image) premultiply() {
	n := m.Mode.Bytes()
	for p := m.Pix; len(p) >= n; p = p[n:] {
		for c := range n - 1 {
			p[c] = mulDiv255(p[c], p[n-1])
		}
	}
}

// straight divides a premultiplied colour by its alpha, as Pillow rounds it.
func straight(v, alpha uint8) uint8 {
	if alpha == 0 || alpha == 255 {
		return v
	}
	return uint8(min(255*uint32(v)/uint32(alpha), 255))
}

// rgbInto converts pixels of the image's mode to RGB, Pillow's convert("RGB") with 16-bit gray clipped; premultiplied
// says that their colours are multiplied by alpha.
func (m *Image) rgbInto(dst, src []byte, premultiplied bool) {
	n := len(dst) / 3
	switch m.Mode {
	case Mode1, ModeL:
		for i, v := range src[:n] {
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	case ModeI16:
		for i := range n {
			v := src[2*i]
			if src[2*i+1] != 0 {
				v = 255
			}
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	case ModeLA:
		for i := range n {
			v := src[2*i]
			if premultiplied {
				v = straight(v, src[2*i+1])
			}
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	case ModeRGB:
		copy(dst, src)
	case ModeRGBA:
		for i := range n {
			for c := range 3 {
				v := src[4*i+c]
				if premultiplied {
					v = straight(v, src[4*i+3])
				}
				dst[3*i+c] = v
			}
		}
	case ModeP:
		for i, v := range src[:n] {
			c := &m.Palette[v]
			dst[3*i], dst[3*i+1], dst[3*i+2] = c[0], c[1], c[2]
		}
	case ModeCMYK:
		for i := range n {
			dst[3*i], dst[3*i+1], dst[3*i+2] = cmykToRGB(src[4*i], src[4*i+1], src[4*i+2], src[4*i+3])
		}
	}
}

// oriented returns the image turned as an EXIF orientation says (TIFF 6.0, tag 274): where row 0 and column 0 of the
// stored pixels belong. Values other than 2 to 8 leave it as it is.
func (m *Image) oriented(orientation int) *Image {
	if orientation < 2 || orientation > 8 {
		return m
	}
	out := &Image{Mode: m.Mode, Width: m.Width, Height: m.Height, Pix: make([]byte, len(m.Pix)), Palette: m.Palette}
	if orientation >= 5 {
		out.Width, out.Height = m.Height, m.Width
	}
	n, w, h := m.Mode.Bytes(), m.Width, m.Height
	for y := range h {
		for x := range w {
			var dx, dy int
			switch orientation {
			case 2:
				dx, dy = w-1-x, y
			case 3:
				dx, dy = w-1-x, h-1-y
			case 4:
				dx, dy = x, h-1-y
			case 5:
				dx, dy = y, x
			case 6:
				dx, dy = h-1-y, x
			case 7:
				dx, dy = h-1-y, w-1-x
			case 8:
				dx, dy = y, w-1-x
			}
			copy(out.Pix[n*(dy*out.Width+dx):][:n], m.Pix[n*(y*w+x):])
		}
	}
	return out
}
