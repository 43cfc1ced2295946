//go:build !noasm

package simd

func gemmAVX512(c []float32, ldc int, a []float32, lda, rows int, b []float32, k int, acc bool) {
	pc, pa, pb := &c[0], &a[0], &b[0]
	switch rows {
	case 1:
		gemm1AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 2:
		gemm2AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 3:
		gemm3AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 4:
		gemm4AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 5:
		gemm5AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 6:
		gemm6AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 7:
		gemm7AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 8:
		gemm8AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 9:
		gemm9AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 10:
		gemm10AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 11:
		gemm11AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 12:
		gemm12AVX512(pc, ldc, pa, lda, pb, k, acc)
	case 13:
		gemm13AVX512(pc, ldc, pa, lda, pb, k, acc)
	}
}

func gemmAVX2(c []float32, ldc int, a []float32, lda, rows int, b []float32, k int, acc bool) {
	pc, pa, pb := &c[0], &a[0], &b[0]
	switch rows {
	case 1:
		gemm1AVX2(pc, ldc, pa, lda, pb, k, acc)
	case 2:
		gemm2AVX2(pc, ldc, pa, lda, pb, k, acc)
	case 3:
		gemm3AVX2(pc, ldc, pa, lda, pb, k, acc)
	case 4:
		gemm4AVX2(pc, ldc, pa, lda, pb, k, acc)
	case 5:
		gemm5AVX2(pc, ldc, pa, lda, pb, k, acc)
	case 6:
		gemm6AVX2(pc, ldc, pa, lda, pb, k, acc)
	}
}
