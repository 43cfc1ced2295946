package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Packing transposes 16 rows into 16 columns of a panel, a register's width of k at a time. A transposition of 4x4 inside each
// 128-bit lane takes 8 shuffles for 4 registers; that the lanes hold rows 4 apart to begin with comes from loading them by
// inserts, which cost no shuffle. Sources that need a conversion are converted row by row to a block on the stack, which
// is transposed in the same way.

// source is a type that is packed.
type source struct {
	name, goType, convert string
	shift                 uint64 // log2 of the size
	load                  func(g *gen, m Mem, r reg.VecVirtual)
}

var sources = []source{
	{name: "F32", goType: "float32", convert: "src[i*stride+p]", shift: 2},
	{name: "F16", goType: "uint16", convert: "fromF16(src[i*stride+p])", shift: 1, load: func(g *gen, m Mem, r reg.VecVirtual) {
		g.VCVTPH2PS(m, r)
	}},
	{name: "BF16", goType: "uint16", convert: "fromBF16(src[i*stride+p])", shift: 1, load: func(g *gen, m Mem, r reg.VecVirtual) {
		g.VPMOVZXWD(m, r)
		g.VPSLLD(Imm(16), r, r)
	}},
}

const packDoc = `	for i := range 16 {
		for p := range k { // at least %[3]d
			if i < rows { // at least 1
				dst[p*%[1]d+i] = %[2]s
			} else {
				dst[p*%[1]d+i] = 0
			}
		}
	}`

// packs emits the packers of all sources.
func packs(g *gen) {
	for _, s := range sources {
		pack(g, s)
	}
}

// pack emits the packer of 16 rows of a source.
func pack(g *gen, s source) {
	g.function("pack"+s.name, fmt.Sprintf("func(dst *float32, src *%s, stride, rows, k int)", s.goType),
		fmt.Sprintf(packDoc, 2*g.width(), s.convert, g.width()))
	t := &transposer{g: g, source: s, panel: 8 * g.width(), pointers: g.AllocLocal(16 * 8)}
	if s.load != nil {
		t.block = g.AllocLocal(16 * 4 * g.width())
	}
	rows := g.Load(g.Param("rows"), g.GP64())
	t.rowPointers(rows)
	t.rowMasks(rows)

	t.dst, t.offset = g.Load(g.Param("dst"), g.GP64()), g.GP64()
	left := g.Load(g.Param("k"), g.GP64())
	g.XORQ(t.offset, t.offset)
	again, done := g.label(), g.label()
	g.Label(again)
	t.load(0, 16)
	t.prefetch()
	for group := 0; group < 16; group += g.width() {
		t.columns(group, func(column int, r reg.VecVirtual) {
			g.VMOVUPS(r, Mem{Base: t.dst, Disp: column*t.panel + 4*group})
		})
	}
	g.ADDQ(I32(g.width()<<s.shift), t.offset)
	g.ADDQ(I32(g.width()*t.panel), t.dst)
	g.SUBQ(Imm(uint64(g.width())), left)
	g.JLE(LabelRef(done))
	g.CMPQ(left, Imm(uint64(g.width())))
	g.JGE(LabelRef(again))
	g.Comment("The last columns once more, with as many before them as make a block.")
	back := g.GP64()
	g.LEAQ(Mem{Base: left, Disp: -g.width()}, back)
	g.MOVQ(I32(g.width()), left)
	step := g.GP64()
	g.IMUL3Q(I32(t.panel), back, step)
	g.ADDQ(step, t.dst)
	if s.shift > 0 {
		g.SHLQ(Imm(s.shift), back)
	}
	g.ADDQ(back, t.offset)
	g.JMP(LabelRef(again))
	g.Label(done)
	g.end()
}

// transposer is what a packer keeps: row i is at pointers[i], the panel's rows are panel bytes.
type transposer struct {
	g               *gen
	source          source
	panel           int
	pointers, block Mem
	dst, offset     reg.Register
	next            reg.Register // bytes to the row 16 below
	ahead           func(i int)  // of scores: asks for what follows, with row i
	k               reg.Register // of AVX-512: which rows there are
	live            []reg.VecVirtual
}

// rowPointers writes the addresses of the rows to the stack, the last one's again for those that are missing.
func (t *transposer) rowPointers(rows reg.Register) {
	g := t.g
	row, stride, next := g.Load(g.Param("src"), g.GP64()), g.Load(g.Param("stride"), g.GP64()), g.GP64()
	if t.source.shift > 0 {
		g.SHLQ(Imm(t.source.shift), stride)
	}
	t.next = g.GP64()
	g.MOVQ(stride, t.next)
	g.SHLQ(Imm(4), t.next)
	for i := range 16 {
		g.MOVQ(row, t.pointers.Offset(8*i))
		g.LEAQ(Mem{Base: row, Index: stride, Scale: 1}, next)
		g.CMPQ(rows, Imm(uint64(i+1)))
		g.CMOVQGT(next, row)
	}
}

// rowMasks makes the masks that turn missing rows to zeros.
func (t *transposer) rowMasks(rows reg.Register) {
	g := t.g
	if g.isa == avx512 {
		ones := g.GP64()
		g.MOVQ(I32(-1), ones)
		g.BZHIQ(rows, ones, ones)
		t.k = g.K()
		g.KMOVW(ones.As32(), t.k)
		return
	}
	masks, n := g.GP64(), g.GP64()
	g.LEAQ(g.tailMasks(), masks)
	g.MOVQ(rows, n)
	g.NEGQ(n)
	t.live = []reg.VecVirtual{g.YMM(), g.YMM()}
	for i, r := range t.live {
		g.VMOVUPS(Mem{Base: masks, Index: n, Scale: 4, Disp: 256 + 32*i}, r)
	}
}

// load converts one register's width of columns of rows first to first+n-1 to the block on the stack, where the source needs it.
func (t *transposer) load(first, n int) {
	if t.source.load == nil {
		return
	}
	g := t.g
	for i := first; i < first+n; i++ {
		row, v := g.GP64(), g.wide()
		g.MOVQ(t.pointers.Offset(8*i), row)
		t.source.load(g, Mem{Base: row, Index: t.offset, Scale: 1}, v)
		g.VMOVUPS(v, t.block.Offset(4*g.width()*i))
	}
}

// prefetch asks for the same columns of the next 16 rows, which arrive meanwhile: the hardware follows 16 streams badly. From
// memory this gained a quarter; from the second-level cache it costs as much of the far shorter time.
func (t *transposer) prefetch() {
	g := t.g
	for i := range 16 {
		row := g.GP64()
		g.MOVQ(t.pointers.Offset(8*i), row)
		g.ADDQ(t.offset, row)
		g.PREFETCHT0(Mem{Base: row, Index: t.next, Scale: 1})
	}
}

// columns transposes one register's width of columns and hands them on in order, for the register's width of rows that begins
// with row group.
func (t *transposer) columns(group int, emit func(column int, r reg.VecVirtual)) {
	lanes := t.g.width() / 4                  // of 128 bits, in a register
	quads := make([][4]reg.VecVirtual, lanes) // 4 columns each
	for j := range 4 {
		for lane := range lanes {
			t.insert(quads, group+4*lane+j, j, lane)
		}
	}
	for c, quad := range quads {
		t.transpose(quad, group/t.g.width(), func(q int, column reg.VecVirtual) { emit(4*c+q, column) })
	}
}

// insert loads 4 columns of a row to a lane of register j of every quad.
func (t *transposer) insert(quads [][4]reg.VecVirtual, row, j, lane int) {
	g := t.g
	at := t.block.Offset(4 * g.width() * row)
	if t.source.load == nil {
		pointer := g.GP64()
		g.MOVQ(t.pointers.Offset(8*row), pointer)
		at = Mem{Base: pointer, Index: t.offset, Scale: 1}
	}
	for c := range quads {
		m := at.Offset(16 * c)
		switch r := &quads[c][j]; {
		case lane == 0 && g.isa == avx512:
			*r = g.ZMM()
			g.VBROADCASTF32X4(m, *r)
		case lane == 0:
			*r = g.YMM()
			g.VBROADCASTF128(m, *r)
		case g.isa == avx512:
			g.VINSERTF32X4(Imm(uint64(lane)), m, *r, *r)
		default:
			g.VINSERTF128(Imm(uint64(lane)), m, *r, *r)
		}
	}
}

// transpose transposes 4x4 in each lane of 4 registers, zeroes missing rows where there are masks, and hands on the columns.
func (t *transposer) transpose(in [4]reg.VecVirtual, group int, emit func(q int, column reg.VecVirtual)) {
	g := t.g
	var even, odd [2]reg.VecVirtual // rows 0, 2 and 1, 3
	for i := range 2 {
		even[i], odd[i] = g.wide(), g.wide()
	}
	g.VUNPCKLPS(in[2], in[0], even[0])
	g.VUNPCKHPS(in[2], in[0], even[1])
	g.VUNPCKLPS(in[3], in[1], odd[0])
	g.VUNPCKHPS(in[3], in[1], odd[1])
	for q := range 4 {
		out := g.wide()
		a, b := odd[q/2], even[q/2]
		switch {
		case t.k != nil && q%2 == 0:
			g.VUNPCKLPS_Z(a, b, t.k, out)
		case t.k != nil:
			g.VUNPCKHPS_Z(a, b, t.k, out)
		case q%2 == 0:
			g.VUNPCKLPS(a, b, out)
		default:
			g.VUNPCKHPS(a, b, out)
		}
		if t.live != nil {
			g.VANDPS(t.live[group], out, out)
		}
		emit(q, out)
	}
}
