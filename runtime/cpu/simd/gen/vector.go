package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type isa string

const (
	avx512 isa = "avx512"
	avx2   isa = "avx2"
)

// gen emits one file of assembly for one instruction set.
type gen struct {
	*build.Context
	isa    isa
	values map[string]float32 // the named constants
	data   map[string]Mem     // those already in the file
	labels int
}

// suffix ends the names of the set's functions.
func (g *gen) suffix() string { return strings.ToUpper(string(g.isa)) }

// width is the number of floats in a register.
func (g *gen) width() int {
	if g.isa == avx512 {
		return 16
	}
	return 8
}

// wide allocates a register of the widest kind.
func (g *gen) wide() reg.VecVirtual {
	if g.isa == avx512 {
		return g.ZMM()
	}
	return g.YMM()
}

func (g *gen) zero(r reg.VecVirtual) {
	if g.isa == avx512 {
		g.VPXORD(r, r, r)
		return
	}
	g.VXORPS(r, r, r)
}

// label returns a new label.
func (g *gen) label() string {
	g.labels++
	return fmt.Sprintf("l%d", g.labels)
}

// function starts a function of the set, whose stub's comment is the Go loop that it equals.
func (g *gen) function(name, signature, doc string) {
	g.labels = 0
	g.Function(name + g.suffix())
	g.Pragma("noescape")
	g.SignatureExpr(signature)
	g.Doc(strings.Split(doc, "\n")...)
}

// vec is a vector of 16 floats: one register of AVX-512, two of AVX2. A constant may be one register twice.
type vec []reg.VecVirtual

func (g *gen) vec() vec {
	if g.isa == avx512 {
		return vec{g.ZMM()}
	}
	return vec{g.YMM(), g.YMM()}
}

// zeros returns a vector of zeros.
func (g *gen) zeros() vec {
	v := g.vec()
	for _, r := range v {
		g.zero(r)
	}
	return v
}

// spread returns a vector of which every element is the lowest of x.
func (g *gen) spread(x Op) vec {
	r := g.wide()
	g.VBROADCASTSS(x, r)
	if g.isa == avx512 {
		return vec{r}
	}
	return vec{r, r}
}

// constant returns the address of a named constant, or of a number: 32 bytes that repeat it for AVX2, 4 for the embedded
// broadcast of AVX-512.
func (g *gen) constant(name string) Mem {
	if m, ok := g.data[name]; ok {
		return m
	}
	v, ok := g.values[name]
	if !ok {
		if v, ok = numbers[name]; !ok {
			panic("no constant " + name)
		}
	}
	m := g.StaticGlobal(name + g.suffix())
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	copies := 1
	if g.isa == avx2 {
		copies = 8
	}
	for range copies {
		g.AppendDatum(U32(math.Float32bits(v)))
	}
	g.data[name] = m
	return m
}

// numbers are the constants that need no derivation.
var numbers = map[string]float32{
	"one":       1,
	"minusHalf": -0.5,
	"minusInf":  float32(math.Inf(-1)),
	"signBit":   float32(math.Copysign(0, -1)),
	"magnitude": math.Float32frombits(1<<31 - 1), // all but the sign
	"bias":      math.Float32frombits(127),       // of the exponent, an integer
	"plusInf":   float32(math.Inf(1)),
	"levels":    255,                          // of a byte, less one
	"tiny":      1e-30,                        // the least span that is quantised
	"halfBelow": math.Float32frombits(0x7fff), // of the lower half of a word, half a unit of the upper, less one
	"lowBit":    math.Float32frombits(1),
	"quiet":     math.Float32frombits(0x400000), // the bit of a quiet NaN
	"highHalf":  math.Float32frombits(0xffff0000),
	"evenBytes": math.Float32frombits(0x00ff00ff),
}

// spreadConstant returns a vector of a constant, in a register.
func (g *gen) spreadConstant(name string) vec { return g.spread(g.constant(name)) }

// instruction is one of three operands, and its form with an embedded broadcast.
type instruction struct {
	plain, broadcast func(*build.Context, ...Op)
}

var (
	add     = instruction{(*build.Context).VADDPS, (*build.Context).VADDPS_BCST}
	sub     = instruction{(*build.Context).VSUBPS, (*build.Context).VSUBPS_BCST}
	mul     = instruction{(*build.Context).VMULPS, (*build.Context).VMULPS_BCST}
	div     = instruction{(*build.Context).VDIVPS, (*build.Context).VDIVPS_BCST}
	and     = instruction{(*build.Context).VANDPS, (*build.Context).VANDPS_BCST}
	or      = instruction{(*build.Context).VORPS, (*build.Context).VORPS_BCST}
	fma     = instruction{(*build.Context).VFMADD231PS, (*build.Context).VFMADD231PS_BCST}   // dst += a*b
	fnma    = instruction{(*build.Context).VFNMADD231PS, (*build.Context).VFNMADD231PS_BCST} // dst -= a*b
	horner  = instruction{(*build.Context).VFMADD213PS, (*build.Context).VFMADD213PS_BCST}   // dst = dst*a + b
	largest = instruction{(*build.Context).VMAXPS, (*build.Context).VMAXPS_BCST}             // a > b ? a : b, so NaN if b is
	least   = instruction{(*build.Context).VMINPS, (*build.Context).VMINPS_BCST}             // a < b ? a : b, so NaN if b is
)

// do emits dst = a op b.
func (g *gen) do(op instruction, dst, a, b vec) {
	for i := range dst {
		op.plain(g.Context, b[i], a[i], dst[i])
	}
}

// doConstant emits dst = a op the named constant.
func (g *gen) doConstant(op instruction, dst, a vec, name string) {
	m := g.constant(name)
	for i := range dst {
		if g.isa == avx512 {
			op.broadcast(g.Context, m, a[i], dst[i])
		} else {
			op.plain(g.Context, m, a[i], dst[i])
		}
	}
}

// horners emits p = (...(p*x + c0)*x + c1)... for the named constants.
func (g *gen) horners(p, x vec, names ...string) {
	for _, name := range names {
		g.doConstant(horner, p, x, name)
	}
}

// fold combines the lanes of all vectors by halves and returns the result, the lowest element of an XMM register.
func (g *gen) fold(op instruction, v ...vec) reg.VecVirtual {
	for w := len(v) / 2; w > 0; w /= 2 {
		for i := range w {
			g.do(op, v[i], v[i], v[i+w])
		}
	}
	low := v[0][0].(reg.Vec).AsY()
	if g.isa == avx512 {
		high := g.YMM()
		g.VEXTRACTF64X4(Imm(1), v[0][0], high)
		op.plain(g.Context, high, low, low)
	} else {
		op.plain(g.Context, v[0][1], low, low)
	}
	sum, t := g.XMM(), g.XMM()
	g.VEXTRACTF128(Imm(1), low, t)
	op.plain(g.Context, t, low.(reg.Vec).AsX(), sum)
	g.VMOVHLPS(sum, sum, t)
	op.plain(g.Context, t, sum, sum)
	g.VMOVSHDUP(sum, t)
	op.plain(g.Context, t, sum, sum)
	return sum
}
