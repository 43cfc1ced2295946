package simd

import (
	"fmt"
	"math"
	"testing"
)

func TestLayerNorm(t *testing.T) {
	const eps = 1e-5
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths[1:] {
			x := random(1, n, 3)
			for i := range x {
				x[i] += 5
			}
			gx, dst := guard("x", x, 1), guard("dst", make([]float32, n), 2)
			gamma, beta := guard("gamma", random(2, n, 1), 3), guard("beta", random(3, n, 1), 0)
			mean, rstd := k.LayerNorm(dst.v, gx.v, gamma.v, beta.v, eps)
			for _, g := range []*guarded{gx, dst, gamma, beta} {
				g.check(t)
			}
			equalBits(t, "x", gx.v, x)
			want, wantMean, wantRstd := layerNorm64(x, gamma.v, beta.v, eps)
			name := fmt.Sprintf("n %d", n)
			near(t, name+" mean, rstd", []float32{mean, rstd / float32(wantRstd)}, []float64{wantMean, 1}, 8*epsilon, func(int) float64 { return 8 })
			near(t, name, dst.v, want, 16*epsilon, func(i int) float64 { return 1 + math.Abs(float64(gamma.v[i]))*(1+8*wantRstd) })
			k.LayerNorm(gx.v, gx.v, gamma.v, beta.v, eps)
			equalBits(t, name+" in place", gx.v, dst.v)
		}
	})
}

func layerNorm64(x, gamma, beta []float32, eps float32) (y []float64, mean, rstd float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	v := 0.0
	for i := range x {
		d := float64(x[i]) - mean
		v += d * d / float64(len(x))
	}
	rstd = 1 / math.Sqrt(v+float64(eps))
	y = make([]float64, len(x))
	for i := range x {
		y[i] = (float64(x[i])-mean)*rstd*float64(gamma[i]) + float64(beta[i])
	}
	return y, mean, rstd
}

func TestSoftmax(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths[1:] {
			for _, scale := range []float32{0.125, 1, 3} {
				x := random(uint64(n), n, 4)
				g := guard("x", x, n%5)
				largest, sum := k.Softmax(g.v, scale)
				g.check(t)
				want, wantMax, wantSum := softmax64(x, scale)
				name := fmt.Sprintf("n %d scale %g", n, scale)
				if largest != wantMax {
					t.Fatalf("%s: maximum %g, should be %g", name, largest, wantMax)
				}
				near(t, name+" sum", []float32{sum}, []float64{wantSum}, 8*epsilon, func(int) float64 { return wantSum })
				// the argument's rounding is multiplied by its size
				near(t, name, g.v, want, epsilon, func(i int) float64 {
					return want[i]*(6+2*math.Abs(float64(scale)*float64(x[i]-wantMax))) + 0x1p-126
				})
			}
		}
		if largest, sum := k.Softmax(nil, 1); !math.IsInf(float64(largest), -1) || sum != 0 {
			t.Errorf("empty: %g, %g", largest, sum)
		}
	})
}

func softmax64(x []float32, scale float32) (y []float64, largest float32, sum float64) {
	largest = float32(math.Inf(-1))
	for _, v := range x {
		largest = max(largest, v)
	}
	y = make([]float64, len(x))
	for i, v := range x {
		y[i] = math.Exp(float64(scale) * (float64(v) - float64(largest)))
		sum += y[i]
	}
	for i := range y {
		y[i] /= sum
	}
	return y, largest, sum
}

// TestExp checks the exponentials of Softmax, of exact arguments, to 1.2 units in the last place and half a one of the division.
func TestExp(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		x := make([]float32, 88*512)
		for i := range x {
			x[i] = -float32(i) / 512 // to -88, the largest first: 0
		}
		y := clone(x)
		_, sum := k.Softmax(y, 1)
		r := float64(1 / sum)
		for i, v := range x {
			want := math.Exp(float64(v)) * r
			if v < expLow {
				want = 0
			}
			if want > 0x1p-126 && math.Abs(float64(y[i])-want) > 1.75*ulp(want) || want == 0 && y[i] != 0 {
				t.Fatalf("exp(%g)/sum is %g, should be %g (%.2f units off)", v, y[i], want, math.Abs(float64(y[i])-want)/ulp(want))
			}
		}
	})
}

// ulp is the distance of float32 values around v.
func ulp(v float64) float64 { return math.Ldexp(1, math.Ilogb(v)-23) }

// TestSoftmaxPadded checks that a tail of -Inf changes no bit of what is before it.
func TestSoftmaxPadded(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths[1:] {
			want := random(7, n, 3)
			wantMax, wantSum := k.Softmax(want, 0.5)
			for _, padding := range []int{1, 5, 16, 31, 64} {
				x := random(7, n, 3)
				for range padding {
					x = append(x, float32(math.Inf(-1)))
				}
				largest, sum := k.Softmax(x, 0.5)
				equalBits(t, fmt.Sprintf("n %d + %d", n, padding), x, append(clone(want), make([]float32, padding)...))
				equalBits(t, "maximum and sum", []float32{largest, sum}, []float32{wantMax, wantSum})
			}
		}
	})
}

func TestSoftmaxSpecial(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range []int{3, 16, 40} {
			for at := range n {
				x := make([]float32, n)
				x[at] = nan
				k.Softmax(x, 1)
				for i, v := range x {
					if v == v {
						t.Fatalf("n %d: NaN at %d leaves %g at %d", n, at, v, i)
					}
				}
				x = make([]float32, n)
				for i := range x {
					x[i] = -inf
				}
				x[at] = -3e38
				want := make([]float32, n)
				want[at] = 1
				k.Softmax(x, 1)
				equalBits(t, "one finite value", x, want)
				x[at] = 3e38
				k.Softmax(x, 100)
				equalBits(t, "large differences", x, want)
			}
		}
	})
}

func TestDot(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths {
			x, y := guard("x", random(1, n, 1), 1), guard("y", random(2, n, 1), 2)
			want, size := 0.0, 0.0
			for i := range n {
				v := float64(x.v[i]) * float64(y.v[i])
				want += v
				size += math.Abs(v)
			}
			near(t, fmt.Sprintf("dot %d", n), []float32{k.Dot(x.v, y.v)}, []float64{want}, 8*epsilon, func(int) float64 { return size })
			x.check(t)
			y.check(t)
		}
	})
}

// TestLanes checks the lanes and their order with sums of exact terms, which every set gives to the bit.
func TestLanes(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths[1:] {
			x, ones := random(1, n, 1), make([]float32, n)
			for i := range ones {
				ones[i] = 1
			}
			var lane [64]float32
			for i, v := range x {
				lane[i%64] += v
			}
			for w := 32; w > 0; w /= 2 {
				for i := range w {
					lane[i] += lane[i+w]
				}
			}
			mean, _ := k.LayerNorm(clone(x), x, ones, ones, 1)
			equalBits(t, fmt.Sprintf("n %d: sum, mean", n), []float32{k.Dot(x, ones), mean}, []float32{lane[0], lane[0] / float32(n)})
		}
	})
}

// TestAlignment checks that where a vector begins changes no bit of any result.
func TestAlignment(t *testing.T) {
	const n = 333
	x, y, z, w := random(1, n, 2), random(2, n, 2), random(3, n, 2), random(4, n, 2)
	eachSet(t, func(t *testing.T, k *Kernels) {
		all := func(offset int) []float32 {
			var out []float32
			a, b, c, d := guard("", x, offset).v, guard("", y, offset+3).v, guard("", z, offset*5).v, guard("", w, offset+8).v
			mean, rstd := k.LayerNorm(a, a, b, c, 1e-5)
			out = append(out, mean, rstd, k.Dot(a, d))
			k.LayerNormGrad(d, c, a, b, mean, rstd)
			largest, sum := k.Softmax(d, 0.7)
			k.SoftmaxGrad(a, d, 0.7)
			k.GELUGrad(b, b, c)
			k.Bias(c, a)
			out = append(out, largest, sum)
			return append(append(append(append(out, a...), b...), c...), d...)
		}
		want := all(0)
		for offset := 1; offset < 17; offset++ {
			equalBits(t, fmt.Sprintf("offset %d", offset), all(offset), want)
		}
	})
}

// TestSetsAgree checks that the sets in assembly give the same bits.
func TestSetsAgree(t *testing.T) {
	var asm []*Kernels
	for _, k := range All() {
		if k.Name != "generic" {
			asm = append(asm, k)
		}
	}
	if len(asm) < 2 {
		t.Skip("needs two sets in assembly; this machine or build has fewer")
	}
	for _, n := range lengths[1:] {
		var want []float32
		for _, k := range asm {
			tile := make([]float32, k.NR)
			panel := make([]float32, n*k.NR)
			k.Pack(panel, random(6, n*16, 1), n, 16, n)
			k.Gemm(tile, k.NR, random(7, n, 1), n, 1, panel, n, false, nil)
			a, b, c, d := random(1, n, 2), random(2, n, 2), random(3, n, 2), random(4, n, 20)
			mean, rstd := k.LayerNorm(a, a, b, c, 1e-5)
			got := append(tile[:16], mean, rstd, k.Dot(a, b))
			k.LayerNormGrad(c, b, a, d, mean, rstd)
			k.GELUGrad(b, b, d)
			k.GELUTanhGrad(a, a, d)
			k.QuickGELUGrad(c, c, d)
			k.Bias(d, a)
			activate(k, k.TileGELU, d)
			activate(k, k.TileGELUTanh, c)
			activate(k, k.TileQuickGELU, b)
			got = append(append(append(got, b...), c...), d...)
			largest, sum := k.Softmax(d, 0.7)
			k.SoftmaxGrad(a, d, 0.7)
			got = append(append(append(got, largest, sum), a...), d...)
			if want == nil {
				want = got
			}
			equalBits(t, fmt.Sprintf("%s, n %d", k.Name, n), got, want)
		}
	}
}
