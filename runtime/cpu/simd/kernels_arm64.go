//go:build !noasm

package simd

// machineSets returns the sets in assembly that this machine runs: every arm64 has NEON. Its product has the bits of the portable
// one; the rest is portable.
func machineSets() []Kernels {
	neon := generic
	neon.Name, neon.MR, neon.Gemm, neon.GemmWiden = "neon", len(gemmTilesNEON), gemmNEON, gemmWidenNEON
	return []Kernels{neon}
}

// by number of rows, less one
var gemmTilesNEON = [...]func(c *float32, ldc int, a *float32, lda int, b *float32, k int, acc bool, next *float32, step int){
	gemm1NEON, gemm2NEON, gemm3NEON, gemm4NEON, gemm5NEON, gemm6NEON}

// gemmNEON asks for a part of next in every step of k.
func gemmNEON(c []float32, ldc int, a []float32, lda, rows int, b []float32, k int, acc bool, next []float32) {
	ahead, step := &b[0], 0
	if len(next) > 0 {
		ahead, step = &next[0], 4*len(next)/k
	}
	gemmTilesNEON[rows-1](&c[0], ldc, &a[0], lda, &b[0], k, acc, ahead, step)
}

func gemmWidenNEON(c []float32, ldc int, a []float32, lda, rows int, b []uint32, words int, acc bool, wide, next []float32) {
	widen(wide, b[:words*genericNR])
	gemmNEON(c, ldc, a, lda, rows, wide, 2*words, acc, next)
}
