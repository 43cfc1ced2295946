package reference

import (
	"math"

	"isearle/runtime"
)

func dot(a, b []float64) (s float64) {
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// unit returns x at length one, and its length.
func unit(x []float64) ([]float64, float64) {
	length := math.Sqrt(dot(x, x))
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / length
	}
	return y, length
}

// throughUnit turns a gradient by u, the unit vector of some x, into one by x.
func throughUnit(g, u []float64, length float64) []float64 {
	along := dot(g, u)
	dx := make([]float64, len(g))
	for i := range g {
		dx[i] = (g[i] - along*u[i]) / length
	}
	return dx
}

func (p *program) cosineLoss(o runtime.CosineLoss) {
	for r := range p.live(o.Rows) {
		a, b := p.mat(o.A).row(r), p.mat(o.B).row(r)
		u, length := unit(a)
		if o.Unit {
			a = append([]float64(nil), u...)
		}
		if !o.Noise.Absent() {
			for i := range a {
				a[i] += p.mat(o.Noise).at(r, i)
			}
		}
		aa, bb := dot(a, a)+1e-12, dot(b, b)+1e-12
		cosine := dot(a, b) / math.Sqrt(aa*bb)
		g := make([]float64, len(a))
		for i := range g {
			g[i] = cosine*a[i]/aa - b[i]/math.Sqrt(aa*bb)
		}
		if o.Unit {
			g = throughUnit(g, u, length)
		}
		p.mat(o.Loss).set(r, 0, 1-cosine)
		for i := range g {
			p.mat(o.DA).set(r, i, p.mat(o.Weight).at(r, 0)*g[i])
		}
	}
}

func (p *program) infoNCE(o runtime.InfoNCE) {
	n, tau := p.live(o.Rows), float64(o.Tau)
	j, length := make([][]float64, 2*n), make([]float64, 2*n)
	for i := range n {
		j[i], length[i] = unit(p.mat(o.A).row(i))
		j[n+i], length[n+i] = unit(p.mat(o.B).row(i))
	}
	den := make([]float64, 2*n)
	for i := range j {
		for k := range j {
			if k != i {
				den[i] += math.Exp(dot(j[i], j[k]) / tau)
			}
		}
	}
	loss := 0.0
	for i := range j {
		num := math.Exp(dot(j[i], j[(i+n)%(2*n)]) / tau)
		loss -= math.Log(num/den[i]) / float64(2*n)
	}
	if n == 0 {
		loss = math.NaN() // the mean of nothing
	}
	p.mat(o.Loss).set(0, 0, loss)
	for i := n; i < 2*n; i++ {
		g := make([]float64, len(j[i]))
		for k := range j {
			if k == i {
				continue
			}
			e := math.Exp(dot(j[i], j[k]) / tau)
			for c := range g {
				g[c] += (e/den[i] + e/den[k]) * j[k][c] / tau / float64(2*n)
			}
		}
		for c := range g {
			g[c] -= j[i-n][c] / tau / float64(n)
		}
		for c, v := range throughUnit(g, j[i], length[i]) {
			p.mat(o.DB).set(i-n, c, float64(o.Weight)*v)
		}
	}
}
