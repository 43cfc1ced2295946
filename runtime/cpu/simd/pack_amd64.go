//go:build !noasm

package simd

// packRows packs a panel nr wide by a loop for 16 rows. Depths below a register's width are left to plain Go.
func packRows[T any](dst []float32, nr int, src []T, stride, rows, k int,
	pack func(dst *float32, src *T, stride, rows, k int), convert func(T) float32) {
	if k < 16 {
		packPortable(dst, nr, src, stride, rows, k, convert)
		return
	}
	for i := 0; i < nr; i += 16 {
		if i < rows {
			pack(&dst[i], &src[i*stride], stride, min(rows-i, 16), k)
			continue
		}
		for p := range k {
			clear(dst[p*nr+i : p*nr+i+16])
		}
	}
}

func packAVX512(dst, src []float32, stride, rows, k int) {
	packRows(dst, 32, src, stride, rows, k, packF32AVX512, fromF32)
}

func packHalfAVX512(dst []float32, src []uint16, stride, rows, k int) {
	packRows(dst, 32, src, stride, rows, k, packF16AVX512, fromF16)
}

func packBrainAVX512(dst []float32, src []uint16, stride, rows, k int) {
	packRows(dst, 32, src, stride, rows, k, packBF16AVX512, fromBF16)
}

func packAVX2(dst, src []float32, stride, rows, k int) {
	packRows(dst, 16, src, stride, rows, k, packF32AVX2, fromF32)
}

func packHalfAVX2(dst []float32, src []uint16, stride, rows, k int) {
	packRows(dst, 16, src, stride, rows, k, packF16AVX2, fromF16)
}

func packBrainAVX2(dst []float32, src []uint16, stride, rows, k int) {
	packRows(dst, 16, src, stride, rows, k, packBF16AVX2, fromBF16)
}
