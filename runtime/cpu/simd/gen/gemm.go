package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A tile of the product: rows x 2 registers of accumulators stay in the register file over all of k. Every step of k loads one
// row of the panel (2 registers) and, for each row of a, one value broadcast to a register of its own: 2 multiply-adds read
// it, so loads (rows+2 a step) stay well under the 2 a cycle that the machine does. AVX-512 has 32 registers: 13 rows take
// 26 + 2 and leave 4 for broadcasts in flight. AVX2 has 16: 6 rows take 12 + 2 and leave 2.
//
// A turn of the loop also asks for prefetched lines of what the caller will read next. The panel of the next tiles comes from
// memory otherwise, and a tile of 13 rows then took 1.6 times as long.
const (
	rows512, rows2 = 13, 6
	unroll         = 4 // steps of k in a turn of the loop
	prefetched     = 8 // lines in a turn: as many as a turn reads of an AVX-512 panel
)

const gemmDoc = `	for i := range %[1]d {
		for j := range %[2]d {
			sum := float32(0)
			if acc {
				sum = c[i*ldc+j]
			}
			for p := range k {
				sum = fma(a[i*lda+p], b[p*%[2]d+j], sum)
			}
			c[i*ldc+j] = sum
		}
	}
`

const aheadDoc = `	for p := 0; p+%[1]d <= %[3]s; p += %[1]d {
		for line := range %[2]d {
			prefetch(next + step*(p/%[1]d) + 64*line) // bytes, to the second level
		}
	}`

// gemms emits the tiles of all heights.
func gemms(g *gen) {
	most := rows2
	if g.isa == avx512 {
		most = rows512
	}
	for rows := 1; rows <= most; rows++ {
		gemm(g, rows)
	}
}

// gemm emits the tile of so many rows.
func gemm(g *gen, rows int) {
	g.function(fmt.Sprint("gemm", rows), "func(c *float32, ldc int, a *float32, lda int, b *float32, k int, acc bool, next *float32, step int)",
		fmt.Sprintf(gemmDoc, rows, 2*g.width())+fmt.Sprintf(aheadDoc, unroll, prefetched, "k"))

	c := newRows(g, "c", "ldc", rows)
	k := g.Load(g.Param("k"), g.GP64())
	acc := g.GP32().As8()
	g.Load(g.Param("acc"), acc)
	sum := make([][2]reg.VecVirtual, rows)
	for i := range sum {
		sum[i] = [2]reg.VecVirtual{g.wide(), g.wide()}
	}
	tile := func(move func(r reg.VecVirtual, m Mem)) {
		for i := range sum {
			for h, r := range sum[i] {
				move(r, c.at(i, h*4*g.width()))
			}
		}
	}
	g.TESTB(acc, acc)
	g.JZ(LabelRef("clear"))
	tile(func(r reg.VecVirtual, m Mem) { g.VMOVUPS(m, r) })
	g.JMP(LabelRef("start"))
	g.Label("clear")
	// The lines of c arrive while the sums are made: without this, wide matrices lost a fifth of the speed to the stores.
	tile(func(r reg.VecVirtual, m Mem) {
		g.zero(r)
		g.PREFETCHT0(m)
	})
	g.Label("start")
	a := newRows(g, "a", "lda", rows)
	b := g.Load(g.Param("b"), g.GP64())
	next := g.Load(g.Param("next"), g.GP64())
	ahead := g.Load(g.Param("step"), g.GP64())

	g.SUBQ(Imm(unroll), k)
	g.JLT(LabelRef("rest"))
	g.Label("loop")
	for u := range unroll {
		step(g, sum, a, b, u)
		for line := range prefetched / unroll {
			g.PREFETCHT1(Mem{Base: next, Disp: 64 * (u*prefetched/unroll + line)})
		}
	}
	a.advance(4 * unroll)
	g.ADDQ(ahead, next)
	g.ADDQ(I32(unroll*8*g.width()), b)
	g.SUBQ(Imm(unroll), k)
	g.JGE(LabelRef("loop"))
	g.Label("rest")
	g.ADDQ(Imm(unroll), k)
	g.JZ(LabelRef("store"))
	g.Label("single")
	step(g, sum, a, b, 0)
	a.advance(4)
	g.ADDQ(I32(8*g.width()), b)
	g.DECQ(k)
	g.JNZ(LabelRef("single"))

	g.Label("store")
	c = newRows(g, "c", "ldc", rows)
	tile(func(r reg.VecVirtual, m Mem) { g.VMOVUPS(r, m) })
	g.VZEROUPPER()
	g.RET()
}

// step adds a[i, u]*b[u] to every row's sum.
func step(g *gen, sum [][2]reg.VecVirtual, a *rowsOf, b reg.Register, u int) {
	bytes := 4 * g.width()
	low, high := g.wide(), g.wide()
	g.VMOVUPS(Mem{Base: b, Disp: u * 2 * bytes}, low)
	g.VMOVUPS(Mem{Base: b, Disp: u*2*bytes + bytes}, high)
	for i := range sum {
		x := g.wide()
		g.VBROADCASTSS(a.at(i, 4*u), x)
		g.VFMADD231PS(low, x, sum[i][0])
		g.VFMADD231PS(high, x, sum[i][1])
	}
}

// rowsOf addresses the rows of a matrix by two pointers and three multiples of its stride: x86 scales an index by 1, 2, 4, 8.
type rowsOf struct {
	g    *gen
	base [2]reg.Register      // of rows 0 and 5
	by   map[int]reg.Register // 1, 3 and 5 strides, in bytes
}

// places says which pointer, multiple of the stride and scale lead to each row.
var places = [rows512]struct {
	base, stride int
	scale        uint8
}{
	{}, {0, 1, 1}, {0, 1, 2}, {0, 3, 1}, {0, 1, 4}, {0, 5, 1}, {0, 3, 2},
	{1, 1, 2}, {0, 1, 8}, {1, 1, 4}, {0, 5, 2}, {1, 3, 2}, {0, 3, 4},
}

func newRows(g *gen, pointer, stride string, rows int) *rowsOf {
	r := &rowsOf{g: g, by: map[int]reg.Register{}}
	r.base[0] = g.Load(g.Param(pointer), g.GP64())
	if rows == 1 {
		return r
	}
	one := g.Load(g.Param(stride), g.GP64())
	g.SHLQ(Imm(2), one)
	r.by[1] = one
	for _, m := range []int{3, 5} {
		if rows > m {
			r.by[m] = g.GP64()
			g.LEAQ(Mem{Base: one, Index: one, Scale: uint8(m - 1)}, r.by[m])
		}
	}
	if rows > 7 {
		r.base[1] = g.GP64()
		g.LEAQ(Mem{Base: r.base[0], Index: r.by[5], Scale: 1}, r.base[1])
	}
	return r
}

// at is the address of a byte of row i.
func (r *rowsOf) at(i, displacement int) Mem {
	p := places[i]
	return Mem{Base: r.base[p.base], Index: r.by[p.stride], Scale: p.scale, Disp: displacement}
}

// advance moves every row by bytes.
func (r *rowsOf) advance(bytes int) {
	for _, b := range r.base {
		if b != nil {
			r.g.ADDQ(I32(bytes), b)
		}
	}
}
