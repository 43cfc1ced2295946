package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// peakDoc is the loop that a peak loop equals; its results are thrown away.
const peakDoc = `	for range n {
		for i := range acc { // %[1]d chains of %[2]s, in registers
			acc[i] %[3]s
		}
	}`

// peaks emits loops that do nothing but the set's multiply-adds, as fast as the machine can: what a product is measured against. There
// are enough chains to hide any latency: two units times six cycles at most.
func peaks(g *gen) {
	g.peak("peakFloat", "16 f32", "= acc[i]*b + c", func(acc, b, c reg.VecPhysical) { g.VFMADD213PS(c, b, acc) })
	if g.isa != avx512 {
		return
	}
	g.peak("peakBrain", "16 f32", "+= b[0]*c[0] + b[1]*c[1]", func(acc, b, c reg.VecPhysical) { g.vdpbf16ps(c, b, acc) })
	g.peak("peakBytes", "16 i32", "+= b[0]*c[0] + b[1]*c[1] + b[2]*c[2] + b[3]*c[3]", func(acc, b, c reg.VecPhysical) { g.VPDPBUSD(c, b, acc) })
}

// peakChains is a whole number of registers that leaves two for the operands.
func (g *gen) peakChains() int {
	if g.isa == avx512 {
		return 16
	}
	return 14
}

func (g *gen) peak(name, lanes, step string, multiply func(acc, b, c reg.VecPhysical)) {
	if g.isa == avx2 {
		lanes = "8 f32"
	}
	chains := g.peakChains()
	g.function(name, "func(n int)", fmt.Sprintf(peakDoc, chains, lanes, step))
	at := func(i int) reg.VecPhysical {
		if g.isa == avx512 {
			return zmm[i]
		}
		return ymm[i]
	}
	n, b, c := g.Load(g.Param("n"), g.GP64()), at(chains), at(chains+1)
	g.VBROADCASTSS(g.constant("minusHalf"), b)
	g.VBROADCASTSS(g.constant("one"), c)
	for i := range chains {
		g.VMOVUPS(c, at(i))
	}
	g.TESTQ(n, n)
	g.JLE(LabelRef("done"))
	g.Label("loop")
	for range 2 {
		for i := range chains {
			multiply(at(i), b, c)
		}
	}
	g.DECQ(n)
	g.JNZ(LabelRef("loop"))
	g.Label("done")
	g.end()
}

var (
	zmm = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12,
		reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17}
	ymm = []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12,
		reg.Y13, reg.Y14, reg.Y15}
)

// vdpbf16ps emits acc += the products of pairs of b and c, an instruction that Go's assembler lacks: EVEX.512.F3.0F38.W0 52 /r (Intel
// Software Developer's Manual, volume 2).
func (g *gen) vdpbf16ps(c, b, acc reg.VecPhysical) {
	rm, v, r := int(c.PhysicalIndex()), int(b.PhysicalIndex()), int(acc.PhysicalIndex())
	inverted := func(n, bit, to int) int { return (^n >> bit & 1) << to }
	for _, x := range []int{
		0x62,
		inverted(r, 3, 7) | inverted(rm, 4, 6) | inverted(rm, 3, 5) | inverted(r, 4, 4) | 0b010, // 0F38
		(^v&0xf)<<3 | 0b100 | 0b10,  // W0, F3
		0b10<<5 | inverted(v, 4, 3), // 512 bits
		0x52,
		0xc0 | r&7<<3 | rm&7,
	} {
		g.Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(x)}})
	}
}
