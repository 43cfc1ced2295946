//go:build !noasm

package simd

import "golang.org/x/sys/cpu"

func peaks(set string) (p Peaks) {
	const unroll, ops = 2, 2
	const chains512, chains2 = 16, 14
	counted := func(loop func(int), chains, products int) func(int) int {
		return func(n int) int { loop(n); return max(0, n) * unroll * chains * products * ops }
	}
	switch set {
	case "amx", "avx512", "avx512bf16":
		p.F32 = counted(peakFloatAVX512, chains512, 16)
		p.BF16 = p.F32 // of widened factors
		if set == "avx512bf16" {
			p.BF16 = counted(peakBrainAVX512, chains512, 32)
		}
		if cpu.X86.HasAVX512VNNI {
			p.I8 = counted(peakBytesAVX512, chains512, 64)
		}
		if set == "amx" {
			peaksAMX(&p)
		}
	case "avx2":
		p.F32 = counted(peakFloatAVX2, chains2, 8)
	default:
		p.F32 = peakGeneric
	}
	return p
}
