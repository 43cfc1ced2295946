package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// colours emits the chroma upsampling and the colour conversion. Each function handles whole blocks of as many samples as a
// register has words; the last block ends where the data ends and may overlap the one before it.

const h2v1Doc = `	for x := range n { // at least %d; src[-1] and src[n] are read
		dst[2*x] = uint8((3*int(src[x]) + int(src[x-1]) + 1) >> 2)
		dst[2*x+1] = uint8((3*int(src[x]) + int(src[x+1]) + 2) >> 2)
	}`

const h2v2Doc = `	for x := range n { // at least %d; near[-1], near[n], far[-1] and far[n] are read
		sum := func(x int) int { return 3*int(near[x]) + int(far[x]) }
		dst[2*x] = uint8((3*sum(x) + sum(x-1) + 8) >> 4)
		dst[2*x+1] = uint8((3*sum(x) + sum(x+1) + 7) >> 4)
	}`

func colours(g *gen) {
	h2v1(g)
	h2v2(g)
	rgb(g)
}

// blocks emits body for all blocks of n elements: x is the first one's index.
func (g *gen) blocks(n reg.Register, block int, body func(x reg.Register)) {
	x, last := g.GP64(), g.GP64()
	g.LEAQ(at(n, -block), last)
	g.XORQ(x, x)
	again, done := g.label(), g.label()
	g.Label(again)
	body(x)
	g.CMPQ(x, last)
	g.JEQ(LabelRef(done))
	g.ADDQ(Imm(uint64(block)), x)
	g.CMPQ(x, last)
	g.CMOVQGT(last, x)
	g.JMP(LabelRef(again))
	g.Label(done)
}

func h2v1(g *gen) {
	g.function("h2v1", "func(dst, src *byte, n int)", fmt.Sprintf(h2v1Doc, g.bytes()/2))
	dst, src, n := g.param("dst"), g.param("src"), g.param("n")
	one, two := g.held(g.words(1)), g.held(g.words(2))
	g.blocks(n, g.bytes()/2, func(x reg.Register) {
		samples := func(offset int) reg.VecVirtual {
			r := g.wide()
			g.VPMOVZXBW(indexed(src, x, offset), r)
			return r
		}
		last, this, next := samples(-1), samples(0), samples(1)
		g.triple(this)
		for _, side := range []struct{ other, round reg.VecVirtual }{{last, one}, {next, two}} {
			g.VPADDW(side.round, side.other, side.other)
			g.VPADDW(this, side.other, side.other)
			g.VPSRLW(Imm(2), side.other, side.other)
		}
		g.storeTwo(last, next, dst, x)
	})
	g.end()
}

func h2v2(g *gen) {
	g.function("h2v2", "func(dst, near, far *byte, n int)", fmt.Sprintf(h2v2Doc, g.bytes()/2))
	dst, near, far, n := g.param("dst"), g.param("near"), g.param("far"), g.param("n")
	seven, eight := g.held(g.words(7)), g.held(g.words(8))
	g.blocks(n, g.bytes()/2, func(x reg.Register) {
		sum := func(offset int) reg.VecVirtual {
			r, f := g.wide(), g.wide()
			g.VPMOVZXBW(indexed(near, x, offset), r)
			g.VPMOVZXBW(indexed(far, x, offset), f)
			g.triple(r)
			g.VPADDW(f, r, r)
			return r
		}
		last, this, next := sum(-1), sum(0), sum(1)
		g.triple(this)
		for _, side := range []struct{ other, round reg.VecVirtual }{{last, eight}, {next, seven}} {
			g.VPADDW(side.round, side.other, side.other)
			g.VPADDW(this, side.other, side.other)
			g.VPSRLW(Imm(4), side.other, side.other)
		}
		g.storeTwo(last, next, dst, x)
	})
	g.end()
}

// triple multiplies words by 3.
func (g *gen) triple(r reg.VecVirtual) {
	double := g.wide()
	g.VPADDW(r, r, double)
	g.VPADDW(double, r, r)
}

// storeTwo stores words under 256 as bytes, those of even and odd in turn, at 2*x.
func (g *gen) storeTwo(even, odd reg.VecVirtual, dst, x reg.Register) {
	g.VPSLLW(Imm(8), odd, odd)
	g.or(odd, even, even)
	g.store(even, Mem{Base: dst, Index: x, Scale: 2})
}

const rgbDoc = `	for x := range n { // at least %d
		r, g, b := ToRGB(y[x], cb[x], cr[x])
		dst[3*x], dst[3*x+1], dst[3*x+2] = r, g, b
	}`

// rgb uses 16-bit lanes: libjpeg's factors of 2^16 less what can be added as a whole, 1.402 = 1 + 0.402, 1.772 = 2 - 0.228 and
// -0.714 = 0.286 - 1. (2*v*f) >> 16 drops bits that the rounding shift behind it cannot see: floor((floor(a/2^15)+1)/2) is
// floor((a+2^15)/2^16).
func rgb(g *gen) {
	g.function("rgb", "func(dst, y, cb, cr *byte, n int)", fmt.Sprintf(rgbDoc, g.bytes()/2))
	dst, luma, cb, cr, n := g.param("dst"), g.param("y"), g.param("cb"), g.param("cr"), g.param("n")
	one, centre := g.held(g.words(1)), g.held(g.words(128))
	red, blue := g.held(g.words(91881-65536)), g.held(g.words(116130-2*65536))
	green, round := g.held(g.words(-22554, 65536-46802)), g.held(g.dwords(1<<15))
	first, second := [2]reg.VecVirtual{}, [2]reg.VecVirtual{}
	for i := range 2 {
		first[i], second[i] = g.held(g.shuffle(interleave(i, 0))), g.held(g.shuffle(interleave(i, 16)))
	}
	g.blocks(n, g.bytes()/2, func(x reg.Register) {
		words := func(base reg.Register) reg.VecVirtual {
			r := g.wide()
			g.VPMOVZXBW(indexed(base, x, 0), r)
			return r
		}
		u, v, l := words(cb), words(cr), words(luma)
		g.VPSUBW(centre, u, u)
		g.VPSUBW(centre, v, v)

		scaled := func(c, factor reg.VecVirtual) reg.VecVirtual {
			r := g.wide()
			g.VPADDW(c, c, r)
			g.VPMULHW(factor, r, r)
			g.VPADDW(one, r, r)
			g.VPSRAW(Imm(1), r, r)
			return r
		}
		r, b := scaled(v, red), scaled(u, blue)
		g.VPADDW(v, r, r)
		g.VPADDW(l, r, r)
		g.VPADDW(u, b, b)
		g.VPADDW(u, b, b)
		g.VPADDW(l, b, b)
		low, high := g.wide(), g.wide()
		g.VPUNPCKLWD(v, u, low)
		g.VPUNPCKHWD(v, u, high)
		for _, half := range []reg.VecVirtual{low, high} {
			g.VPMADDWD(green, half, half)
			g.VPADDD(round, half, half)
			g.VPSRAD(Imm(16), half, half)
		}
		g.VPACKSSDW(high, low, low)
		g.VPSUBW(v, low, low)
		g.VPADDW(l, low, low)

		// Each lane has 8 pixels: first R and G, then B.
		g.VPACKUSWB(low, r, r)
		g.VPACKUSWB(b, b, b)
		out := g.wides(2)
		for i, s := range [][2]reg.VecVirtual{first, second} {
			part := g.wide()
			g.VPSHUFB(s[0], r, out[i])
			g.VPSHUFB(s[1], b, part)
			g.or(part, out[i], out[i])
		}
		to := g.GP64()
		g.LEAQ(Mem{Base: x, Index: x, Scale: 2}, to)
		g.ADDQ(dst, to)
		for i := range g.lanes() {
			g.lane(i, out[0], at(to, 24*i))
			rest := out[1].AsX()
			if i > 0 {
				r := g.XMM()
				g.lane(i, out[1], r)
				rest = r.AsX()
			}
			g.VMOVQ(rest, at(to, 24*i+16))
		}
	})
	g.end()
}

// interleave is the shuffle of 8 pixels' R and G (part 0) or B (part 1) to the interleaved bytes from first on.
func interleave(part, first int) (name string, from []int) {
	for i := first; i < min(first+16, 24); i++ {
		pixel, channel := i/3, i%3
		switch {
		case part == 0 && channel < 2:
			from = append(from, 8*channel+pixel)
		case part == 1 && channel == 2:
			from = append(from, pixel)
		default:
			from = append(from, -1)
		}
	}
	return fmt.Sprintf("interleave_%d_%d", part, first), from
}
