package ablation

import (
	"math"
	"math/rand/v2"
	"testing"
)

func sample(n, p int, seed uint64, scale func(j int) float64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n*p)
	for i := range x {
		x[i] = float32(r.NormFloat64()*scale(i%p) + float64(i%p))
	}
	return x
}

// The shrinkage must be that of the paper's definition: the mean squared distance of x x^T from the sample's covariance, over n,
// against that of the covariance from the multiple of the identity.
func TestFitIsLedoitWolf(t *testing.T) {
	for _, n := range []int{3, 10, 200} {
		const p = 7
		x := sample(n, p, uint64(n), func(j int) float64 { return 1 + float64(j) })
		rows, mean := centred(x, p)
		var s [p][p]float64
		m := 0.0
		for _, r := range rows {
			for j := range p {
				for k := range p {
					s[j][k] += r[j] * r[k] / float64(n)
				}
				m += r[j] * r[j] / float64(n) / p
			}
		}
		b, d := 0.0, 0.0
		for j := range p {
			for k := range p {
				for _, r := range rows {
					b += (r[j]*r[k] - s[j][k]) * (r[j]*r[k] - s[j][k]) / float64(n) / float64(n)
				}
				target := 0.0
				if j == k {
					target = m
				}
				d += (s[j][k] - target) * (s[j][k] - target)
			}
		}
		want := min(b, d) / d
		g := fit(x, p)
		if math.Abs(g.shrinkage-want) > 1e-9 || math.Abs(g.mean[3]-mean[3]) > 1e-12 {
			t.Errorf("%d rows: shrinkage %v, want %v", n, g.shrinkage, want)
		}
		for j := range p {
			for k := range p {
				c := (1 - want) * s[j][k]
				if j == k {
					c += want * m
				}
				if math.Abs(g.cov[j*p+k]-c) > 1e-9 {
					t.Fatalf("%d rows: covariance [%d, %d] is %v, want %v", n, j, k, g.cov[j*p+k], c)
				}
			}
		}
	}
}

// Of independent normals the divergence is the sum of those of each; and it does not change where both are turned alike.
func TestDivergence(t *testing.T) {
	g := gaussian{mean: []float64{1, -2, 0}, cov: []float64{4, 0, 0, 0, 1, 0, 0, 0, .25}}
	h := gaussian{mean: []float64{0, -2, 3}, cov: []float64{9, 0, 0, 0, 2, 0, 0, 0, 1}}
	want := 0.0
	for j := range 3 {
		a, b, d := g.cov[4*j], h.cov[4*j], g.mean[j]-h.mean[j]
		want += (a/b + d*d/b - 1 + math.Log(b/a)) / 2
	}
	c, s := math.Cos(.7), math.Sin(.7)
	turn := [3][3]float64{{c, -s, 0}, {s, c, 0}, {0, 0, 1}}
	turned := func(g gaussian) gaussian {
		out := gaussian{mean: make([]float64, 3), cov: make([]float64, 9)}
		for i := range 3 {
			for k := range 3 {
				out.mean[i] += turn[i][k] * g.mean[k]
				for j := range 3 {
					out.cov[i*3+j] += turn[i][k] * g.cov[4*k] * turn[j][k]
				}
			}
		}
		return out
	}
	for name, p := range map[string][2]gaussian{"straight": {g, h}, "turned": {turned(g), turned(h)}} {
		if got, err := divergence(p[0], p[1]); err != nil || math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
		if got, err := divergence(p[0], p[0]); err != nil || math.Abs(got) > 1e-12 {
			t.Errorf("%s: of itself %v, %v", name, got, err)
		}
	}
	if _, err := divergence(fit(make([]float32, 12), 3), g); err == nil {
		t.Error("a singular covariance has a divergence")
	}
}

func TestPrincipal(t *testing.T) {
	axes, mean := principal(sample(2000, 5, 3, func(j int) float64 { return []float64{1, 9, 1, 4, .5}[j] }), 5)
	if math.Abs(axes[0][1]) < .99 || math.Abs(axes[1][3]) < .99 || math.Abs(mean[4]-4) > .1 {
		t.Errorf("axes %v, mean %v", axes, mean)
	}
}
