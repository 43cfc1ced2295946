package jpeg

import "isearle/clipnet/preprocess/internal/pixel"

// dcFirst decodes the first scan of a DC coefficient, T.81 section G.1.2.1.
func (d *Decoder) dcFirst(s *scan, i int, blk *pixel.Block) bool {
	pred, ok := d.bits.dcDifference(s.dc[i], s.pred[i])
	s.pred[i] = pred
	blk[0] = int16(pred << s.al)
	return ok
}

// acFirst decodes the first scan of a band of AC coefficients, section G.1.2.2.
func (d *Decoder) acFirst(s *scan, blk *pixel.Block) bool {
	if s.eobRun > 0 {
		s.eobRun--
		return true
	}
	b, t := &d.bits, s.ac[0]
	for k := s.ss - 1; k < s.se; {
		c := b.code(t)
		if c == pixel.LongCode {
			return false
		}
		v := b.value(c)
		if run := c.Step() - pixel.EndOfBlock; run >= 0 {
			s.eobRun = 1<<run - 1 + b.receive(run)
			break
		}
		k += c.Step()
		if c.Size() == 0 { // 16 zeros
			continue
		}
		if k > s.se {
			return false
		}
		blk[pixel.Place(k)] = int16(v << s.al)
	}
	return true
}

// acRefine decodes a further bit of a band of AC coefficients, section G.1.2.3.
func (d *Decoder) acRefine(s *scan, blk *pixel.Block) bool {
	b, t := &d.bits, s.ac[0]
	k := s.ss
	for s.eobRun == 0 && k <= s.se {
		c := b.code(t)
		if c == pixel.LongCode {
			return false
		}
		b.Skip(c.Total() - c.Size())
		v := int16(0)
		if c.Size() > 0 { // a coefficient that becomes nonzero; its size is 1, and libjpeg lets others pass
			v = -1 << s.al
			if b.bit() {
				v = 1 << s.al
			}
		} else if run := c.Step() - pixel.EndOfBlock; run >= 0 {
			s.eobRun = 1<<run + b.receive(run)
			break
		}
		k = b.refine(blk, k, s.se, c.Step()-1, s.al)
		if v != 0 {
			if k > s.se {
				return false
			}
			blk[pixel.Place(k)] = v
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
func (b *bitReader) refine(blk *pixel.Block, k, se, run, al int) int {
	acc, n := b.Acc, b.N
	for ; k <= se; k++ {
		p := &blk[pixel.Place(k)]
		v := int32(*p)
		if v == 0 {
			if run == 0 {
				break
			}
			run--
			continue
		}
		if n < 1 {
			b.Acc, b.N = acc, n
			b.Fill()
			acc, n = b.Acc, b.N
		}
		bit, sign := int32(acc>>63)&^(v>>al), v>>31 // a bit that is set stays
		*p = int16(v + (bit<<al ^ sign) - sign)
		acc <<= 1
		n--
	}
	b.Acc, b.N = acc, n
	return k
}
