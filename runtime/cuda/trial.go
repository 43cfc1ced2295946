//go:build cuda

package cuda

import (
	"context"
	"errors"
	"fmt"
	"math"

	"isearle/runtime"
)

// The trial's product: more rows, columns and depth than a tile of groupproduct.cu, none a multiple of it.
const trialRows, trialCols, trialDepth = 130, 264, 200

// trialTolerance is what the chains of wgmma and of mma.sync may differ by, their factors being equal and below 1: f32 sums, which the
// tensor units may cut off in place of rounding.
const trialTolerance = 1e-3

// tryGroups says why products by warpgroups are not to be used, having compared them with those by warps on one product in each type
// and with each tile; nil where they agree. The device may be lost then.
func (d *Device) tryGroups() error {
	defer func() {
		d.groups, d.tile = false, chooseTile
		if !d.lost() {
			d.do("give up the trial's memory", func() error { d.trim(); return nil })
		}
	}()
	for _, dt := range []runtime.DType{runtime.BF16, runtime.F16} {
		d.groups, d.tile = false, chooseTile
		want, err := d.trial(dt)
		if err != nil {
			return fmt.Errorf("product in %s by warps: %w", dt, err)
		}
		for _, t := range groupTiles {
			d.groups, d.tile = true, func([]halfTile, productSize, int) halfTile { return t }
			got, err := d.trial(dt)
			if err != nil {
				return fmt.Errorf("product by warpgroups, %s: %w", t.name(dt), err)
			}
			if i := differs(got, want); i >= 0 {
				return fmt.Errorf("product by warpgroups, %s: element %d is %v, by warps %v", t.name(dt), i, got[i], want[i])
			}
		}
	}
	return nil
}

// differs returns the first element in which results differ, -1 where there is none.
func differs(x, y []float32) int {
	for i := range x {
		if !(math.Abs(float64(x[i])-float64(y[i])) <= trialTolerance) {
			return i
		}
	}
	return -1
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
