package cpu_test

import (
	"context"
	"testing"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// benchPlan times a Plan with arbitrary numbers in its buffers.
func benchPlan(b *testing.B, flops int, record func(d runtime.Device, p *runtime.Plan)) {
	d := open(b, simd.Best().Name, 0)
	p := runtime.NewPlan(b.Name())
	record(d, p)
	prog, err := d.Compile(p)
	if err != nil {
		b.Fatal(err)
	}
	defer prog.Close()
	for i, s := range p.Slots() {
		if s.Kind == runtime.Persistent && s.DType == runtime.F32 {
			x := make([]float32, s.Len)
			for j := range x {
				x[j] = float32((j+7*i)%31)/31 - 0.4
			}
			if err := prog.Buffer(runtime.Slot(i+1)).WriteF32(0, x); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		if err := prog.Run(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(flops)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

// BenchmarkAttentionGrad has the shapes of a step of OTI for 32 images with ViT-B/32's text tower: templates of which two
// tokens follow the cached prefix, and phrases of which twelve do.
func BenchmarkAttentionGrad(b *testing.B) {
	const heads, d, images = 8, 64, 32
	own, prefix := []int{2, 12}, []int{5, 5}
	rows, flops := 0, 0
	starts, pos, prefixes := []int32{0}, []int32{}, []int32{}
	for i := range 2 * images {
		n, np := own[i%2], prefix[i%2]
		for j := range n {
			pos = append(pos, int32(np+j))
		}
		rows += n
		flops += 10 * heads * d * n * (np + n)
		starts, prefixes = append(starts, int32(rows)), append(prefixes, 0, int32(np))
	}
	benchPlan(b, flops, func(dev runtime.Device, p *runtime.Plan) {
		m := func(name string, rows int) runtime.View { return p.New(name, runtime.F32, rows, heads*d) }
		table := func(name string, x []int32) runtime.View {
			buf, err := dev.Alloc(runtime.I32, len(x))
			if err == nil {
				err = buf.WriteI32(0, x)
			}
			if err != nil {
				b.Fatal(err)
			}
			return p.Use(name, buf, 1, len(x))
		}
		s := table("starts", starts)
		o := runtime.Attention{Q: m("q", rows), K: m("k", rows), V: m("v", rows), Heads: heads, Scale: 0.125, Causal: true, Seqs: runtime.Fixed(2 * images),
			QStarts: s, Starts: s, QPos: table("pos", pos), MaxKeys: 77, PrefixK: m("pk", 5), PrefixV: m("pv", 5), Prefix: table("prefix", prefixes)}
		p.Add(runtime.AttentionGrad{Attention: o, DOut: m("dout", rows), DQ: m("dq", rows), DK: m("dk", rows), DV: m("dv", rows)})
	})
}

// BenchmarkTraining has the shapes of phi's widest layer, batch 256.
func BenchmarkTraining(b *testing.B) {
	const rows, n, dim = 256, 3072, 768
	m := func(p *runtime.Plan, name string, rows, cols int) runtime.View {
		return p.New(name, runtime.F32, rows, cols)
	}
	for _, bb := range []struct {
		name  string
		flops int
		op    func(p *runtime.Plan) runtime.Op
	}{
		{"weightgrad", 2 * rows * n * n, func(p *runtime.Plan) runtime.Op {
			return runtime.WeightGrad{DPre: m(p, "dpre", rows, n), X: m(p, "x", rows, n), DW: m(p, "dw", n, n), DBias: m(p, "dbias", 1, n), Rows: runtime.Fixed(rows)}
		}},
		{"lineargrad", 2 * rows * n * n, func(p *runtime.Plan) runtime.Op {
			return runtime.LinearGrad{DY: m(p, "dy", rows, n), Act: runtime.GELU, Pre: m(p, "pre", rows, n), Dense: m(p, "w", n, n), DX: m(p, "dx", rows, n),
				Rows: runtime.Fixed(rows)}
		}},
		{"adamw", 12 * n * n, func(p *runtime.Plan) runtime.Op {
			return runtime.AdamW{P: m(p, "p", n, n), G: m(p, "g", n, n), M: m(p, "m", n, n), V: m(p, "v", n, n), Hyper: m(p, "h", 1, runtime.HyperLen), Rows: runtime.Fixed(n)}
		}},
		{"infonce", 12 * rows * rows * dim, func(p *runtime.Plan) runtime.Op {
			return runtime.InfoNCE{A: m(p, "a", rows, dim), B: m(p, "b", rows, dim), Tau: 0.25, Weight: 1, Loss: m(p, "loss", 1, 1), DB: m(p, "db", rows, dim), Rows: runtime.Fixed(rows)}
		}},
		{"random", rows * n, func(p *runtime.Plan) runtime.Op {
			i := func(name string, n int) runtime.View { return p.New(name, runtime.I32, 1, n) }
			return runtime.Random{Kind: runtime.Keep, Param: m(p, "p", 1, 1), Seed: i("seed", 2), Counter: i("counter", 2), Keys: i("keys", rows), Out: m(p, "out", rows, n), Rows: runtime.Fixed(rows)}
		}},
		{"multiply", rows * n, func(p *runtime.Plan) runtime.Op {
			return runtime.Multiply{X: m(p, "x", rows, n), Y: m(p, "y", rows, n), Out: m(p, "out", rows, n), Rows: runtime.Fixed(rows)}
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			benchPlan(b, bb.flops, func(_ runtime.Device, p *runtime.Plan) { p.Add(bb.op(p)) })
		})
	}
}
