package simd

import "testing"

// Every set has a loop of f32, and each counts what its stub says: chains x lanes x products x 2, twice a round.
func TestPeaks(t *testing.T) {
	want := map[string][3]int{"amx": {1024, 65536, 131072}, "avx512": {1024, 1024, 4096}, "avx512bf16": {1024, 2048, 4096}, "avx2": {448, 0, 0}, "neon": {128, 0, 0}, "generic": {16, 0, 0}}
	eachSet(t, func(t *testing.T, k *Kernels) {
		p := k.Peaks()
		for i, loop := range []func(int) int{p.F32, p.BF16, p.I8} {
			if loop == nil {
				if i == 0 {
					t.Error("no loop of f32")
				}
				continue
			}
			if got := loop(3); got != 3*want[k.Name][i] {
				t.Errorf("loop %d counts %d operations, want %d", i, got, 3*want[k.Name][i])
			}
			if got := loop(0); got != 0 {
				t.Errorf("loop %d counts %d operations in no round", i, got)
			}
		}
	})
}
