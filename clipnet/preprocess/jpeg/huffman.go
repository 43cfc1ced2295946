package jpeg

import (
	"bytes"

	"isearle/clipnet/preprocess/internal/pixel"
)

// huffman is a decoding table. Codes of up to pixel.LookBits bits come out of look; longer ones by comparing with limit.
type huffman struct {
	ok     bool
	counts [16]uint8
	vals   [256]uint8
	look   pixel.Codes
	limit  [18]uint32 // first 16-bit prefix past the codes of this length
	offset [18]int32  // index into vals of a code of this length, less the code
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
	for i := range t.look {
		t.look[i] = pixel.LongCode
	}
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
			if l <= pixel.LookBits {
				first, e := code<<(pixel.LookBits-l), pixel.CodeOf(vals[k], l)
				for i := range uint32(1) << (pixel.LookBits - l) {
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

// long returns the code longer than pixel.LookBits that acc begins with, or LongCode where none matches.
func (t *huffman) long(acc uint64) pixel.Code {
	prefix := uint32(acc >> 48)
	for l := pixel.LookBits + 1; l <= 16; l++ {
		if prefix < t.limit[l] {
			i := int32(prefix>>(16-l)) + t.offset[l]
			return pixel.CodeOf(t.vals[uint8(i)], l)
		}
	}
	return pixel.LongCode
}

// bitReader reads a segment of entropy-coded data: up to a marker or the end, its stuffing removed. Behind it stand zeros,
// enough to check for an overrun once a block.
type bitReader struct{ pixel.Bits }

// start reads the segment of file that begins at from and returns where it ends.
func (b *bitReader) start(file []byte, from int) (to int) {
	data, p := b.Data[:0], from
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
	b.Bits = pixel.Bits{Data: append(data, make([]byte, pixel.BlockBytes)...), End: len(data)}
	return p
}

// offset returns where the byte at of the segment that begins at from stands in the file.
func (b *bitReader) offset(file []byte, from, at int) int {
	for range min(at, b.End) {
		if file[from] == 0xFF {
			from++
		}
		from++
	}
	return from
}

// bit reads one bit.
func (b *bitReader) bit() bool {
	if b.N < 1 {
		b.Fill()
	}
	v := b.Acc>>63 != 0
	b.Skip(1)
	return v
}

// receive reads size bits, at most 16, as an unsigned number.
func (b *bitReader) receive(size int) int32 {
	if b.N < size {
		b.Fill()
	}
	v := int32(b.Acc >> 1 >> (63 - size&63))
	b.Skip(size)
	return v
}

// code decodes one Huffman code, and leaves it and its value's bits, which are loaded; LongCode where none matches.
func (b *bitReader) code(t *huffman) pixel.Code {
	if b.N < 32 {
		b.Fill()
	}
	c := t.look[b.Acc>>(64-pixel.LookBits)]
	if c == pixel.LongCode {
		c = t.long(b.Acc)
	}
	return c
}

// value reads a code and its value.
func (b *bitReader) value(c pixel.Code) int32 {
	v := c.Value(b.Acc)
	b.Skip(c.Total())
	return v
}
