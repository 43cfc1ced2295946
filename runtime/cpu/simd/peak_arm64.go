//go:build !noasm

package simd

func peaks(set string) Peaks {
	if set == "neon" {
		return Peaks{F32: func(n int) int {
			if n > 0 {
				peakNEON(n)
			}
			return 128 * n
		}}
	}
	return Peaks{F32: peakGeneric}
}
