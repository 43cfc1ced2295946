package simd

import (
	"fmt"
	"math"
	"testing"
)

// activation is one activation with its definition and its derivative in float64.
type activation struct {
	name       string
	tile       func(k *Kernels) tileFunc
	grad       func(k *Kernels) func(dst, dy, pre []float32)
	value      func(x float64) float64
	slope      func(x float64) float64
	absolute   float64 // bound of the error, beside
	relative   float64 // this many epsilons of the value
	slopeLimit float64 // bound of the derivative's error
	minusInf   float64 // value at -Inf
}

func sigmoid64(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func tanhArgument(x float64) float64 { return 2 * math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x) }

var activations = []activation{
	{
		name:     "gelu",
		tile:     func(k *Kernels) tileFunc { return k.TileGELU },
		grad:     func(k *Kernels) func(dst, dy, pre []float32) { return k.GELUGrad },
		value:    func(x float64) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 },
		slope:    func(x float64) float64 { return math.Erfc(-x/math.Sqrt2)/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi) },
		absolute: 8e-8, relative: 2, slopeLimit: 2.5e-7, minusInf: 0,
	},
	{
		name:  "gelu_tanh",
		tile:  func(k *Kernels) tileFunc { return k.TileGELUTanh },
		grad:  func(k *Kernels) func(dst, dy, pre []float32) { return k.GELUTanhGrad },
		value: func(x float64) float64 { return x * sigmoid64(tanhArgument(x)) },
		slope: func(x float64) float64 {
			s := sigmoid64(tanhArgument(x))
			return s + x*s*(1-s)*2*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
		},
		absolute: 1.5e-7, relative: 3, slopeLimit: 4e-7, minusInf: math.NaN(),
	},
	{
		name:  "quick_gelu",
		tile:  func(k *Kernels) tileFunc { return k.TileQuickGELU },
		grad:  func(k *Kernels) func(dst, dy, pre []float32) { return k.QuickGELUGrad },
		value: func(x float64) float64 { return x * sigmoid64(1.702*x) },
		slope: func(x float64) float64 {
			s := sigmoid64(1.702 * x)
			return s + 1.702*x*s*(1-s)
		},
		absolute: 1.5e-7, relative: 3, slopeLimit: 3e-7, minusInf: math.NaN(),
	},
	{
		name:     "relu",
		tile:     func(k *Kernels) tileFunc { return k.TileReLU },
		value:    func(x float64) float64 { return max(x, 0) },
		absolute: 0, relative: 0, minusInf: 0,
	},
}

// sweep is a fine grid of [-20, 20] and coarse powers of two.
func sweep() []float32 {
	var x []float32
	for i := -20000; i <= 20000; i++ {
		x = append(x, float32(i)/1000)
	}
	for e := -140; e < 127; e++ {
		x = append(x, float32(math.Ldexp(1.37, e)), -float32(math.Ldexp(1.37, e)))
	}
	return x
}

func TestActivationValues(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, a := range activations {
			x := sweep()
			y := clone(x)
			activate(k, a.tile(k), y)
			want := make([]float64, len(x))
			for i := range x {
				want[i] = a.value(float64(x[i]))
			}
			near(t, a.name, y, want, 1, func(i int) float64 { return a.absolute + a.relative*epsilon*math.Abs(want[i]) })
			if a.grad == nil {
				continue
			}
			ones := make([]float32, len(x))
			for i := range x {
				ones[i] = 1
				want[i] = a.slope(float64(x[i]))
				if math.IsNaN(want[i]) { // 0 * Inf of the formula at huge x
					want[i] = max(0, math.Copysign(1, float64(x[i])))
				}
			}
			a.grad(k)(ones, ones, x)
			near(t, a.name+" derivative", ones, want, a.slopeLimit, one)
		}
	})
}

func TestActivationSpecial(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, a := range activations {
			x := make([]float32, 19)
			x[2], x[17], x[3], x[18] = nan, nan, inf, inf
			x[4], x[16] = -inf, -inf
			y := clone(x)
			activate(k, a.tile(k), y)
			for i, want := range map[int]float64{0: 0, 2: math.NaN(), 17: math.NaN(), 3: math.Inf(1), 18: math.Inf(1), 4: a.minusInf, 16: a.minusInf} {
				if float64(y[i]) != want && !(want != want && y[i] != y[i]) {
					t.Errorf("%s(%g) is %g, should be %g", a.name, x[i], y[i], want)
				}
			}
			if a.grad == nil {
				continue
			}
			ones := make([]float32, len(x))
			for i := range ones {
				ones[i] = 1
			}
			a.grad(k)(ones, ones, x)
			for i, want := range map[int]float64{0: 0.5, 2: math.NaN(), 17: math.NaN(), 3: 1, 18: 1, 4: 0, 16: 0} {
				if math.Abs(float64(ones[i])-want) > 1e-7 || (want != want) != (ones[i] != ones[i]) {
					t.Errorf("%s'(%g) is %g, should be %g", a.name, x[i], ones[i], want)
				}
			}
		}
	})
}

// activate applies an epilogue without bias and residual to a vector, a row of a tile at a time.
func activate(k *Kernels, f tileFunc, y []float32) {
	row := make([]float32, k.NR)
	for i := 0; i < len(y); i += k.NR {
		copy(row, y[i:])
		f(row, k.NR, 1, nil, nil, 0)
		copy(y[i:], row)
	}
}

func TestBias(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths {
			x, b := random(1, n, 2), random(2, n, 2)
			y, bias := guard("y", x, 1), guard("bias", b, 2)
			k.Bias(y.v, nil)
			equalBits(t, fmt.Sprintf("n %d, no bias", n), y.v, x)
			k.Bias(y.v, bias.v)
			y.check(t)
			bias.check(t)
			for i := range x {
				x[i] += b[i]
			}
			equalBits(t, fmt.Sprintf("n %d", n), y.v, x)
		}
	})
}

// TestTiles checks bias, residual, strides, bounds, and that an element's place in a tile changes no bit of it.
func TestTiles(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		tiles := map[string]tileFunc{"bias": k.TileBias}
		for _, a := range activations {
			tiles[a.name] = a.tile(k)
		}
		for name, f := range tiles {
			alone := func(v float32) float32 {
				one := []float32{v}
				activate(k, f, one)
				return one[0]
			}
			for rows := 1; rows <= k.MR; rows++ {
				for _, has := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
					ldy, ldres := k.NR+rows%3, k.NR+rows%2
					x, b, r := random(1, (rows-1)*ldy+k.NR, 2), random(2, k.NR, 2), random(3, (rows-1)*ldres+k.NR, 2)
					y, bias, res := guard("y", x, 1), guard("bias", b, 2), guard("res", r, 3)
					for i := range rows {
						for j := range k.NR {
							v := &x[i*ldy+j]
							if has[0] {
								*v += b[j]
							}
							*v = alone(*v)
							if has[1] {
								*v += r[i*ldres+j]
							}
						}
					}
					if !has[0] {
						bias.v = nil
					}
					if !has[1] {
						res.v = nil
					}
					f(y.v, ldy, rows, bias.v, res.v, ldres)
					for _, g := range []*guarded{y, bias, res} {
						if g.v != nil {
							g.check(t)
						}
					}
					equalBits(t, fmt.Sprintf("%s, %d rows, bias and residual %v", name, rows, has), y.v, x)
				}
			}
		}
	})
}

func TestActivationGradients(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, a := range activations[:3] {
			for _, n := range lengths {
				dy, pre, dst := guard("dy", random(1, n, 2), 1), guard("pre", random(2, n, 2), 2), guard("dst", make([]float32, n), 3)
				want := make([]float64, n)
				for i := range want {
					want[i] = float64(dy.v[i]) * a.slope(float64(pre.v[i]))
				}
				a.grad(k)(dst.v, dy.v, pre.v)
				name := fmt.Sprintf("%s, n %d", a.name, n)
				near(t, name, dst.v, want, 2*a.slopeLimit, func(i int) float64 { return math.Abs(float64(dy.v[i])) })
				a.grad(k)(dy.v, dy.v, pre.v)
				equalBits(t, name+" in place", dy.v, dst.v)
				for _, g := range []*guarded{dy, pre, dst} {
					g.check(t)
				}
			}
		}
	})
}

func TestLayerNormGrad(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths[1:] {
			x, dy, gamma := guard("x", random(1, n, 2), 1), guard("dy", random(2, n, 1), 2), guard("gamma", random(3, n, 1), 3)
			before := random(4, n, 1)
			dx := guard("dx", before, 5)
			_, mean, rstd := layerNorm64(x.v, gamma.v, gamma.v, 1e-5)
			k.LayerNormGrad(dx.v, dy.v, x.v, gamma.v, float32(mean), float32(rstd))
			for _, g := range []*guarded{x, dy, gamma, dx} {
				g.check(t)
			}
			meanG, meanGH, largest := 0.0, 0.0, 1.0
			g, h := make([]float64, n), make([]float64, n)
			for i := range n {
				g[i], h[i] = float64(dy.v[i])*float64(gamma.v[i]), (float64(x.v[i])-mean)*rstd
				meanG += g[i] / float64(n)
				meanGH += g[i] * h[i] / float64(n)
				largest = max(largest, math.Abs(g[i]), math.Abs(h[i]))
			}
			want := make([]float64, n)
			for i := range want {
				want[i] = float64(before[i]) + rstd*(g[i]-meanG-h[i]*meanGH)
			}
			near(t, fmt.Sprintf("n %d", n), dx.v, want, 16*epsilon, func(int) float64 { return largest * largest * max(1, rstd) })
		}
	})
}

func TestSoftmaxGrad(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths[1:] {
			p, dp := guard("p", random(1, n, 1), 1), guard("dp", random(2, n, 1), 2)
			k.Softmax(p.v, 1)
			sum := 0.0
			for i := range n {
				sum += float64(p.v[i]) * float64(dp.v[i])
			}
			want := make([]float64, n)
			for i := range want {
				want[i] = 0.125 * float64(p.v[i]) * (float64(dp.v[i]) - sum)
			}
			k.SoftmaxGrad(dp.v, p.v, 0.125)
			p.check(t)
			dp.check(t)
			near(t, fmt.Sprintf("n %d", n), dp.v, want, 16*epsilon, func(i int) float64 { return float64(p.v[i]) })
		}
	})
}
