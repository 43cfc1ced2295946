package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The emitters below are the functions of ../functions.go with fused multiply-adds.

// exp turns x into exp(x) for x up to expHigh.
func (g *gen) exp(x vec) {
	const notLess, nearest = 0x15, 8 // predicate NLT_UQ, which NaN meets; rounding to nearest even, no exceptions
	var normal reg.Register
	live, n := vec(nil), g.vec()
	g.doConstant(mul, n, x, "log2e")
	if g.isa == avx512 {
		normal = g.K()
		g.VCMPPS_BCST(Imm(notLess), g.constant("expLow"), x[0], normal)
		g.VRNDSCALEPS(Imm(nearest), n[0], n[0])
	} else {
		live = g.vec()
		for i := range x {
			g.VCMPPS(Imm(notLess), g.constant("expLow"), x[i], live[i])
			g.VROUNDPS(Imm(nearest), n[i], n[i])
		}
	}
	g.doConstant(fnma, x, n, "ln2High")
	g.doConstant(fnma, x, n, "ln2Low")
	q := g.vec()
	for i := range q {
		g.VBROADCASTSS(g.constant("expQ4"), q[i])
	}
	g.horners(q, x, "expQ3", "expQ2", "expQ1", "expQ0", "one", "one")
	if g.isa == avx512 {
		g.VSCALEFPS_Z(n[0], q[0], normal, x[0])
		return
	}
	for i := range x {
		g.scale(q[i], n[i])
		g.VANDPS(live[i], q[i], x[i])
	}
}

// scale emits q *= 2^n for AVX2, in two steps because 2^128 is no float32. It destroys n.
func (g *gen) scale(q, n reg.VecVirtual) {
	half := g.YMM()
	g.VCVTPS2DQ(n, n)
	g.VPSRAD(Imm(1), n, half)
	g.VPSUBD(half, n, n)
	for _, r := range []reg.VecVirtual{half, n} {
		g.VPADDD(g.constant("bias"), r, r)
		g.VPSLLD(Imm(23), r, r)
		g.VMULPS(r, q, q)
	}
}

// tail returns the upper tail of the normal distribution at a and exp(-a*a/2).
func (g *gen) tail(a, one vec) (upper, e vec) {
	e = g.vec()
	g.doConstant(mul, e, a, "minusHalf")
	g.do(mul, e, e, a)
	g.exp(e)
	t, m := g.vec(), g.vec()
	for i := range t {
		g.VBROADCASTSS(g.constant("tailT"), t[i])
	}
	g.do(horner, t, a, one)
	g.do(div, t, one, t)
	for i := range m {
		g.VBROADCASTSS(g.constant("tailM7"), m[i])
	}
	g.horners(m, t, "tailM6", "tailM5", "tailM4", "tailM3", "tailM2", "tailM1", "tailM0")
	g.do(mul, m, m, t)
	g.do(mul, m, m, e)
	return m, e
}

// magnitude returns |x|.
func (g *gen) magnitude(x vec) vec {
	a := g.vec()
	g.doConstant(and, a, x, "magnitude")
	return a
}

// activation is the emitter of y = f(y + bias), and that of dst = dy*f'(pre).
type activation struct {
	name  string
	apply func(g *gen) func(x vec) vec
	slope func(g *gen) func(x vec) vec
}

var activations = []activation{
	{"GELU", (*gen).gelu, (*gen).geluSlope},
	{"GELUTanh", (*gen).geluTanh, (*gen).geluTanhSlope},
	{"QuickGELU", (*gen).quickGELU, (*gen).quickGELUSlope},
	{"ReLU", (*gen).relu, nil},
}

func (g *gen) gelu() func(x vec) vec {
	one, zero := g.spreadConstant("one"), g.spreadZero()
	return func(x vec) vec {
		a := g.magnitude(x)
		g.doConstant(least, a, a, "tailMax") // NaN becomes tailMax here and stays NaN in x
		g.do(largest, x, zero, x)
		q, _ := g.tail(a, one)
		g.do(fnma, x, a, q)
		return x
	}
}

func (g *gen) geluSlope() func(x vec) vec {
	one, most := g.spreadConstant("one"), g.spreadConstant("tailMax")
	return func(x vec) vec {
		a := g.magnitude(x)
		g.do(least, a, most, a)
		q, e := g.tail(a, one)
		g.doConstant(mul, e, e, "invSqrt2Pi")
		g.do(mul, e, e, a) // x has the sign of the product
		upper := g.vec()
		g.do(sub, upper, one, q)
		g.choose(q, x, upper, q)
		g.doConstant(and, x, x, "signBit")
		g.do(or, e, e, x)
		g.do(add, q, q, e)
		return q
	}
}

// choose emits dst = positive where the sign of x is clear, and negative elsewhere.
func (g *gen) choose(dst, x, positive, negative vec) {
	for i := range dst {
		if g.isa == avx512 {
			k := g.K()
			g.VPMOVD2M(x[i], k)
			g.VBLENDMPS(negative[i], positive[i], k, dst[i])
		} else {
			g.VBLENDVPS(x[i], negative[i], positive[i], dst[i])
		}
	}
}

func (g *gen) geluTanh() func(x vec) vec {
	one := g.spreadConstant("one")
	return func(x vec) vec {
		u, e := g.vec(), g.vec()
		g.do(mul, u, x, x)
		for i := range e {
			g.VBROADCASTSS(g.constant("tanhMinus3"), e[i])
		}
		g.horners(e, u, "tanhMinus1")
		g.do(mul, e, e, x)
		g.doConstant(least, e, e, "expHigh") // NaN becomes expHigh here and stays NaN in x
		g.exp(e)
		g.do(add, e, e, one)
		g.do(div, x, x, e)
		return x
	}
}

func (g *gen) quickGELU() func(x vec) vec {
	one := g.spreadConstant("one")
	return func(x vec) vec {
		e := g.vec()
		g.doConstant(mul, e, x, "quickMinus")
		g.doConstant(least, e, e, "expHigh") // NaN becomes expHigh here and stays NaN in x
		g.exp(e)
		g.do(add, e, e, one)
		g.do(div, x, x, e)
		return x
	}
}

func (g *gen) geluTanhSlope() func(x vec) vec {
	one, most, least := g.spreadConstant("one"), g.spreadConstant("tanhSaturate"), g.spreadConstant("tanhMinusSaturate")
	return func(x vec) vec {
		g.clamp(x, least, most)
		xx, e, du := g.vec(), g.vec(), g.vec()
		g.do(mul, xx, x, x)
		for i := range e {
			g.VBROADCASTSS(g.constant("tanhMinus3"), e[i])
			g.VBROADCASTSS(g.constant("tanhSlope3"), du[i])
		}
		g.horners(e, xx, "tanhMinus1")
		g.horners(du, xx, "tanhSlope1")
		g.do(mul, du, du, x)
		g.do(mul, e, e, x)
		return g.sigmoidSlope(du, e, one)
	}
}

func (g *gen) quickGELUSlope() func(x vec) vec {
	one, most, least := g.spreadConstant("one"), g.spreadConstant("quickSaturate"), g.spreadConstant("quickMinusSaturate")
	return func(x vec) vec {
		g.clamp(x, least, most)
		e := g.vec()
		g.doConstant(mul, e, x, "quickMinus")
		g.doConstant(mul, x, x, "quickSlope")
		return g.sigmoidSlope(x, e, one)
	}
}

// sigmoidSlope returns s + du*s*(1-s) for s = 1/(1+exp(minusU)).
func (g *gen) sigmoidSlope(du, minusU, one vec) vec {
	e, s := minusU, g.vec()
	g.exp(e)
	g.do(add, s, e, one)
	g.do(div, s, one, s)
	g.do(mul, e, e, s) // 1-s without cancellation
	g.do(mul, du, du, s)
	g.do(fma, s, du, e)
	return s
}

// clamp emits x = min(max(x, low), high), NaN for NaN.
func (g *gen) clamp(x, low, high vec) {
	g.do(largest, x, low, x)
	g.do(least, x, high, x)
}

func (g *gen) relu() func(x vec) vec {
	zero := g.spreadZero()
	return func(x vec) vec {
		g.do(largest, x, zero, x)
		return x
	}
}

// spreadZero returns a vector of zeros in one register.
func (g *gen) spreadZero() vec {
	r := g.wide()
	g.zero(r)
	if g.isa == avx512 {
		return vec{r}
	}
	return vec{r, r}
}
