package main

import "math"

// A fit is a minimax approximation of f by a linear combination of basis functions, in the weighted error weight*(f - sum),
// on a grid.
type fit struct {
	f, weight func(x float64) float64
	basis     []func(x float64) float64
	grid      []float64
}

// expFit is q of exp(r) = 1 + r + r*r*q(r), of degree 4, for the relative error of the exponential.
func expFit() *fit {
	return &fit{
		f: func(r float64) float64 {
			if math.Abs(r) < 1e-3 { // the series, where the difference cancels
				return 1.0/2 + r/6 + r*r/24 + r*r*r/120
			}
			return (math.Expm1(r) - r) / (r * r)
		},
		weight: func(r float64) float64 { return r * r / math.Exp(r) },
		basis:  powers(0, 4),
		grid:   grid(-1.0001*math.Ln2/2, 1.0001*math.Ln2/2),
	}
}

// tailFit is t*m(t), with m of degree 7, of the normal distribution's upper tail over exp(-a*a/2), for its relative error.
func tailFit(scale, most float64) *fit {
	mills := func(t float64) float64 {
		a := (1/t - 1) / scale
		return math.Erfc(a/math.Sqrt2) / 2 * math.Exp(a*a/2)
	}
	return &fit{
		f:      mills,
		weight: func(t float64) float64 { return 1 / mills(t) },
		basis:  powers(1, 8),
		grid:   grid(1/(1+scale*most), 1),
	}
}

func powers(from, to int) (basis []func(float64) float64) {
	for n := from; n <= to; n++ {
		basis = append(basis, func(x float64) float64 { return math.Pow(x, float64(n)) })
	}
	return basis
}

func grid(low, high float64) []float64 {
	g := make([]float64, 8000)
	for i := range g {
		g[i] = low + (high-low)*float64(i)/float64(len(g)-1)
	}
	return g
}

// solve returns the coefficients and the largest weighted error, by Remez's exchange (E. Ya. Remez, 1934).
func (p *fit) solve() (c []float64, worst float64) {
	m := len(p.basis) + 1
	at := make([]int, m) // where the error is to alternate; at first, Chebyshev's points
	for i := range at {
		at[i] = int(float64(len(p.grid)-1) * (1 - math.Cos(math.Pi*(float64(i)+0.5)/float64(m))) / 2)
	}
	for range 40 {
		c = p.interpolate(at)
		var extremes []int
		if extremes, worst = p.extremes(c, m); len(extremes) < m {
			break
		}
		at = extremes
	}
	return c, worst
}

func (p *fit) errorAt(c []float64, x float64) float64 {
	e := p.f(x)
	for j, b := range p.basis {
		e -= c[j] * b(x)
	}
	return e * p.weight(x)
}

// interpolate returns the coefficients with errors of alternating sign and equal size at the points.
func (p *fit) interpolate(at []int) []float64 {
	a := make([][]float64, len(at))
	sign := 1.0
	for i := range a {
		x := p.grid[at[i]]
		for _, b := range p.basis {
			a[i] = append(a[i], p.weight(x)*b(x))
		}
		a[i] = append(a[i], sign, p.weight(x)*p.f(x))
		sign = -sign
	}
	return eliminate(a)[:len(p.basis)]
}

// extremes returns the points of the largest error between changes of sign, the m most useful ones, and the largest error.
func (p *fit) extremes(c []float64, m int) (at []int, worst float64) {
	var size []float64
	for i, x := range p.grid {
		e := p.errorAt(c, x)
		worst = max(worst, math.Abs(e))
		last := len(at) - 1
		switch {
		case last < 0 || size[last]*e < 0:
			at, size = append(at, i), append(size, e)
		case math.Abs(e) > math.Abs(size[last]):
			at[last], size[last] = i, e
		}
	}
	for len(at) > m {
		if math.Abs(size[0]) < math.Abs(size[len(size)-1]) {
			at, size = at[1:], size[1:]
		} else {
			at, size = at[:len(at)-1], size[:len(size)-1]
		}
	}
	return at, worst
}

// eliminate solves the linear equations whose rows are coefficients and right side.
func eliminate(a [][]float64) []float64 {
	n := len(a)
	for c := range n {
		pivot := c
		for r := c; r < n; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[pivot][c]) {
				pivot = r
			}
		}
		a[c], a[pivot] = a[pivot], a[c]
		for r := range n {
			if r == c {
				continue
			}
			m := a[r][c] / a[c][c]
			for k := c; k <= n; k++ {
				a[r][k] -= m * a[c][k]
			}
		}
	}
	x := make([]float64, n)
	for i := range x {
		x[i] = a[i][n] / a[i][i]
	}
	return x
}
