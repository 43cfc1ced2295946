package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The chain from symbol to symbol is what an entropy decoder waits for: shift the buffer down to an index, load the code's
// length, shift the buffer by it, some 7 cycles. All else hangs beside it, with one branch a symbol, which only the end of the
// block takes. Shifts go to two of the machine's ports, so what can be loaded is not shifted: a code's fields are bytes, and the
// sign of a value comes from two small tables. The buffer is refilled for every second symbol, whether it needs it or not.

const blockDoc = `	for k < 63 {
		codes := ac
		if k < 0 {
			codes = dc
		}
		b.Fill()
		c := codes[b.Acc>>(64-LookBits)]
		if c == LongCode {
			return k
		}
		v := c.Value(b.Acc)
		b.Skip(c.Total())
		if k < 0 {
			*pred += v
			blk[0], k = int16(*pred), 0
			continue
		}
		k += c.Step()
		if k > 63 {
			return k + c.Size()<<8
		}
		blk[place[k]] = int16(v)
	}
	return k`

// As in package pixel: the length of the look-up, the bytes of a code, and the step of one that is longer.
const (
	lookBits = 10

	codeTotal, codeRest, codeSize, codeStep = 0, 1, 2, 3

	longStep = 255
)

// entropy emits the decoder of a block.
func entropy(g *gen) {
	g.function("block",
		"func(b *struct{Data []byte; End, Pos int; Acc uint64; N int}, dc, ac *uint32, blk *int16, pred *int32, k int) int", blockDoc)
	d := &decoder{gen: g, data: g.GP64(), pos: g.GP64(), acc: g.GP64(), n: g.GP64(), size: g.GP64(), value: g.GP64(), values: g.GP64()}
	bits, blk, k := g.Dereference(g.Param("b")), g.param("blk"), g.param("k")
	g.Load(bits.Field("Data").Base(), d.data)
	g.Load(bits.Field("Pos"), d.pos)
	g.Load(bits.Field("Acc"), d.acc)
	g.Load(bits.Field("N"), d.n)
	g.LEAQ(g.values(), d.values)
	places, step := g.GP64(), g.GP64()
	g.LEAQ(g.places(), places)

	ac, again, out, past, stop := g.label(), g.label(), g.label(), g.label(), g.label()
	g.TESTQ(k, k)
	g.JGE(LabelRef(ac))
	d.fill()
	d.symbol(g.param("dc"), step)
	g.CMPQ(step, U32(longStep))
	g.JEQ(LabelRef(stop))
	pred := g.param("pred")
	g.ADDL(at(pred, 0), d.value.As32())
	g.MOVL(d.value.As32(), at(pred, 0))
	g.MOVW(d.value.As16(), at(blk, 0))
	g.XORQ(k, k)

	g.Label(ac)
	codes := g.param("ac")
	g.Label(again)
	d.fill()
	for i := range 2 {
		d.symbol(codes, step)
		g.ADDQ(step, k)
		g.CMPQ(k, Imm(63))
		g.JGE(LabelRef(out))
		place := g.GP64()
		g.MOVBQZX(Mem{Base: places, Index: k, Scale: 1}, place)
		g.MOVW(d.value.As16(), Mem{Base: blk, Index: place, Scale: 2})
		if i == 1 {
			g.JMP(LabelRef(again))
		}
	}

	g.Label(out)
	g.JNE(LabelRef(past))
	g.MOVW(d.value.As16(), at(blk, 2*lastPlace))
	g.JMP(LabelRef(stop))
	g.Label(past)
	g.SHLQ(Imm(8), d.size)
	g.ADDQ(k, d.size)
	g.SUBQ(U32(longStep), k)
	g.CMPQ(step, U32(longStep))
	g.CMOVQNE(d.size, k)
	g.Label(stop)
	g.ANDQ(Imm(63), d.n)
	g.Store(d.pos, bits.Field("Pos"))
	g.Store(d.acc, bits.Field("Acc"))
	g.Store(d.n, bits.Field("N"))
	g.Store(k, g.ReturnIndex(0))
	g.RET()
}

// decoder is the registers of the function. n counts valid bits in its lowest 6 bits, which is what shifts see.
type decoder struct {
	*gen
	data, pos, acc, n   reg.GPVirtual
	size, value, values reg.GPVirtual
}

// fill loads bytes until at least 56 bits are valid.
func (d *decoder) fill() {
	next, read := d.GP64(), d.GP64()
	d.MOVQ(indexed(d.data, d.pos, 0), next)
	d.BSWAPQ(next)
	d.SHRXQ(d.n, next, next)
	d.ORQ(next, d.acc)
	d.MOVQ(d.n, read)
	d.NOTQ(read)
	d.ANDQ(Imm(63), read)
	d.SHRQ(Imm(3), read)
	d.ADDQ(read, d.pos)
	d.ORQ(Imm(56), d.n)
}

// symbol consumes a code of the table and its value; a code that is longer has no bits.
func (d *decoder) symbol(table, step reg.Register) {
	index, total, rest, below := d.GP64(), d.GP64(), d.GP64(), d.GP64()
	d.MOVQ(d.acc, index)
	d.SHRQ(Imm(64-lookBits), index)
	field := func(i int, r reg.Register) { d.MOVBQZX(Mem{Base: table, Index: index, Scale: 4, Disp: i}, r) }
	field(codeTotal, total)
	field(codeRest, rest)
	d.SHRXQ(rest, d.acc, d.value)
	d.SHLXQ(total, d.acc, d.acc)
	d.SUBQ(total, d.n)
	field(codeSize, d.size)
	field(codeStep, step)
	d.BZHIQ(d.size, d.value, d.value)
	d.MOVL(Mem{Base: d.values, Index: d.size, Scale: 8}, below.As32())
	d.ADDL(d.value.As32(), below.As32())
	d.CMPL(d.value.As32(), Mem{Base: d.values, Index: d.size, Scale: 8, Disp: 4})
	d.CMOVLLT(below.As32(), d.value.As32())
}

// values has for each size what is added to values that stand for negative ones, and the first value that does not.
func (g *gen) values() Mem {
	return g.constant("values", func() {
		for size := range 16 {
			g.AppendDatum(U32(uint32(int32(1 - 1<<size))))
			g.AppendDatum(U32(1 << size >> 1))
		}
	})
}

// lastPlace is where the last coefficient stands.
const lastPlace = 32*7 + 7

// places is the table of where coefficients stand in a block, by their places in the stream (T.81 figure A.6).
func (g *gen) places() Mem {
	return g.constant("places", func() {
		for diagonal := range 15 {
			for i := max(0, diagonal-7); i <= min(diagonal, 7); i++ {
				u, v := i, diagonal-i // upwards
				if diagonal%2 == 1 {
					u, v = v, u
				}
				g.AppendDatum(U8(uint8(32*v + u)))
			}
		}
	})
}
