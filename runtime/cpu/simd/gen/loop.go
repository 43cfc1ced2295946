package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// block is 16 successive elements of the vectors of a loop, all of them or, in a tail, the first few.
type block struct {
	g      *gen
	index  reg.Register // in bytes
	offset int          // in bytes, beside
	mask   vec          // of a tail: K registers of AVX-512 are in k
	k      reg.Register
}

func (b *block) at(base reg.Register, i int) Mem {
	return Mem{Base: base, Index: b.index, Scale: 1, Disp: b.offset + 32*i}
}

// load returns the block of the vector at base, with zeros behind a tail.
func (b *block) load(base reg.Register) vec {
	v := b.g.vec()
	for i, r := range v {
		switch {
		case b.k != nil:
			b.g.VMOVUPS_Z(b.at(base, i), b.k, r)
		case b.mask != nil:
			b.g.VMASKMOVPS(b.at(base, i), b.mask[i], r)
		default:
			b.g.VMOVUPS(b.at(base, i), r)
		}
	}
	return v
}

// store writes v to the block of the vector at base.
func (b *block) store(base reg.Register, v vec) {
	for i, r := range v {
		switch {
		case b.k != nil:
			b.g.VMOVUPS(r, b.k, b.at(base, i))
		case b.mask != nil:
			b.g.VMASKMOVPS(r, b.mask[i], b.at(base, i))
		default:
			b.g.VMOVUPS(r, b.at(base, i))
		}
	}
}

// keep makes zeros of what is behind a tail.
func (b *block) keep(v vec) {
	for i, r := range v {
		switch {
		case b.k != nil:
			b.g.VMOVAPS_Z(r, b.k, r)
		case b.mask != nil:
			b.g.VANDPS(b.mask[i], r, r)
		}
	}
}

// fill puts with behind a tail of v.
func (b *block) fill(v, with vec) {
	for i, r := range v {
		switch {
		case b.k != nil:
			b.g.VBLENDMPS(r, with[i], b.k, r)
		case b.mask != nil:
			b.g.VBLENDVPS(b.mask[i], r, with[i], r)
		}
	}
}

// loop emits body for all blocks of vectors of n elements, and once more for a tail.
func (g *gen) loop(n reg.Register, body func(b *block)) {
	g.blocks(n, 1, func(_ int, b *block) { body(b) })
}

// blocks emits body for count blocks at a time, with their number, and again for those of the tail: block j meets elements
// 16*j to 16*j+15 of every count*16, which is how lanes are assigned.
func (g *gen) blocks(n reg.Register, count int, body func(j int, b *block)) {
	left, index := g.GP64(), g.GP64()
	again, tail, done := g.label(), g.label(), g.label()
	g.MOVQ(n, left)
	g.XORQ(index, index)
	g.SUBQ(Imm(uint64(16*count)), left)
	g.JLT(LabelRef(tail))
	g.Label(again)
	for j := range count {
		body(j, &block{g: g, index: index, offset: 64 * j})
	}
	g.ADDQ(I32(64*count), index)
	g.SUBQ(Imm(uint64(16*count)), left)
	g.JGE(LabelRef(again))
	g.Label(tail)
	g.ADDQ(Imm(uint64(16*count)), left)
	g.JZ(LabelRef(done))
	if g.isa == avx512 {
		ones := g.GP64()
		g.MOVQ(I32(-1), ones)
		g.BZHIQ(left, ones, ones)
		for j := range count {
			b := &block{g: g, index: index, offset: 64 * j, k: g.K()}
			g.KMOVW(ones.As32(), b.k)
			body(j, b)
			if j+1 < count {
				g.CMPQ(left, Imm(uint64(16*(j+1))))
				g.JLE(LabelRef(done))
				g.SHRQ(Imm(16), ones)
			}
		}
	} else {
		masks := g.GP64()
		g.LEAQ(g.tailMasks(), masks)
		g.NEGQ(left)
		for j := range count {
			b := &block{g: g, index: index, offset: 64 * j, mask: g.vec()}
			for i, r := range b.mask {
				g.VMOVUPS(Mem{Base: masks, Index: left, Scale: 4, Disp: 256 + 64*j + 32*i}, r)
			}
			body(j, b)
			if j+1 < count {
				g.CMPQ(left, I8(-16*(j+1)))
				g.JGE(LabelRef(done))
			}
		}
	}
	g.Label(done)
}

// tailMasks is a table of 64 ones (all bits set) and 64 zeros: what begins n words before its middle is the mask of n elements.
func (g *gen) tailMasks() Mem {
	const name = "tailMasks"
	if m, ok := g.data[name]; ok {
		return m
	}
	m := g.StaticGlobal(name + g.suffix())
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 64 {
		bits := uint64(math.MaxUint64)
		if i >= 32 {
			bits = 0
		}
		g.AppendDatum(U64(bits))
	}
	g.data[name] = m
	return m
}

// slice loads the address of a slice parameter; length its length.
func (g *gen) slice(name string) reg.Register  { return g.Load(g.Param(name).Base(), g.GP64()) }
func (g *gen) length(name string) reg.Register { return g.Load(g.Param(name).Len(), g.GP64()) }

// scalar returns the address of a float32 parameter. avo's Load and Store would use MOVSS, which costs hundreds of cycles while the
// upper halves of wide registers are in use.
func (g *gen) scalar(name string) Mem { return g.address(g.Param(name)) }

// result stores the lowest element of x as result i.
func (g *gen) result(x reg.VecVirtual, i int) { g.VMOVSS(x, g.address(g.ReturnIndex(i))) }

func (g *gen) address(c gotypes.Component) Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// end emits the return.
func (g *gen) end() {
	g.VZEROUPPER()
	g.RET()
}
