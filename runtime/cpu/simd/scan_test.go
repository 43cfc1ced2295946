package simd

import (
	"fmt"
	"testing"
)

// TestScores checks that Scores has the bits of Gemm on packed rows.
func TestScores(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		testScores(t, k, "f32", k.Scores, k.Pack, func(v float32, _ int) float32 { return v })
		testScores(t, k, "f16", k.ScoresF16, k.PackF16, func(_ float32, i int) uint16 { return uint16(i*2654435761>>7) &^ 0x4000 })
		testScores(t, k, "bf16", k.ScoresBF16, k.PackBF16, func(_ float32, i int) uint16 { return uint16(i*40503)&0x81ff | 0x3e00 })
	})
}

func testScores[T any](t *testing.T, k *Kernels, name string, scores func(dst []float32, src []T, stride, rows int, q []float32, nq, k int),
	pack func(dst []float32, src []T, stride, rows, k int), value func(v float32, i int) T) {
	t.Helper()
	for _, depth := range []int{16, 32, 48, 512} {
		for rows := 1; rows <= ScanRows; rows++ {
			stride := depth + rows%3
			src := make([]T, (rows-1)*stride+depth)
			for i, v := range random(1, len(src), 1) {
				src[i] = value(v, i)
			}
			panel := make([]float32, k.NR*depth)
			pack(panel, src, stride, rows, depth)
			for nq := 1; nq <= ScanQueries; nq++ {
				q := random(2, nq*depth, 1)
				dst := guard("dst", make([]float32, nq*ScanRows), rows%2)
				scores(dst.v, src, stride, rows, q, nq, depth)
				dst.check(t)
				want := make([]float32, k.NR)
				for j := range nq {
					k.Gemm(want, k.NR, q[j*depth:], depth, 1, panel, depth, false, nil)
					equalBits(t, fmt.Sprintf("%s: %d rows of %d, query %d of %d", name, rows, depth, j, nq), dst.v[j*ScanRows:][:rows], want[:rows])
				}
			}
		}
	}
}
