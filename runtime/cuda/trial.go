//go:build cuda

package cuda

import (
	"context"
	"errors"
	"math"

	"isearle/runtime"
)

// The trial's product: more rows, columns and depth than a tile of groupproduct.cu, none a multiple of it.
const trialRows, trialCols, trialDepth = 130, 264, 200

// trialTolerance is what the chains of wgmma and of mma.sync may differ by, their factors being equal and below 1: f32 sums, which the
// tensor units may cut off in place of rounding.
const trialTolerance = 1e-3

// tryGroups says whether products by warpgroups agree with those by warps, on one product in each type. Errors that leave the device
// usable mean no; one that does not is returned.
func (d *Device) tryGroups() (bool, error) {
	defer func() {
		if !d.lost() {
			d.do("give up the trial's memory", func() error { d.trim(); return nil })
		}
	}()
	for _, dt := range []runtime.DType{runtime.BF16, runtime.F16} {
		var got [2][]float32
		for i := range got {
			d.groups = i == 1
			var err error
			if got[i], err = d.trial(dt); err != nil {
				d.groups = false
				if d.lost() {
					return false, err
				}
				return false, nil
			}
		}
		d.groups = false
		if !agree(got[0], got[1]) {
			return false, nil
		}
	}
	return true, nil
}

// agree compares results.
func agree(x, y []float32) bool {
	for i := range x {
		if !(math.Abs(float64(x[i])-float64(y[i])) <= trialTolerance) {
			return false
		}
	}
	return true
}

// trial returns a product.
func (d *Device) trial(dt runtime.DType) (y []float32, err error) {
	x, w := make([]float32, trialRows*trialDepth), make([]float32, trialCols*trialDepth)
	for i := range x {
		x[i] = float32(i*37%127-63) / 64
	}
	for i := range w {
		w[i] = float32(i*53%119-59) / 64
	}
	weight, err := d.Pack(runtime.Matrix{DType: runtime.F32, Rows: trialCols, Cols: trialDepth, Data: runtime.Float32Bytes(w)}, runtime.PackOptions{DType: dt})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, weight.Close()) }()
	p := runtime.NewPlan("trial")
	in, out := p.New("x", runtime.F32, trialRows, trialDepth), p.New("y", runtime.F32, trialRows, trialCols)
	p.Add(runtime.Linear{X: in, W: weight, Rows: runtime.Fixed(trialRows), Out: out})
	prog, err := d.Compile(p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, prog.Close()) }()
	y = make([]float32, trialRows*trialCols)
	err = errors.Join(prog.Buffer(in.Slot).WriteF32(0, x), prog.Run(context.Background()), prog.Buffer(out.Slot).ReadF32(0, y))
	return y, err
}
