package simd

import "math"

// genericNR and genericMR are the tile of the portable Gemm.
const genericNR, genericMR = 16, 4

// generic is the portable set. Products are converted to float32 before they are added, which forbids the compiler to fuse
// the two: so the bits are the same on every architecture.
var generic = Kernels{
	Name:          "generic",
	MR:            genericMR,
	NR:            genericNR,
	Gemm:          gemmGeneric,
	Pack:          packGeneric,
	PackF16:       packF16Generic,
	PackBF16:      packBF16Generic,
	Scores:        scoresGeneric,
	ScoresF16:     scoresF16Generic,
	ScoresBF16:    scoresBF16Generic,
	Gathered:      gatheredPortable(fromF32),
	GatheredF16:   gatheredPortable(fromF16),
	GatheredBF16:  gatheredPortable(fromBF16),
	FromF16:       fromPortable(fromF16),
	FromBF16:      fromPortable(fromBF16),
	Reached:       reachedGeneric,
	Shift:         shiftGeneric,
	Bounds:        boundsGeneric,
	GemmI8:        gemmI8Generic,
	RoundPairs:    roundPairsGeneric,
	Round:         roundGeneric,
	GemmWiden:     gemmWidenGeneric,
	QuantiseU8:    quantiseU8Generic,
	LayerNorm:     layerNormGeneric,
	Bias:          biasGeneric,
	Softmax:       softmaxGeneric,
	GELUGrad:      func(dst, dy, pre []float32) { gradGeneric(dst, dy, pre, geluSlope) },
	GELUTanhGrad:  func(dst, dy, pre []float32) { gradGeneric(dst, dy, pre, geluTanhSlope) },
	QuickGELUGrad: func(dst, dy, pre []float32) { gradGeneric(dst, dy, pre, quickGELUSlope) },
	Fetch:         func([]float32, int, int) {},
	TileBias:      tileGeneric(func(v float32) float32 { return v }),
	TileGELU:      tileGeneric(gelu),
	TileGELUTanh:  tileGeneric(geluTanh),
	TileQuickGELU: tileGeneric(quickGELU),
	TileReLU:      tileGeneric(relu),
	LayerNormGrad: layerNormGradGeneric,
	SoftmaxGrad:   softmaxGradGeneric,
	Dot:           dotGeneric,
}

// lanes are the partial sums of a vector, 64 or the first 16 of them.
type lanes [64]float32

// sum adds the lanes by halves.
func (l *lanes) sum() float32 {
	for w := len(l) / 2; w > 0; w /= 2 {
		for i := range w {
			l[i] += l[i+w]
		}
	}
	return l[0]
}

func layerNormGeneric(dst, x, gamma, beta []float32, eps float32) (mean, rstd float32) {
	var l lanes
	for i, v := range x {
		l[i%64] += v
	}
	n := float32(len(x))
	mean = l.sum() / n
	l = lanes{}
	for i, v := range x {
		d := v - mean
		l[i%64] += float32(d * d)
	}
	rstd = 1 / float32(math.Sqrt(float64(l.sum()/n+eps)))
	for i, v := range x {
		h := float32((v - mean) * rstd)
		dst[i] = float32(h*gamma[i]) + beta[i]
	}
	return mean, rstd
}

func layerNormGradGeneric(dx, dy, x, gamma []float32, mean, rstd float32) {
	var g, gh lanes
	for i := range dx {
		v := float32(dy[i] * gamma[i])
		g[i%16] += v
		gh[i%16] += float32(v * float32((x[i]-mean)*rstd))
	}
	n := float32(len(dx))
	meanG, meanGH := g.sum()/n, gh.sum()/n
	for i := range dx {
		v := float32(dy[i]*gamma[i]) - meanG
		v -= float32(float32((x[i]-mean)*rstd) * meanGH)
		dx[i] += float32(v * rstd)
	}
}

func softmaxGeneric(x []float32, scale float32) (largest, sum float32) {
	largest = float32(math.Inf(-1))
	for _, v := range x {
		if v > largest {
			largest = v
		}
	}
	var l lanes
	for i, v := range x {
		x[i] = expf(float32((v - largest) * scale))
		l[i%16] += x[i]
	}
	sum = l.sum()
	r := 1 / sum
	for i := range x {
		x[i] *= r
	}
	return largest, sum
}

func softmaxGradGeneric(dp, p []float32, scale float32) {
	s := dotGeneric(dp, p)
	for i := range dp {
		dp[i] = float32(scale*p[i]) * (dp[i] - s)
	}
}

func dotGeneric(x, y []float32) float32 {
	var l lanes
	for i, v := range x {
		l[i%64] += float32(v * y[i])
	}
	return l.sum()
}

func biasGeneric(y, bias []float32) {
	for i := range y {
		y[i] += bias[i]
	}
}

func tileGeneric(f func(float32) float32) func(y []float32, ldy, rows int, bias, res []float32, ldres int) {
	return func(y []float32, ldy, rows int, bias, res []float32, ldres int) {
		for i := range rows {
			row := y[i*ldy : i*ldy+genericNR]
			if bias != nil {
				biasGeneric(row, bias)
			}
			for j, v := range row {
				row[j] = f(v)
			}
			if res != nil {
				biasGeneric(row, res[i*ldres:])
			}
		}
	}
}

func gradGeneric(dst, dy, pre []float32, slope func(float32) float32) {
	for i := range dst {
		dst[i] = dy[i] * slope(pre[i])
	}
}
