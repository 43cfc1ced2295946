package cpu_test

import (
	goruntime "runtime"
	"testing"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// A Program that has run once allocates nothing and starts no goroutine.
func TestSteadyState(t *testing.T) {
	for _, k := range simd.All() {
		t.Run(k.Name, func(t *testing.T) {
			dev := open(t, k.Name, 2)
			pack := func(out, in int) runtime.Weight {
				w, err := dev.Pack(runtime.Matrix{DType: runtime.F32, Rows: out, Cols: in, Data: make([]byte, 4*out*in)}, runtime.PackOptions{Grad: true})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { w.Close() })
				return w
			}
			// Two images of 4 patches of 8 x 8, a block of width 64 with 2 heads, and its gradient.
			const images, per, width = 2, 5, 64
			p := runtime.NewPlan("steady")
			rows, seqs := runtime.Fixed(images*per), runtime.Fixed(images)
			temp := func(name string, cols int) runtime.View { return p.Temp(name, runtime.F32, rows.Cap, cols) }
			gamma := p.New("gamma", runtime.F32, 1, width)
			norm := runtime.Norm{Gamma: gamma, Beta: gamma, Eps: 1e-5}
			starts := p.New("starts", runtime.I32, 1, images+1)
			x, qkv, att, pre, y, d := temp("x", width), temp("qkv", 3*width), temp("att", width), temp("pre", 40), temp("y", 40), temp("d", width)
			p.Add(runtime.PatchEmbed{Pixels: p.New("pixels", runtime.F32, images, 3*16*16), Size: 16, Patch: 8, W: pack(width, 3*8*8),
				Class: gamma, Pos: p.New("pos", runtime.F32, per, width), Images: seqs, Out: x})
			p.Add(runtime.Linear{X: x, Norm: norm, W: pack(3*width, width), Rows: rows, Out: qkv})
			attention := runtime.Attention{Q: qkv.Columns(0, width), K: qkv.Columns(width, width), V: qkv.Columns(2*width, width), Heads: 2,
				Scale: 1, Seqs: seqs, QStarts: starts, Starts: starts, MaxKeys: per, Out: att}
			p.Add(attention)
			up := pack(40, width)
			p.Add(runtime.Linear{X: att, W: up, Act: runtime.QuickGELU, Rows: rows, Out: y, Pre: pre})
			p.Add(runtime.LinearGrad{DY: y, Act: runtime.QuickGELU, Pre: pre, W: up, DX: d, Rows: rows})
			p.Add(runtime.AttentionGrad{Attention: attention, DOut: d, DQ: temp("dq", width), DK: temp("dk", width), DV: temp("dv", width)})
			p.Add(runtime.LayerNormGrad{DY: d, X: x, Norm: norm, DX: temp("dx", width), Rows: rows})
			p.Add(runtime.Project{X: x, Norm: norm, W: pack(24, width), Rows: seqs, Out: p.New("out", runtime.F32, images, 24), Unit: true})
			prog, err := dev.Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			defer prog.Close()
			if err := prog.Buffer(starts.Slot).WriteI32(0, []int32{0, per, 2 * per}); err != nil {
				t.Fatal(err)
			}
			before := goruntime.NumGoroutine()
			n := testing.AllocsPerRun(20, func() {
				if err := prog.Run(t.Context()); err != nil {
					t.Error(err)
				}
			})
			if n != 0 {
				t.Errorf("%g allocations a run", n)
			}
			if after := goruntime.NumGoroutine(); after > before {
				t.Errorf("%d goroutines before, %d after", before, after)
			}
		})
	}
}
