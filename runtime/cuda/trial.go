//go:build cuda

package cuda

import (
	"context"
	"errors"
	"fmt"
	"math"

	"isearle/runtime"
)

// The trial's product: more rows, columns and depth than a tile of groupproduct.cu, rows and depth no multiple of it. The slices of two tiles
// are more than shared memory has twice, and all tiles are made by one pair of blocks.
const trialRows, trialCols, trialDepth = 260, 256, 700

// trialTolerance is what the chains of wgmma and of mma.sync may differ by, their factors being equal and below 1: f32 sums, which the
// tensor units may cut off in place of rounding.
const trialTolerance = 1e-3

// tryGroups says why products by warpgroups are not to be used, having compared them with those by warps on one product in each type
// and with each tile; nil where they agree. The device may be lost then.
func (d *Device) tryGroups() error {
	processors := d.multiprocessors
	defer func() {
		d.groups, d.tile, d.multiprocessors = false, chooseTile, processors
		d.giveUp()
	}()
	d.multiprocessors = 2
	for _, dt := range []runtime.DType{runtime.BF16, runtime.F16} {
		for _, sum := range []bool{false, true} {
			d.groups, d.tile = false, chooseTile
			want, err := d.trial(dt, sum)
			if err != nil {
				return fmt.Errorf("product in %s by warps: %w", dt, err)
			}
			for _, t := range groupTiles {
				d.groups, d.tile = true, func([]halfTile, productSize, int) halfTile { return t }
				got, err := d.trial(dt, sum)
				if err != nil {
					return fmt.Errorf("product by warpgroups, %s: %w", t.name(dt), err)
				}
				if i := differs(got, want, trialTolerance); i >= 0 {
					return fmt.Errorf("product by warpgroups, %s: element %d is %v, by warps %v", t.name(dt), i, got[i], want[i])
				}
			}
		}
	}
	return nil
}

// giveUp gives a trial's memory up.
func (d *Device) giveUp() {
	if !d.lost() {
		d.do("give up the trial's memory", func() error { d.trim(); return nil })
	}
}

// differs returns the first element in which results differ by more than a tolerance, -1 where there is none.
func differs(x, y []float32, tolerance float64) int {
	for i := range x {
		if !(math.Abs(float64(x[i])-float64(y[i])) <= tolerance) {
			return i
		}
	}
	return -1
}

// The trial's attention has two heads and sequences with more keys than shared memory holds, with more queries than a block, with a rest for
// a warp, for a warpgroup, and of one row. Rows behind the last one are not numbers. Those of up to trialShort go by one warpgroup a block.
var trialLengths = []int{trialLong, 145, trialShort, 1, 130}

const trialLong, trialShort, trialHeads, trialBehind = 400, 50, 2, 8

// attentionTolerance is of weights that are rounded to bf16: values below 1, of which the halves of a step may fall either way.
const attentionTolerance = 1.0 / 128

// tryGroupAttention is tryGroups for attention.
func (d *Device) tryGroupAttention() error {
	defer func() {
		d.groupAttention = false
		d.giveUp()
	}()
	for _, dt := range []runtime.DType{runtime.BF16, runtime.F16} {
		for _, longest := range []int{trialLong, trialShort} {
			d.groupAttention = false
			want, err := d.trialAttention(dt, longest)
			if err != nil {
				return fmt.Errorf("attention in %s by warps: %w", dt, err)
			}
			d.groupAttention = true
			got, err := d.trialAttention(dt, longest)
			if err != nil {
				return fmt.Errorf("attention in %s by warpgroups: %w", dt, err)
			}
			if i := differs(got, want, attentionTolerance); i >= 0 {
				return fmt.Errorf("attention in %s by warpgroups, of up to %d: element %d is %v, by warps %v", dt, longest, i, got[i], want[i])
			}
		}
	}
	return nil
}

// trialAttention returns the attention of sequences that are no longer.
func (d *Device) trialAttention(dt runtime.DType, longest int) ([]float32, error) {
	starts := []int32{0}
	for _, n := range trialLengths {
		if n <= longest {
			starts = append(starts, starts[len(starts)-1]+int32(n))
		}
	}
	const width = 64 * trialHeads
	rows, seqs := int(starts[len(starts)-1]), len(starts)-1
	p := runtime.NewPlan("trial")
	in, at, out := p.New("qkv", dt, rows+trialBehind, 3*width), p.New("starts", runtime.I32, 1, seqs+1), p.New("out", dt, rows+trialBehind, width)
	p.Add(runtime.Attention{Q: in.Columns(0, width), K: in.Columns(width, width), V: in.Columns(2*width, width), Heads: trialHeads, Scale: 0.125,
		Seqs: runtime.Fixed(seqs), QStarts: at, Starts: at, MaxKeys: longest, Out: out})
	x, y := make([]float32, (rows+trialBehind)*3*width), make([]float32, rows*width)
	for i := range x {
		if x[i] = float32(i*37%127-63) / 64; i >= rows*3*width {
			x[i] = float32(math.NaN())
		}
	}
	return y, d.run(p, func(prog runtime.Program) error {
		return errors.Join(prog.Buffer(in.Slot).WriteF32(0, x), prog.Buffer(at.Slot).WriteI32(0, starts), prog.Run(context.Background()),
			prog.Buffer(out.Slot).ReadF32(0, y))
	})
}

// run compiles a plan for f.
func (d *Device) run(p *runtime.Plan, f func(runtime.Program) error) error {
	prog, err := d.Compile(p)
	if err != nil {
		return err
	}
	return errors.Join(f(prog), prog.Close())
}

// trial returns a product with QuickGELU, or one added to a matrix.
func (d *Device) trial(dt runtime.DType, sum bool) (y []float32, err error) {
	x, w := make([]float32, trialRows*trialDepth), make([]float32, trialCols*trialDepth)
	for i := range x {
		x[i] = float32(i*37%127-63) / 1024
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
	o := runtime.Linear{X: p.New("x", dt, trialRows, trialDepth), W: weight, Rows: runtime.Fixed(trialRows), Act: runtime.QuickGELU}
	o.Out = p.New("y", dt, trialRows, trialCols)
	if sum {
		o.Act, o.Out = runtime.Identity, p.New("sum", runtime.F32, trialRows, trialCols)
		o.Residual = o.Out
	}
	p.Add(o)
	y = make([]float32, trialRows*trialCols)
	return y, d.run(p, func(prog runtime.Program) error {
		out := prog.Buffer(o.Out.Slot)
		return errors.Join(prog.Buffer(o.X.Slot).WriteF32(0, x), out.WriteF32(0, y), prog.Run(context.Background()), out.ReadF32(0, y))
	})
}
