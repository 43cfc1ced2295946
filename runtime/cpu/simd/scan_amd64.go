//go:build !noasm

package simd

type scoresLoop[T any] func(dst *float32, src *T, stride, rows int, q *float32, k int)

// scoresOf chooses a loop by the number of queries.
func scoresOf[T any](loops ...scoresLoop[T]) func(dst []float32, src []T, stride, rows int, q []float32, nq, k int) {
	return func(dst []float32, src []T, stride, rows int, q []float32, nq, k int) {
		loops[nq-1](&dst[0], &src[0], stride, rows, &q[0], k)
	}
}

func rowBoundsAVX512(dst []float32, codes []int8, stride int, q []int16, k int, scale, loss []float32, b *BoundOf) uint64 {
	return boundsAVX512(&dst[0], &codes[0], stride, &q[0], k, &scale[0], &loss[0], &b.Step)
}

func rowBoundsAVX2(dst []float32, codes []int8, stride int, q []int16, k int, scale, loss []float32, b *BoundOf) uint64 {
	return boundsAVX2(&dst[0], &codes[0], stride, &q[0], k, &scale[0], &loss[0], &b.Step)
}
