//go:build !noasm

package simd

import "golang.org/x/sys/cpu"

// machineSets returns the sets in assembly that this machine runs, the fastest first.
func machineSets() []Kernels {
	var sets []Kernels
	x := cpu.X86
	if x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL && x.HasBMI2 {
		sets = append(sets, setAVX512)
	}
	if x.HasAVX2 && x.HasFMA && x.HasF16C {
		sets = append(sets, setAVX2)
	}
	return sets
}

var setAVX512 = Kernels{
	Name: "avx512",
	MR:   13,
	NR:   32,
	Gemm: gemmAVX512,
	Pack: func(dst, src []float32, stride, rows, k int) {
		packPortable(dst, 32, src, stride, rows, k, func(v float32) float32 { return v })
	},
	PackF16: func(dst []float32, src []uint16, stride, rows, k int) {
		packPortable(dst, 32, src, stride, rows, k, fromF16)
	},
	PackBF16: func(dst []float32, src []uint16, stride, rows, k int) {
		packPortable(dst, 32, src, stride, rows, k, fromBF16)
	},
	PackI8: func(dst []float32, src []int8, stride, rows, k int) {
		packPortable(dst, 32, src, stride, rows, k, fromI8)
	},
	LayerNorm:     layerNormAVX512,
	Bias:          biasAVX512,
	BiasResidual:  biasResidualAVX512,
	BiasGELU:      biasGELUAVX512,
	BiasGELUTanh:  biasGELUTanhAVX512,
	BiasQuickGELU: biasQuickGELUAVX512,
	BiasReLU:      biasReLUAVX512,
	Softmax:       softmaxAVX512,
	GELUGrad:      gradGELUAVX512,
	GELUTanhGrad:  gradGELUTanhAVX512,
	QuickGELUGrad: gradQuickGELUAVX512,
	LayerNormGrad: layerNormGradAVX512,
	SoftmaxGrad:   softmaxGradAVX512,
	Dot:           dotAVX512,
	Axpy:          axpyAVX512,
}

var setAVX2 = Kernels{
	Name:          "avx2",
	MR:            6,
	NR:            16,
	Gemm:          gemmAVX2,
	Pack:          packGeneric,
	PackF16:       packF16Generic,
	PackBF16:      packBF16Generic,
	PackI8:        packI8Generic,
	LayerNorm:     layerNormAVX2,
	Bias:          biasAVX2,
	BiasResidual:  biasResidualAVX2,
	BiasGELU:      biasGELUAVX2,
	BiasGELUTanh:  biasGELUTanhAVX2,
	BiasQuickGELU: biasQuickGELUAVX2,
	BiasReLU:      biasReLUAVX2,
	Softmax:       softmaxAVX2,
	GELUGrad:      gradGELUAVX2,
	GELUTanhGrad:  gradGELUTanhAVX2,
	QuickGELUGrad: gradQuickGELUAVX2,
	LayerNormGrad: layerNormGradAVX2,
	SoftmaxGrad:   softmaxGradAVX2,
	Dot:           dotAVX2,
	Axpy:          axpyAVX2,
}
