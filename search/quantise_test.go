package search

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// loss is the exact squared length of x - mean - scale*codes.
func exactLoss(x, mean []float32, scale float32, codes []int8) *big.Float {
	num := func(v float64) *big.Float { return new(big.Float).SetPrec(2000).SetFloat64(v) }
	sum := num(0)
	for j := range x {
		d := num(float64(x[j]))
		d.Sub(d, num(float64(mean[j])))
		step := num(float64(scale))
		d.Sub(d, step.Mul(step, num(float64(codes[j]))))
		sum.Add(sum, d.Mul(d, d))
	}
	return sum
}

// TestQuantiseRow checks, in exact arithmetic, what the search relies on: that the loss is not below the length of what is
// lost; and that it is close to it, without which nothing would be gained.
func TestQuantiseRow(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	magnitudes := []float64{1, 0.05, 1e-20, 1e-44, 1e30, 0}
	for trial := range 600 {
		dim := 1 + rng.IntN(40)
		x, mean, codes := make([]float32, dim), make([]float32, dim), make([]int8, dim)
		m, c := magnitudes[trial%len(magnitudes)], magnitudes[trial/7%len(magnitudes)]
		for j := range x {
			x[j], mean[j] = float32(rng.NormFloat64()*m), float32(rng.NormFloat64()*c)
			switch rng.IntN(6) {
			case 0:
				x[j] = mean[j]
			case 1:
				x[j] = math.Nextafter32(mean[j], 1)
			}
		}
		scale, loss := QuantiseRow(codes, x, mean)
		bound := new(big.Float).SetPrec(2000).SetFloat64(float64(loss))
		bound.Mul(bound, bound)
		exact := exactLoss(x, mean, scale, codes)
		name := fmt.Sprintf("x %v, mean %v: scale %v, codes %v, loss %v", x, mean, scale, codes, loss)
		if exact.Cmp(bound) > 0 {
			t.Fatalf("%s is below the true %v", name, exact)
		}
		if true := root(exact); float64(loss) > true*1.001+1e-12*(norm(x)+norm(mean))*math.Sqrt(float64(dim))+2*math.SmallestNonzeroFloat32 {
			t.Fatalf("%s is far above the true %v", name, true)
		}
		largest := 0.0
		for j := range x {
			largest = max(largest, math.Abs(float64(x[j])-float64(mean[j])))
		}
		if most := math.Sqrt(float64(dim)) * (float64(scale)/2*1.001 + math.SmallestNonzeroFloat32); root(exact) > most || float64(scale) > largest/127*1.001+math.SmallestNonzeroFloat32 {
			t.Fatalf("%s: codes are not the nearest", name)
		}
	}
}

func root(v *big.Float) float64 {
	f, _ := new(big.Float).Sqrt(v).Float64()
	return f
}

func TestQuantiseRowNotFinite(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, x := range [][]float32{{1, inf}, {float32(math.NaN()), 1}, {-inf, inf}} {
		if _, loss := QuantiseRow(make([]int8, 2), x, []float32{0, 0}); loss != inf {
			t.Errorf("%v: loss %v", x, loss)
		}
	}
	codes := make([]int8, 2)
	scale, loss := QuantiseRow(codes, []float32{math.MaxFloat32, -math.MaxFloat32}, []float32{-math.MaxFloat32, math.MaxFloat32})
	if codes[0] != 127 || codes[1] != -127 || scale < math.MaxFloat32/64 || finite(float64(loss)) && loss > scale {
		t.Errorf("the largest difference gives codes %v, scale %v, loss %v", codes, scale, loss)
	}
}

func TestMeanOf(t *testing.T) {
	const n, dim = 3*meanBlock + 17, 3
	row := func(i int, dst []float32) { dst[0], dst[1], dst[2] = float32(i), 1, float32(i%2)*2-1 }
	got := meanOf(n, dim, row)
	if want := []float32{(n - 1) / 2, 1, -1.0 / n}; got[0] != want[0] || got[1] != want[1] || math.Abs(float64(got[2]-want[2])) > 1e-9 {
		t.Errorf("mean %v, want %v", got, want)
	}
	if got := meanOf(0, dim, row); got[0] != 0 || len(got) != dim {
		t.Errorf("mean of nothing: %v", got)
	}
}
