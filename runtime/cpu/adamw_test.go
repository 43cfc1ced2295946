package cpu_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

const (
	adamLR, adamDecay          = 2e-2, 0.01
	adamBeta1, adamBeta2       = 0.9, 0.999
	adamEps, adamEMA           = 1e-8, 0.99
	adamTol                    = 3e-6 // of a step
	adamP, adamM, adamV, adamE = 0, 1, 2, 3
)

// adam is one parameter row with its optimiser's state, on a device.
type adam struct {
	prog        runtime.Program
	state       [4]runtime.Buffer // P, M, V, EMA
	grad, hyper runtime.Buffer
	step        int
	exact       [4][]float64 // the same in float64
}

func newAdam(t *testing.T, start []float32) *adam {
	p, n := runtime.NewPlan("adamw"), len(start)
	var v [4]runtime.View
	for i, name := range []string{"p", "m", "v", "ema"} {
		v[i] = p.New(name, runtime.F32, 1, n)
	}
	g, hyper := p.New("g", runtime.F32, 1, n), p.New("hyper", runtime.F32, 1, runtime.HyperLen)
	p.Add(runtime.AdamW{P: v[adamP], G: g, M: v[adamM], V: v[adamV], EMA: v[adamE], Hyper: hyper, Rows: runtime.Fixed(1)})
	prog, err := open(t, simd.Best().Name, 1).Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	a := &adam{prog: prog, grad: prog.Buffer(g.Slot), hyper: prog.Buffer(hyper.Slot)}
	for i := range v {
		a.state[i], a.exact[i] = prog.Buffer(v[i].Slot), make([]float64, n)
	}
	for _, i := range []int{adamP, adamE} {
		write(t, a.state[i], start)
		for j, x := range start {
			a.exact[i][j] = float64(x)
		}
	}
	return a
}

func write(t *testing.T, b runtime.Buffer, x []float32) {
	t.Helper()
	if err := b.WriteF32(0, x); err != nil {
		t.Fatal(err)
	}
}

// update makes a step, on the device and in float64.
func (a *adam) update(t *testing.T, g []float32) {
	t.Helper()
	a.step++
	bias1, bias2 := 1-math.Pow(adamBeta1, float64(a.step)), math.Sqrt(1-math.Pow(adamBeta2, float64(a.step)))
	write(t, a.hyper, runtime.AdamWStep(adamLR, adamDecay, adamBeta1, adamBeta2, adamEps, adamEMA, a.step))
	write(t, a.grad, g)
	if err := a.prog.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	p, m, v, e := a.exact[adamP], a.exact[adamM], a.exact[adamV], a.exact[adamE]
	for i, x := range g {
		m[i] = adamBeta1*m[i] + (1-adamBeta1)*float64(x)
		v[i] = adamBeta2*v[i] + (1-adamBeta2)*float64(x)*float64(x)
		p[i] -= adamLR*adamDecay*p[i] + adamLR/bias1*m[i]/(math.Sqrt(v[i])/bias2+adamEps)
		e[i] = adamEMA*e[i] + (1-adamEMA)*p[i]
	}
}

func (a *adam) read(t *testing.T, which int) []float32 {
	t.Helper()
	x := make([]float32, a.state[which].Len())
	if err := a.state[which].ReadF32(0, x); err != nil {
		t.Fatal(err)
	}
	return x
}

// The numbers are those of torch 2.7.1's AdamW, foreach=False, in float32.
func TestAdamWIsPyTorchs(t *testing.T) {
	a := newAdam(t, []float32{0.0123, -0.5, 1.75, -3e-4, 0, 20})
	for _, step := range []struct{ g, p []float32 }{
		{[]float32{0.5, -1e-3, 3, 1e-6, -2, 0},
			[]float32{-7.7024596e-03, -4.799002e-01, 1.72965e+00, -2.0101918e-02, 2e-02, 1.9996e+01}},
		{[]float32{0.25, 2e-3, -7, 1e-6, 0.125, 1e-4},
			[]float32{-2.6344512e-02, -4.8712626e-01, 1.7377079e+00, -3.989988e-02, 3.244222e-02, 1.9977121e+01}},
		{[]float32{-0.75, 1e-3, 0.3, -1e-5, 1, -40},
			[]float32{-2.4699708e-02, -4.9741358e-01, 1.7433482e+00, -2.9422514e-02, 3.5333242e-02, 1.9985903e+01}},
	} {
		a.update(t, step.g)
		for i, got := range a.read(t, adamP) {
			if want := step.p[i]; math.Abs(float64(got-want)) > adamTol*adamLR*float64(a.step)+1e-7*math.Abs(float64(want)) {
				t.Errorf("step %d, parameter %d is %v, PyTorch's %v", a.step, i, got, want)
			}
		}
	}
	for which, want := range [][]float32{
		adamM: {-1.2e-02, 1.9900002e-04, -3.57e-01, -8.29e-07, -5.0750002e-02, -3.9999912e+00},
		adamV: {8.7443774e-04, 5.9940017e-09, 5.802301e-02, 1.01997e-13, 5.0076135e-03, 1.6000001e+00},
		adamE: {1.1351379e-02, -4.9964967e-01, 1.7496126e+00, -1.1773425e-03, 8.705304e-04, 1.9999596e+01},
	} {
		for i, w := range want {
			if got := a.read(t, which)[i]; math.Abs(float64(got-w)) > 2e-5*math.Abs(float64(w)) {
				t.Errorf("state %d of parameter %d is %v, PyTorch's %v", which, i, got, w)
			}
		}
	}
}

// Over the length of an OTI run the parameters, here wandering up to 1 from the start, stay with a loop in float64. What
// difference there is comes from 1-beta2 in float32, see adamTol.
func TestAdamWStaysWithFloat64(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(scale float64) []float32 {
		x := make([]float32, 100)
		for i := range x {
			x[i] = float32(scale * rng.NormFloat64())
		}
		return x
	}
	a := newAdam(t, draw(0.02))
	for range 350 {
		a.update(t, draw(math.Exp(4*rng.NormFloat64()-6)))
	}
	for _, which := range []int{adamP, adamE} {
		for i, got := range a.read(t, which) {
			if want := a.exact[which][i]; math.Abs(float64(got)-want) > 2e-5 {
				t.Errorf("state %d of parameter %d is %v, in float64 %v", which, i, got, want)
			}
		}
	}
}
