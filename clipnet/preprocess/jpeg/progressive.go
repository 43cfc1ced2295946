package jpeg

// dcFirst decodes the first scan of a DC coefficient, T.81 section G.1.2.1.
func (d *Decoder) dcFirst(s *scan, i int, blk *[64]int16) bool {
	pred, ok := d.bits.dcDifference(s.dc[i], s.pred[i])
	s.pred[i] = pred
	blk[0] = int16(pred << s.al)
	return ok
}

// acFirst decodes the first scan of a band of AC coefficients, section G.1.2.2.
func (d *Decoder) acFirst(s *scan, blk *[64]int16) bool {
	if s.eobRun > 0 {
		s.eobRun--
		return true
	}
	b, t := &d.bits, s.ac[0]
	for k := s.ss; k <= s.se; k++ {
		sym, ok := b.symbol(t)
		if !ok {
			return false
		}
		run, size := int(sym>>4), int(sym&15)
		if size == 0 {
			if run == 15 {
				k += 15
				continue
			}
			s.eobRun = 1<<run - 1 + b.receive(run)
			break
		}
		k += run
		if k > s.se {
			return false
		}
		blk[zigzag[k]] = int16(extend(b.receive(size), size) << s.al)
	}
	return true
}

// acRefine decodes a further bit of a band of AC coefficients, section G.1.2.3.
func (d *Decoder) acRefine(s *scan, blk *[64]int16) bool {
	b, t := &d.bits, s.ac[0]
	k := s.ss
	for s.eobRun == 0 && k <= s.se {
		sym, ok := b.symbol(t)
		if !ok {
			return false
		}
		run, size := int(sym>>4), int(sym&15)
		v := int16(0)
		if size > 0 { // a coefficient that becomes nonzero; its size is 1, and libjpeg lets others pass
			v = -1 << s.al
			if b.bit() {
				v = 1 << s.al
			}
		} else if run < 15 {
			s.eobRun = 1<<run + b.receive(run)
			break
		}
		k = b.refine(blk, k, s.se, run, s.al)
		if v != 0 {
			if k > s.se {
				return false
			}
			blk[zigzag[k]] = v
		}
		k++
	}
	if s.eobRun > 0 {
		s.eobRun--
		b.refine(blk, k, s.se, 64, s.al)
	}
	return true
}

// refine reads a correction bit for each nonzero coefficient from k on, passes run zeros and stops at the next one,
// whose place it returns.
func (b *bitReader) refine(blk *[64]int16, k, se, run, al int) int {
	for ; k <= se; k++ {
		p := &blk[zigzag[k]]
		if *p == 0 {
			if run == 0 {
				break
			}
			run--
			continue
		}
		if b.bit() && *p>>al&1 == 0 {
			if *p >= 0 {
				*p += 1 << al
			} else {
				*p -= 1 << al
			}
		}
	}
	return k
}

// reconstruct transforms all blocks of the component into its plane.
func (c *component) reconstruct() {
	var blk [64]int32
	for y := range c.blocksY {
		for x := range c.blocksX {
			at := 64 * (c.stride*y + x)
			coefs := (*[64]int16)(c.coefs[at : at+64])
			cols := uint32(0)
			for i, v := range coefs {
				blk[i] = 0
				if v != 0 {
					blk[i] = int32(v) * int32(c.quant[i])
					cols |= columnBit[i]
				}
			}
			out := c.plane[64*c.stride*y+8*x:]
			if cols == 0 {
				flat(blk[0], out, 8*c.stride)
			} else {
				idct(&blk, cols, out, 8*c.stride)
			}
		}
	}
}
