package main

import (
	"fmt"

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
	for _, s := range sources[:3] {
		for nq := 1; nq <= scanQueries; nq++ {
			scores(g, s, nq)
		}
	}
	bounds(g)
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
	for group := 0; group < 16; group += g.width() {
		t.scores(group, nq)
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
	t.prefetch(group, g.width())
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
