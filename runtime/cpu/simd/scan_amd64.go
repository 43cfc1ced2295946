//go:build !noasm

package simd

type scoresLoop[T any] func(dst *float32, src *T, stride, rows int, q *float32, k int)

// scoresOf chooses a loop by the number of queries.
func scoresOf[T any](loops ...scoresLoop[T]) func(dst []float32, src []T, stride, rows int, q []float32, nq, k int) {
	return func(dst []float32, src []T, stride, rows int, q []float32, nq, k int) {
		loops[nq-1](&dst[0], &src[0], stride, rows, &q[0], k)
	}
}
