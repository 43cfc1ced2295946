package cpu_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"isearle/runtime"
	"isearle/runtime/cpu"
)

func TestPackRefuses(t *testing.T) {
	d, err := cpu.Open(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m := runtime.Matrix{DType: runtime.F32, Rows: 2, Cols: 3, Data: make([]byte, 24)}
	for _, o := range []runtime.PackOptions{{DType: runtime.F16}, {DType: runtime.U8}, {DType: runtime.I8, Grad: true}} {
		if _, err := d.Pack(m, o); !errors.Is(err, runtime.ErrUnsupported) {
			t.Errorf("%+v: %v, should be %v", o, err, runtime.ErrUnsupported)
		}
	}
}

// TestNotFinite checks that a factor that is not finite is seen in the product, in its own row or column only.
func TestNotFinite(t *testing.T) {
	const rows, in, out = 5, 40, 37
	for _, dt := range []runtime.DType{runtime.F32, runtime.BF16, runtime.I8} {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
			everySet(t, func(t *testing.T, open func(threads int) runtime.Device) {
				d := open(1)
				defer d.Close()
				for _, left := range []bool{true, false} {
					x, w := ones(rows*in), ones(out*in)
					if left {
						x[3*in+7] = bad
					} else {
						w[3*in+7] = bad
					}
					y := multiply(t, d, dt, x, w, rows, in, out)
					for i, v := range y {
						hit := i/out == 3 && left || i%out == 3 && !left
						if finite := !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0); finite == hit {
							t.Fatalf("%v, %v on the left %v: element %d, %d is %v", dt, bad, left, i/out, i%out, v)
						}
					}
				}
			})
		}
	}
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// multiply returns x w^T, made in dt.
func multiply(t *testing.T, d runtime.Device, dt runtime.DType, x, w []float32, rows, in, out int) []float32 {
	t.Helper()
	weight, err := d.Pack(runtime.Matrix{DType: runtime.F32, Rows: out, Cols: in, Data: runtime.Float32Bytes(w)}, runtime.PackOptions{DType: dt})
	if err != nil {
		t.Fatal(err)
	}
	defer weight.Close()
	p := runtime.NewPlan("product")
	left, result := p.New("x", runtime.F32, rows, in), p.New("y", runtime.F32, rows, out)
	p.Add(runtime.Linear{X: left, W: weight, Rows: runtime.Fixed(rows), Out: result})
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	y := make([]float32, rows*out)
	if err := prog.Buffer(left.Slot).WriteF32(0, x); err != nil {
		t.Fatal(err)
	}
	if err := prog.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := prog.Buffer(result.Slot).ReadF32(0, y); err != nil {
		t.Fatal(err)
	}
	return y
}
