package jpeg

import "isearle/clipnet/preprocess/internal/pixel"

// finishRow transforms the blocks of row y of MCUs of a sequential scan, in a scan of one component of blocks, and clears
// their coefficients.
func (d *Decoder) finishRow(s *scan, y int) {
	for _, c := range s.comps[:s.n] {
		rows := int(c.v)
		if s.n == 1 {
			rows = 1
		}
		d.transform(c, y*rows, y*rows, rows)
		clear(c.coefs[:rows*c.rowSamples()])
	}
}

// transform transforms rows of blocks of a component from row y on; held is the row that stands first among the
// coefficients. Blocks outside the window are left out.
func (d *Decoder) transform(c *component, held, y, rows int) {
	x0, y0, x1, y1 := d.needed(c)
	from, to := x0/(8*pixel.Group), ceilDiv(x1, 8*pixel.Group)
	for row := max(y, y0/8); row < min(y+rows, ceilDiv(y1, 8)); row++ {
		coefs := c.coefs[(row-held)*c.rowSamples():]
		out := c.plane[row*c.rowSamples():]
		d.loops.IDCT(out[from*8*pixel.Group:], c.stride(), coefs[from*64*pixel.Group:], &c.quant, to-from)
	}
}

// needed is the part of a component's plane that the window takes: with a sample around for the upsampling.
func (d *Decoder) needed(c *component) (x0, y0, x1, y1 int) {
	w, hx, vx := d.window, d.hmax/int(c.h), d.vmax/int(c.v)
	if w.x0 >= w.x1 || w.y0 >= w.y1 {
		return 0, 0, 0, 0
	}
	return max(w.x0/hx-1, 0), max(w.y0/vx-1, 0), min((w.x1-1)/hx+2, c.width), min((w.y1-1)/vx+2, c.height)
}

// output upsamples the planes, converts the colours and writes the window's pixels to dst.
func (d *Decoder) output(dst []byte) {
	w, n, from, to := d.cfg.Width, len(d.comps), d.window.x0, d.window.x1
	// A row of every component, with some samples around it.
	padded := to - from + 4*d.hmax
	d.rowBuf = resized(d.rowBuf, n*padded)
	var rows [4][]byte
	for y := d.window.y0; y < d.window.y1; y++ {
		for i := range d.comps {
			rows[i] = d.row(&d.comps[i], y, d.rowBuf[i*padded:(i+1)*padded])
		}
		out := dst[(y*w+from)*n : (y*w+to)*n]
		switch {
		case n == 1:
			copy(out, rows[0])
		case n == 3 && d.colours == fromYCbCr:
			d.loops.RGB(out, rows[0], rows[1], rows[2])
		case n == 3:
			for x := range to - from {
				out[3*x], out[3*x+1], out[3*x+2] = rows[0][x], rows[1][x], rows[2][x]
			}
		default:
			cmykRow(out, rows, d.colours == fromYCCK)
		}
	}
}

// row returns the window's part of row y of the component in the image's resolution, in buf where it has to be computed. It
// follows libjpeg-turbo's choice of methods in jdsample.c; samples beyond the component's edge repeat the edge.
func (d *Decoder) row(c *component, y int, buf []byte) []byte {
	hx, vx := d.hmax/int(c.h), d.vmax/int(c.v)
	x0, _, x1, _ := d.needed(c)
	at := func(y int) []byte {
		y = min(max(y, 0), c.height-1)
		return c.plane[c.stride()*y:][x0:x1]
	}
	in := at(y / vx)
	switch {
	case hx == 1 && vx == 1:
		buf = in
	case hx == 2 && vx == 1 && c.width > 2:
		d.loops.H2V1(buf, in)
	case hx == 1 && vx == 2:
		fancyH1V2(buf, in, at(y/2-1+y&1*2), y&1)
	case hx == 2 && vx == 2 && c.width > 2:
		d.loops.H2V2(buf, in, at(y/2-1+y&1*2))
	default:
		for x, v := range in {
			for i := range hx {
				buf[x*hx+i] = v
			}
		}
	}
	return buf[d.window.x0-x0*hx:][:d.window.x1-d.window.x0]
}

// fancyH1V2 interpolates between a row and its neighbour above (odd 0) or below (odd 1).
func fancyH1V2(out, near, far []byte, odd int) {
	far, out = far[:len(near)], out[:len(near)]
	for x, v := range near {
		out[x] = uint8((3*int(v) + int(far[x]) + 1 + odd) >> 2)
	}
}

// cmykRow interleaves four components. YCCK holds the complement of RGB and K as it is.
func cmykRow(out []byte, in [4][]byte, ycck bool) {
	for x := range in[0] {
		o := out[4*x : 4*x+4 : 4*x+4]
		c, m, y := in[0][x], in[1][x], in[2][x]
		if ycck {
			c, m, y = pixel.ToRGB(c, m, y)
			c, m, y = ^c, ^m, ^y
		}
		o[0], o[1], o[2], o[3] = c, m, y, in[3][x]
	}
}
