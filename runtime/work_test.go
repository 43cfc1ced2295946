package runtime_test

import (
	"testing"

	"isearle/runtime"
)

// shaped is a weight of which only the shape matters.
type shaped struct {
	out, in int
	dt      runtime.DType
}

func (w shaped) Shape() (out, in int) { return w.out, w.in }
func (w shaped) DType() runtime.DType { return w.dt }
func (w shaped) Close() error         { return nil }

// worked records one operation and returns its work; tables gives the elements of I32 slots by name.
func worked(t *testing.T, tables map[string][]int32, record func(p *runtime.Plan) runtime.Op) runtime.Work {
	t.Helper()
	p := runtime.NewPlan("work")
	p.Add(record(p))
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	return p.Work(0, func(v runtime.View) []int32 { return tables[p.Info(v.Slot).Name][v.Offset:] })
}

// The counts are those of loops over what is live, written out by hand.
func TestWork(t *testing.T) {
	const rows, in, out = 10, 6, 4
	live := map[string][]int32{"live": {7}}
	dim := func(p *runtime.Plan) runtime.Dim {
		return runtime.Dim{Cap: rows, Live: p.New("live", runtime.I32, 1, 1)}
	}
	for _, c := range []struct {
		name        string
		record      func(p *runtime.Plan) runtime.Op
		flop, bytes float64
		rows        int
		dt          runtime.DType
	}{
		{"linear", func(p *runtime.Plan) runtime.Op {
			return runtime.Linear{X: p.New("x", runtime.F32, rows, in), W: shaped{out, in, runtime.BF16}, Rows: dim(p),
				Out: p.New("out", runtime.BF16, rows, out)}
		}, 2 * 7 * in * out, 7*in*4 + 7*out*2 + in*out*2, 7, runtime.BF16},
		{"linear with everything", func(p *runtime.Plan) runtime.Op {
			r := p.New("r", runtime.F32, rows, out)
			return runtime.Linear{X: p.New("x", runtime.F32, rows, in), Dense: p.New("w", runtime.F32, out, in),
				Norm: runtime.Norm{Gamma: p.New("g", runtime.F32, 1, in), Beta: p.New("b", runtime.F32, 1, in), Eps: 1},
				Bias: p.New("bias", runtime.F32, 1, out), Act: runtime.GELU, Residual: r, Out: r, Pre: p.New("pre", runtime.F32, rows, out), Rows: dim(p)}
		}, 2*7*in*out + 2*7*out, 4 * (7*in + 3*7*out + in*out + 2*in + out), 7, runtime.F32},
		{"lineargrad to the rows", func(p *runtime.Plan) runtime.Op {
			return runtime.LinearGrad{DY: p.New("dy", runtime.F32, rows, out), W: shaped{out, in, runtime.F32},
				DX: p.New("dx", runtime.F32, rows, in), Add: true, Rows: dim(p)}
		}, 2*7*in*out + 7*in, 4 * (7*out + 2*7*in + in*out), 7, runtime.F32},
		{"weightgrad", func(p *runtime.Plan) runtime.Op {
			return runtime.WeightGrad{DPre: p.New("d", runtime.F32, rows, out), X: p.New("x", runtime.F32, rows, in),
				DW: p.New("dw", runtime.F32, out, in), Rows: dim(p)}
		}, 2 * 7 * in * out, 4 * (7*out + 7*in + in*out), 7, runtime.F32},
		{"patchembed", func(p *runtime.Plan) runtime.Op {
			return runtime.PatchEmbed{Pixels: p.New("px", runtime.F32, 2, 3*4*4), Size: 4, Patch: 2, W: shaped{5, 12, runtime.F32},
				Class: p.New("c", runtime.F32, 1, 5), Pos: p.New("pos", runtime.F32, 5, 5), Images: runtime.Fixed(2), Out: p.New("o", runtime.F32, 10, 5)}
		}, 2*2*4*5*12 + 2*5*5, 4 * (2*48 + 2*5*5 + 5*5 + 5 + 5*12), 2, runtime.F32},
		{"project", func(p *runtime.Plan) runtime.Op {
			return runtime.Project{X: p.New("x", runtime.F32, 3, in), Pool: p.New("pool", runtime.I32, 1, rows), W: shaped{out, in, runtime.I8},
				Rows: dim(p), Out: p.New("o", runtime.F32, rows, out)}
		}, 2 * 7 * in * out, 4*(7*in+7*out+7) + in*out, 7, runtime.I8},
		{"copyrows", func(p *runtime.Plan) runtime.Op {
			return runtime.CopyRows{Src: p.New("s", runtime.F16, rows, in), Dst: p.New("d", runtime.F16, rows, in), Rows: dim(p)}
		}, 0, 2 * 2 * 7 * in, 7, runtime.F32},
		{"adamw", func(p *runtime.Plan) runtime.Op {
			m := func(n string) runtime.View { return p.New(n, runtime.F32, rows, in) }
			return runtime.AdamW{P: m("p"), G: m("g"), M: m("m"), V: m("v"), EMA: m("e"), Hyper: p.New("h", runtime.F32, 1, runtime.HyperLen), Rows: dim(p)}
		}, 15 * 7 * in, 4 * (9*7*in + runtime.HyperLen), 7, runtime.F32},
	} {
		w := worked(t, live, c.record)
		if w.FLOP != c.flop || w.Bytes != c.bytes || w.Rows != c.rows || w.DType != c.dt {
			t.Errorf("%s: %v FLOP, %v bytes, %d rows, %s; want %v, %v, %d, %s", c.name, w.FLOP, w.Bytes, w.Rows, w.DType, c.flop, c.bytes, c.rows, c.dt)
		}
	}
}

// A count outside the capacity is cut to it, as devices cut it.
func TestWorkCut(t *testing.T) {
	for live, want := range map[int32]int{-1: 0, 3: 3, 99: 10} {
		w := worked(t, map[string][]int32{"live": {live}}, func(p *runtime.Plan) runtime.Op {
			return runtime.Multiply{X: p.New("x", runtime.F32, 10, 2), Y: p.New("y", runtime.F32, 10, 2), Out: p.New("o", runtime.F32, 10, 2),
				Rows: runtime.Dim{Cap: 10, Live: p.New("live", runtime.I32, 1, 1)}}
		})
		if w.Rows != want || w.FLOP != float64(2*want) {
			t.Errorf("live %d: %d rows, %v FLOP", live, w.Rows, w.FLOP)
		}
	}
}

// Pairs of a query and a key that it sees are counted as attention's definition has them, row by row.
func TestWorkAttention(t *testing.T) {
	const width = 8
	tables := map[string][]int32{"live": {2}, "starts": {0, 3, 5, 99}, "pos": {2, 3, 4, 0, 1, 7}, "prefix": {0, 2, 0, 0, 0, 9}}
	record := func(window int, prefix bool) func(p *runtime.Plan) runtime.Op {
		return func(p *runtime.Plan) runtime.Op {
			qkv := p.New("qkv", runtime.F32, 6, 3*width)
			starts := p.New("starts", runtime.I32, 1, 4)
			o := runtime.Attention{Q: qkv.Columns(0, width), K: qkv.Columns(width, width), V: qkv.Columns(2*width, width), Heads: 2, Scale: 1,
				Causal: true, Window: window, Seqs: runtime.Dim{Cap: 3, Live: p.New("live", runtime.I32, 1, 1)}, QStarts: starts, Starts: starts,
				QPos: p.New("pos", runtime.I32, 1, 6), MaxKeys: 9, Out: p.New("out", runtime.F32, 6, width)}
			if prefix {
				o.PrefixK, o.PrefixV = p.New("pk", runtime.F32, 9, width), p.New("pv", runtime.F32, 9, width)
				o.Prefix = p.New("prefix", runtime.I32, 3, 2)
			}
			return o
		}
	}
	for _, c := range []struct {
		window      int
		prefix      bool
		pairs, keys float64
	}{
		{0, true, 3 + 4 + 5 + 1 + 2, 5 + 2},
		{2, true, 2 + 2 + 2 + 1 + 2, 5 + 2},
		{0, false, 3 + 3 + 3 + 1 + 2, 3 + 2},
	} {
		w := worked(t, tables, record(c.window, c.prefix))
		if want := 4 * c.pairs * width; w.FLOP != want || w.Rows != 5 {
			t.Errorf("window %d, prefix %v: %v FLOP of %d rows, want %v of 5", c.window, c.prefix, w.FLOP, w.Rows, want)
		}
		if want := 4 * width * (2*5 + 2*c.keys); w.Bytes != want {
			t.Errorf("window %d, prefix %v: %v bytes, want %v", c.window, c.prefix, w.Bytes, want)
		}
	}
}

// Rows that a list names are read as often as it names them.
func TestWorkGatherSum(t *testing.T) {
	tables := map[string][]int32{"live": {2}, "starts": {1, 4, 9, 9}}
	w := worked(t, tables, func(p *runtime.Plan) runtime.Op {
		return runtime.GatherSum{Src: p.New("src", runtime.F32, 20, 5), Starts: p.New("starts", runtime.I32, 1, 4), List: p.New("list", runtime.I32, 1, 20),
			Dst: p.New("dst", runtime.F32, 3, 5), Rows: runtime.Dim{Cap: 3, Live: p.New("live", runtime.I32, 1, 1)}}
	})
	if want := 8.0 * 5; w.FLOP != want || w.Bytes != 4*(8*5+2*5+8+3) {
		t.Errorf("%v FLOP, %v bytes, want %v and %v", w.FLOP, w.Bytes, want, 4*(8*5+2*5+8+3))
	}
}

// The backward pass makes five products for attention's two, over the same pairs.
func TestWorkAttentionGrad(t *testing.T) {
	const width = 8
	tables := map[string][]int32{"starts": {0, 3, 5}, "pos": {0, 1, 2, 0, 1}}
	record := func(grad bool) func(p *runtime.Plan) runtime.Op {
		return func(p *runtime.Plan) runtime.Op {
			m := func(name string) runtime.View { return p.New(name, runtime.F32, 5, width) }
			starts := p.New("starts", runtime.I32, 1, 3)
			o := runtime.Attention{Q: m("q"), K: m("k"), V: m("v"), Heads: 2, Scale: 1, Causal: true, Seqs: runtime.Fixed(2), QStarts: starts, Starts: starts,
				QPos: p.New("pos", runtime.I32, 1, 5), MaxKeys: 5, Out: m("out")}
			if grad {
				return runtime.AttentionGrad{Attention: o, DOut: m("dout"), DQ: m("dq"), DK: m("dk"), DV: m("dv")}
			}
			return o
		}
	}
	forward, backward := worked(t, tables, record(false)), worked(t, tables, record(true))
	if want := 4.0 * (1 + 2 + 3 + 1 + 2) * width; forward.FLOP != want || backward.FLOP != want*5/2 {
		t.Errorf("forward %v FLOP, backward %v, want %v and %v", forward.FLOP, backward.FLOP, want, want*5/2)
	}
	if want := 4.0 * width * (3*5 + 2*5 + 2*5); backward.Bytes != want { // q, dOut and dQ; k and v; dK and dV
		t.Errorf("backward %v bytes, want %v", backward.Bytes, want)
	}
}

func TestSearchWork(t *testing.T) {
	c := runtime.Chunk{DType: runtime.BF16, Rows: 10, Data: make([]byte, 10*6*2)}
	if w := runtime.SearchWork(c, 3, 6); w.FLOP != 2*10*6*3 || w.Bytes != 120 || w.Rows != 10 {
		t.Errorf("one pass: %+v", w)
	}
	c.Coarse = &runtime.Coarse{Codes: make([]int8, 60), Scale: make([]float32, 10), Loss: make([]float32, 10)}
	if w := runtime.SearchWork(c, 3, 6); w.Bytes != 60+80 {
		t.Errorf("two passes: %+v", w)
	}
}
