package reference

import (
	"math"

	"isearle/runtime"
)

func (p *program) layerNormGrad(o runtime.LayerNormGrad) {
	n := float64(o.X.Cols)
	for r := range p.live(o.Rows) {
		x, dy := p.mat(o.X).row(r), p.mat(o.DY).row(r)
		mean, variance := 0.0, 0.0
		for _, v := range x {
			mean += v / n
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / n
		}
		sd := math.Sqrt(variance + float64(o.Norm.Eps))
		var averageG, averageHG float64
		g, h := make([]float64, len(x)), make([]float64, len(x))
		for i := range x {
			g[i], h[i] = dy[i]*p.mat(o.Norm.Gamma).at(0, i), (x[i]-mean)/sd
			averageG += g[i] / n
			averageHG += g[i] * h[i] / n
		}
		for i := range x {
			p.mat(o.DX).put(r, i, (g[i]-averageG-h[i]*averageHG)/sd, o.Add)
		}
	}
}
