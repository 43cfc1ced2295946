package cpu

import (
	"context"
	"math"
	"testing"

	"isearle/runtime"
)

// The known answers of Random123 1.14 (kat_vectors, philox4x32 10).
func TestPhilox(t *testing.T) {
	for _, tt := range []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{want: [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, [2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		x0, x1, x2, x3 := generator{tt.ctr[0], tt.ctr[1], tt.ctr[2], tt.key[0], tt.key[1]}.block(tt.ctr[3])
		if got := [4]uint32{x0, x1, x2, x3}; got != tt.want {
			t.Errorf("Philox of %#x with key %#x is %#x, want %#x", tt.ctr, tt.key, got, tt.want)
		}
	}
}

// draw runs Random over so many rows of 64 numbers.
func draw(t *testing.T, kind runtime.Distribution, param float32, step int32, rows int) []float32 {
	t.Helper()
	d, err := Open(Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := runtime.NewPlan("random")
	o := runtime.Random{Kind: kind, Param: p.New("param", runtime.F32, 1, 1), Seed: p.New("seed", runtime.I32, 1, 2), Counter: p.New("counter", runtime.I32, 1, 2),
		Keys: p.New("keys", runtime.I32, 1, rows), Out: p.New("out", runtime.F32, rows, 64), Rows: runtime.Fixed(rows)}
	p.Add(o)
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	keys, x := make([]int32, rows), make([]float32, 64*rows)
	for i := range keys {
		keys[i] = int32(i)
	}
	for _, err := range []error{
		prog.Buffer(o.Param.Slot).WriteF32(0, []float32{param}), prog.Buffer(o.Seed.Slot).WriteI32(0, []int32{42, 0}),
		prog.Buffer(o.Counter.Slot).WriteI32(0, []int32{step, 1}), prog.Buffer(o.Keys.Slot).WriteI32(0, keys),
		prog.Run(context.Background()), prog.Buffer(o.Out.Slot).ReadF32(0, x),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// Each bound is five standard errors of the moment's estimate.
func TestNormalMoments(t *testing.T) {
	const rows, sigma = 2000, 0.064
	x := draw(t, runtime.Normal, sigma, 7, rows)
	next := draw(t, runtime.Normal, sigma, 8, rows)
	n := float64(len(x))
	var m [5]float64
	neighbour, step := 0.0, 0.0
	for i, v := range x {
		z := float64(v) / sigma
		for k := 1; k <= 4; k++ {
			m[k] += math.Pow(z, float64(k)) / n
		}
		neighbour += z * float64(x[(i+1)%len(x)]) / sigma / n
		step += z * float64(next[i]) / sigma / n
	}
	for _, tt := range []struct {
		name             string
		got, want, sigma float64
	}{
		{"mean", m[1], 0, 1}, {"variance", m[2], 1, math.Sqrt(2)}, {"third moment", m[3], 0, math.Sqrt(15)}, {"fourth moment", m[4], 3, math.Sqrt(96)},
		{"covariance of neighbours", neighbour, 0, 1}, {"covariance of steps", step, 0, 1},
	} {
		if math.Abs(tt.got-tt.want) > 5*tt.sigma/math.Sqrt(n) {
			t.Errorf("%s is %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestKeepMask(t *testing.T) {
	for _, drop := range []float32{0, 0.3, 0.5} {
		x := draw(t, runtime.Keep, drop, 3, 2000)
		kept, n := 0.0, float64(len(x))
		for _, v := range x {
			if v != 0 && v != float32(1/(1-float64(drop))) {
				t.Fatalf("a mask of dropout %v holds %v", drop, v)
			}
			if v != 0 {
				kept++
			}
		}
		p := 1 - float64(drop)
		if math.Abs(kept/n-p) > 5*math.Sqrt(p*(1-p)/n) {
			t.Errorf("dropout %v keeps %v of the elements", drop, kept/n)
		}
	}
}
