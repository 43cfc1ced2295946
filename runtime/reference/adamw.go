package reference

import (
	"math"

	"isearle/runtime"
)

func (p *program) adamW(o runtime.AdamW) {
	h := p.mat(o.Hyper).row(0)
	beta1, beta2, ema := h[runtime.HyperBeta1], h[runtime.HyperBeta2], h[runtime.HyperEMA]
	rest1, rest2, rest := h[runtime.HyperRest1], h[runtime.HyperRest2], h[runtime.HyperRestEMA]
	for r := range p.live(o.Rows) {
		for i := range o.P.Cols {
			x, g := p.mat(o.P).at(r, i)*h[runtime.HyperDecay], p.mat(o.G).at(r, i)
			m := beta1*p.mat(o.M).at(r, i) + rest1*g
			v := beta2*p.mat(o.V).at(r, i) + rest2*g*g
			x -= h[runtime.HyperStep] * m / (math.Sqrt(v)/h[runtime.HyperScale] + h[runtime.HyperEps])
			p.mat(o.P).set(r, i, x)
			p.mat(o.M).set(r, i, m)
			p.mat(o.V).set(r, i, v)
			if !o.EMA.Absent() {
				p.mat(o.EMA).set(r, i, ema*p.mat(o.EMA).at(r, i)+rest*x)
			}
		}
	}
}
