package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Products of elements narrower than a word of 32 bits keep a word's elements together: every lane of a panel's row holds the
// next 2 or 4 elements of one column, and a word of a is broadcast. The tile is that of gemm.go, and a step of k is a word.

// dots is a way to multiply words.
type dots struct {
	name  string // of the functions
	bytes bool   // sums are integers, to be scaled
	// phases are the parts of a word that one multiplication takes: first what brings them from a panel, then from a, and then
	// what multiplies them and adds to a sum.
	phases []dotPhase
}

type dotPhase struct {
	b, a func(g *gen, m Mem, r reg.VecPhysical)
	dot  func(g *gen, b, a, sum reg.VecPhysical, spare reg.VecPhysical)
}

func loadWords(g *gen, m Mem, r reg.VecPhysical) { g.VMOVUPS(m, r) }

func broadcastWord(g *gen, m Mem, r reg.VecPhysical) { g.VBROADCASTSS(m, r) }

// and clears bits by a mask of the file.
func (g *gen) and(name string, r Op) {
	if g.isa == avx512 {
		g.VPANDD_BCST(g.constant(name), r, r)
		return
	}
	g.VPAND(g.constant(name), r, r)
}

// madDot multiplies 16-bit integers and adds neighbours: the products of bytes are exact.
func madDot(g *gen, b, a, sum, spare reg.VecPhysical) {
	g.VPMADDWD(b, a, spare)
	g.VPADDD(spare, sum, sum)
}

var (
	pairsNative = dots{name: "gemmBF16x", phases: []dotPhase{{loadWords, broadcastWord,
		func(g *gen, b, a, sum, _ reg.VecPhysical) { g.vdpbf16ps(b, a, sum) }}}}
	// quadsWidened splits bytes into even and odd ones, widened to 16 bits.
	quadsWidened = dots{name: "gemmI8x", bytes: true, phases: []dotPhase{
		{
			func(g *gen, m Mem, r reg.VecPhysical) {
				loadWords(g, m, r)
				g.VPSLLW(Imm(8), r, r)
				g.VPSRAW(Imm(8), r, r)
			},
			func(g *gen, m Mem, r reg.VecPhysical) { broadcastWord(g, m, r); g.and("evenBytes", r) },
			madDot,
		}, {
			func(g *gen, m Mem, r reg.VecPhysical) { loadWords(g, m, r); g.VPSRAW(Imm(8), r, r) },
			func(g *gen, m Mem, r reg.VecPhysical) { broadcastWord(g, m, r); g.VPSRLW(Imm(8), r, r) },
			madDot,
		},
	}}
	quadsNative = dots{name: "gemmI8Native", bytes: true, phases: []dotPhase{{loadWords, broadcastWord,
		func(g *gen, b, a, sum, _ reg.VecPhysical) { g.VPDPBUSD(b, a, sum) }}}}
)

// words emits what makes and multiplies words.
func words(g *gen) {
	ways, most := []dots{quadsWidened}, rows2
	if g.isa == avx512 {
		ways, most = append(ways, pairsNative, quadsNative), rows512
	}
	for _, d := range ways {
		for rows := 1; rows <= most; rows++ {
			gemmWords(g, d, rows)
		}
	}
	for rows := 1; rows <= most; rows++ {
		gemmWidening(g, rows)
	}
	if g.isa == avx512 {
		identify(g)
	}
	roundPairs(g)
	round(g)
	quantise(g)
}

const wordsDoc = `	for i := range %[1]d {
		for j := range %[2]d {
			var sum %[3]s
			for p := range words {
				sum += dot(a[i*lda+p], b[p*%[2]d+j]) // of their elements
			}
			c[i*ldc+j] = %[4]s
		}
	}
`

// gemmWords emits the tile of so many rows.
func gemmWords(g *gen, d dots, rows int) {
	nr := 2 * g.width()
	scales, sum, value := "", "float32", "sum"
	if d.bytes {
		scales, sum = "aq, bq *float32, ", "int32"
		value = fmt.Sprintf("float32(sum)*aq[2*i]*bq[j] + aq[2*i+1]*bq[%d+j]", nr)
	}
	doc := fmt.Sprintf(wordsDoc, rows, nr, sum, value)
	if d.unroll() > 1 {
		doc += fmt.Sprintf(aheadDoc, unroll, prefetched, "words")
	}
	g.function(fmt.Sprint(d.name, rows),
		"func(c *float32, ldc int, a *uint32, lda int, b *uint32, words int, "+scales+"next *float32, step int)", doc)
	t := newWordTile(g, d, rows)

	c := newRows(g, "c", "ldc", rows)
	t.each(func(i, h int, r reg.VecPhysical) {
		g.zeroPhysical(r)
		g.PREFETCHT0(c.at(i, 4*g.width()*h)) // see gemm
	})
	a := newRows(g, "a", "lda", rows)
	b, k := g.Load(g.Param("b"), g.GP64()), g.Load(g.Param("words"), g.GP64())
	if n := d.unroll(); n > 1 {
		next, stride := g.Load(g.Param("next"), g.GP64()), g.Load(g.Param("step"), g.GP64())
		g.SUBQ(Imm(uint64(n)), k)
		g.JLT(LabelRef("rest"))
		g.Label("loop")
		for u := range n {
			for line := range prefetched / n {
				g.PREFETCHT1(Mem{Base: next, Disp: 64 * (u*prefetched/n + line)})
			}
			t.step(a, b, u)
		}
		a.advance(4 * n)
		g.ADDQ(I32(n*8*g.width()), b)
		g.ADDQ(stride, next)
		g.SUBQ(Imm(uint64(n)), k)
		g.JGE(LabelRef("loop"))
		g.Label("rest")
		g.ADDQ(Imm(uint64(n)), k)
		g.JZ(LabelRef("store"))
	}
	g.Label("single")
	t.step(a, b, 0)
	a.advance(4)
	g.ADDQ(I32(8*g.width()), b)
	g.DECQ(k)
	g.JNZ(LabelRef("single"))
	g.Label("store")
	if d.bytes {
		t.scale()
	}
	c = newRows(g, "c", "ldc", rows)
	t.each(func(i, h int, r reg.VecPhysical) { g.VMOVUPS(r, c.at(i, 4*g.width()*h)) })
	g.end()
}

// unroll is how many words a turn of the loop takes. Those that are not the fastest way of a machine are kept short.
func (d dots) unroll() int {
	if len(d.phases) > 1 {
		return 1
	}
	return unroll
}

// wordTile has its registers by number: the assembler lacks instructions, which are written as bytes.
type wordTile struct {
	g     *gen
	d     dots
	rows  int
	sum   [][2]reg.VecPhysical
	b     [2]reg.VecPhysical
	spare []reg.VecPhysical
	turn  int
}

func newWordTile(g *gen, d dots, rows int) *wordTile {
	t := &wordTile{g: g, d: d, rows: rows}
	n := 0
	take := func() reg.VecPhysical {
		n++
		return g.physical(n - 1)
	}
	for range rows {
		t.sum = append(t.sum, [2]reg.VecPhysical{take(), take()})
	}
	t.b = [2]reg.VecPhysical{take(), take()}
	for n < 2*g.width() && len(t.spare) < 6 {
		t.spare = append(t.spare, take())
	}
	return t
}

func (t *wordTile) each(f func(i, h int, r reg.VecPhysical)) {
	for i := range t.sum {
		for h, r := range t.sum[i] {
			f(i, h, r)
		}
	}
}

// next returns one of the spare registers, each in its turn.
func (t *wordTile) next() reg.VecPhysical {
	t.turn++
	return t.spare[t.turn%len(t.spare)]
}

// step adds the products of word u of every row.
func (t *wordTile) step(a *rowsOf, b reg.Register, u int) {
	bytes := 4 * t.g.width()
	for _, p := range t.d.phases {
		for h, r := range t.b {
			p.b(t.g, Mem{Base: b, Disp: (2*u + h) * bytes}, r)
		}
		for i := range t.sum {
			x := t.next()
			p.a(t.g, a.at(i, 4*u), x)
			for h, r := range t.b {
				spare := x
				if h == 0 && t.d.bytes && len(t.d.phases) > 1 {
					spare = t.next()
				}
				p.dot(t.g, r, x, t.sum[i][h], spare)
			}
		}
	}
}

// scale makes floats of integer sums. Nothing is fused, so that the portable loop has the same bits.
func (t *wordTile) scale() {
	g, bytes := t.g, 4*t.g.width()
	aq, bq := g.Load(g.Param("aq"), g.GP64()), g.Load(g.Param("bq"), g.GP64())
	scale, least, part := t.b[0], t.b[1], t.next()
	for i := range t.sum {
		g.VBROADCASTSS(Mem{Base: aq, Disp: 8 * i}, scale)
		g.VBROADCASTSS(Mem{Base: aq, Disp: 8*i + 4}, least)
		for h, r := range t.sum[i] {
			g.VMULPS(Mem{Base: bq, Disp: 2*bytes + bytes*h}, least, part)
			g.VCVTDQ2PS(r, r)
			g.VMULPS(scale, r, r)
			g.VMULPS(Mem{Base: bq, Disp: bytes * h}, r, r)
			g.VADDPS(part, r, r)
		}
	}
}

// identify emits a function that is not of a set.
func identify(g *gen) {
	g.Function("cpuid")
	g.SignatureExpr("func(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)")
	g.Doc("cpuid returns what the instruction says of the machine.")
	g.Load(g.Param("leaf"), reg.EAX)
	g.Load(g.Param("subleaf"), reg.ECX)
	g.CPUID()
	for i, r := range []reg.Register{reg.EAX, reg.EBX, reg.ECX, reg.EDX} {
		g.Store(r, g.ReturnIndex(i))
	}
	g.RET()
}

// physical is the i-th register of the widest kind.
func (g *gen) physical(i int) reg.VecPhysical {
	size := reg.S256
	if g.isa == avx512 {
		size = reg.S512
	}
	return reg.LookupPhysical(reg.KindVector, reg.Index(i), size).(reg.VecPhysical)
}

func (g *gen) zeroPhysical(r reg.VecPhysical) {
	if g.isa == avx512 {
		g.VPXORD(r, r, r)
		return
	}
	g.VXORPS(r, r, r)
}

// roundPairs emits the rounding to words of bfloat16.
func roundPairs(g *gen) {
	g.function("roundPairs", "func(dst *uint32, x []float32)", `	for i := range x {
		dst[i/2] |= uint32(bf16(x[i])) << (i % 2 * 16)
	}
	// and zeros behind, up to a multiple of 8 words`)
	dst, x, n := g.Load(g.Param("dst"), g.GP64()), g.slice("x"), g.length("x")
	r := g.rounder()
	g.loop(n, func(b *block) {
		v := r.round(b.load(x))
		for i := range v {
			g.VPSRLD(Imm(16), v[i], v[i])
		}
		g.storePairs(dst, v)
		g.ADDQ(Imm(32), dst)
	})
	g.end()
}

// round emits the rounding to the values of bfloat16.
func round(g *gen) {
	g.function("roundHigh", "func(dst, x []float32)", `	for i := range x {
		dst[i] = float32(bf16(x[i]))
	}`)
	dst, x, n := g.slice("dst"), g.slice("x"), g.length("x")
	r := g.rounder()
	g.loop(n, func(b *block) {
		v := r.round(b.load(x))
		for i := range v {
			g.and("highHalf", v[i])
		}
		b.store(dst, v)
	})
	g.end()
}

const wideningDoc = `	for p := range words {
		for j := range %[2]d {
			wide[(2*p)*%[2]d+j], wide[(2*p+1)*%[2]d+j] = low(b[p*%[2]d+j]), high(b[p*%[2]d+j])
		}
	}
	for i := range %[1]d {
		for j := range %[2]d {
			sum := float32(0)
			if acc {
				sum = c[i*ldc+j]
			}
			for p := range 2 * words {
				sum = fma(a[i*lda+p], wide[p*%[2]d+j], sum)
			}
			c[i*ldc+j] = sum
		}
	}
`

// gemmWidening emits the tile of so many rows that widens its panel. What it widens it stores for the tiles that follow, which costs
// nothing beside the multiply-adds: to widen a panel before its tiles took a tenth of the time of four of them.
func gemmWidening(g *gen, rows int) {
	const turn = unroll / 2 // words
	g.function(fmt.Sprint("gemmWiden", rows),
		"func(c *float32, ldc int, a *float32, lda int, b *uint32, words int, acc bool, wide, next *float32, step int)",
		fmt.Sprintf(wideningDoc, rows, 2*g.width())+fmt.Sprintf(aheadDoc, turn, prefetched, "words"))
	t := newWordTile(g, dots{}, rows)
	c := newRows(g, "c", "ldc", rows)
	at := func(i, h int) Mem { return c.at(i, 4*g.width()*h) }
	acc := g.GP32().As8()
	g.Load(g.Param("acc"), acc)
	g.TESTB(acc, acc)
	g.JZ(LabelRef("clear"))
	t.each(func(i, h int, r reg.VecPhysical) { g.VMOVUPS(at(i, h), r) })
	g.JMP(LabelRef("start"))
	g.Label("clear")
	t.each(func(i, h int, r reg.VecPhysical) {
		g.zeroPhysical(r)
		g.PREFETCHT0(at(i, h)) // see gemm
	})
	g.Label("start")
	a := newRows(g, "a", "lda", rows)
	b, wide, k := g.Load(g.Param("b"), g.GP64()), g.Load(g.Param("wide"), g.GP64()), g.Load(g.Param("words"), g.GP64())
	next, stride := g.Load(g.Param("next"), g.GP64()), g.Load(g.Param("step"), g.GP64())
	row := 8 * g.width()
	words := func(n int) {
		for u := range n {
			t.wideStep(a, b, wide, u)
		}
		a.advance(8 * n)
		g.ADDQ(I32(n*row), b)
		g.ADDQ(I32(2*n*row), wide)
	}
	g.SUBQ(Imm(turn), k)
	g.JLT(LabelRef("rest"))
	g.Label("loop")
	for line := range prefetched {
		g.PREFETCHT1(Mem{Base: next, Disp: 64 * line})
	}
	words(turn)
	g.ADDQ(stride, next)
	g.SUBQ(Imm(turn), k)
	g.JGE(LabelRef("loop"))
	g.Label("rest")
	g.ADDQ(Imm(turn), k)
	g.JZ(LabelRef("store"))
	words(1)
	g.Label("store")
	c = newRows(g, "c", "ldc", rows)
	t.each(func(i, h int, r reg.VecPhysical) { g.VMOVUPS(r, c.at(i, 4*g.width()*h)) })
	g.end()
}

// wideStep adds the products of both elements of word u, the lower one first.
func (t *wordTile) wideStep(a *rowsOf, b, wide reg.Register, u int) {
	g, bytes := t.g, 4*t.g.width()
	for half := range 2 {
		for h, r := range t.b {
			g.VMOVUPS(Mem{Base: b, Disp: (2*u + h) * bytes}, r)
			if half == 0 {
				g.VPSLLD(Imm(16), r, r)
			} else {
				g.and("highHalf", r)
			}
			g.VMOVUPS(r, Mem{Base: wide, Disp: (2*(2*u+half) + h) * bytes})
		}
		for i := range t.sum {
			x := t.next()
			g.VBROADCASTSS(a.at(i, 4*(2*u+half)), x)
			for h, r := range t.b {
				g.VFMADD231PS(r, x, t.sum[i][h])
			}
		}
	}
}

// rounder holds the constants of a rounding to bfloat16.
type rounder struct {
	g                *gen
	half, one, quiet vec
}

func (g *gen) rounder() rounder {
	return rounder{g, g.spreadConstant("halfBelow"), g.spreadConstant("lowBit"), g.spreadConstant("quiet")}
}

// round rounds to the upper 16 bits, ties to even. A NaN becomes quiet. The lower bits are undefined.
func (c rounder) round(v vec) vec {
	g, out := c.g, c.g.vec()
	for i, r := range v {
		t := g.wide()
		g.VPSRLD(Imm(16), r, t)
		if g.isa == avx512 {
			nan := g.K()
			g.VCMPPS(Imm(3), r, r, nan)
			g.VPANDD(c.one[i], t, t)
			g.VPADDD(c.half[i], t, t)
			g.VPADDD(r, t, t)
			g.VPORD(c.quiet[i], r, nan, t)
		} else {
			nan, q := g.wide(), g.wide()
			g.VCMPPS(Imm(3), r, r, nan)
			g.VPAND(c.one[i], t, t)
			g.VPADDD(c.half[i], t, t)
			g.VPADDD(r, t, t)
			g.VPOR(c.quiet[i], r, q)
			g.VPBLENDVB(nan, q, t, t)
		}
		out[i] = t
	}
	return out
}

// storePairs stores the low halves of 16 integers below 2^16.
func (g *gen) storePairs(dst reg.Register, v vec) {
	if g.isa == avx512 {
		g.VPMOVDW(v[0], Mem{Base: dst})
		return
	}
	t := g.YMM()
	g.VPACKUSDW(v[1], v[0], t)
	g.VPERMQ(Imm(0xd8), t, t)
	g.VMOVDQU(t, Mem{Base: dst})
}

// quantise emits the quantisation of a row to bytes.
func quantise(g *gen) {
	g.function("quantise", "func(dst *uint32, x []float32) (scale, least float32)", `	least, most := slices.Min(x), slices.Max(x)
	scale = max(most-least, tiny) / 255
	for i := range x {
		dst[i/4] |= uint32(roundToEven((x[i]-least)*(255/max(most-least, tiny)))) << (i % 4 * 8)
	}
	// scale is NaN if an element is not finite; what is behind x, up to a multiple of 4 words, is undefined`)
	x, n := g.slice("x"), g.length("x")
	plus, minus := g.spreadConstant("plusInf"), g.spreadConstant("minusInf")
	low, high, wrong := g.copied(plus), g.copied(minus), g.zeros()
	g.loop(n, func(b *block) {
		v := b.load(x)
		t := g.vec()
		g.do(sub, t, v, v)
		g.do(add, wrong, wrong, t)
		t = g.copied(v)
		b.fill(v, plus)
		g.do(least, low, low, v)
		b.fill(t, minus)
		g.do(largest, high, high, t)
	})
	lo, hi, nan := g.fold(least, low), g.fold(largest, high), g.fold(add, wrong)
	g.result(lo, 1)
	width, scale, levels := g.XMM(), g.XMM(), g.XMM()
	g.VSUBSS(lo, hi, width)
	g.VMAXSS(g.constant("tiny"), width, width)
	g.VMOVSS(g.constant("levels"), levels)
	g.VDIVSS(levels, width, scale)
	g.VADDSS(nan, scale, scale)
	g.result(scale, 0)
	g.VDIVSS(width, levels, levels)
	from, by := g.spread(lo), g.spread(levels)

	dst := g.Load(g.Param("dst"), g.GP64())
	g.loop(n, func(b *block) {
		v := b.load(x)
		g.do(sub, v, v, from)
		g.do(mul, v, v, by)
		for _, r := range v {
			g.VCVTPS2DQ(r, r)
		}
		g.storeBytes(dst, v)
		g.ADDQ(Imm(16), dst)
	})
	g.end()
}

// copied is a copy of v.
func (g *gen) copied(v vec) vec {
	out := g.vec()
	for i := range out {
		g.VMOVAPS(v[i], out[i])
	}
	return out
}

// storeBytes stores the lowest bytes of 16 integers below 2^8.
func (g *gen) storeBytes(dst reg.Register, v vec) {
	if g.isa == avx512 {
		g.VPMOVDB(v[0], Mem{Base: dst})
		return
	}
	t, u := g.YMM(), g.XMM()
	g.VPACKUSDW(v[1], v[0], t)
	g.VPERMQ(Imm(0xd8), t, t)
	g.VEXTRACTI128(Imm(1), t, u)
	g.VPACKUSWB(u, t.AsX(), u)
	g.VMOVDQU(u, Mem{Base: dst})
}
