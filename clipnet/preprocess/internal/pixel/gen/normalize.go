package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A quotient is made of the product with the divisor's reciprocal and one step of correction by what is left, which rounds as a
// division does but for rare operands (Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor",
// IBM Journal of Research and Development 34, 1990).

const normalizeDoc = `	for x := range n / %[1]d * %[1]d { // 4 bytes behind the last pixel are read
		for c := range 3 {
			f := scale[4*c:] // mean, std, 1/std
			v := quotient(float32(src[3*x+c]), 255, 1/255) - f[0]
			dst[c*plane+x] = quotient(v, f[1], f[2])
		}
	}
	// where quotient(a, b, r) is fma(a-b*q, r, q) of q = a*r, and a-b*q is rounded once`

// normalize emits the conversion of interleaved bytes to planes of floats. A lane has four pixels.
func normalize(g *gen) {
	block := 4 * g.lanes()
	g.function("normalize", "func(dst *float32, plane int, src *byte, n int, scale *float32)", fmt.Sprintf(normalizeDoc, block))
	dst, plane, src, n, scale := g.param("dst"), g.param("plane"), g.param("src"), g.param("n"), g.param("scale")
	g.SHLQ(Imm(2), plane)
	spread := func(m Mem) reg.VecVirtual {
		r := g.wide()
		g.VBROADCASTSS(m, r)
		return r
	}
	white, reciprocal := g.held(g.floats("white", 255)), g.held(g.floats("reciprocal", float32(1)/255))
	var shuffles [3]Mem
	var factors [3][3]Mem
	for c := range 3 {
		from := make([]int, 16)
		for i := range from {
			from[i] = -1
			if i%4 == 0 {
				from[i] = 3*(i/4) + c
			}
		}
		shuffles[c] = g.shuffle(fmt.Sprint("channel_", c), from)
		for i := range 3 {
			factors[c][i] = at(scale, 4*(4*c+i))
		}
	}
	again, done := g.label(), g.label()
	g.Label(again)
	g.SUBQ(Imm(uint64(block)), n)
	g.JLT(LabelRef(done))
	pixels := g.wide()
	for i := range g.lanes() {
		g.insertLane(i, at(src, 12*i), pixels)
	}
	for c := range 3 {
		v := g.wide()
		g.VPSHUFB(shuffles[c], pixels, v)
		g.VCVTDQ2PS(v, v)
		v = g.quotient(v, white, reciprocal)
		g.VSUBPS(spread(factors[c][0]), v, v)
		v = g.quotient(v, spread(factors[c][1]), spread(factors[c][2]))
		to := at(dst, 0)
		if c > 0 {
			to = Mem{Base: dst, Index: plane, Scale: uint8(c)}
		}
		g.VMOVUPS(v, to)
	}
	g.ADDQ(Imm(uint64(3*block)), src)
	g.ADDQ(Imm(uint64(4*block)), dst)
	g.JMP(LabelRef(again))
	g.Label(done)
	g.end()
}

func (g *gen) quotient(a, b, reciprocal reg.VecVirtual) reg.VecVirtual {
	q := g.wide()
	g.VMULPS(reciprocal, a, q)
	g.VFNMADD231PS(b, q, a)
	g.VFMADD231PS(a, reciprocal, q)
	return q
}

// floats is a constant of whole registers.
func (g *gen) floats(name string, v float32) Mem {
	return g.constant(name, func() {
		for range g.bytes() / 4 {
			g.AppendDatum(F32(v))
		}
	})
}
