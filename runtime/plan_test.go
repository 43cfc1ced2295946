package runtime_test

import (
	"context"
	"strings"
	"testing"

	"isearle/runtime"
	"isearle/runtime/reference"
)

// towerPlan records a small causal block with embedding, a gathered last row and a projection: a text tower in small.
type towerPlan struct {
	prog                           runtime.Program
	counts, ids, pos, starts, pool runtime.Buffer
	out                            runtime.Buffer
	seqs                           int
}

func values(n int, seed uint32) []float32 {
	x := make([]float32, n)
	for i := range x {
		seed = seed*1664525 + 1013904223
		x[i] = float32(seed>>8)/(1<<23) - 1
	}
	return x
}

func newTower(t *testing.T, dev runtime.Device, seqs, rows int) *towerPlan {
	t.Helper()
	const width, vocab, context = 6, 11, 9
	param := func(name string, seed uint32, r, c int, p *runtime.Plan) runtime.View {
		b, err := dev.Alloc(runtime.F32, r*c)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.WriteF32(0, values(r*c, seed)); err != nil {
			t.Fatal(err)
		}
		return p.Use(name, b, r, c)
	}
	p := runtime.NewPlan("tower")
	counts := p.New("counts", runtime.I32, 1, 2)
	ids, pos := p.New("ids", runtime.I32, 1, rows), p.New("pos", runtime.I32, 1, rows)
	starts, pool := p.New("starts", runtime.I32, 1, seqs+1), p.New("pool", runtime.I32, 1, seqs)
	out := p.New("out", runtime.F32, seqs, width)
	nr := runtime.Dim{Cap: rows, Live: counts.Element(0, 1)}
	ns := runtime.Dim{Cap: seqs, Live: counts.Element(0, 0)}
	x, qkv, att := p.Temp("x", runtime.F32, rows, width), p.Temp("qkv", runtime.F32, rows, 3*width), p.Temp("att", runtime.F32, rows, width)
	p.Add(runtime.TokenEmbed{IDs: ids, Pos: pos, Table: param("table", 1, vocab, width, p), PosTable: param("pt", 2, context, width, p), Rows: nr, Out: x})
	p.Add(runtime.Linear{X: x, Dense: param("w", 3, 3*width, width, p), Rows: nr, Out: qkv})
	p.Add(runtime.Attention{Q: qkv.Columns(0, width), K: qkv.Columns(width, width), V: qkv.Columns(2*width, width), Heads: 2, Scale: 0.5,
		Causal: true, Seqs: ns, QStarts: starts, Starts: starts, QPos: pos, MaxKeys: context, Out: att})
	p.Add(runtime.CopyRows{Src: att, SrcRows: pool, Dst: out, Rows: ns})
	prog, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	b := prog.Buffer
	return &towerPlan{prog, b(counts.Slot), b(ids.Slot), b(pos.Slot), b(starts.Slot), b(pool.Slot), b(out.Slot), seqs}
}

// run computes the last row's output of each sequence.
func (tp *towerPlan) run(t *testing.T, seqs [][]int32) []float32 {
	t.Helper()
	var ids, pos, pool []int32
	starts := []int32{0}
	for _, s := range seqs {
		for i, id := range s {
			ids, pos = append(ids, id), append(pos, int32(i))
		}
		starts, pool = append(starts, int32(len(ids))), append(pool, int32(len(ids)-1))
	}
	out := make([]float32, 6*len(seqs))
	for _, err := range []error{
		tp.counts.WriteI32(0, []int32{int32(len(seqs)), int32(len(ids))}), tp.ids.WriteI32(0, ids), tp.pos.WriteI32(0, pos),
		tp.starts.WriteI32(0, starts), tp.pool.WriteI32(0, pool), tp.prog.Run(context.Background()), tp.out.ReadF32(0, out),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// One recorded Plan must serve every raggedness: what varies is data. Each batch is compared with its sequences one by one.
func TestPlanReplaysRaggedness(t *testing.T) {
	batches := [][][]int32{
		{{1, 2, 3}, {4}, {5, 6, 7, 8, 9}},
		{{10}},
		{{2, 2}, {3, 1, 4, 1, 5, 9, 2, 6}, {1}, {7, 7, 7}},
	}
	tower := newTower(t, reference.Device{}, 4, 20)
	for _, batch := range batches {
		got := tower.run(t, batch)
		for i, s := range batch {
			want := newTower(t, reference.Device{}, 1, len(s)).run(t, [][]int32{s})
			for j, w := range want {
				if got[6*i+j] != w {
					t.Fatalf("batch of %d, sequence %d: %v, alone %v", len(batch), i, got[6*i:6*i+6], want)
				}
			}
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	four := func(p *runtime.Plan) runtime.View { return p.New("four", runtime.F32, 4, 4) }
	norm := func(p *runtime.Plan) runtime.Norm {
		return runtime.Norm{Gamma: p.New("g", runtime.F32, 1, 4), Beta: p.New("b", runtime.F32, 1, 4), Eps: 1e-5}
	}
	tests := []struct {
		want   string
		record func(p *runtime.Plan)
	}{
		{"X is [4, 4], want [5, 4]", func(p *runtime.Plan) {
			p.Add(runtime.LayerNorm{X: four(p), Norm: norm(p), Rows: runtime.Fixed(5), Out: four(p)})
		}},
		{"Out is missing", func(p *runtime.Plan) {
			p.Add(runtime.LayerNorm{X: four(p), Norm: norm(p), Rows: runtime.Fixed(4)})
		}},
		{"is i32, want", func(p *runtime.Plan) {
			p.Add(runtime.LayerNorm{X: p.New("x", runtime.I32, 4, 4), Norm: norm(p), Rows: runtime.Fixed(4), Out: four(p)})
		}},
		{"reaches outside", func(p *runtime.Plan) {
			p.Add(runtime.CopyRows{Src: four(p).Columns(2, 4), Dst: four(p), Rows: runtime.Fixed(4)})
		}},
		{"overlaps an input", func(p *runtime.Plan) {
			x := four(p)
			p.Add(runtime.CopyRows{Src: x.Span(0, 3), Dst: x.Span(1, 3), Rows: runtime.Fixed(3)})
		}},
		{"exactly one of W and Dense", func(p *runtime.Plan) {
			p.Add(runtime.Linear{X: four(p), Rows: runtime.Fixed(4), Out: four(p)})
		}},
		{"3 heads for width 4", func(p *runtime.Plan) {
			p.Add(runtime.Attention{Q: four(p), K: four(p), V: four(p), Heads: 3, Scale: 1, MaxKeys: 4, Seqs: runtime.Fixed(1),
				Starts: p.New("s", runtime.I32, 1, 2), QStarts: p.New("s", runtime.I32, 1, 2), Out: four(p)})
		}},
		{"shape [-1, 4]", func(p *runtime.Plan) { p.Temp("t", runtime.F32, -1, 4) }},
	}
	for _, tt := range tests {
		p := runtime.NewPlan("bad")
		tt.record(p)
		if _, err := (reference.Device{}).Compile(p); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want one with %q", err, tt.want)
		}
	}
}

// Slots that are alive at the same time must not share bytes, and others should.
func TestArena(t *testing.T) {
	p := runtime.NewPlan("arena")
	in := p.New("in", runtime.F32, 8, 16)
	prev := in
	var temps []runtime.View
	for i := range 6 {
		v := p.Temp("t", runtime.F32, 8, 16)
		temps = append(temps, v)
		p.Add(runtime.CopyRows{Src: prev, Dst: v, Rows: runtime.Fixed(8)})
		if i == 3 {
			p.Add(runtime.CopyRows{Src: temps[0], Dst: p.Temp("late", runtime.F32, 8, 16), Rows: runtime.Fixed(8)})
		}
		prev = v
	}
	off, size := p.Arena(64)
	if want := 3 * 8 * 16 * 4; size != want {
		t.Errorf("arena of %d bytes, want %d: three are alive at once", size, want)
	}
	if off[in.Slot-1] != -1 {
		t.Error("a persistent slot was put in the arena")
	}
	life := func(s runtime.Slot) (first, last int) {
		first = -1
		for i, op := range p.Ops() {
			o := op.(runtime.CopyRows)
			if o.Src.Slot == s || o.Dst.Slot == s {
				if first < 0 {
					first = i
				}
				last = i
			}
		}
		return first, last
	}
	for i := range off {
		for j := range i {
			fi, li := life(runtime.Slot(i + 1))
			fj, lj := life(runtime.Slot(j + 1))
			if off[i] >= 0 && off[j] >= 0 && fi <= lj && fj <= li && off[i] == off[j] {
				t.Errorf("slots %d and %d are alive together at offset %d", i+1, j+1, off[i])
			}
		}
	}
}
