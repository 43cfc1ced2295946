package main

import (
	"fmt"
	"math/bits"
	"strings"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// scanQueries is the most queries that Scores takes: their sums, 16 rows each, stay in registers beside the transposition.
const scanQueries = 4

const scoresDoc = `	for j := range %[1]d {
		for i := range 16 { // rows from the given number on are the last one's
			sum := float32(0)
			for p := range k { // a multiple of 16
				sum = fma(%[2]s, q[j*k+p], sum)
			}
			dst[j*16+i] = sum
		}
	}`

// scans emits the loops of a search for few queries.
func scans(g *gen) {
	for _, s := range sources {
		for nq := 1; nq <= scanQueries; nq++ {
			scores(g, s, nq)
		}
		gathered(g, s)
	}
	bounds(g)
	reached(g)
	converts(g)
	shift(g)
}

// scores emits the products of 16 rows with so many queries. Blocks of 16 columns are transposed as for packing, but go from
// the registers into the multiply-adds, and a lane of a sum is one row's chain.
func scores(g *gen, s source, nq int) {
	g.function(fmt.Sprint("scores", s.name, "x", nq), fmt.Sprintf("func(dst *float32, src *%s, stride, rows int, q *float32, k int)", s.goType),
		fmt.Sprintf(scoresDoc, nq, s.convert))
	t := &transposer{g: g, source: s, pointers: g.AllocLocal(16 * 8)}
	if s.load != nil {
		t.block = g.AllocLocal(16 * 4 * g.width())
	}
	t.rowPointers(g.Load(g.Param("rows"), g.GP64()))
	// As many lines as are read, but one behind the other and to the second level: rows of a gallery follow each other. On a Zen 4 one
	// stream of lines reads 52 GB/s with two cores where 16, each asking for its own row's next, read 27.
	var lines reg.GPVirtual
	t.ahead = func(i int) {
		if i%g.width() == 0 {
			lines = g.GP64()
			g.MOVQ(t.offset, lines)
			g.SHLQ(Imm(uint64(bits.TrailingZeros(uint(g.width())))), lines)
			g.ADDQ(t.next, lines)
			g.ADDQ(t.pointers.Offset(8*i), lines)
		}
		g.PREFETCHT1(Mem{Base: lines, Disp: i % g.width() * (g.width() << s.shift)})
	}
	for group := 0; group < 16; group += g.width() {
		t.scores(group, nq)
	}
	g.end()
}

const gatheredDoc = `	for i := range 16 {
		sum := float32(0)
		for p := range k { // a multiple of 16
			sum = fma(%s, q[p], sum)
		}
		dst[i] = sum
	}
	// rows next[i] are fetched ahead`

// gathered emits the products of 16 rows that lie anywhere with one query.
func gathered(g *gen, s source) {
	g.function("gathered"+s.name, fmt.Sprintf("func(dst *float32, src *%s, stride int, rows, next *uint32, q *float32, k int)", s.goType),
		fmt.Sprintf(gatheredDoc, strings.Replace(s.convert, "i*stride", "int(rows[i])*stride", 1)))
	t := &transposer{g: g, source: s, pointers: g.AllocLocal(16 * 8)}
	if s.load != nil {
		t.block = g.AllocLocal(16 * 4 * g.width())
	}
	aheads := g.AllocLocal(16 * 8)
	src, stride := g.Load(g.Param("src"), g.GP64()), g.Load(g.Param("stride"), g.GP64())
	if s.shift > 0 {
		g.SHLQ(Imm(s.shift), stride)
	}
	for _, list := range []struct {
		rows string
		to   Mem
	}{{"rows", t.pointers}, {"next", aheads}} {
		rows := g.Load(g.Param(list.rows), g.GP64())
		for i := range 16 {
			row := g.GP64()
			g.MOVL(Mem{Base: rows, Disp: 4 * i}, row.As32())
			g.IMULQ(stride, row)
			g.ADDQ(src, row)
			g.MOVQ(row, list.to.Offset(8*i))
		}
	}
	t.ahead = func(i int) {
		row := g.GP64()
		g.MOVQ(aheads.Offset(8*i), row)
		g.PREFETCHT0(Mem{Base: row, Index: t.offset, Scale: 1})
	}
	for group := 0; group < 16; group += g.width() {
		t.scores(group, 1)
	}
	g.end()
}

// scores is the part of scores for one register's width of rows.
func (t *transposer) scores(group, nq int) {
	g := t.g
	sum, queries := make([]reg.VecVirtual, nq), make([]reg.Register, nq)
	left := g.Load(g.Param("k"), g.GP64())
	for j := range nq {
		sum[j], queries[j] = g.wide(), g.GP64()
		g.zero(sum[j])
		if j == 0 {
			g.Load(g.Param("q"), queries[j])
			continue
		}
		g.LEAQ(Mem{Base: queries[j-1], Index: left, Scale: 4}, queries[j])
	}
	t.offset = g.GP64()
	g.XORQ(t.offset, t.offset)
	again := g.label()
	g.Label(again)
	t.load(group, g.width())
	for i := group; i < group+g.width(); i++ {
		t.ahead(i)
	}
	t.columns(group, func(column int, r reg.VecVirtual) {
		for j, q := range queries {
			x := Mem{Base: q, Disp: 4 * column}
			if g.isa == avx512 {
				g.VFMADD231PS_BCST(x, r, sum[j])
				continue
			}
			b := g.wide()
			g.VBROADCASTSS(x, b)
			g.VFMADD231PS(b, r, sum[j])
		}
	})
	g.ADDQ(I32(g.width()<<t.source.shift), t.offset)
	for _, q := range queries {
		g.ADDQ(I32(4*g.width()), q)
	}
	g.SUBQ(Imm(uint64(g.width())), left)
	g.JNZ(LabelRef(again))
	dst := g.Load(g.Param("dst"), g.GP64())
	for j, r := range sum {
		g.VMOVUPS(r, Mem{Base: dst, Disp: 4 * (16*j + group)})
	}
}
