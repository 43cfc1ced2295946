package main

import "fmt"

// Products of floats by pieces (simd.Kernels.GemmPieces): each float is the sum of three of bfloat16, and of the nine products of two
// floats' pieces the six largest are summed. A step is 32 of the inner dimension, whose words hold elements p and p+16: so neither
// factor needs a shuffle.

const piecesDoc = `
// The equivalent loop; three(v) are the pieces of a float:
//
//	for s := range steps {
//		for p := range 16 {
//			low, high := three(x[32*s+p]), three(x[32*s+p+16])
//			for q := range 3 {
//				dst[(3*s+q)*256+p] = low[q] | high[q]<<16
//			}
//		}
//	}
//
//go:noescape
func piecesOfRowAMX(dst *uint32, x *float32, steps int)
`

const piecesProductDoc = `
// The equivalent loop over a panel of floats; three(v) are the pieces of a float and a.b is the product of two words:
//
//	for s := range steps {
//		for h := range 2 {
//			for e := range 16 {
//				for j := range 16 {
//					low, high := three(b[(32*s+e)*32+16*h+j]), three(b[(32*s+e+16)*32+16*h+j])
//					for q := range 3 {
//						wide[((q*2+h)*16+e)*16+j] = low[q] | high[q]<<16
//					}
//				}
//			}
//		}
//		for _, q := range [6][2]int{{0, 2}, {0, 1}, {1, 1}, {1, 0}, {0, 0}, {2, 0}} {
//			for e := range 16 {
//				for i := range rows {
//					for j := range 32 {
//						c[i*ldc+j] += a[i/16*group+(3*s+q[0])*256+i%%16*16+e].wide[((q[1]*2+j/16)*16+e)*16+j%%16]
//					}
//				}
//			}
//		}
//	}
//	for s := next; s < stop; s += 64 {
//		prefetch(s) // bytes, to the second level, as far as it comes
//	}
//
//go:noescape
func piecesx%[1]dAMX(p *amxProduct)
`

// mostEarly is the largest number of tiles of which the first one asks for what is next too: behind more of them it is done in time.
const mostEarly = 3

// A piece of a step of a panel is two tiles, one behind the other.
const (
	tileBytes  = 16 * 64
	pieceBytes = 2 * tileBytes
	stepBytes  = 3 * pieceBytes
)

// pieces emits what makes them of a row.
func (t tiles) pieces() {
	fmt.Fprint(t, "\n// func piecesOfRowAMX(dst *uint32, x *float32, steps int)\nTEXT ·piecesOfRowAMX(SB), NOSPLIT, $0-24\n")
	t.line("MOVQ dst+0(FP), DI")
	t.line("MOVQ x+8(FP), SI")
	t.line("MOVQ steps+16(FP), CX")
	t.masks()
	t.label("step")
	t.three("(SI)", "64(SI)", func(q int) string { return fmt.Sprintf("%d(DI)", tileBytes*q) }, 0)
	t.line("ADDQ $128, SI")
	t.line("ADDQ $%d, DI", 3*tileBytes)
	t.line("DECQ CX")
	t.line("JNZ step")
	t.line("VZEROUPPER")
	t.line("RET")
}

// masks emits what three needs.
func (t tiles) masks() {
	for i, c := range []string{"0x8000", "0xffff0000"} {
		t.line("MOVL $%s, AX", c)
		t.line("VPBROADCASTD AX, Z%d", 30+i)
	}
}

// three emits the words of the floats at low and high to where their pieces go; it uses 5 registers from first on. A piece is what is
// left, rounded to 8 bits: half its last place is added to its magnitude and the rest cut off. What the third one has is exact.
func (t tiles) three(low, high string, to func(piece int) string, first int) {
	reg := func(i int) string { return fmt.Sprint("Z", first+i) }
	v, s, w := []string{reg(0), reg(1)}, []string{reg(2), reg(3)}, reg(4)
	t.line("VMOVUPS %s, %s", low, v[0])
	t.line("VMOVUPS %s, %s", high, v[1])
	for q := range 2 {
		for i := range 2 {
			t.line("VPADDD Z30, %s, %s", v[i], s[i])
		}
		t.line("VPSRLD $16, %s, %s", s[0], w)
		for i := range 2 {
			t.line("VPANDD Z31, %s, %s", s[i], s[i])
		}
		t.line("VPORD %s, %s, %s", w, s[1], w)
		t.line("VMOVUPS %s, %s", w, to(q))
		for i := range 2 {
			t.line("VSUBPS %s, %s, %s", s[i], v[i], v[i])
		}
	}
	t.line("VPSRLD $16, %s, %s", v[0], w)
	t.line("VPTERNLOGD $0xf8, Z31, %s, %s", v[1], w)
	t.line("VMOVUPS %s, %s", w, to(2))
}

// threes emits part i of n of a step's pieces: of the panel's floats at R11, to R13 bytes behind AX.
func (t tiles) threes(i, n int) {
	for k := 32 * i / n; k < 32*(i+1)/n; k++ {
		e, h := k/2, k%2
		from := 4*amxColumns*e + 64*h
		t.three(fmt.Sprintf("%d(R11)", from), fmt.Sprintf("%d(R11)", from+16*4*amxColumns), func(q int) string {
			return fmt.Sprintf("%d(AX)(R13*1)", pieceBytes*q+tileBytes*h+64*e)
		}, k%4*5)
	}
}

// pieceLoop is the loop of a product of pieces. In a chunk's first tile each step makes the pieces of the one that follows, between the
// products.
func pieceLoop() loop {
	const floats = 32 * 4 * amxColumns
	wrap := func(t tiles, label, at string) {
		t.line("CMPQ %s, %s", at, field("end"))
		t.line("JNE %s", label)
		t.line("MOVQ %s, %s", field("ring"), at)
		t.label(label)
	}
	return loop{step: 3 * tileBytes, stride: 64,
		start: func(t tiles) {
			t.masks()
			t.line("MOVQ %s, AX", field("ring"))
			t.line("MOVQ AX, R11")
			t.line("ADDQ %s, R11", field("limit"))
			t.line("MOVQ R11, %s", field("end"))
			t.line("MOVQ %s, R11", field("b"))
			t.line("XORQ R13, R13")
			t.threes(0, 1)
			t.line("ADDQ $%d, R11", floats)
			t.line("MOVQ %s, R14", field("steps"))
			t.line("DECQ R14")
			t.line("MOVQ R14, %s", field("rest"))
		},
		turns: func(t tiles, high int) {
			t.line("CMPQ R8, %s", field("count"))
			t.line("JNE plain")
			t.label("first")
			t.line("DECQ %s", field("rest"))
			t.line("JLT plain")
			t.line("LEAQ %d(AX), R13", stepBytes)
			wrap(t, "on", "R13")
			t.line("SUBQ AX, R13")
			t.asks("first", 2, true)
			t.step(high, func(i, n int) {
				t.threes(i, n)
				t.ask(2)
			})
			t.asked("first")
			t.line("ADDQ $%d, R11", floats)
			t.line("ADDQ R13, AX")
			t.line("DECQ R10")
			t.line("JNZ first")
			t.line("JMP done")
			t.label("plain")
			t.asks("plain", 1, false)
			t.step(high, func(int, int) { t.ask(1) })
			t.asked("plain")
			t.line("ADDQ $%d, AX", stepBytes)
			wrap(t, "onward", "AX")
			t.line("DECQ R10")
			t.line("JNZ plain")
			t.label("done")
		},
		end: func(t tiles) { t.line("VZEROUPPER") },
	}
}

// step emits a step's products, between which others(i, n) emits part i of n of other work. Each of its pairs of pieces differs from
// the one before by one piece, whose tiles are loaded as soon as nothing reads what is in their place, two products before they are read.
func (t tiles) step(high int, others func(i, n int)) {
	pairs := [][2]int{{0, 2}, {0, 1}, {1, 1}, {1, 0}, {0, 0}, {2, 0}}
	loadA := func(i, piece int) { t.load(4+i, []string{"SI", "BX"}[i], "CX", tileBytes*piece) }
	loadB := func(i, piece int) { t.load(6+i, "AX", "DX", pieceBytes*piece+tileBytes*i) }
	for i := range 2 {
		loadB(i, pairs[0][1])
		if i < high {
			loadA(i, pairs[0][0])
		}
	}
	done := 0
	for g, pair := range pairs {
		next := pair
		if g+1 < len(pairs) {
			next = pairs[g+1]
		}
		order := [][2]int{{0, 0}, {1, 0}, {0, 1}, {1, 1}} // of A's tile and B's, what came last being read last
		if g > 0 && pair[0] != pairs[g-1][0] {
			order = [][2]int{{0, 0}, {0, 1}, {1, 0}, {1, 1}}
		}
		readA, readB := [2]int{2, 2}, [2]int{high, high}
		for _, o := range order {
			i, j := o[0], o[1]
			if i >= high {
				continue
			}
			t.dot(bf16, 2*i+j, 4+i, 6+j)
			if readA[i]--; readA[i] == 0 && next[0] != pair[0] {
				loadA(i, next[0])
			}
			if readB[j]--; readB[j] == 0 && next[1] != pair[1] {
				loadB(j, next[1])
			}
			others(done, 12*high)
			done++
		}
	}
	t.line("ADDQ $%d, SI", 3*tileBytes)
	if high == 2 {
		t.line("ADDQ $%d, BX", 3*tileBytes)
	}
}
