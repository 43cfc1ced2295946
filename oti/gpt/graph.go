package gpt

import (
	"context"

	"isearle/runtime"
)

// capacity is what a graph is recorded for: sequences, rows, rows that get logits, and rows of keys and values that are
// stored (a prompt's row once for each sequence that continues it).
type capacity struct{ seqs, rows, outs, copies int }

// table is an I32 buffer of a program and the host's copy of it.
type table struct {
	view runtime.View
	host []int32
	buf  runtime.Buffer
}

// graph is the model recorded for a capacity, and what a run computes: new rows of several sequences, each behind the keys
// and values of its earlier rows in the cache.
type graph struct {
	cap  capacity
	prog runtime.Program

	counts   table // live sequences, rows, logits, copies
	ids, pos table // by row
	starts   table // by sequence, and one more
	prefix   table // by sequence: first row in the cache, number of rows
	outs     table // rows that get logits
	from, to table // copies: row of the run, row of the cache

	logits runtime.Buffer // F32 [outs, Vocab]
	live   capacity       // what the next run computes
}

func newTable(p *runtime.Plan, name string, n int) table {
	return table{view: p.New(name, runtime.I32, 1, n), host: make([]int32, n)}
}

// compile records the model over the cache, nil for none, and compiles it.
func (m *Model) compile(name string, c capacity, kv *cache) (*graph, error) {
	p := runtime.NewPlan(name)
	g := &graph{cap: c, counts: newTable(p, "counts", 4), ids: newTable(p, "ids", c.rows), pos: newTable(p, "positions", c.rows),
		starts: newTable(p, "starts", c.seqs+1), prefix: newTable(p, "prefix", 2*c.seqs), outs: newTable(p, "logit rows", c.outs),
		from: newTable(p, "stored rows", c.copies), to: newTable(p, "cache rows", c.copies)}
	rows := runtime.Dim{Cap: c.rows, Live: g.counts.view.Element(0, 1)}
	x := p.Temp("x", runtime.F32, c.rows, m.cfg.Width)
	p.Add(runtime.TokenEmbed{IDs: g.ids.view, Pos: g.pos.view, Table: p.Use("token embedding", m.tokens, m.cfg.Vocab, m.cfg.Width),
		PosTable: p.Use("position embedding", m.pos, m.cfg.Context, m.cfg.Width), Rows: rows, Out: x})
	for i := range m.layers {
		x = m.block(p, g, i, x, rows, kv)
	}
	logits := p.New("logits", runtime.F32, c.outs, m.cfg.Vocab)
	p.Add(runtime.Project{X: x, Pool: g.outs.view, Norm: m.norm(p, m.final), W: m.head, Out: logits,
		Rows: runtime.Dim{Cap: c.outs, Live: g.counts.view.Element(0, 2)}})
	prog, err := m.dev.Compile(p)
	if err != nil {
		return nil, err
	}
	g.prog, g.logits = prog, prog.Buffer(logits.Slot)
	for _, t := range g.tables() {
		t.buf = prog.Buffer(t.view.Slot)
	}
	return g, nil
}

func (g *graph) tables() []*table {
	return []*table{&g.counts, &g.ids, &g.pos, &g.starts, &g.prefix, &g.outs, &g.from, &g.to}
}

func (m *Model) norm(p *runtime.Plan, n norm) runtime.Norm {
	return runtime.Norm{Gamma: p.Use("gamma", n.gamma, 1, m.cfg.Width), Beta: p.Use("beta", n.beta, 1, m.cfg.Width), Eps: m.cfg.Eps}
}

// block records layer i and returns its output.
func (m *Model) block(p *runtime.Plan, g *graph, i int, x runtime.View, rows runtime.Dim, kv *cache) runtime.View {
	l, w, n := &m.layers[i], m.cfg.Width, rows.Cap
	bias := func(b runtime.Buffer) (v runtime.View) {
		if b != nil {
			v = p.Use("bias", b, 1, b.Len())
		}
		return v
	}
	qkv := p.Temp("qkv", runtime.F32, n, 3*w)
	p.Add(runtime.Linear{X: x, Norm: m.norm(p, l.ln1), W: l.qkv, Bias: bias(l.qkvBias), Rows: rows, Out: qkv})
	k, v := qkv.Columns(w, w), qkv.Columns(2*w, w)
	att := runtime.Attention{Q: qkv.Columns(0, w), K: k, V: v, Heads: m.cfg.Heads, Scale: m.cfg.Scales[i], Causal: true,
		Window: m.cfg.Windows[i], Seqs: runtime.Dim{Cap: g.cap.seqs, Live: g.counts.view.Element(0, 0)}, QStarts: g.starts.view,
		Starts: g.starts.view, QPos: g.pos.view, MaxKeys: m.cfg.Context, Out: p.Temp("attention", runtime.F32, n, w)}
	if kv != nil {
		att.PrefixK, att.PrefixV = p.Use("keys", kv.k[i], kv.rows(), w), p.Use("values", kv.v[i], kv.rows(), w)
		att.Prefix = g.prefix.view
	}
	p.Add(att)
	if kv != nil {
		copies := runtime.Dim{Cap: g.cap.copies, Live: g.counts.view.Element(0, 3)}
		p.Add(runtime.CopyRows{Src: k, SrcRows: g.from.view, Dst: att.PrefixK, DstRows: g.to.view, Rows: copies})
		p.Add(runtime.CopyRows{Src: v, SrcRows: g.from.view, Dst: att.PrefixV, DstRows: g.to.view, Rows: copies})
	}
	mid, hidden := p.Temp("mid", runtime.F32, n, w), p.Temp("hidden", runtime.F32, n, m.cfg.MLP)
	out := p.Temp("x", runtime.F32, n, w)
	p.Add(runtime.Linear{X: att.Out, W: l.out, Bias: bias(l.outB), Residual: x, Rows: rows, Out: mid})
	p.Add(runtime.Linear{X: mid, Norm: m.norm(p, l.ln2), W: l.fc1, Bias: bias(l.fc1B), Act: m.cfg.Act, Rows: rows, Out: hidden})
	p.Add(runtime.Linear{X: hidden, W: l.fc2, Bias: bias(l.fc2B), Residual: mid, Rows: rows, Out: out})
	return out
}

// reset begins a new run.
func (g *graph) reset() { g.live = capacity{} }

// room reports whether a sequence of n new rows, stored for so many others, still fits the run.
func (g *graph) room(n, stores int) bool {
	return g.live.seqs < g.cap.seqs && g.live.rows+n <= g.cap.rows && g.live.outs < g.cap.outs && g.live.copies+n*stores <= g.cap.copies
}

// add appends a sequence's new tokens, which stand behind cached rows from first on; the last one gets logits. The rows'
// keys and values are stored behind those of each slot in stores, which are given as their first rows.
func (g *graph) add(ids []int32, first, cached int, stores ...int) {
	s := g.live.seqs
	g.starts.host[s] = int32(g.live.rows)
	g.prefix.host[2*s], g.prefix.host[2*s+1] = int32(first), int32(cached)
	for i, id := range ids {
		g.ids.host[g.live.rows], g.pos.host[g.live.rows] = id, int32(cached+i)
		for _, base := range stores {
			g.from.host[g.live.copies], g.to.host[g.live.copies] = int32(g.live.rows), int32(base+cached+i)
			g.live.copies++
		}
		g.live.rows++
	}
	g.outs.host[g.live.outs] = int32(g.live.rows - 1)
	g.live.outs++
	g.live.seqs++
	g.starts.host[g.live.seqs] = int32(g.live.rows)
}

// run computes what was added. Logits are in order of the sequences.
func (g *graph) run(ctx context.Context) error {
	copy(g.counts.host, []int32{int32(g.live.seqs), int32(g.live.rows), int32(g.live.outs), int32(g.live.copies)})
	for _, t := range g.tables() {
		if err := t.buf.WriteI32(0, t.host); err != nil {
			return err
		}
	}
	return g.prog.Run(ctx)
}
