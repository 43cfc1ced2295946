package simd

import (
	"fmt"
	"math"
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

// TestBounds compares bounds with float64, and the mask with them; codes, scales and losses take every sign and size.
func TestBounds(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, depth := range []int{16, 32, 48, 512, 1040} {
			stride := depth + depth%5
			codes, q := make([]int8, (ScanRows-1)*stride+depth), make([]int16, depth)
			most := min(32767, math.MaxInt32/(128*depth))
			for i, v := range random(1, len(codes), 60) {
				codes[i] = int8(max(-128, min(127, v)))
			}
			for i, v := range random(2, depth, float64(most)/2) {
				q[i] = int16(max(float32(-most), min(float32(most), v)))
			}
			for p := range depth { // the largest sum there is
				codes[3*stride+p] = -128
				if q[p]%2 == 0 {
					q[p] = int16(-most)
				}
			}
			scale, loss := random(3, ScanRows, 1), random(4, ScanRows, 1)
			for i, v := range loss {
				loss[i] = abs(v)
			}
			loss[5], loss[6], scale[7], loss[8] = inf, nan, nan, 100
			b := &BoundOf{Step: 1e-5, Slack: 2, Reach: 3, Base: 0.5, Size: 7, Limit: 60, Floor: 4}
			dst := guard("dst", make([]float32, ScanRows), 1)
			mask := k.Bounds(dst.v, codes, stride, q, depth, scale, loss, b)
			dst.check(t)
			for i := range ScanRows {
				sum := 0
				for p, w := range q {
					sum += int(codes[i*stride+p]) * int(w)
				}
				c, l := float64(scale[i]), float64(loss[i])
				terms := []float64{float64(sum) * float64(b.Step) * c, math.Abs(c) * 2, l * 3, 0.5}
				want, size := 0.0, 0.0
				for _, v := range terms {
					want += v
					size += math.Abs(v)
				}
				if got := float64(dst.v[i]); !(math.Abs(got-want) <= 6*epsilon*size) && !(got == want || got != got && want != want) {
					t.Errorf("depth %d, row %d: bound %v, should be %v", depth, i, got, want)
				}
				if kept := !(dst.v[i] < b.Floor) || !(math.Abs(c)*7+l < 60); kept != (mask>>i&1 == 1) {
					t.Errorf("depth %d, row %d: bound %v, scale %v, loss %v: kept: %t", depth, i, dst.v[i], c, l, !kept)
				}
			}
			if mask>>ScanRows != 0 {
				t.Errorf("mask %#x", mask)
			}
		}
	})
}
