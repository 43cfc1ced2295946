package jpeg

import "encoding/binary"

// lookBits is the length of the longest code that one look-up decodes.
const lookBits = 9

// huffman is a decoding table. Codes of up to lookBits bits come out of look; longer ones by comparing with limit.
type huffman struct {
	ok     bool
	vals   [256]uint8
	look   [1 << lookBits]uint16 // length<<8 | symbol, 0 for a longer code
	fast   [1 << lookBits]int32  // AC only: value<<16 | run<<8 | bits of code and value; 0 where they do not fit
	limit  [18]uint32            // first 16-bit prefix past the codes of this length
	offset [18]int32             // index into vals of a code of this length, less the code
}

// endOfBlock is the run that fast gives the end-of-block symbol: it carries any k past 63.
const endOfBlock = 64

// build makes the table of BITS and HUFFVAL (T.81 annex C) and returns what is wrong with them, or "".
func (t *huffman) build(counts, vals []byte, ac bool) string {
	t.ok = false
	copy(t.vals[:], vals)
	clear(t.look[:])
	code, k := uint32(0), 0
	for l := 1; l <= 16; l++ {
		t.offset[l] = int32(k) - int32(code)
		n := int(counts[l-1])
		if int(code)+n > 1<<l {
			return "more codes than fit"
		}
		for range n {
			if !ac && vals[k] > 15 {
				return "a DC difference of more than 15 bits"
			}
			if l <= lookBits {
				first := code << (lookBits - l)
				for i := range uint32(1) << (lookBits - l) {
					t.look[first+i] = uint16(l)<<8 | uint16(vals[k])
				}
			}
			code, k = code+1, k+1
		}
		t.limit[l] = code << (16 - l)
		code <<= 1
	}
	if ac {
		t.buildFast()
	}
	t.ok = true
	return ""
}

// buildFast fills the table that decodes a short code together with the value bits behind it.
func (t *huffman) buildFast() {
	for i, e := range t.look {
		t.fast[i] = 0
		if e == 0 {
			continue
		}
		bits, run, size := int(e>>8), int32(e>>4&15), int(e&15)
		switch {
		case e&0xFF == 0:
			t.fast[i] = endOfBlock<<8 | int32(bits)
		case e&0xFF == 0xF0:
			t.fast[i] = 0
		case size > 0 && bits+size <= lookBits:
			v := extend(int32(i>>(lookBits-bits-size))&(1<<size-1), size)
			t.fast[i] = v<<16 | run<<8 | int32(bits+size)
		}
	}
}

// extend gives the signed value of size bits (T.81 figure F.12).
func extend(v int32, size int) int32 {
	if v < 1<<(size-1) {
		v += -1<<size + 1
	}
	return v
}

// bitReader reads entropy-coded data. The next bits stand at the top of acc; n of them are valid. Past a marker or the
// end it reads zeros and counts them in fake, so that a check now and then suffices.
type bitReader struct {
	data []byte
	pos  int // of the next byte to load
	acc  uint64
	n    int
	fake int
}

func (b *bitReader) start(data []byte, pos int) {
	*b = bitReader{data: data, pos: pos}
}

// fill loads bytes until at least 57 bits are valid.
func (b *bitReader) fill() {
	if len(b.data)-b.pos >= 8 {
		v := binary.BigEndian.Uint64(b.data[b.pos:])
		if inv := ^v; (inv-0x0101010101010101)&v&0x8080808080808080 == 0 { // no byte is 0xFF
			b.acc |= v >> (b.n & 63)
			k := (64 - b.n) >> 3
			b.pos += k
			b.n += 8 * k
			return
		}
	}
	for b.n <= 56 {
		var c byte
		switch {
		case b.pos >= len(b.data):
			b.fake += 8
		case b.data[b.pos] != 0xFF:
			c = b.data[b.pos]
			b.pos++
		case b.pos+1 < len(b.data) && b.data[b.pos+1] == 0:
			c = 0xFF
			b.pos += 2
		default: // a marker, or fill bytes before one
			b.fake += 8
		}
		b.acc |= uint64(c) << (56 - b.n)
		b.n += 8
	}
}

// overrun reports whether bits have been consumed that are not in the data.
func (b *bitReader) overrun() bool { return b.fake > b.n }

// bit reads one bit.
func (b *bitReader) bit() bool {
	if b.n < 1 {
		b.fill()
	}
	v := b.acc>>63 != 0
	b.acc <<= 1
	b.n--
	return v
}

// receive reads size bits, at most 16, as an unsigned number.
func (b *bitReader) receive(size int) int32 {
	if b.n < size {
		b.fill()
	}
	v := int32(b.acc >> 1 >> (63 - size))
	b.acc <<= uint(size)
	b.n -= size
	return v
}

// symbol decodes one Huffman symbol; ok is false where no code matches.
func (b *bitReader) symbol(t *huffman) (s uint8, ok bool) {
	if b.n < 16 {
		b.fill()
	}
	if e := t.look[b.acc>>(64-lookBits)]; e != 0 {
		b.acc <<= e >> 8
		b.n -= int(e >> 8)
		return uint8(e), true
	}
	return b.longSymbol(t)
}

func (b *bitReader) longSymbol(t *huffman) (uint8, bool) {
	prefix := uint32(b.acc >> 48)
	for l := lookBits + 1; l <= 16; l++ {
		if prefix < t.limit[l] {
			i := int32(prefix>>(16-l)) + t.offset[l]
			b.acc <<= uint(l)
			b.n -= l
			return t.vals[uint8(i)], true
		}
	}
	return 0, false
}
