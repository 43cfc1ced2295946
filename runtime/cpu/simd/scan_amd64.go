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

type gatheredLoop[T any] func(dst *float32, src *T, stride int, rows, next *uint32, q *float32, k int)

func gatheredOf[T any](loop gatheredLoop[T]) func([]float32, []T, int, *[ScanRows]uint32, *[ScanRows]uint32, []float32, int) {
	return func(dst []float32, src []T, stride int, rows, next *[ScanRows]uint32, q []float32, k int) {
		loop(&dst[0], &src[0], stride, &rows[0], &next[0], &q[0], k)
	}
}

func fromOf(loop func(dst *float32, src *uint16, n int)) func(dst []float32, src []uint16) {
	return func(dst []float32, src []uint16) { loop(&dst[0], &src[0], len(src)) }
}

func reachedOf(loop func(marks *uint32, x *float32, rows int, floors *float32)) func([]uint32, []float32, int, []float32) {
	return func(marks []uint32, x []float32, rows int, floors []float32) {
		loop(&marks[0], &x[0], rows, &floors[0])
	}
}

func shiftOf(loop func(dst *uint32, codes *int8, n int) int32) func([]uint32, []int8) int32 {
	return func(dst []uint32, codes []int8) int32 { return loop(&dst[0], &codes[0], len(codes)) }
}
