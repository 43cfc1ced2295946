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

// TestGathered checks that Gathered has the bits of Scores.
func TestGathered(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		testGathered(t, k, "f32", k.Gathered, k.Scores, func(v float32, _ int) float32 { return v })
		testGathered(t, k, "f16", k.GatheredF16, k.ScoresF16, func(_ float32, i int) uint16 { return uint16(i*2654435761>>7) &^ 0x4000 })
		testGathered(t, k, "bf16", k.GatheredBF16, k.ScoresBF16, func(_ float32, i int) uint16 { return uint16(i*40503)&0x81ff | 0x3e00 })
	})
}

func testGathered[T any](t *testing.T, k *Kernels, name string, gathered func(dst []float32, src []T, stride int, rows, next *[ScanRows]uint32, q []float32, k int),
	scores func(dst []float32, src []T, stride, rows int, q []float32, nq, k int), value func(v float32, i int) T) {
	t.Helper()
	const have = 50
	for _, depth := range []int{16, 48, 512} {
		stride := depth + 3
		src := make([]T, (have-1)*stride+depth)
		for i, v := range random(1, len(src), 1) {
			src[i] = value(v, i)
		}
		q := random(2, depth, 1)
		var rows, next [ScanRows]uint32
		want, one := make([]float32, ScanRows), make([]float32, ScanRows)
		for i := range rows {
			rows[i], next[i] = uint32((have-1-7*i%have+have)%have), uint32(3*i)
			scores(one, src[int(rows[i])*stride:], stride, 1, q, 1, depth)
			want[i] = one[0]
		}
		dst := guard("dst", make([]float32, ScanRows), 1)
		gathered(dst.v, src, stride, &rows, &next, q, depth)
		dst.check(t)
		equalBits(t, fmt.Sprintf("%s, depth %d", name, depth), dst.v, want)
		rows[5] = have
		if !panics(func() { gathered(dst.v, src, stride, &rows, &next, q, depth) }) {
			t.Errorf("%s: a row behind the last one is read", name)
		}
	}
}

func TestFromHalf(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		src := make([]uint16, 1<<16)
		for i := range src {
			src[i] = uint16(i)
		}
		for _, n := range []int{0, 1, 15, 16, 17, 33, 1 << 16} {
			half, brain := guard("f16", make([]float32, n), 1), guard("bf16", make([]float32, n), 2)
			k.FromF16(half.v, src[:n])
			k.FromBF16(brain.v, src[:n])
			half.check(t)
			brain.check(t)
			for i := range n {
				same(t, "f16", src[i], half.v[i], halfByDefinition(src[i]))
				same(t, "bf16", src[i], brain.v[i], math.Float32frombits(uint32(src[i])<<16))
			}
		}
	})
}

func TestReached(t *testing.T) {
	nan := float32(math.NaN())
	eachSet(t, func(t *testing.T, k *Kernels) {
		floors := random(1, k.NR, 1)
		floors[2], floors[3] = nan, float32(math.Inf(1))
		for rows := range 14 {
			x := random(2, rows*k.NR, 1)
			for i := range rows {
				x[i*k.NR+i%k.NR] = nan
				x[i*k.NR+(i+5)%k.NR] = floors[(i+5)%k.NR]
			}
			marks := make([]uint32, rows+1)
			marks[rows] = 77
			k.Reached(marks, x, rows, floors)
			for i := range rows {
				for j := range k.NR {
					if want := !(x[i*k.NR+j] < floors[j]); want != (marks[i]>>j&1 == 1) {
						t.Fatalf("row %d of %d, column %d: %v with floor %v: %t", i, rows, j, x[i*k.NR+j], floors[j], !want)
					}
				}
				if uint64(marks[i])>>k.NR != 0 {
					t.Fatalf("marks %#x", marks[i])
				}
			}
			if marks[rows] != 77 {
				t.Fatal("marks overrun")
			}
		}
	})
}

func TestShift(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range []int{16, 48, 256, 512, 1<<17 - 16} {
			codes := make([]int8, n)
			want := int64(0)
			for i := range codes {
				codes[i] = int8(i * 37)
				if n > 512 {
					codes[i] = -128
				}
				want += int64(codes[i]) * int64(codes[i])
			}
			dst := make([]uint32, n/4+1)
			if got := k.Shift(dst, codes); int64(got) != want {
				t.Errorf("%d codes: squares %d, should be %d", n, got, want)
			}
			for i, v := range codes {
				if got := int(dst[i/4]>>(i%4*8)&255) - 128; got != int(v) {
					t.Fatalf("%d codes: code %d is %d, should be %d", n, i, got, v)
				}
			}
			if dst[n/4] != 0 {
				t.Error("words overrun")
			}
		}
	})
}
