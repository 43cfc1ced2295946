//go:build !noasm

package simd

import "golang.org/x/sys/cpu"

// machineSets returns the sets in assembly that this machine runs, the fastest first.
func machineSets() []Kernels {
	var sets []Kernels
	x := cpu.X86
	if x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL && x.HasBMI2 {
		sets = append(sets, avx512Sets()...)
	}
	if x.HasAVX2 && x.HasFMA && x.HasF16C {
		sets = append(sets, avx2Words())
	}
	return sets
}

var setAVX512 = Kernels{
	Name:          "avx512",
	MR:            13,
	NR:            32,
	Gemm:          gemmAVX512,
	Pack:          packAVX512,
	PackF16:       packHalfAVX512,
	PackBF16:      packBrainAVX512,
	Scores:        scoresOf(scoresF32x1AVX512, scoresF32x2AVX512, scoresF32x3AVX512, scoresF32x4AVX512),
	ScoresF16:     scoresOf(scoresF16x1AVX512, scoresF16x2AVX512, scoresF16x3AVX512, scoresF16x4AVX512),
	ScoresBF16:    scoresOf(scoresBF16x1AVX512, scoresBF16x2AVX512, scoresBF16x3AVX512, scoresBF16x4AVX512),
	Gathered:      gatheredOf(gatheredF32AVX512),
	GatheredF16:   gatheredOf(gatheredF16AVX512),
	GatheredBF16:  gatheredOf(gatheredBF16AVX512),
	FromF16:       fromOf(fromF16AVX512),
	FromBF16:      fromOf(fromBF16AVX512),
	Reached:       reachedOf(reachedAVX512),
	Shift:         shiftOf(shiftAVX512),
	Bounds:        rowBoundsAVX512,
	Round:         roundHighAVX512,
	LayerNorm:     layerNormAVX512,
	Bias:          biasAVX512,
	Softmax:       softmaxAVX512,
	GELUGrad:      gradGELUAVX512,
	GELUTanhGrad:  gradGELUTanhAVX512,
	QuickGELUGrad: gradQuickGELUAVX512,
	Fetch:         func(p []float32, ld, rows int) { fetchAVX512(&p[0], ld, rows) },
	TileBias:      tile(tileBiasAVX512),
	TileGELU:      tile(tileGELUAVX512),
	TileGELUTanh:  tile(tileGELUTanhAVX512),
	TileQuickGELU: tile(tileQuickGELUAVX512),
	TileReLU:      tile(tileReLUAVX512),
	LayerNormGrad: layerNormGradAVX512,
	SoftmaxGrad:   softmaxGradAVX512,
	Dot:           dotAVX512,
}

var setAVX2 = Kernels{
	Name:          "avx2",
	MR:            6,
	NR:            16,
	Gemm:          gemmAVX2,
	Pack:          packAVX2,
	PackF16:       packHalfAVX2,
	PackBF16:      packBrainAVX2,
	Scores:        scoresOf(scoresF32x1AVX2, scoresF32x2AVX2, scoresF32x3AVX2, scoresF32x4AVX2),
	ScoresF16:     scoresOf(scoresF16x1AVX2, scoresF16x2AVX2, scoresF16x3AVX2, scoresF16x4AVX2),
	ScoresBF16:    scoresOf(scoresBF16x1AVX2, scoresBF16x2AVX2, scoresBF16x3AVX2, scoresBF16x4AVX2),
	Gathered:      gatheredOf(gatheredF32AVX2),
	GatheredF16:   gatheredOf(gatheredF16AVX2),
	GatheredBF16:  gatheredOf(gatheredBF16AVX2),
	FromF16:       fromOf(fromF16AVX2),
	FromBF16:      fromOf(fromBF16AVX2),
	Reached:       reachedOf(reachedAVX2),
	Shift:         shiftOf(shiftAVX2),
	Bounds:        rowBoundsAVX2,
	Round:         roundHighAVX2,
	LayerNorm:     layerNormAVX2,
	Bias:          biasAVX2,
	Softmax:       softmaxAVX2,
	GELUGrad:      gradGELUAVX2,
	GELUTanhGrad:  gradGELUTanhAVX2,
	QuickGELUGrad: gradQuickGELUAVX2,
	Fetch:         func(p []float32, ld, rows int) { fetchAVX2(&p[0], ld, rows) },
	TileBias:      tile(tileBiasAVX2),
	TileGELU:      tile(tileGELUAVX2),
	TileGELUTanh:  tile(tileGELUTanhAVX2),
	TileQuickGELU: tile(tileQuickGELUAVX2),
	TileReLU:      tile(tileReLUAVX2),
	LayerNormGrad: layerNormGradAVX2,
	SoftmaxGrad:   softmaxGradAVX2,
	Dot:           dotAVX2,
}
