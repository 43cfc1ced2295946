package simd

import "fmt"

// checked wraps every loop of k so that wrong lengths panic before memory is touched, as an index would.
func checked(k Kernels) *Kernels {
	if k.WordRows == 0 {
		k.WordRows = k.MR
	}
	if k.TileWork == nil {
		k.TileWork = func(int) int { return 0 }
	}
	c := k
	checkProduct(&c, k)
	checkWords(&c, k)
	checkPieces(&c, k)
	checkEpilogues(&c, k)
	checkScan(&c, k)
	c.LayerNorm = func(dst, x, gamma, beta []float32, eps float32) (mean, rstd float32) {
		n := len(x)
		need(dst, n)
		need(gamma, n)
		need(beta, n)
		return k.LayerNorm(dst, x, gamma, beta, eps)
	}
	c.LayerNormGrad = func(dx, dy, x, gamma []float32, mean, rstd float32) {
		n := len(dx)
		need(dy, n)
		need(x, n)
		need(gamma, n)
		k.LayerNormGrad(dx, dy, x, gamma, mean, rstd)
	}
	c.SoftmaxGrad = func(dp, p []float32, scale float32) {
		need(p, len(dp))
		k.SoftmaxGrad(dp, p, scale)
	}
	c.Dot = func(x, y []float32) float32 {
		need(y, len(x))
		return k.Dot(x, y)
	}
	return &c
}

// checkProduct wraps Gemm and the packers.
func checkProduct(c *Kernels, k Kernels) {
	c.Gemm = func(c []float32, ldc int, a []float32, lda, rows int, b []float32, n int, acc bool, next []float32) {
		if rows < 1 || rows > k.MR || n < 0 {
			panic(fmt.Sprintf("simd: gemm of %d rows (1 to %d) and depth %d", rows, k.MR, n))
		}
		if rows > 1 && (ldc < k.NR || ldc > len(c) || lda < 0 || lda > len(a)) {
			panic(fmt.Sprintf("simd: gemm of %d rows with strides %d in %d and %d in %d", rows, ldc, len(c), lda, len(a)))
		}
		need(c, (rows-1)*ldc+k.NR)
		if n == 0 {
			for i := 0; i < rows && !acc; i++ {
				clear(c[i*ldc : i*ldc+k.NR])
			}
			return
		}
		need(a, (rows-1)*lda+n)
		need(b, n*k.NR)
		k.Gemm(c, ldc, a, lda, rows, b, n, acc, next)
	}
	c.Pack = checkedPack(k.Pack, k.NR)
	c.PackF16 = checkedPack(k.PackF16, k.NR)
	c.PackBF16 = checkedPack(k.PackBF16, k.NR)
}

func checkedPack[T any](pack func(dst []float32, src []T, stride, rows, k int), nr int) func([]float32, []T, int, int, int) {
	return func(dst []float32, src []T, stride, rows, k int) {
		if rows < 0 || rows > nr || k < 0 || rows > 1 && (stride < 0 || stride > len(src)) {
			panic(fmt.Sprintf("simd: pack of %d rows (0 to %d), depth %d, stride %d in %d", rows, nr, k, stride, len(src)))
		}
		if k == 0 {
			return
		}
		need(dst, k*nr)
		if rows > 0 {
			need(src, (rows-1)*stride+k)
		}
		pack(dst, src, stride, rows, k)
	}
}

// tilesEnd is the length of rows of words in tiles.
func tilesEnd(rows, words, lda int) int {
	if lda%TileRows != 0 || rows > TileRows && lda < words {
		panic(fmt.Sprintf("simd: %d words of rows of %d in tiles", words, lda))
	}
	return TileAt(rows-1, (words-1)/TileRows*TileRows, lda) + (words-1)%TileRows + 1
}

// checkTile checks what a tile of a product reads of rows, depth words of each, and where its results go.
func checkTile(k Kernels, c []float32, ldc, a, lda, depth, rows, most int, tiles bool) {
	if rows < 1 || rows > most || depth < 1 {
		panic(fmt.Sprintf("simd: gemm of %d rows (1 to %d) and %d words", rows, most, depth))
	}
	reach := (rows-1)*lda + depth
	if tiles {
		reach = tilesEnd(TallRows(rows), depth, lda)
	}
	if rows > 1 && (ldc < k.NR || ldc > len(c) || lda < 0 || lda > a) || reach > a {
		panic(fmt.Sprintf("simd: gemm of %d rows with strides %d in %d and %d in %d", rows, ldc, len(c), lda, a))
	}
	need(c, (rows-1)*ldc+k.NR)
}

// checkPieces wraps the product of pieces and what makes them.
func checkPieces(c *Kernels, k Kernels) {
	if k.GemmPieces == nil {
		return
	}
	c.GemmPieces = func(c []float32, ldc int, a []uint32, lda, rows int, b []float32, n int, acc bool, work, next []float32) {
		checkTile(k, c, ldc, len(a), lda, PieceSteps(n)*PieceWords, rows, k.WordRows, true)
		need(b, n*k.NR)
		need(work, k.PieceWork(rows))
		k.GemmPieces(c, ldc, a, lda, rows, b, n, acc, work, next)
	}
	c.PiecesOfRow = func(dst []uint32, x []float32) {
		if len(x) > 0 {
			need(dst, tilesEnd(1, PieceSteps(len(x))*PieceWords, 0))
			k.PiecesOfRow(dst, x)
		}
	}
}

// checkWords wraps the products of words and what makes words.
func checkWords(c *Kernels, k Kernels) {
	if k.GemmBF16 != nil {
		c.GemmBF16 = func(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, work, next []float32) {
			checkTile(k, c, ldc, len(a), lda, words, rows, k.WordRows, k.Tiles)
			need(b, words*k.NR)
			need(work, k.TileWork(rows))
			k.GemmBF16(c, ldc, a, lda, rows, b, words, work, next)
		}
	}
	c.GemmWiden = func(c []float32, ldc int, a []float32, lda, rows int, b []uint32, words int, acc bool, wide, next []float32) {
		checkTile(k, c, ldc, len(a), lda, 2*words, rows, k.MR, false)
		need(b, words*k.NR)
		need(wide, 2*words*k.NR)
		k.GemmWiden(c, ldc, a, lda, rows, b, words, acc, wide, next)
	}
	c.GemmI8 = func(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, aq, bq, work, next []float32) {
		checkTile(k, c, ldc, len(a), lda, words, rows, k.WordRows, k.Tiles)
		need(b, words*k.NR)
		need(aq, 2*rows)
		need(bq, 2*k.NR)
		need(work, k.TileWork(rows))
		k.GemmI8(c, ldc, a, lda, rows, b, words, aq, bq, work, next)
	}
	c.RoundPairs = func(dst []uint32, x []float32) {
		if len(x) > 0 {
			need(dst, (len(x)+15)/16*8)
			k.RoundPairs(dst, x)
		}
	}
	c.Round = func(dst, x []float32) {
		need(dst, len(x))
		k.Round(dst, x)
	}
	c.QuantiseU8 = func(dst []uint32, x []float32) (scale, least float32) {
		if len(x) == 0 {
			return 0, 0
		}
		need(dst, (len(x)+15)/16*4)
		return k.QuantiseU8(dst, x)
	}
}

// checkEpilogues wraps the epilogues and the gradients of the activations.
func checkEpilogues(c *Kernels, k Kernels) {
	c.Bias = func(y, bias []float32) {
		if bias != nil {
			need(bias, len(y))
			k.Bias(y, bias)
		}
	}
	tile := func(f tileFunc) tileFunc {
		return func(y []float32, ldy, rows int, bias, res []float32, ldres int) {
			if rows < 1 || rows > 1 && (ldy < k.NR || ldy > len(y) || res != nil && (ldres < 0 || ldres > len(res))) {
				panic(fmt.Sprintf("simd: tile of %d rows with strides %d in %d and %d in %d", rows, ldy, len(y), ldres, len(res)))
			}
			need(y, (rows-1)*ldy+k.NR)
			if bias != nil {
				need(bias, k.NR)
			}
			if res != nil {
				need(res, (rows-1)*ldres+k.NR)
			}
			f(y, ldy, rows, bias, res, ldres)
		}
	}
	c.Fetch = func(p []float32, ld, rows int) {
		if rows > 0 {
			need(p, (rows-1)*ld+1)
			k.Fetch(p, ld, rows)
		}
	}
	c.TileBias = tile(k.TileBias)
	c.TileGELU = tile(k.TileGELU)
	c.TileGELUTanh = tile(k.TileGELUTanh)
	c.TileQuickGELU = tile(k.TileQuickGELU)
	c.TileReLU = tile(k.TileReLU)

	grad := func(f func(dst, dy, pre []float32)) func(dst, dy, pre []float32) {
		return func(dst, dy, pre []float32) {
			need(dy, len(dst))
			need(pre, len(dst))
			f(dst, dy, pre)
		}
	}
	c.GELUGrad = grad(k.GELUGrad)
	c.GELUTanhGrad = grad(k.GELUTanhGrad)
	c.QuickGELUGrad = grad(k.QuickGELUGrad)
}

// tileFunc is the epilogue of a tile.
type tileFunc = func(y []float32, ldy, rows int, bias, res []float32, ldres int)

// need panics unless s has n elements.
func need[T any](s []T, n int) {
	if n > 0 {
		_ = s[n-1]
	}
}
