package ablation

import (
	"errors"
	"math"
	"slices"
)

// gaussian is a normal distribution fitted to rows: their mean, and their covariance shrunk towards a multiple of the identity as much
// as Ledoit and Wolf prove best (A well-conditioned estimator for large-dimensional covariance matrices, 2004).
type gaussian struct {
	mean      []float64
	cov       []float64 // [p, p]
	shrinkage float64   // between 0, the sample's covariance, and 1
}

// centred are the rows of x [n, p] without their mean.
func centred(x []float32, p int) (rows [][]float64, mean []float64) {
	n := len(x) / p
	mean = make([]float64, p)
	for i, v := range x {
		mean[i%p] += float64(v) / float64(n)
	}
	for row := range slices.Chunk(x, p) {
		c := make([]float64, p)
		for j, v := range row {
			c[j] = float64(v) - mean[j]
		}
		rows = append(rows, c)
	}
	return rows, mean
}

// fit fits a gaussian to rows of p elements, at least two.
func fit(x []float32, p int) gaussian {
	rows, mean := centred(x, p)
	n := float64(len(rows))
	g := gaussian{mean: mean, cov: make([]float64, p*p)}
	fourth := 0.0 // sum of the rows' lengths to the fourth
	for _, r := range rows {
		square := 0.0
		for j, v := range r {
			square += v * v
			for k, u := range r[:j+1] {
				g.cov[j*p+k] += v * u / n
			}
		}
		fourth += square * square
	}
	trace, frobenius := 0.0, 0.0
	for j := range p {
		trace += g.cov[j*p+j]
		for k := range j {
			g.cov[k*p+j] = g.cov[j*p+k]
			frobenius += 2 * g.cov[j*p+k] * g.cov[j*p+k]
		}
		frobenius += g.cov[j*p+j] * g.cov[j*p+j]
	}
	m := trace / float64(p)
	beta, delta := (fourth/n-frobenius)/n, frobenius-trace*m
	if delta > 0 {
		g.shrinkage = min(1, max(0, beta/delta))
	}
	for i := range g.cov {
		g.cov[i] *= 1 - g.shrinkage
	}
	for j := range p {
		g.cov[j*p+j] += g.shrinkage * m
	}
	return g
}

// errSingular says that a covariance is not positive definite: its rows are all the same.
var errSingular = errors.New("the covariance of the pseudo-words is singular")

// divergence is the Kullback-Leibler divergence KL(g || h) in nats.
func divergence(g, h gaussian) (float64, error) {
	p := len(g.mean)
	lg, okG := cholesky(g.cov, p)
	lh, okH := cholesky(h.cov, p)
	if !okG || !okH {
		return math.NaN(), errSingular
	}
	// tr(H^-1 G) is the squared norm of Lh^-1 Lg; both factors are lower triangular.
	kl, column := -float64(p), make([]float64, p)
	for j := range p {
		for i := range p {
			column[i] = lg[i*p+j]
		}
		kl += squareSolved(lh, column, p)
		kl += 2 * math.Log(lh[j*p+j]/lg[j*p+j])
	}
	for i := range p {
		column[i] = h.mean[i] - g.mean[i]
	}
	return (kl + squareSolved(lh, column, p)) / 2, nil
}

// squareSolved is the squared length of L^-1 b; b is overwritten.
func squareSolved(l, b []float64, p int) (sum float64) {
	for i := range p {
		v := b[i]
		for k, u := range b[:i] {
			v -= l[i*p+k] * u
		}
		b[i] = v / l[i*p+i]
		sum += b[i] * b[i]
	}
	return sum
}

// cholesky factors a into L L^T; false if a is not positive definite.
func cholesky(a []float64, p int) (l []float64, ok bool) {
	l = make([]float64, p*p)
	for j := range p {
		for i := j; i < p; i++ {
			v := a[i*p+j]
			for k := range j {
				v -= l[i*p+k] * l[j*p+k]
			}
			switch {
			case i > j:
				l[i*p+j] = v / l[j*p+j]
			case !(v > 0):
				return nil, false
			default:
				l[j*p+j] = math.Sqrt(v)
			}
		}
	}
	return l, true
}

// principal are the first two principal axes of rows of p elements, and their mean. Power iteration finds them: a picture needs no more.
func principal(x []float32, p int) (axes [2][]float64, mean []float64) {
	const iterations = 200
	rows, mean := centred(x, p)
	for a := range axes {
		v := make([]float64, p)
		for j := range v {
			v[j] = 1 / float64(j+a+1) // any start that is not orthogonal to the axis
		}
		for range iterations {
			next := make([]float64, p)
			for _, r := range rows {
				s := 0.0
				for j, u := range r {
					s += u * v[j]
				}
				for j, u := range r {
					next[j] += s * u
				}
			}
			if a == 1 {
				s := 0.0
				for j, u := range axes[0] {
					s += u * next[j]
				}
				for j, u := range axes[0] {
					next[j] -= s * u
				}
			}
			size := 0.0
			for _, u := range next {
				size += u * u
			}
			for j := range next {
				v[j] = next[j] / max(math.Sqrt(size), 1e-30)
			}
		}
		axes[a] = v
	}
	return axes, mean
}

// projected are rows on two axes.
func projected(x []float32, axes [2][]float64, mean []float64) (c Curve) {
	c.Dots = true
	for row := range slices.Chunk(x, len(mean)) {
		var at [2]float64
		for a, axis := range axes {
			for j, v := range row {
				at[a] += (float64(v) - mean[j]) * axis[j]
			}
		}
		c.X, c.Y = append(c.X, at[0]), append(c.Y, at[1])
	}
	return c
}
