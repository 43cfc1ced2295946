package jpeg

import (
	"bytes"
	"encoding/binary"
)

// lookBits is the length of the longest code that one look-up decodes.
const lookBits = 10

// huffman is a decoding table. Codes of up to lookBits bits come out of look; longer ones by comparing with limit.
type huffman struct {
	ok     bool
	counts [16]uint8
	vals   [256]uint8
	look   [1 << lookBits]entry // 0 for a longer code
	limit  [18]uint32           // first 16-bit prefix past the codes of this length
	offset [18]int32            // index into vals of a code of this length, less the code
}

// entry is a symbol: the bits of its code and of the value behind it in bits 0 to 5, those of the code alone in bits 8 to 12,
// those of the value in bits 16 to 19, and in bits 24 to 31 how far it moves on in the block: run+1, or endOfBlock+run for
// what ends it (EOBn of T.81 section G.1.2.2).
type entry uint32

// endOfBlock moves on from any coefficient to behind the last.
const endOfBlock = 64

func (e entry) total() int { return int(e & 63) }
func (e entry) code() int  { return int(e >> 8 & 31) }
func (e entry) size() int  { return int(e >> 16 & 15) }
func (e entry) step() int  { return int(e >> 24) }

// entryOf is the entry of a symbol whose code has so many bits.
func entryOf(symbol uint8, code int) entry {
	size, step := int(symbol&15), int(symbol>>4)+1
	if size == 0 && step < 16 {
		step += endOfBlock - 1
	}
	return entry(code + size | code<<8 | size<<16 | step<<24)
}

// build makes the table of BITS and HUFFVAL (T.81 annex C) and returns what is wrong with them, or "". Most images bring the
// same tables, so one that is there already is kept.
func (t *huffman) build(counts, vals []byte, ac bool) string {
	if bytes.Equal(counts, t.counts[:]) && bytes.Equal(vals, t.vals[:len(vals)]) {
		t.ok = true
		return ""
	}
	t.ok, t.counts = false, [16]uint8{}
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
				first, e := code<<(lookBits-l), entryOf(vals[k], l)
				for i := range uint32(1) << (lookBits - l) {
					t.look[first+i] = e
				}
			}
			code, k = code+1, k+1
		}
		t.limit[l] = code << (16 - l)
		code <<= 1
	}
	copy(t.counts[:], counts)
	t.ok = true
	return ""
}

// long returns the entry of the code longer than lookBits that acc begins with, or 0 where none matches.
func (t *huffman) long(acc uint64) entry {
	prefix := uint32(acc >> 48)
	for l := lookBits + 1; l <= 16; l++ {
		if prefix < t.limit[l] {
			i := int32(prefix>>(16-l)) + t.offset[l]
			return entryOf(t.vals[uint8(i)], l)
		}
	}
	return 0
}

// extend gives the signed value of the size bits that acc begins with (T.81 figure F.12); none is 0.
func extend(acc uint64, size int) int32 {
	v := int32(acc >> 1 >> (63 - size&63))
	return v + (1-1<<(size&15))&^int32(int64(acc)>>63)
}

// blockBytes is more than the bytes that any block can take: 64 codes of 16 bits with values of 15.
const blockBytes = 64*(16+15)/8 + 8

// bitReader reads a segment of entropy-coded data: up to a marker or the end, its stuffing removed. The next bits stand at
// the top of acc; n of them are valid. Behind its end stand zeros, enough to check for an overrun once a block.
type bitReader struct {
	data []byte // the segment and blockBytes zeros
	end  int    // where the zeros begin
	pos  int    // of the next byte to load
	acc  uint64
	n    int
}

// start reads the segment of file that begins at from and returns where it ends.
func (b *bitReader) start(file []byte, from int) (to int) {
	data, p := b.data[:0], from
	for {
		i := bytes.IndexByte(file[p:], 0xFF)
		if i < 0 {
			data, p = append(data, file[p:]...), len(file)
			break
		}
		if p+i+1 >= len(file) || file[p+i+1] != 0 { // a marker, fill bytes before one, or half of one
			data, p = append(data, file[p:p+i]...), p+i
			break
		}
		data, p = append(data, file[p:p+i+1]...), p+i+2
	}
	*b = bitReader{data: append(data, make([]byte, blockBytes)...), end: len(data)}
	return p
}

// offset returns where the byte at of the segment that begins at from stands in the file.
func (b *bitReader) offset(file []byte, from, at int) int {
	for range min(at, b.end) {
		if file[from] == 0xFF {
			from++
		}
		from++
	}
	return from
}

// fill loads bytes until at least 56 bits are valid.
func (b *bitReader) fill() {
	b.acc |= binary.BigEndian.Uint64(b.data[b.pos:]) >> (b.n & 63)
	b.pos += (63 - b.n) >> 3
	b.n |= 56
}

// left is the number of bits that have not been consumed; negative where more have than there are.
func (b *bitReader) left() int { return 8*(b.end-b.pos) + b.n }

// bit reads one bit.
func (b *bitReader) bit() bool {
	if b.n < 1 {
		b.fill()
	}
	v := b.acc>>63 != 0
	b.skip(1)
	return v
}

// skip consumes bits that are valid.
func (b *bitReader) skip(bits int) {
	b.acc <<= bits & 63
	b.n -= bits
}

// receive reads size bits, at most 16, as an unsigned number.
func (b *bitReader) receive(size int) int32 {
	if b.n < size {
		b.fill()
	}
	v := int32(b.acc >> 1 >> (63 - size&63))
	b.skip(size)
	return v
}

// symbol decodes one Huffman symbol and leaves its value's bits, which are loaded; 0 where no code matches.
func (b *bitReader) symbol(t *huffman) entry {
	if b.n < 32 {
		b.fill()
	}
	e := t.look[b.acc>>(64-lookBits)]
	if e == 0 {
		if e = t.long(b.acc); e == 0 {
			return 0
		}
	}
	b.skip(e.code())
	return e
}

// value reads a signed value of size bits that are loaded.
func (b *bitReader) value(size int) int32 {
	v := extend(b.acc, size)
	b.skip(size)
	return v
}
