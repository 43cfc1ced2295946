//go:build !noasm

package simd

// gemmTile is a product's loop for one height of tile.
type gemmTile func(c *float32, ldc int, a *float32, lda int, b *float32, k int, acc bool, next *float32, step int)

// by number of rows, less one
var (
	gemmTilesAVX512 = [...]gemmTile{gemm1AVX512, gemm2AVX512, gemm3AVX512, gemm4AVX512, gemm5AVX512, gemm6AVX512, gemm7AVX512,
		gemm8AVX512, gemm9AVX512, gemm10AVX512, gemm11AVX512, gemm12AVX512, gemm13AVX512}
	gemmTilesAVX2 = [...]gemmTile{gemm1AVX2, gemm2AVX2, gemm3AVX2, gemm4AVX2, gemm5AVX2, gemm6AVX2}
)

func gemmAVX512(c []float32, ldc int, a []float32, lda, rows int, b []float32, k int, acc bool, next []float32) {
	gemm(gemmTilesAVX512[rows-1], c, ldc, a, lda, b, k, acc, next)
}

func gemmAVX2(c []float32, ldc int, a []float32, lda, rows int, b []float32, k int, acc bool, next []float32) {
	gemm(gemmTilesAVX2[rows-1], c, ldc, a, lda, b, k, acc, next)
}

// gemm runs a tile.
func gemm(tile gemmTile, c []float32, ldc int, a []float32, lda int, b []float32, k int, acc bool, next []float32) {
	ahead, step := spread(&b[0], next, k)
	tile(&c[0], ldc, &a[0], lda, &b[0], k, acc, ahead, step)
}

// spread spreads what is asked for ahead over the turns of a tile's loop of k steps; nothing asks for what is at none.
func spread(none *float32, next []float32, k int) (ahead *float32, step int) {
	const turn, most = 4, 8 // steps of k in a turn of the loop, and the lines that it asks for
	const line = 64         // bytes
	if len(next) == 0 {
		return none, 0
	}
	turns := max(1, k/turn)
	return &next[0], min(most, (4*len(next)/line+turns-1)/turns) * line
}
