package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Samples are multiplied in pairs of words: with the high and the low halves of their coefficients, and the two sums put
// together at the end, which gives the 32 bits of the whole products' sum.

const rowsDoc = `	for y := range %[2]d {
		for i := range (outputs + 3) / 4 * 4 {
			var s [%[1]d]int32 // starting from half
			for j := range 4 * quads {
				high, low := halves of coefficient j of output i
				for c := range s {
					s[c] += int32(src[y*srcStride+offsets[i]+%[1]d*j+c]) * (high<<12 + low)
				}
			}
			for c, v := range s {
				dst[y*dstStride+%[1]d*i+c] = clip8(v)
			}
		}
	} // and 16 bytes are read where %[3]d are used, written where %[3]d are results`

const columnDoc = `	for x := range n { // at least %d
		s := int32(half)
		for i := range count {
			high, low := halves[i/2*4+i%%2], halves[i/2*4+2+i%%2]
			s += int32(src[i*stride+x]) * (high<<12 + low)
		}
		dst[x] = clip8(s)
	}`

func resizes(g *gen) {
	rows(g, 3)
	rows(g, 4)
	column(g)
}

const half, fixedBits, splitBits = 1 << 21, 22, 12

// rows emits the horizontal pass for pixels of 3 or 4 samples. A lane has a row's pixel, its channels in 32 bits each.
func rows(g *gen, channels int) {
	g.function(fmt.Sprint("rows", channels),
		"func(dst *byte, dstStride int, src *byte, srcStride int, offsets *int32, halves *int16, outputs, quads int)",
		fmt.Sprintf(rowsDoc, channels, g.lanes(), 4*channels))
	dst, dstStride := g.param("dst"), g.param("dstStride")
	offsets, halves, outputs := g.param("offsets"), g.param("halves"), g.param("outputs")
	src := g.rowBases("src", "srcStride")
	pairs := [2]reg.VecVirtual{}
	for i := range pairs {
		pairs[i] = g.held(g.pairShuffle(channels, 2*i))
	}
	again, quad := g.label(), g.label()
	g.Label(again)
	high, low := g.wides(4), g.wides(4)
	var from [4]reg.GPVirtual
	for i := range 4 {
		g.zero(high[i])
		g.load(g.dwords(half), low[i])
		from[i] = g.GP64()
		g.MOVLQSX(at(offsets, 4*i), from[i])
		g.ADDQ(src[0], from[i])
	}
	g.ADDQ(Imm(16), offsets)
	left := g.param("quads")
	g.Label(quad)
	for i := range 4 {
		g.rowQuad(from[i], src, halves, 16*i, pairs, high[i], low[i])
		g.ADDQ(Imm(uint64(4*channels)), from[i])
	}
	g.ADDQ(Imm(64), halves)
	g.DECQ(left)
	g.JNZ(LabelRef(quad))
	for i := range 4 {
		g.VPSLLD(Imm(splitBits), high[i], high[i])
		g.VPADDD(high[i], low[i], low[i])
		g.VPSRAD(Imm(fixedBits), low[i], low[i])
	}
	g.VPACKSSDW(low[1], low[0], low[0])
	g.VPACKSSDW(low[3], low[2], low[2])
	g.VPACKUSWB(low[2], low[0], low[0])
	if channels == 3 {
		g.VPSHUFB(g.shuffle("drop4th", []int{0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14}), low[0], low[0])
	}
	row := g.GP64()
	g.MOVQ(dst, row)
	for i := range g.lanes() {
		g.lane(i, low[0], at(row, 0))
		if i+1 < g.lanes() {
			g.ADDQ(dstStride, row)
		}
	}
	g.ADDQ(Imm(uint64(4*channels)), dst)
	g.SUBQ(Imm(4), outputs)
	g.JGT(LabelRef(again))
	g.end()
}

// rowBases returns the first row's address and the distances to the others.
func (g *gen) rowBases(base, stride string) []reg.Register {
	b := []reg.Register{g.param(base), g.param(stride)}
	for i := 2; i < g.lanes(); i++ {
		d := g.GP64()
		g.MOVQ(b[i-1], d)
		g.ADDQ(b[1], d)
		b = append(b, d)
	}
	return b
}

// rowQuad multiplies four pixels of each row with the coefficients of one output.
func (g *gen) rowQuad(from reg.Register, src []reg.Register, halves reg.Register, offset int, pairs [2]reg.VecVirtual, high, low reg.VecVirtual) {
	pixels := g.wide()
	for i := range g.lanes() {
		m := at(from, 0)
		if i > 0 {
			m = indexed(from, src[i], 0)
		}
		g.insertLane(i, m, pixels)
	}
	for p, shuffle := range pairs {
		words := g.wide()
		g.VPSHUFB(shuffle, pixels, words)
		g.multiplyAdd(at(halves, offset+8*p), words, high)
		g.multiplyAdd(at(halves, offset+8*p+4), words, low)
	}
}

// multiplyAdd adds the products of pairs of words with a pair in memory to sum.
func (g *gen) multiplyAdd(m Mem, words, sum reg.VecVirtual) {
	if g.isa == avx512 {
		g.VPDPWSSD_BCST(m, words, sum)
		return
	}
	p := g.wide()
	g.VPBROADCASTD(m, p)
	g.VPMADDWD(words, p, p)
	g.VPADDD(p, sum, sum)
}

// pairShuffle is the shuffle of bytes that puts two pixels' samples side by side, as words.
func (g *gen) pairShuffle(channels, first int) Mem {
	from := make([]int, 16)
	for i := range from {
		channel, pixel := i/4, first+i/2%2
		from[i] = channels*pixel + channel
		if i%2 == 1 || channel >= channels {
			from[i] = -1
		}
	}
	return g.shuffle(fmt.Sprintf("pair_%d_%d", channels, first), from)
}

// column emits the vertical pass.
func column(g *gen) {
	g.function("column", "func(dst, src *byte, stride, n int, halves *int16, count int)", fmt.Sprintf(columnDoc, g.bytes()/2))
	dst, src, stride, n := g.param("dst"), g.param("src"), g.param("stride"), g.param("n")
	g.blocks(n, g.bytes()/2, func(x reg.Register) {
		high, low := g.wides(2), g.wides(2)
		for i := range 2 {
			g.zero(high[i])
			g.load(g.dwords(half), low[i])
		}
		upper, lower, halves, left := g.GP64(), g.GP64(), g.param("halves"), g.param("count")
		g.LEAQ(indexed(src, x, 0), upper)
		again := g.label()
		g.Label(again)
		g.LEAQ(indexed(upper, stride, 0), lower)
		g.CMPQ(left, Imm(1))
		g.CMOVQEQ(upper, lower) // whose coefficient is zero
		a, b, words := g.wide(), g.wide(), g.wide()
		g.VPMOVZXBW(at(upper, 0), a)
		g.VPMOVZXBW(at(lower, 0), b)
		g.VPUNPCKLWD(b, a, words)
		g.VPUNPCKHWD(b, a, a)
		for i, w := range []reg.VecVirtual{words, a} {
			g.multiplyAdd(at(halves, 0), w, high[i])
			g.multiplyAdd(at(halves, 4), w, low[i])
		}
		g.LEAQ(Mem{Base: upper, Index: stride, Scale: 2}, upper)
		g.ADDQ(Imm(8), halves)
		g.SUBQ(Imm(2), left)
		g.JGT(LabelRef(again))
		for i := range 2 {
			g.VPSLLD(Imm(splitBits), high[i], high[i])
			g.VPADDD(high[i], low[i], low[i])
			g.VPSRAD(Imm(fixedBits), low[i], low[i])
		}
		g.VPACKSSDW(low[1], low[0], low[0])
		g.storeBytes(low[0], indexed(dst, x, 0))
	})
	g.end()
}

// storeBytes stores words as bytes, limited to 0 to 255.
func (g *gen) storeBytes(r reg.VecVirtual, m Mem) {
	if g.isa == avx512 {
		zero := g.wide()
		g.zero(zero)
		g.VPMAXSW(zero, r, r)
		g.VPMOVUSWB(r, m)
		return
	}
	g.VPACKUSWB(r, r, r)
	g.VPERMQ(Imm(0xD8), r, r)
	g.VMOVDQU(r.AsX(), m)
}
