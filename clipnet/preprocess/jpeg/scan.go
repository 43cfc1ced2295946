package jpeg

import "isearle/clipnet/preprocess/internal/pixel"

// scan is the header of one scan.
type scan struct {
	at       int // offset of its marker
	from     int // where the segment of data that is being decoded begins
	comps    [4]*component
	dc, ac   [4]*huffman
	n        int
	ss, se   int // spectral selection, places in zigzag order
	ah, al   int // successive approximation, bit positions
	pred     [4]int32
	eobRun   int32        // progressive: further blocks that end here
	restarts int          // restart markers read
	units    []pixel.Unit // the blocks of a sequential MCU, in the order in which they are coded
	unitMem  [10]pixel.Unit
	unitOf   [10]int // their components
	first    [10]int // their blocks in the first MCU of a row
	cursor   pixel.Cursor
	left     int // MCUs before the next restart marker
}

// setUnits lists the blocks of a sequential MCU.
func (s *scan) setUnits() {
	s.units = s.unitMem[:0]
	for i, c := range s.comps[:s.n] {
		h, v := int(c.h), int(c.v)
		if s.n == 1 {
			h, v = 1, 1
		}
		for y := range v {
			for x := range h {
				s.unitOf[len(s.units)], s.first[len(s.units)] = i, x
				s.units = append(s.units, pixel.Unit{DC: &s.dc[i].look, AC: &s.ac[i].look, Pred: &s.pred[i], Row: c.coefs[y*c.rowSamples():], Step: h})
			}
		}
	}
}

// scans decodes every scan up to the end-of-image marker. d.pos is behind the first SOS marker.
func (d *Decoder) scans() error {
	for {
		var err error
		if d.current, err = d.scanHeader(); err != nil {
			return err
		}
		if err := d.scan(&d.current); err != nil {
			return err
		}
		done, err := d.nextScan()
		if err != nil || done {
			return err
		}
	}
}

// nextScan reads the segments up to the next scan; done is true at the end of the image.
func (d *Decoder) nextScan() (done bool, err error) {
	for {
		m, err := d.nextMarker()
		if err != nil {
			// Like libjpeg behind Pillow: a sequential image is whole without its end marker.
			if !d.progressive && d.missing() == nil {
				return true, nil
			}
			return false, err
		}
		switch m {
		case mSOS:
			return false, nil
		case mEOI:
			if c := d.missing(); c != nil {
				return false, d.fail(ErrCorrupt, d.pos-2, "no scan codes component %d", c.id)
			}
			return true, nil
		}
		if err := d.segment(m); err != nil {
			return false, err
		}
	}
}

// missing returns a component that no scan has coded, or nil.
func (d *Decoder) missing() *component {
	for i := range d.comps {
		if !d.comps[i].latched {
			return &d.comps[i]
		}
	}
	return nil
}

// scanHeader reads the header at d.pos and resolves its tables.
func (d *Decoder) scanHeader() (scan, error) {
	s := scan{at: d.pos - 2}
	b, err := d.body(mSOS)
	if err != nil {
		return s, err
	}
	if len(b) < 1 || b[0] < 1 || b[0] > 4 || len(b) != 4+2*int(b[0]) {
		return s, d.fail(ErrCorrupt, s.at, "scan header of %d bytes", len(b))
	}
	s.n = int(b[0])
	tail := b[1+2*s.n:]
	s.ss, s.se, s.ah, s.al = int(tail[0]), int(tail[1]), int(tail[2]>>4), int(tail[2]&15)
	if !d.progressive {
		s.ss, s.se, s.ah, s.al = 0, 63, 0, 0 // libjpeg ignores what a sequential scan says here
	} else if s.se > 63 || s.ss > s.se || s.ss == 0 && s.se != 0 || s.ss > 0 && s.n != 1 ||
		s.al > 13 || s.ah > 0 && s.ah-1 != s.al {
		return s, d.fail(ErrCorrupt, s.at, "scan of coefficients %d to %d, bits %d to %d, in %d components", s.ss, s.se, s.ah, s.al, s.n)
	}
	for i := range s.n {
		if err := d.scanComponent(&s, i, b[1+2*i], b[2+2*i]); err != nil {
			return s, err
		}
	}
	if s.n > 1 {
		blocks := 0
		for _, c := range s.comps[:s.n] {
			blocks += int(c.h) * int(c.v)
		}
		if blocks > 10 {
			return s, d.fail(ErrCorrupt, s.at, "%d blocks in an MCU", blocks)
		}
	}
	return s, nil
}

// scanComponent resolves the i-th component of a scan and latches its quantisation table.
func (d *Decoder) scanComponent(s *scan, i int, id, tables uint8) error {
	for j := range d.comps {
		if d.comps[j].id == id {
			s.comps[i] = &d.comps[j]
		}
	}
	c := s.comps[i]
	if c == nil {
		return d.fail(ErrCorrupt, s.at, "scan of an unknown component %d", id)
	}
	for _, o := range s.comps[:i] {
		if o == c {
			return d.fail(ErrCorrupt, s.at, "scan names component %d twice", id)
		}
	}
	td, ta := tables>>4, tables&15
	if td > 3 || ta > 3 {
		return d.fail(ErrCorrupt, s.at, "scan of component %d uses Huffman tables %d and %d", id, td, ta)
	}
	s.dc[i], s.ac[i] = &d.dc[td], &d.ac[ta]
	if s.ss == 0 && s.ah == 0 && !s.dc[i].ok {
		return d.fail(ErrCorrupt, s.at, "scan uses the undefined DC table %d", td)
	}
	if s.se > 0 && !s.ac[i].ok {
		return d.fail(ErrCorrupt, s.at, "scan uses the undefined AC table %d", ta)
	}
	if d.progressive && s.ss > 0 && !c.latched {
		return d.fail(ErrCorrupt, s.at, "AC scan of component %d before its DC scan", id)
	}
	if !c.latched {
		if !d.hasQuant[c.tq] {
			return d.fail(ErrCorrupt, s.at, "component %d uses the undefined quantisation table %d", id, c.tq)
		}
		c.quant, c.latched = d.quant[c.tq], true
	}
	return nil
}

// scan decodes the entropy-coded data of one scan.
func (d *Decoder) scan(s *scan) error {
	s.from = d.pos
	d.pos = d.bits.start(d.data, s.from)
	nx, ny := d.mcusX, d.mcusY
	if s.n == 1 {
		nx, ny = s.comps[0].blocksX, s.comps[0].blocksY
	}
	s.left = d.restart
	if !d.progressive {
		return d.sequentialScan(s, nx, ny)
	}
	for y := range ny {
		for x := range nx {
			if _, err := d.interval(s, 1); err != nil {
				return err
			}
			if !d.mcu(s, x, y) {
				return d.dataError(s, x, y)
			}
		}
	}
	return nil
}

// interval returns how many of n MCUs stand before the next restart marker, and reads the marker that is due before them.
func (d *Decoder) interval(s *scan, n int) (int, error) {
	if d.restart == 0 {
		return n, nil
	}
	if s.left == 0 {
		if err := d.restartMarker(s); err != nil {
			return 0, err
		}
		s.left = d.restart
	}
	n = min(n, s.left)
	s.left -= n
	return n, nil
}

// atOnce is how many MCUs are decoded by one call, which cannot be preempted: some 50 us.
const atOnce = 64

// sequentialScan decodes ny rows of nx MCUs and transforms them.
func (d *Decoder) sequentialScan(s *scan, nx, ny int) error {
	s.setUnits()
	for y := range ny {
		for j := range s.units {
			s.units[j].Block = s.first[j]
		}
		for x := 0; x < nx; {
			n, err := d.interval(s, min(nx-x, atOnce))
			if err != nil {
				return err
			}
			s.cursor = pixel.Cursor{MCUs: n, K: -1}
			for d.loops.MCUs(&d.bits.Bits, s.units, &s.cursor); s.cursor.MCUs > 0; d.loops.MCUs(&d.bits.Bits, s.units, &s.cursor) {
				if !d.longCode(s) {
					return d.dataError(s, x+n-s.cursor.MCUs, y)
				}
			}
			x += n
		}
		d.finishRow(s, y)
	}
	return nil
}

// longCode decodes the code at the cursor, which is too long for the loop; false where the loop has stopped for another reason, or
// no code matches.
func (d *Decoder) longCode(s *scan) bool {
	c := &s.cursor
	if c.K >= 63 {
		return false
	}
	b, u, i := &d.bits, &s.units[c.Unit], s.unitOf[c.Unit]
	blk := u.Row[pixel.Coef(u.Block, 0):]
	if c.K < 0 {
		pred, ok := b.dcDifference(s.dc[i], s.pred[i])
		s.pred[i], blk[0], c.K = pred, int16(pred), 0
		return ok
	}
	code := b.code(s.ac[i])
	if code == pixel.LongCode {
		return false
	}
	v := b.value(code)
	if c.K += code.Step(); c.K > 63 {
		return code.Size() == 0
	}
	blk[pixel.Place(c.K)] = int16(v) // 16 zeros write the last of them
	return true
}

// dataError says why an MCU could not be decoded.
func (d *Decoder) dataError(s *scan, x, y int) error {
	left := d.bits.Left()
	short := left < 16 // less than the longest code
	switch {
	case short && d.pos >= len(d.data)-1:
		return d.fail(ErrTruncated, len(d.data), "the scan ends in MCU %d of row %d", x, y)
	case short:
		return d.fail(ErrCorrupt, d.pos, "a marker ends the scan in MCU %d of row %d", x, y)
	}
	return d.fail(ErrCorrupt, d.bits.offset(d.data, s.from, d.bits.End-left/8), "no valid code in MCU %d of row %d", x, y)
}

// restartMarker reads the marker between two restart intervals and resets the predictions.
func (d *Decoder) restartMarker(s *scan) error {
	m, err := d.nextMarker()
	if err != nil {
		return err
	}
	if want := uint8(mRST0 + s.restarts&7); m != want {
		return d.fail(ErrCorrupt, d.pos-2, "marker %#02x in place of restart marker %#02x", m, want)
	}
	s.restarts++
	s.pred, s.eobRun = [4]int32{}, 0
	s.from = d.pos
	d.pos = d.bits.start(d.data, s.from)
	return nil
}

// mcu decodes one MCU of a progressive scan, in a scan of one component one block; false where no code matches or the data ends.
func (d *Decoder) mcu(s *scan, x, y int) bool {
	if s.n == 1 {
		return d.progressiveBlock(s, 0, x, y)
	}
	for i, c := range s.comps[:s.n] {
		h, v := int(c.h), int(c.v)
		for by := range v {
			for bx := range h {
				if !d.progressiveBlock(s, i, x*h+bx, y*v+by) {
					return false
				}
			}
		}
	}
	return true
}

// progressiveBlock decodes what a scan has of one block of its i-th component.
func (d *Decoder) progressiveBlock(s *scan, i, x, y int) bool {
	blk, ok := s.comps[i].block(x, y), true
	switch {
	case s.ss == 0 && s.ah == 0:
		ok = d.dcFirst(s, i, blk)
	case s.ss == 0:
		if d.bits.bit() {
			blk[0] |= 1 << s.al
		}
	case s.ah == 0:
		ok = d.acFirst(s, blk)
	default:
		ok = d.acRefine(s, blk)
	}
	return ok && d.bits.Left() >= 0
}

// dcDifference decodes one DC difference and returns the new prediction.
func (b *bitReader) dcDifference(t *huffman, pred int32) (int32, bool) {
	c := b.code(t)
	return pred + b.value(c), c != pixel.LongCode
}
