package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const boundsDoc = `	for i := range 16 {
		sum := int32(0)
		for p := range k { // a multiple of 16
			sum += int32(codes[i*stride+p]) * int32(q[p])
		}
		c := abs(scale[i])
		u := scale[i]*(float32(sum)*coef[0]) + c*coef[1] + loss[i]*coef[2] + coef[3]
		dst[i] = u
		if !(u < coef[6]) || !(c*coef[4]+loss[i] < coef[5]) {
			mask |= 1 << i
		}
	}`

// bounds emits the upper bounds of 16 rows' scores from their codes. Codes are widened to 16 bits, where a multiply-add of
// pairs takes them with the query's 16 bits, and four rows share what is loaded of the query.
func bounds(g *gen) {
	g.function("bounds", "func(dst *float32, codes *int8, stride int, q *int16, k int, scale, loss, coef *float32) (mask uint64)", boundsDoc)
	row := [4]reg.Register{g.Load(g.Param("codes"), g.GP64()), g.GP64(), g.GP64(), g.GP64()}
	stride, q := g.Load(g.Param("stride"), g.GP64()), g.Load(g.Param("q"), g.GP64())
	var half reg.Register // of AVX-512: the lower words
	if g.isa == avx512 {
		words := g.GP32()
		g.MOVL(U32(0xffff), words)
		half = g.K()
		g.KMOVD(words, half)
	}
	sums := g.AllocLocal(64)
	next := g.GP64()
	g.MOVQ(stride, next)
	g.SHLQ(Imm(4), next)
	for group := range 4 {
		for i := 1; i < 4; i++ {
			g.LEAQ(Mem{Base: row[i-1], Index: stride, Scale: 1}, row[i])
		}
		g.codeSums(row, q, next, half, sums.Offset(16*group))
		g.LEAQ(Mem{Base: row[3], Index: stride, Scale: 1}, row[0])
	}

	coef := g.Load(g.Param("coef"), g.GP64())
	scale, loss, dst := g.Load(g.Param("scale"), g.GP64()), g.Load(g.Param("loss"), g.GP64()), g.Load(g.Param("dst"), g.GP64())
	mask := g.GP64()
	g.XORQ(mask, mask)
	abs := g.wide()
	g.absMask(abs)
	spread := func(i int) reg.VecVirtual {
		r := g.wide()
		g.VBROADCASTSS(Mem{Base: coef, Disp: 4 * i}, r)
		return r
	}
	for i := 0; i < 16; i += g.width() {
		u, c, size, l, reach := g.wide(), g.wide(), g.wide(), g.wide(), g.wide()
		g.VCVTDQ2PS(sums.Offset(4*i), u)
		g.VMULPS(spread(0), u, u)
		g.VMOVUPS(Mem{Base: scale, Disp: 4 * i}, c)
		g.VMOVUPS(Mem{Base: loss, Disp: 4 * i}, l)
		g.bitAnd(abs, c, size)
		g.VMOVAPS(spread(3), reach)
		g.VFMADD231PS(spread(2), l, reach)
		g.VFMADD231PS(spread(1), size, reach)
		g.VFMADD213PS(reach, c, u)
		g.VFMADD231PS(spread(4), size, l)
		g.VMOVUPS(u, Mem{Base: dst, Disp: 4 * i})
		for _, test := range [][2]reg.VecVirtual{{u, spread(6)}, {l, spread(5)}} {
			bits := g.notLess(test[0], test[1])
			if i > 0 {
				g.SHLQ(Imm(uint64(i)), bits)
			}
			g.ORQ(bits, mask)
		}
	}
	g.Store(mask, g.ReturnIndex(0))
	g.end()
}

// codeSums writes the products of 4 rows of codes with a query.
func (g *gen) codeSums(row [4]reg.Register, q, next, half reg.Register, dst Mem) {
	acc := [4]reg.VecVirtual{}
	for i := range acc {
		acc[i] = g.wide()
		g.zero(acc[i])
	}
	left, at := g.Load(g.Param("k"), g.GP64()), g.GP64()
	again, tail, done := g.label(), g.label(), g.label()
	g.XORQ(at, at)
	codes := 2 * g.width()
	step := func(masked bool) {
		w := g.wide()
		load := Mem{Base: q, Index: at, Scale: 2}
		if masked {
			g.VMOVDQU16_Z(load, half, w)
		} else {
			g.VMOVUPS(load, w)
		}
		for i, r := range row {
			v := g.wide()
			m := Mem{Base: r, Index: at, Scale: 1}
			if masked {
				g.VPMOVSXBW_Z(m, half, v)
			} else {
				g.VPMOVSXBW(m, v)
			}
			g.VPMADDWD(w, v, v)
			g.VPADDD(v, acc[i], acc[i])
		}
	}
	g.SUBQ(Imm(uint64(codes)), left)
	g.JLT(LabelRef(tail))
	g.Label(again)
	for _, r := range row {
		ahead := g.GP64()
		g.LEAQ(Mem{Base: r, Index: next, Scale: 1}, ahead)
		g.PREFETCHT1(Mem{Base: ahead, Index: at, Scale: 1})
	}
	step(false)
	g.ADDQ(Imm(uint64(codes)), at)
	g.SUBQ(Imm(uint64(codes)), left)
	g.JGE(LabelRef(again))
	g.Label(tail)
	if g.isa == avx512 {
		g.CMPQ(left, I8(-codes))
		g.JEQ(LabelRef(done))
		step(true)
	}
	g.Label(done)
	g.VMOVDQU(g.sum4(acc), dst)
}

// sum4 adds the lanes of each of 4 registers: element i of the result is the sum of register i.
func (g *gen) sum4(in [4]reg.VecVirtual) reg.VecVirtual {
	pair := func(a, b reg.VecVirtual, low, high func(a, b, dst Op)) reg.VecVirtual {
		x, y := g.wide(), g.wide()
		low(b, a, x)
		high(b, a, y)
		g.VPADDD(x, y, x)
		return x
	}
	dwords := [2]func(a, b, dst Op){func(a, b, dst Op) { g.VPUNPCKLDQ(a, b, dst) }, func(a, b, dst Op) { g.VPUNPCKHDQ(a, b, dst) }}
	quads := [2]func(a, b, dst Op){func(a, b, dst Op) { g.VPUNPCKLQDQ(a, b, dst) }, func(a, b, dst Op) { g.VPUNPCKHQDQ(a, b, dst) }}
	all := pair(pair(in[0], in[1], dwords[0], dwords[1]), pair(in[2], in[3], dwords[0], dwords[1]), quads[0], quads[1])
	y := all
	if g.isa == avx512 {
		high := g.YMM()
		y = g.YMM()
		g.VEXTRACTI64X4(Imm(1), all, high)
		g.VPADDD(high, all.AsY(), y)
	}
	high, sum := g.XMM(), g.XMM()
	g.VEXTRACTI128(Imm(1), y, high)
	g.VPADDD(high, y.AsX(), sum)
	return sum
}

// absMask fills r with what clears signs.
func (g *gen) absMask(r reg.VecVirtual) {
	x := g.GP32()
	g.MOVL(U32(1<<31-1), x)
	g.VMOVD(x, r.AsX())
	g.VPBROADCASTD(r.AsX(), r)
}

// bitAnd is the same for both sets.
func (g *gen) bitAnd(a, b, dst reg.VecVirtual) {
	if g.isa == avx512 {
		g.VPANDD(a, b, dst)
		return
	}
	g.VANDPS(a, b, dst)
}

// notLess returns the bits of the elements where x < y is false; comparisons with NaN are.
func (g *gen) notLess(x, y reg.VecVirtual) reg.GPVirtual {
	const notLessThan = 0x15 // unordered, quiet
	bits := g.GP64()
	if g.isa == avx512 {
		k := g.K()
		g.VCMPPS(Imm(notLessThan), y, x, k)
		g.KMOVW(k, bits.As32())
		return bits
	}
	r := g.wide()
	g.VCMPPS(Imm(notLessThan), y, x, r)
	g.VMOVMSKPS(r, bits.As32())
	return bits
}

const reachedDoc = `	for i := range rows { // at least 1
		marks[i] = 0
		for j := range %[1]d {
			if !(x[i*%[1]d+j] < floors[j]) {
				marks[i] |= 1 << j
			}
		}
	}`

// reached emits the comparison of a tile with a row.
func reached(g *gen) {
	g.function("reached", "func(marks *uint32, x *float32, rows int, floors *float32)", fmt.Sprintf(reachedDoc, 2*g.width()))
	marks, x, floors := g.Load(g.Param("marks"), g.GP64()), g.Load(g.Param("x"), g.GP64()), g.Load(g.Param("floors"), g.GP64())
	rows := g.Load(g.Param("rows"), g.GP64())
	floor := [2]reg.VecVirtual{g.wide(), g.wide()}
	bytes := 4 * g.width()
	for h, r := range floor {
		g.VMOVUPS(Mem{Base: floors, Disp: h * bytes}, r)
	}
	g.Label("row")
	var bits [2]reg.GPVirtual
	for h, r := range floor {
		v := g.wide()
		g.VMOVUPS(Mem{Base: x, Disp: h * bytes}, v)
		bits[h] = g.notLess(v, r)
	}
	g.SHLQ(Imm(uint64(g.width())), bits[1])
	g.ORQ(bits[1], bits[0])
	g.MOVL(bits[0].As32(), Mem{Base: marks})
	g.ADDQ(Imm(4), marks)
	g.ADDQ(I32(2*bytes), x)
	g.DECQ(rows)
	g.JNZ(LabelRef("row"))
	g.end()
}

// converts emits the conversion of rows.
func converts(g *gen) {
	for _, s := range sources[1:] {
		g.function("from"+s.name, "func(dst *float32, src *uint16, n int)", fmt.Sprintf(`	for i := range n { // a multiple of 16, at least 16
		dst[i] = %s
	}`, strings.Replace(s.convert, "i*stride+p", "i", 1)))
		dst, src, n := g.Load(g.Param("dst"), g.GP64()), g.Load(g.Param("src"), g.GP64()), g.Load(g.Param("n"), g.GP64())
		g.Label("again")
		for i := 0; i < 16; i += g.width() {
			v := g.wide()
			s.load(g, Mem{Base: src, Disp: 2 * i}, v)
			g.VMOVUPS(v, Mem{Base: dst, Disp: 4 * i})
		}
		g.ADDQ(Imm(32), src)
		g.ADDQ(Imm(64), dst)
		g.SUBQ(Imm(16), n)
		g.JNZ(LabelRef("again"))
		g.end()
	}
}

// shift emits what makes unsigned bytes of codes.
func shift(g *gen) {
	g.function("shift", "func(dst *uint32, codes *int8, n int) (squares int32)", `	for i, v := range codes[:n] { // a multiple of 16, at least 16
		bytes(dst)[i] = uint8(v) ^ 128
		squares += int32(v) * int32(v)
	}`)
	dst, codes, n := g.Load(g.Param("dst"), g.GP64()), g.Load(g.Param("codes"), g.GP64()), g.Load(g.Param("n"), g.GP64())
	sign, sum := g.XMM(), g.YMM()
	signs := g.GP32()
	g.MOVL(U32(0x80808080), signs)
	g.VMOVD(signs, sign)
	g.VPBROADCASTD(sign, sign)
	g.VPXOR(sum, sum, sum)
	g.Label("again")
	v, w := g.XMM(), g.YMM()
	g.VMOVDQU(Mem{Base: codes}, v)
	g.VPMOVSXBW(v, w)
	g.VPXOR(sign, v, v)
	g.VMOVDQU(v, Mem{Base: dst})
	g.VPMADDWD(w, w, w)
	g.VPADDD(w, sum, sum)
	g.ADDQ(Imm(16), codes)
	g.ADDQ(Imm(16), dst)
	g.SUBQ(Imm(16), n)
	g.JNZ(LabelRef("again"))
	high := g.XMM()
	for _, half := range []func(){
		func() { g.VEXTRACTI128(Imm(1), sum, high) },
		func() { g.VPSRLDQ(Imm(8), sum.AsX(), high) },
		func() { g.VPSRLDQ(Imm(4), sum.AsX(), high) },
	} {
		half()
		g.VPADDD(high, sum.AsX(), sum.AsX())
	}
	result := g.GP32()
	g.VMOVD(sum.AsX(), result)
	g.Store(result, g.ReturnIndex(0))
	g.end()
}
