package jpeg

import "encoding/binary"

// output upsamples the planes, converts the colours and writes the image to dst.
func (d *Decoder) output(dst []byte) {
	w, h, n := d.cfg.Width, d.cfg.Height, len(d.comps)
	// A row of every component, long enough for whole groups of hmax samples, and one of column sums.
	padded := ceilDiv(w, d.hmax)*d.hmax + 8
	if cap(d.rowBuf) < n*padded {
		d.rowBuf = make([]byte, n*padded)
	}
	var rows [4][]byte
	for y := range h {
		for i := range d.comps {
			rows[i] = d.comps[i].row(y, d.hmax, d.vmax, d.rowBuf[i*padded:(i+1)*padded])[:w]
		}
		out := dst[y*w*n : (y+1)*w*n]
		switch {
		case n == 1:
			copy(out, rows[0])
		case n == 3 && d.transform == fromYCbCr:
			rgbRow(out, rows[0], rows[1], rows[2])
		case n == 3:
			for x := range w {
				out[3*x], out[3*x+1], out[3*x+2] = rows[0][x], rows[1][x], rows[2][x]
			}
		default:
			cmykRow(out, rows, d.transform == fromYCCK)
		}
	}
}

// row returns row y of the component in the image's resolution, in buf where it has to be computed. It follows
// libjpeg-turbo's choice of methods in jdsample.c; samples beyond the component's edge repeat the edge.
func (c *component) row(y, hmax, vmax int, buf []byte) []byte {
	hx, vx := hmax/int(c.h), vmax/int(c.v)
	at := func(y int) []byte {
		y = min(max(y, 0), c.height-1)
		return c.plane[8*c.stride*y:][:c.width]
	}
	in := at(y / vx)
	switch {
	case hx == 1 && vx == 1:
		return c.plane[8*c.stride*y:]
	case hx == 2 && vx == 1 && c.width > 2:
		fancyH2V1(buf, in)
	case hx == 1 && vx == 2:
		fancyH1V2(buf, in, at(y/2-1+y&1*2), y&1)
	case hx == 2 && vx == 2 && c.width > 2:
		fancyH2V2(buf, in, at(y/2-1+y&1*2))
	default:
		for x, v := range in {
			for i := range hx {
				buf[x*hx+i] = v
			}
		}
	}
	return buf
}

// fancyH2V1 doubles a row: each sample is 3/4 the nearer and 1/4 the farther one, rounded up and down in turn.
func fancyH2V1(out, in []byte) {
	n := len(in)
	out = out[:2*n]
	out[0], out[1] = in[0], uint8((3*int(in[0])+int(in[1])+2)>>2)
	last, this := int(in[0]), int(in[1])
	for x := 1; x < n-1; x++ {
		next := int(in[x+1])
		v := uint16((3*this+last+1)>>2) | uint16((3*this+next+2)>>2)<<8
		binary.LittleEndian.PutUint16(out[2*x:], v)
		last, this = this, next
	}
	out[2*n-2], out[2*n-1] = uint8((3*this+last+1)>>2), in[n-1]
}

// fancyH1V2 interpolates between a row and its neighbour above (odd 0) or below (odd 1).
func fancyH1V2(out, near, far []byte, odd int) {
	far, out = far[:len(near)], out[:len(near)]
	for x, v := range near {
		out[x] = uint8((3*int(v) + int(far[x]) + 1 + odd) >> 2)
	}
}

// fancyH2V2 doubles a row that lies between two: 9/16, 3/16, 3/16 and 1/16 of the four samples around.
func fancyH2V2(out, near, far []byte) {
	n := len(near)
	far, out = far[:n], out[:2*n]
	this := 3*int(near[0]) + int(far[0])
	next := 3*int(near[1]) + int(far[1])
	out[0], out[1] = uint8((4*this+8)>>4), uint8((3*this+next+7)>>4)
	last := this
	this = next
	for x := 1; x < n-1; x++ {
		next = 3*int(near[x+1]) + int(far[x+1])
		v := uint16((3*this+last+8)>>4) | uint16((3*this+next+7)>>4)<<8
		binary.LittleEndian.PutUint16(out[2*x:], v)
		last, this = this, next
	}
	out[2*n-2], out[2*n-1] = uint8((3*this+last+8)>>4), uint8((4*this+7)>>4)
}

// The factors of the YCbCr conversion (JFIF 1.02) in 16-bit fixed point, as libjpeg's jdcolor.c rounds them.
const (
	crToR = 91881  // 1.40200
	cbToB = 116130 // 1.77200
	crToG = -46802 // 0.71414
	cbToG = -22554 // 0.34414
)

// rgb converts one pixel to R | G<<8 | B<<16.
func rgb(y, cb, cr uint8) uint32 {
	yy, u, v := int32(y)<<16+1<<15, int32(cb)-128, int32(cr)-128
	return fixed8(yy+crToR*v) | fixed8(yy+cbToG*u+crToG*v)<<8 | fixed8(yy+cbToB*u)<<16
}

// fixed8 limits a sample with 16 fractional bits to 0..255 and drops the fraction.
func fixed8(v int32) uint32 {
	if uint32(v) >= 256<<16 {
		return uint32(^(v >> 31)) & 255
	}
	return uint32(v) >> 16
}

func rgbRow(out, y, cb, cr []byte) {
	n := len(y) - 1
	cb, cr = cb[:len(y)], cr[:len(y)]
	for x, l := range y[:n] {
		yy, u, v := int32(l)<<16+1<<15, int32(cb[x])-128, int32(cr[x])-128 // rgb, which is not inlined
		px := fixed8(yy+crToR*v) | fixed8(yy+cbToG*u+crToG*v)<<8 | fixed8(yy+cbToB*u)<<16
		binary.LittleEndian.PutUint32(out[3*x:], px) // the next pixel overwrites the fourth byte
	}
	v := rgb(y[n], cb[n], cr[n])
	out[3*n], out[3*n+1], out[3*n+2] = uint8(v), uint8(v>>8), uint8(v>>16)
}

// cmykRow interleaves four components. YCCK holds the complement of RGB and K as it is.
func cmykRow(out []byte, in [4][]byte, ycck bool) {
	for x := range in[0] {
		o := out[4*x : 4*x+4 : 4*x+4]
		c, m, y := in[0][x], in[1][x], in[2][x]
		if ycck {
			v := ^rgb(c, m, y)
			c, m, y = uint8(v), uint8(v>>8), uint8(v>>16)
		}
		o[0], o[1], o[2], o[3] = c, m, y, in[3][x]
	}
}
