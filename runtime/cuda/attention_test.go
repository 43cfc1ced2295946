//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"isearle/runtime"
)

// Attention's tiles, whatever the width of a head, are loaded without two rows of a matrix in one bank of shared memory. The queries
// see one key more each: the first row of the output is the first value.
func TestAttentionMeetsNoBankTwice(t *testing.T) {
	d := emulated(t, Options{})
	for _, width := range []int{8, 32, 64, 80, 96, 104, 128} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			const rows = 70
			p := runtime.NewPlan("attention")
			m := func(name string) runtime.View { return p.New(name, runtime.BF16, rows, width) }
			o := runtime.Attention{Q: m("q"), K: m("k"), V: m("v"), Heads: 1, Scale: 0.3, Causal: true, Seqs: runtime.Fixed(1), MaxKeys: rows,
				QStarts: p.New("qstarts", runtime.I32, 1, 2), QPos: p.New("qpos", runtime.I32, 1, rows), Out: m("out")}
			o.Starts = o.QStarts
			g := runtime.AttentionGrad{Attention: o, DOut: m("dout"), DQ: m("dq"), DK: m("dk"), DV: m("dv")}
			p.Add(o)
			p.Add(g)
			prog, err := d.Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			defer prog.Close()
			rng := rand.New(rand.NewPCG(1, uint64(width)))
			values := halfNumbers(rng, runtime.BF16, rows*width)
			pos := make([]int32, rows)
			for i := range pos {
				pos[i] = int32(i)
			}
			before := d.count(t).BankConflicts
			out := make([]float32, width)
			for _, err := range []error{
				prog.Buffer(o.Q.Slot).WriteF32(0, halfNumbers(rng, runtime.BF16, rows*width)), prog.Buffer(o.K.Slot).WriteF32(0, values),
				prog.Buffer(o.V.Slot).WriteF32(0, values), prog.Buffer(g.DOut.Slot).WriteF32(0, values),
				prog.Buffer(o.QStarts.Slot).WriteI32(0, []int32{0, rows}), prog.Buffer(o.QPos.Slot).WriteI32(0, pos),
				prog.Run(t.Context()), prog.Buffer(o.Out.Slot).ReadF32(0, out),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			for i, v := range out {
				if math.Abs(float64(v-values[i])) > 1e-6 {
					t.Fatalf("element %d is %v, want %v", i, v, values[i])
				}
			}
			if n := d.count(t).BankConflicts - before; n != 0 {
				t.Errorf("%d matrices met in shared memory's banks", n)
			}
		})
	}
}
