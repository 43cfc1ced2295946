package search

import (
	"math"
	"math/rand/v2"
	"testing"

	"isearle/runtime"
)

var floatTypes = []runtime.DType{runtime.F32, runtime.F16, runtime.BF16}

func TestAllFinite(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, dt := range floatTypes {
		for _, n := range []int{0, 1, 2, 3, 7, 8, 9, 16, 17, 64, 77} {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(rng.NormFloat64()) * float32(math.Pow(10, float64(rng.IntN(8)-4)))
			}
			if n > 1 {
				x[0], x[1] = 65504, -65504 // all bits of an exponent but one
			}
			if !allFinite(encode(nil, x, dt), dt) {
				t.Errorf("%s: %d finite numbers do not pass", dt, n)
			}
			for i := range x {
				for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
					old := x[i]
					x[i] = float32(bad)
					if allFinite(encode(nil, x, dt), dt) {
						t.Errorf("%s: %v at %d of %d passes", dt, bad, i, n)
					}
					x[i] = old
				}
			}
		}
	}
}

func TestParallel(t *testing.T) {
	for _, n := range []int{0, 1, 99, 100, 101, 1000} {
		seen := make([]int, n)
		if !parallel(n, 10, func(lo, hi int) bool {
			for i := lo; i < hi; i++ {
				seen[i]++
			}
			return true
		}) {
			t.Errorf("%d: not all blocks passed", n)
		}
		for i, c := range seen {
			if c != 1 {
				t.Errorf("%d: element %d was visited %d times", n, i, c)
			}
		}
		if n > 0 && parallel(n, 10, func(lo, _ int) bool { return lo > 0 }) {
			t.Errorf("%d: a failing block passed", n)
		}
	}
}
