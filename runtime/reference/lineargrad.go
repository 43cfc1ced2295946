package reference

import (
	"math"

	"isearle/runtime"
)

// slope is the derivative of an activation.
func slope(a runtime.Activation, x float64) float64 {
	switch a {
	case runtime.QuickGELU:
		s := 1 / (1 + math.Exp(-1.702*x))
		return s + 1.702*x*s*(1-s)
	case runtime.GELU:
		return (1+math.Erf(x/math.Sqrt2))/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case runtime.GELUTanh:
		t := math.Tanh(math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x))
		return (1+t)/2 + x*(1-t*t)/2*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
	case runtime.ReLU:
		if x > 0 {
			return 1
		}
		return 0
	}
	return 1
}

func (p *program) linearGrad(o runtime.LinearGrad) {
	out, in := o.Shape()
	w := p.matrixOf(o.W, o.Dense)
	for r := range p.live(o.Rows) {
		g := p.mat(o.DY).row(r)
		for j := range g {
			if o.Act != runtime.Identity {
				g[j] *= slope(o.Act, p.mat(o.Pre).at(r, j))
			}
		}
		if !o.DPre.Absent() {
			p.mat(o.DPre).setRow(r, g)
		}
		if o.DX.Absent() {
			continue
		}
		g = factor(o.W, g)
		for i := range in {
			s := 0.0
			for j := range out {
				s += g[j] * w(j, i)
			}
			p.mat(o.DX).put(r, i, s, o.Add)
		}
	}
}

func (p *program) weightGrad(o runtime.WeightGrad) {
	for j := range o.DW.Rows {
		bias := 0.0
		for r := range p.live(o.Rows) {
			bias += p.mat(o.DPre).at(r, j)
		}
		if !o.DBias.Absent() {
			p.mat(o.DBias).set(0, j, bias)
		}
		for i := range o.DW.Cols {
			s := 0.0
			for r := range p.live(o.Rows) {
				s += p.mat(o.DPre).at(r, j) * p.mat(o.X).at(r, i)
			}
			p.mat(o.DW).set(j, i, s)
		}
	}
}
