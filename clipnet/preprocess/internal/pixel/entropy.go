package pixel

import "encoding/binary"

// Bits reads a segment of entropy-coded data. The next bits stand at the top of Acc; N of them are valid.
type Bits struct {
	Data []byte // the segment and at least BlockBytes zeros
	End  int    // where the zeros begin
	Pos  int    // of the next byte to load
	Acc  uint64
	N    int
}

// BlockBytes is more than what any block can take, 64 codes of 16 bits with values of 15, and what is loaded ahead.
const BlockBytes = blockBytes + 16

const blockBytes = 64*(16+15)/8 + 16

// Fill loads bytes until at least 56 bits are valid.
func (b *Bits) Fill() {
	b.Acc |= binary.BigEndian.Uint64(b.Data[b.Pos:]) >> (b.N & 63)
	b.Pos += (63 - b.N) >> 3
	b.N |= 56
}

// Skip consumes bits that are valid.
func (b *Bits) Skip(bits int) {
	b.Acc <<= bits & 63
	b.N -= bits
}

// Left is the number of bits that have not been consumed; negative where more have than there are.
func (b *Bits) Left() int { return 8*(b.End-b.Pos) + b.N }

// LookBits is the length of the longest Huffman code that one look-up decodes.
const LookBits = 10

// Codes has the code that each prefix of LookBits bits begins with, or LongCode.
type Codes [1 << LookBits]Code

// A Code is a Huffman code with its symbol, in bytes from the lowest: the length of the code and of the value behind it, 64 less
// that, the length of the value, and how far the symbol moves on in the block: by run+1, or by EndOfBlock+run for what
// ends it (EOBn of T.81 section G.1.2.2).
type Code uint32

// EndOfBlock moves on from any coefficient to behind the last. LongCode stands for codes that the table has no room for.
const (
	EndOfBlock = 64

	LongCode = Code(longStep << 24)
	longStep = 255
)

// CodeOf is the code of so many bits for a symbol, a run and a size.
func CodeOf(symbol uint8, length int) Code {
	size, step := int(symbol&15), int(symbol>>4)+1
	if size == 0 && step < 16 {
		step += EndOfBlock - 1
	}
	total := length + size
	return Code(total | (64-total)<<8 | size<<16 | step<<24)
}

// Total, Size and Step are the fields of a code.
func (c Code) Total() int { return int(c & 63) }
func (c Code) Size() int  { return int(c >> 16 & 15) }
func (c Code) Step() int  { return int(c >> 24) }

// Value is the signed value behind the code that acc begins with (T.81 figure F.12); 0 if it has no bits.
func (c Code) Value(acc uint64) int32 {
	size := c.Size()
	v := int32(acc>>(c>>8&63)) & (1<<size - 1)
	negative := (v - 1<<size>>1) >> 31 // all ones, or zero
	return v + (1-1<<size)&negative
}

// Unit is one of the blocks that a sequential MCU is made of.
type Unit struct {
	DC, AC *Codes
	Pred   *int32
	Row    []int16 // coefficients of its row of blocks
	Block  int     // which of them the next MCU has
	Step   int     // to that of the MCU behind it
}

// Cursor is the place among MCUs that are decoded.
type Cursor struct {
	MCUs int // left, that at hand included
	Unit int // block at hand
	K    int // its last coefficient that is done; -1 for none, 63 and more for all
}

// zigzag maps a coefficient's place in the stream to its place in the block, row by row (T.81 figure A.6).
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
}

// Zigzag maps a coefficient's place in the stream to its place in the block, row by row.
func Zigzag(k int) int { return int(zigzag[k]) }

// place maps a coefficient's place in the stream to its place among those of the block's group, from the block's first on.
var place = func() (t [64]uint8) {
	for k, i := range zigzag {
		t[k] = uint8(Coef(0, int(i)))
	}
	return t
}()

// Place is where coefficient k of the stream stands in a block.
func Place(k int) int { return int(place[k&63]) }

// blockGeneric decodes the coefficients of a sequential block (T.81 section F.2) behind k, with k = -1 from the first on, which it
// adds to pred. It returns k at least 63 at the end of the block, and 256 or more if a value lies beyond it. A smaller k
// means that the code behind k is not in the table.
func blockGeneric(b *Bits, dc, ac *Codes, blk *Block, pred *int32, k int) int {
	if k < 0 {
		b.Fill()
		c := dc[b.Acc>>(64-LookBits)]
		if c == LongCode {
			return k
		}
		*pred += c.Value(b.Acc)
		blk[0], k = int16(*pred), 0
		b.Skip(c.Total())
	}
	acc, n := b.Acc, b.N
	for k < 63 {
		if n < LookBits+15 {
			b.Acc, b.N = acc, n
			b.Fill()
			acc, n = b.Acc, b.N
		}
		c := ac[acc>>(64-LookBits)]
		if c == LongCode {
			break
		}
		v := c.Value(acc)
		acc <<= c.Total()
		n -= c.Total()
		k += c.Step()
		if k > 63 {
			k += c.Size() << 8
			break
		}
		blk[place[k]] = int16(v) // 16 zeros write the last of them
	}
	b.Acc, b.N = acc, n
	return k
}

func mcusGeneric(b *Bits, units []Unit, c *Cursor) {
	for c.MCUs > 0 {
		u := &units[c.Unit]
		if c.K < 63 {
			c.K = blockGeneric(b, u.DC, u.AC, (*Block)(u.Row[Coef(u.Block, 0):]), u.Pred, c.K)
		}
		if c.K < 63 || c.K >= 256 || b.Left() < 0 {
			return
		}
		u.Block += u.Step
		c.K = -1
		if c.Unit++; c.Unit == len(units) {
			c.Unit = 0
			c.MCUs--
		}
	}
}
