package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The inverse DCT in 16-bit lanes: a register holds a row of as many blocks as it has lanes. Products are pairs of 16-bit factors
// summed to 32 bits, so each output of a 1-D transform is its row of the transform's matrix: with all of libjpeg's
// constants multiplied out, which changes no bit as nothing is rounded between. Sums stay under 2^31 for any coefficients.

// evenMatrix has the factors of (c0, c4) and (c2, c6) in the outputs 0 and 1; outputs 2 and 3 are their differences.
var (
	halfSum, halfDifference = [2]int16{8192, 8192}, [2]int16{8192, -8192}
	evenOuter, evenInner    = [2]int16{4433 + 6270, 4433}, [2]int16{4433, 4433 - 15137}
)

// oddMatrix has the factors of (c1, c3) and (c5, c7) in the outputs 0 to 3.
var oddMatrix = [4][2][2]int16{
	{{12299 - 7373 + 9633 - 3196, 9633}, {9633 - 3196, 9633 - 7373}},
	{{9633, 25172 - 20995 + 9633 - 16069}, {9633 - 20995, 9633 - 16069}},
	{{9633 - 3196, 9633 - 20995}, {16819 - 20995 + 9633 - 3196, 9633}},
	{{9633 - 7373, 9633 - 16069}, {9633, 2446 - 7373 + 9633 - 16069}},
}

const idctDoc = `	for b := range 4 * groups {
		var blk [64]int32
		for i := range blk {
			blk[i] = int32(coefs[Coef(b, i)] * int16(quant[i]))
		}
		idct(&blk, 0xFF, dst[8*b:], stride)
	}`

func idct(g *gen) {
	g.function("idct", "func(dst *byte, stride int, coefs *int16, quant *uint16, groups int)", idctDoc)
	dst, stride, coefs, quant, groups := g.param("dst"), g.param("stride"), g.param("coefs"), g.param("quant"), g.param("groups")
	stride3 := g.GP64()
	g.LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	t := &transformer{gen: g}
	if g.isa == avx2 {
		t.spilled = g.AllocLocal(8 * g.bytes())
	}
	again := g.label()
	g.Label(again)
	for part := 0; part < 4; part += g.lanes() {
		c := g.wides(8)
		for v := range c {
			g.spreadLane(at(quant, 16*v), c[v])
			g.VPMULLW(at(coefs, 64*v+16*part), c[v], c[v])
		}
		c = t.pass(c, 11)
		c = g.transposeWords(c)
		c = t.pass(c, 18)
		g.storeBlocks(g.samples(c), dst, 8*part, stride, stride3)
	}
	g.ADDQ(I32(512), coefs)
	g.ADDQ(Imm(32), dst)
	g.DECQ(groups)
	g.JNZ(LabelRef(again))
	g.end()
}

// transformer emits 1-D transforms; spilled is memory for 8 registers, which AVX2 needs.
type transformer struct {
	*gen
	spilled Mem
}

// pass emits a 1-D transform over registers, its results shifted right and rounded.
func (g *transformer) pass(c []reg.VecVirtual, shift uint64) []reg.VecVirtual {
	high, out := make([]Op, 8), make([]reg.VecVirtual, 8)
	g.halfPass(c, shift, true, func(i int, r reg.VecVirtual) {
		high[i] = r
		if g.isa == avx2 { // 16 registers do not hold both halves
			m := g.spilled.Offset(i * g.bytes())
			g.store(r, m)
			high[i] = m
		}
	})
	g.halfPass(c, shift, false, func(i int, r reg.VecVirtual) { out[i] = r })
	for i, r := range out {
		g.VPACKSSDW(high[i], r, r)
	}
	return out
}

// halfPass emits the transform of the lower or the upper four columns of each lane, and result by result yields them, 32 bits
// wide.
func (g *transformer) halfPass(c []reg.VecVirtual, shift uint64, high bool, yield func(i int, r reg.VecVirtual)) {
	pair := func(i, j int) reg.VecVirtual {
		r := g.wide()
		if high {
			g.VPUNPCKHWD(c[j], c[i], r)
		} else {
			g.VPUNPCKLWD(c[j], c[i], r)
		}
		return r
	}
	product := func(r reg.VecVirtual, f [2]int16) reg.VecVirtual {
		p := g.wide()
		g.VPMADDWD(g.words(f[0], f[1]), r, p)
		return p
	}
	p04 := pair(0, 4)
	sum, difference := product(p04, halfSum), product(p04, halfDifference)
	round := g.dwords(1 << (shift - 1))
	g.VPADDD(round, sum, sum)
	g.VPADDD(round, difference, difference)
	p26 := pair(2, 6)
	outer, inner := product(p26, evenOuter), product(p26, evenInner)
	even := g.wides(4)
	g.VPADDD(outer, sum, even[0])
	g.VPSUBD(outer, sum, even[3])
	g.VPADDD(inner, difference, even[1])
	g.VPSUBD(inner, difference, even[2])
	p13, p57 := pair(1, 3), pair(5, 7)
	for i, f := range oddMatrix {
		odd, more := product(p13, f[0]), product(p57, f[1])
		g.VPADDD(more, odd, odd)
		g.VPSUBD(odd, even[i], more)
		g.VPADDD(odd, even[i], even[i])
		g.VPSRAD(Imm(shift), even[i], even[i])
		g.VPSRAD(Imm(shift), more, more)
		yield(i, even[i])
		yield(7-i, more)
	}
}

// transposeWords transposes 8x8 words in each lane of 8 registers.
func (g *gen) transposeWords(r []reg.VecVirtual) []reg.VecVirtual {
	step := func(r []reg.VecVirtual, low, high func(...Op), distance int) []reg.VecVirtual {
		out := make([]reg.VecVirtual, 8)
		for i := range 4 {
			a, b := r[i], r[i+distance]
			l := g.wide()
			low(b, a, l)
			high(b, a, b)
			out[2*i], out[2*i+1] = l, b
		}
		return out
	}
	// Each step interleaves register i with i+4: after three, the index of a word and that of its register have changed places.
	r = step(r, g.VPUNPCKLWD, g.VPUNPCKHWD, 4)
	r = step(r, g.VPUNPCKLWD, g.VPUNPCKHWD, 4)
	return step(r, g.VPUNPCKLWD, g.VPUNPCKHWD, 4)
}

// samples turns 8 registers of columns to 4, in each lane two rows of bytes, with the level shift.
func (g *gen) samples(c []reg.VecVirtual) []reg.VecVirtual {
	packed := make([]reg.VecVirtual, 4) // two columns, one behind the other
	for i := range packed {
		packed[i] = c[2*i]
		g.VPACKSSWB(c[2*i+1], c[2*i], packed[i])
	}
	// As in transposeWords, over the 8 rows of 8 bytes that two registers hold.
	for range 3 {
		next := make([]reg.VecVirtual, 4)
		for i := range 2 {
			l := g.wide()
			g.VPUNPCKLBW(packed[i+2], packed[i], l)
			g.VPUNPCKHBW(packed[i+2], packed[i], packed[i+2])
			next[2*i], next[2*i+1] = l, packed[i+2]
		}
		packed = next
	}
	for _, r := range packed {
		level := g.words(-0x7F80)
		if g.isa == avx512 {
			g.VPXORD(level, r, r)
		} else {
			g.VPXOR(level, r, r)
		}
	}
	return packed
}

// storeBlocks stores 4 registers of two rows a lane to the rows of blocks side by side.
func (g *gen) storeBlocks(rows []reg.VecVirtual, dst reg.Register, offset int, stride, stride3 reg.Register) {
	row := g.GP64()
	g.MOVQ(dst, row)
	for i, r := range rows {
		if g.isa == avx512 {
			order := g.constant("order", func() {
				for _, q := range []uint64{0, 2, 4, 6, 1, 3, 5, 7} {
					g.AppendDatum(U64(q))
				}
			})
			g.VPERMQ(r, g.held(order), r)
		} else {
			g.VPERMQ(Imm(0xD8), r, r)
		}
		near, far := at(row, offset), Mem{Base: row, Index: stride, Scale: 1, Disp: offset}
		if i%2 == 1 {
			near, far = Mem{Base: row, Index: stride, Scale: 2, Disp: offset}, Mem{Base: row, Index: stride3, Scale: 1, Disp: offset}
		}
		if g.isa == avx512 {
			g.VMOVDQU(r.AsY(), near)
			g.VEXTRACTI64X4(Imm(1), r, far)
		} else {
			g.VMOVDQU(r.AsX(), near)
			g.VEXTRACTI128(Imm(1), r, far)
		}
		if i == 1 {
			g.LEAQ(Mem{Base: row, Index: stride, Scale: 4}, row)
		}
	}
}
