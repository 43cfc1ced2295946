package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vectorLoops emits everything but the product and its packing.
func vectorLoops(g *gen) {
	layerNorm(g)
	layerNormGrad(g)
	softmax(g)
	softmaxGrad(g)
	dot(g)
	bias(g)
	fetch(g)
	tileLoop(g, activation{"Bias", func(*gen) func(vec) vec { return func(x vec) vec { return x } }, nil})
	for _, a := range activations {
		tileLoop(g, a)
		if a.slope != nil {
			gradientLoop(g, a)
		}
	}
}

func layerNorm(g *gen) {
	g.function("layerNorm", "func(dst, x, gamma, beta []float32, eps float32) (mean, rstd float32)", `	mean = sum(x) / n
	rstd = 1 / sqrt(sum((x-mean)*(x-mean))/n+eps)
	for i := range x {
		dst[i] = (x[i]-mean)*rstd*gamma[i] + beta[i]
	}`)
	x, n := g.slice("x"), g.length("x")
	count := g.float(n)
	sums := []vec{g.zeros(), g.zeros(), g.zeros(), g.zeros()}
	g.blocks(n, 4, func(j int, b *block) { g.do(add, sums[j], sums[j], b.load(x)) })
	total := g.fold(add, sums...)
	g.VDIVSS(count, total, total)
	g.result(total, 0)
	mean := g.spread(total)

	squares := []vec{g.zeros(), g.zeros(), g.zeros(), g.zeros()}
	g.blocks(n, 4, func(j int, b *block) {
		v := b.load(x)
		g.do(sub, v, v, mean)
		b.keep(v)
		g.do(fma, squares[j], v, v)
	})
	r := g.fold(add, squares...)
	g.VDIVSS(count, r, r)
	g.VADDSS(g.scalar("eps"), r, r)
	g.VSQRTSS(r, r, r)
	one := g.XMM()
	g.VMOVSS(g.constant("one"), one)
	g.VDIVSS(r, one, r)
	g.result(r, 1)
	rstd := g.spread(r)

	dst, gamma, beta := g.slice("dst"), g.slice("gamma"), g.slice("beta")
	g.loop(n, func(b *block) {
		v := b.load(x)
		g.do(sub, v, v, mean)
		g.do(mul, v, v, rstd)
		g.do(horner, v, b.load(gamma), b.load(beta))
		b.store(dst, v)
	})
	g.end()
}

func layerNormGrad(g *gen) {
	g.function("layerNormGrad", "func(dx, dy, x, gamma []float32, mean, rstd float32)", `	for i := range dx {
		g += dy[i] * gamma[i]
		gh += dy[i] * gamma[i] * (x[i] - mean) * rstd
	}
	for i := range dx {
		dx[i] += rstd * (dy[i]*gamma[i] - g/n - (x[i]-mean)*rstd*gh/n)
	}`)
	dx, dy, x, gamma, n := g.slice("dx"), g.slice("dy"), g.slice("x"), g.slice("gamma"), g.length("dx")
	mean, rstd := g.spread(g.scalar("mean")), g.spread(g.scalar("rstd"))
	load := func(b *block) (v, h vec) {
		v, h = b.load(dy), b.load(x)
		g.do(mul, v, v, b.load(gamma))
		g.do(sub, h, h, mean)
		g.do(mul, h, h, rstd)
		return v, h
	}
	sum, sumH := g.zeros(), g.zeros()
	g.loop(n, func(b *block) {
		v, h := load(b)
		g.do(add, sum, sum, v)
		g.do(fma, sumH, v, h)
	})
	count := g.float(n)
	s, sh := g.fold(add, sum), g.fold(add, sumH)
	g.VDIVSS(count, s, s)
	g.VDIVSS(count, sh, sh)
	average, averageH := g.spread(s), g.spread(sh)
	g.loop(n, func(b *block) {
		v, h := load(b)
		g.do(sub, v, v, average)
		g.do(fnma, v, h, averageH)
		d := b.load(dx)
		g.do(fma, d, v, rstd)
		b.store(dx, d)
	})
	g.end()
}

func softmax(g *gen) {
	g.function("softmax", "func(x []float32, scale float32) (max, sum float32)", `	max = slices.Max(x)
	for i := range x {
		x[i] = exp((x[i] - max) * scale)
		sum += x[i]
	}
	for i := range x {
		x[i] *= 1 / sum
	}`)
	x, n := g.slice("x"), g.length("x")
	least := g.spreadConstant("minusInf")
	top := g.vec()
	for i := range top {
		g.VMOVAPS(least[i], top[i])
	}
	g.loop(n, func(b *block) {
		v := b.load(x)
		b.fill(v, least)
		g.do(largest, top, top, v)
	})
	m := g.fold(largest, top)
	g.result(m, 0)
	most, scale := g.spread(m), g.spread(g.scalar("scale"))
	sum := g.zeros()
	g.loop(n, func(b *block) {
		v := b.load(x)
		g.do(sub, v, v, most)
		g.do(mul, v, v, scale)
		g.exp(v)
		b.keep(v)
		g.do(add, sum, sum, v)
		b.store(x, v)
	})
	s := g.fold(add, sum)
	g.result(s, 1)
	one := g.XMM()
	g.VMOVSS(g.constant("one"), one)
	g.VDIVSS(s, one, s)
	r := g.spread(s)
	g.loop(n, func(b *block) {
		v := b.load(x)
		g.do(mul, v, v, r)
		b.store(x, v)
	})
	g.end()
}

func softmaxGrad(g *gen) {
	g.function("softmaxGrad", "func(dp, p []float32, scale float32)", `	sum := dot(dp, p)
	for i := range dp {
		dp[i] = scale * p[i] * (dp[i] - sum)
	}`)
	dp, p, n := g.slice("dp"), g.slice("p"), g.length("dp")
	sum, scale := g.spread(g.dot(dp, p, n)), g.spread(g.scalar("scale"))
	g.loop(n, func(b *block) {
		v, w := b.load(dp), b.load(p)
		g.do(mul, w, w, scale)
		g.do(sub, v, v, sum)
		g.do(mul, v, v, w)
		b.store(dp, v)
	})
	g.end()
}

func dot(g *gen) {
	g.function("dot", "func(x, y []float32) float32", `	for i := range x {
		sum += x[i] * y[i]
	}`)
	g.result(g.dot(g.slice("x"), g.slice("y"), g.length("x")), 0)
	g.end()
}

// dot returns the sum of the products of two vectors.
func (g *gen) dot(x, y, n reg.Register) reg.VecVirtual {
	sums := []vec{g.zeros(), g.zeros(), g.zeros(), g.zeros()}
	g.blocks(n, 4, func(j int, b *block) { g.do(fma, sums[j], b.load(x), b.load(y)) })
	return g.fold(add, sums...)
}

func bias(g *gen) {
	g.function("bias", "func(y, bias []float32)", `	for i := range y {
		y[i] += bias[i]
	}`)
	y, add2, n := g.slice("y"), g.slice("bias"), g.length("y")
	g.loop(n, func(b *block) {
		v := b.load(y)
		g.do(add, v, v, b.load(add2))
		b.store(y, v)
	})
	g.end()
}

// fetch asks for the lines of a tile.
func fetch(g *gen) {
	width := 2 * g.width()
	g.function("fetch", "func(p *float32, ld, rows int)", fmt.Sprintf(`	for i := range rows {
		for j := 0; j < %d; j += 16 {
			prefetch(&p[i*ld+j]) // to the first level
		}
	}`, width))
	p, ld, rows := g.Load(g.Param("p"), g.GP64()), g.Load(g.Param("ld"), g.GP64()), g.Load(g.Param("rows"), g.GP64())
	g.SHLQ(Imm(2), ld)
	again := g.label()
	g.Label(again)
	for j := 0; j < width; j += 16 {
		g.PREFETCHT0(Mem{Base: p, Disp: 4 * j})
	}
	g.ADDQ(ld, p)
	g.DECQ(rows)
	g.JNZ(LabelRef(again))
	g.RET()
}

// tileLoop finishes a tile of a product. What is absent is minus zero, which changes no bit of what it is added to.
func tileLoop(g *gen, a activation) {
	width := 2 * g.width()
	g.function("tile"+a.name, "func(y *float32, ldy, rows int, bias, res *float32, ldres int)", fmt.Sprintf(`	for i := range rows {
		for j := range %d {
			y[i*ldy+j] = %s(y[i*ldy+j]+bias[j]) + res[i*ldres+j]
		}
	}`, width, a.name))
	y, bias, res := g.Load(g.Param("y"), g.GP64()), g.Load(g.Param("bias"), g.GP64()), g.Load(g.Param("res"), g.GP64())
	ldy, ldres, rows := g.Load(g.Param("ldy"), g.GP64()), g.Load(g.Param("ldres"), g.GP64()), g.Load(g.Param("rows"), g.GP64())
	g.SHLQ(Imm(2), ldy)
	g.SHLQ(Imm(2), ldres)
	none := g.GP64()
	g.LEAQ(g.minusZeros(width), none)
	g.TESTQ(bias, bias)
	g.CMOVQEQ(none, bias)
	g.TESTQ(res, res)
	g.CMOVQEQ(none, res)
	f := a.apply(g)
	again := g.label()
	g.Label(again)
	for j := 0; j < width; j += 16 {
		v := g.vec()
		for i, r := range v {
			g.VMOVUPS(Mem{Base: y, Disp: 4*j + 32*i}, r)
			g.VADDPS(Mem{Base: bias, Disp: 4*j + 32*i}, r, r)
		}
		v = f(v)
		for i, r := range v {
			g.VADDPS(Mem{Base: res, Disp: 4*j + 32*i}, r, r)
			g.VMOVUPS(r, Mem{Base: y, Disp: 4*j + 32*i})
		}
	}
	g.ADDQ(ldy, y)
	g.ADDQ(ldres, res)
	g.DECQ(rows)
	g.JNZ(LabelRef(again))
	g.end()
}

// minusZeros is a row of a tile.
func (g *gen) minusZeros(width int) Mem {
	const name = "minusZeros"
	if m, ok := g.data[name]; ok {
		return m
	}
	m := g.StaticGlobal(name + g.suffix())
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for range width {
		g.AppendDatum(U32(1 << 31))
	}
	g.data[name] = m
	return m
}

func gradientLoop(g *gen, a activation) {
	g.function("grad"+a.name, "func(dst, dy, pre []float32)", fmt.Sprintf(`	for i := range dst {
		dst[i] = dy[i] * slope%s(pre[i])
	}`, a.name))
	dst, dy, pre, n := g.slice("dst"), g.slice("dy"), g.slice("pre"), g.length("dst")
	f := a.slope(g)
	g.loop(n, func(b *block) {
		v := f(b.load(pre))
		g.do(mul, v, v, b.load(dy))
		b.store(dst, v)
	})
	g.end()
}

// float converts an integer to the lowest float of a register.
func (g *gen) float(n reg.Register) reg.VecVirtual {
	x := g.XMM()
	g.VXORPS(x, x, x)
	g.VCVTSI2SSQ(n, x, x)
	return x
}
