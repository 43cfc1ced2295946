package main

import (
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The chain from symbol to symbol is what an entropy decoder waits for: shift the buffer down to an index, load the code's
// length, shift the buffer by it, some 7 cycles. All else hangs beside it, with one branch a symbol, which only the end of the
// block takes. Shifts go to two of the machine's ports, so what can be loaded is not shifted: a code's fields are bytes, and the
// sign of a value comes from two small tables. The buffer is refilled for every second symbol, whether it needs it or not.

const mcusDoc = `	for c.MCUs > 0 { // at first it is
		u := &units[c.Unit]
		if c.K < 63 {
			c.K = blockGeneric(b, u.DC, u.AC, (*Block)(u.Row[Coef(u.Block, 0):]), u.Pred, c.K)
		}
		if c.K < 63 || c.K >= 256 || b.Left() < 0 {
			return
		}
		u.Block += u.Step
		c.K = -1
		if c.Unit++; c.Unit == n {
			c.Unit = 0
			c.MCUs--
		}
	}`

// As in package pixel: the length of the look-up, the bytes of a code, and the step of one that is longer.
const (
	lookBits = 10

	codeTotal, codeRest, codeSize, codeStep = 0, 1, 2, 3

	longStep = 255
)

// The types of the parameters, Bits, Unit and Cursor.
const (
	bitsType   = "struct{Data []byte; End, Pos int; Acc uint64; N int}"
	unitType   = "struct{DC, AC *uint32; Pred *int32; Row []int16; Block, Step int}"
	cursorType = "struct{MCUs, Unit, K int}"

	unitSizeLog = 6
)

// entropy emits the decoder of MCUs.
func entropy(g *gen) {
	g.function("mcus", "func(b *"+bitsType+", units *"+unitType+", n int, c *"+cursorType+")", mcusDoc)
	d := &decoder{gen: g, data: g.GP64(), pos: g.GP64(), acc: g.GP64(), n: g.GP64(), size: g.GP64(), value: g.GP64(), tables: g.GP64()}
	d.k, d.blk, d.codes, d.step, d.unit = g.GP64(), g.GP64(), g.GP64(), g.GP64(), g.AllocLocal(8)
	bits, cursor := g.Dereference(g.Param("b")), g.Dereference(g.Param("c"))
	g.Load(bits.Field("Data").Base(), d.data)
	g.Load(bits.Field("Pos"), d.pos)
	g.Load(bits.Field("Acc"), d.acc)
	g.Load(bits.Field("N"), d.n)
	g.Load(cursor.Field("K"), d.k)
	g.LEAQ(g.tables(), d.tables)
	unit := g.Load(cursor.Field("Unit"), g.GP64())
	g.SHLQ(Imm(unitSizeLog), unit)
	g.ADDQ(g.address(g.Param("units")), unit)
	g.MOVQ(unit, d.unit)

	begin, finish, stop := g.label(), g.label(), g.label()
	g.CMPQ(d.k, Imm(63))
	g.JGE(LabelRef(finish))
	g.Label(begin)
	d.block(finish, stop)
	g.Label(finish)
	d.finish(begin, stop)

	g.Label(stop)
	g.ANDQ(Imm(63), d.n)
	bits, cursor = g.Dereference(g.Param("b")), g.Dereference(g.Param("c"))
	g.Store(d.pos, bits.Field("Pos"))
	g.Store(d.acc, bits.Field("Acc"))
	g.Store(d.n, bits.Field("N"))
	g.Store(d.k, cursor.Field("K"))
	g.RET()
}

// field returns where a field of the unit at base stands.
func (d *decoder) field(base reg.Register, name string) Mem {
	offset := map[string]int{"DC": 0, "AC": 8, "Pred": 16, "Row": 24, "Block": 48, "Step": 56}
	return at(base, offset[name])
}

// block emits the decoding of a block's coefficients, behind k. It goes on to finish, or to stop where the block has no end.
func (d *decoder) block(finish, stop string) {
	ac, again, out, past := d.label(), d.label(), d.label(), d.label()
	unit, number := d.GP64(), d.GP64()
	d.MOVQ(d.unit, unit)
	d.MOVQ(d.field(unit, "Block"), number)
	d.MOVQ(number, d.blk)
	d.Comment("Coef(block, 0), in bytes.")
	d.SHRQ(Imm(2), d.blk)
	d.SHLQ(Imm(9), d.blk)
	d.ANDQ(Imm(3), number)
	d.SHLQ(Imm(4), number)
	d.ADDQ(number, d.blk)
	d.ADDQ(d.field(unit, "Row"), d.blk)
	d.TESTQ(d.k, d.k)
	d.JGE(LabelRef(ac))
	d.MOVQ(d.field(unit, "DC"), d.codes)
	d.fill()
	d.symbol()
	d.CMPQ(d.step, U32(longStep))
	d.JEQ(LabelRef(stop))
	pred := d.GP64()
	d.MOVQ(d.unit, unit)
	d.MOVQ(d.field(unit, "Pred"), pred)
	d.ADDL(at(pred, 0), d.value.As32())
	d.MOVL(d.value.As32(), at(pred, 0))
	d.MOVW(d.value.As16(), at(d.blk, 0))
	d.XORQ(d.k, d.k)

	d.Label(ac)
	d.MOVQ(d.unit, unit)
	d.MOVQ(d.field(unit, "AC"), d.codes)
	d.Label(again)
	d.fill()
	for i := range 2 {
		d.symbol()
		d.ADDQ(d.step, d.k)
		d.CMPQ(d.k, Imm(63))
		d.JGE(LabelRef(out))
		place := d.GP64()
		d.MOVBQZX(Mem{Base: d.tables, Index: d.k, Scale: 1, Disp: placesAt}, place)
		d.MOVW(d.value.As16(), Mem{Base: d.blk, Index: place, Scale: 2})
		if i == 1 {
			d.JMP(LabelRef(again))
		}
	}

	d.Label(out)
	d.JNE(LabelRef(past))
	d.MOVW(d.value.As16(), at(d.blk, 2*lastPlace))
	d.JMP(LabelRef(finish))
	d.Label(past)
	long := d.label()
	d.CMPQ(d.step, U32(longStep))
	d.JEQ(LabelRef(long))
	d.SHLQ(Imm(8), d.size)
	d.ADDQ(d.size, d.k)
	d.CMPQ(d.k, U32(256))
	d.JLT(LabelRef(finish))
	d.JMP(LabelRef(stop))
	d.Label(long)
	d.SUBQ(U32(longStep), d.k)
	d.JMP(LabelRef(stop))
}

// finish emits the check for an overrun and the step to the next block.
func (d *decoder) finish(begin, stop string) {
	left, next, unit := d.GP64(), d.GP64(), d.GP64()
	d.Load(d.Dereference(d.Param("b")).Field("End"), left)
	d.SUBQ(d.pos, left)
	d.ANDQ(Imm(63), d.n)
	d.LEAQ(Mem{Base: d.n, Index: left, Scale: 8}, left)
	d.TESTQ(left, left)
	d.JLT(LabelRef(stop))
	d.MOVQ(d.unit, unit)
	d.MOVQ(d.field(unit, "Step"), next)
	d.ADDQ(next, d.field(unit, "Block"))
	d.MOVQ(I32(-1), d.k)
	d.ADDQ(Imm(1<<unitSizeLog), unit)
	cursor := d.Dereference(d.Param("c"))
	d.Load(cursor.Field("Unit"), next)
	d.INCQ(next)
	d.MOVQ(unit, d.unit)
	d.Store(next, cursor.Field("Unit"))
	d.CMPQ(next, d.address(d.Param("n")))
	d.JLT(LabelRef(begin))
	d.XORQ(next, next)
	d.Store(next, cursor.Field("Unit"))
	d.MOVQ(d.address(d.Param("units")), unit)
	d.MOVQ(unit, d.unit)
	d.DECQ(d.address(cursor.Field("MCUs")))
	d.JNZ(LabelRef(begin))
}

// decoder is the registers of the function, and memory with the unit's address. n counts valid bits in its lowest 6 bits, which is
// what shifts see.
type decoder struct {
	*gen
	data, pos, acc, n   reg.GPVirtual
	size, value, tables reg.GPVirtual
	k, blk, codes, step reg.GPVirtual
	unit                Mem
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
func (d *decoder) symbol() {
	index, total, rest, below := d.GP64(), d.GP64(), d.GP64(), d.GP64()
	d.MOVQ(d.acc, index)
	d.SHRQ(Imm(64-lookBits), index)
	field := func(i int, r reg.Register) { d.MOVBQZX(Mem{Base: d.codes, Index: index, Scale: 4, Disp: i}, r) }
	field(codeTotal, total)
	field(codeRest, rest)
	d.SHRXQ(rest, d.acc, d.value)
	d.SHLXQ(total, d.acc, d.acc)
	d.SUBQ(total, d.n)
	field(codeSize, d.size)
	field(codeStep, d.step)
	d.BZHIQ(d.size, d.value, d.value)
	d.MOVL(Mem{Base: d.tables, Index: d.size, Scale: 8}, below.As32())
	d.ADDL(d.value.As32(), below.As32())
	d.CMPL(d.value.As32(), Mem{Base: d.tables, Index: d.size, Scale: 8, Disp: 4})
	d.CMOVLLT(below.As32(), d.value.As32())
}

// tables has for each size what is added to values that stand for negative ones, and the first value that does not; then where
// coefficients stand in a block, by their places in the stream (T.81 figure A.6).
func (g *gen) tables() Mem {
	return g.constant("tables", func() {
		for size := range 16 {
			g.AppendDatum(U32(uint32(int32(1 - 1<<size))))
			g.AppendDatum(U32(1 << size >> 1))
		}
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

// placesAt is where the places begin in tables, lastPlace that of the last coefficient.
const (
	placesAt  = 16 * 8
	lastPlace = 32*7 + 7
)

// address returns where a parameter or a field stands.
func (g *gen) address(c gotypes.Component) Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}
