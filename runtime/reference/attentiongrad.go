package reference

import "isearle/runtime"

func (p *program) attentionGrad(o runtime.AttentionGrad) {
	qs, starts := p.ints(o.QStarts), p.ints(o.Starts)
	for s := range p.live(o.Seqs) {
		keys, vals := p.keys(o.K, o.PrefixK, o.Attention, s), p.keys(o.V, o.PrefixV, o.Attention, s)
		for k := starts[s]; k < starts[s+1]; k++ {
			p.mat(o.DK).setRow(int(k), make([]float64, o.K.Cols))
			p.mat(o.DV).setRow(int(k), make([]float64, o.K.Cols))
		}
		own := int(starts[s]) - (len(keys) - int(starts[s+1]-starts[s])) // row of the key at position 0, were it an own one
		for q := int(qs[s]); q < int(qs[s+1]); q++ {
			p.mat(o.DQ).setRow(q, make([]float64, o.Q.Cols))
			for h := range o.Heads {
				p.queryGrad(o, keys, vals, q, h, own, int(starts[s]))
			}
		}
	}
}

// queryGrad adds what query row q of head h gives to DQ and to the rows of DK and DV from first on; the key at position k is
// row own+k.
func (p *program) queryGrad(o runtime.AttentionGrad, keys, vals [][]float64, q, h, own, first int) {
	d := o.Q.Cols / o.Heads
	w := p.weights(o.Attention, keys, q, h)
	dp, average := make([]float64, len(w)), 0.0
	for k := range w {
		for j := h * d; j < (h+1)*d; j++ {
			dp[k] += p.mat(o.DOut).at(q, j) * vals[k][j]
		}
		average += w[k] * dp[k]
	}
	for k := range w {
		ds := w[k] * (dp[k] - average) * float64(o.Scale)
		for j := h * d; j < (h+1)*d; j++ {
			p.mat(o.DQ).put(q, j, ds*keys[k][j], true)
			if own+k >= first {
				p.mat(o.DK).put(own+k, j, ds*p.mat(o.Q).at(q, j), true)
				p.mat(o.DV).put(own+k, j, w[k]*p.mat(o.DOut).at(q, j), true)
			}
		}
	}
}
