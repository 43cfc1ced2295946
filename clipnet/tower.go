package clipnet

import (
	"math"

	"isearle/runtime"
)

// norm is a layer normalisation's parameters on a device.
type norm struct{ gamma, beta runtime.Buffer }

// layer is one pre-norm transformer block:
//
//	x += Out . attention(LN1(x)) ;  x += FC2 . act(FC1 . LN2(x))
//
// The last block of a tower has its query weights apart from those of keys and values, since it computes queries only for
// the rows that are pooled.
type layer struct {
	ln1, ln2         norm
	qkv, q, kv       runtime.Weight // either qkv, or q and kv
	qkvBias          runtime.Buffer // [3*width]: q, k, v
	out, fc1, fc2    runtime.Weight
	outB, fc1B, fc2B runtime.Buffer
}

// tower is a stack of blocks and the projection of the pooled rows.
type tower struct {
	width, heads, mlp int
	half              runtime.DType // of matrices between products
	act               runtime.Activation
	eps               float32
	layers            []layer
	final             norm           // ln_post or ln_final
	proj              runtime.Weight // [embed, width]
}

// tables are the views that say how the rows of a run are cut into sequences.
type tables struct {
	seqs, rows  runtime.Dim
	starts, pos runtime.View // I32 [seqs+1], [rows]; pos only where causal
	maxKeys     int
	causal      bool
	// pooled: the row of each sequence that is pooled, its position, and 0, 1, 2 ... for the starts of single queries.
	pool, poolPos, ones runtime.View
	// prefix: where each sequence's cached keys and values are, and the pools of every layer; absent if there is no cache.
	prefix           runtime.View
	prefixK, prefixV []runtime.View
	appendTo         runtime.View // I32 [rows]: where a prefill puts the rows' keys and values
	prefill          bool         // store keys and values, pool nothing
}

// norm resolves a normalisation in a Plan.
func (t *tower) norm(p *runtime.Plan, n norm) runtime.Norm {
	return runtime.Norm{Gamma: p.Use("gamma", n.gamma, 1, t.width), Beta: p.Use("beta", n.beta, 1, t.width), Eps: t.eps}
}

// trace is what a recorded forward pass leaves for its backward pass.
type trace struct {
	blocks []blockTrace
	in     runtime.View // [rows, width]: the last block's input
	pooled runtime.View // [seqs, width]: the pooled rows behind the last block
}

// blockTrace are a block's intermediate matrices: its input, queries, keys and values, the sum behind the attention, and
// what goes into the activation (recorded for gradients only). In the last block all but k and v have one row a sequence.
type blockTrace struct{ in, q, k, v, mid, pre runtime.View }

// record records the tower over the embedded rows x; the zero pooled View means a prefill. With grad, what the backward
// pass needs is kept.
func (t *tower) record(p *runtime.Plan, x runtime.View, tb tables, grad bool) trace {
	w, last := t.width, len(t.layers)-1
	var tr trace
	for i := range t.layers[:last] {
		l := &t.layers[i]
		qkv := p.Temp("qkv", t.half, tb.rows.Cap, 3*w)
		b := blockTrace{in: x, q: qkv.Columns(0, w), k: qkv.Columns(w, w), v: qkv.Columns(2*w, w)}
		p.Add(runtime.Linear{X: x, Norm: t.norm(p, l.ln1), W: l.qkv, Bias: p.Use("qkv bias", l.qkvBias, 1, 3*w), Rows: tb.rows, Out: qkv})
		t.store(p, i, b, tb)
		att := t.attend(p, i, b, tb)
		x = t.finish(p, l, att, &b, tb.rows, grad)
		tr.blocks = append(tr.blocks, b)
	}
	tr.in = x
	t.recordLast(p, &tr, tb, grad)
	return tr
}

// recordLast records the last block: keys and values of all rows, everything else for the pooled rows only.
func (t *tower) recordLast(p *runtime.Plan, tr *trace, tb tables, grad bool) {
	w, i := t.width, len(t.layers)-1
	l := &t.layers[i]
	bias := p.Use("qkv bias", l.qkvBias, 1, 3*w)
	kv := p.Temp("kv", t.half, tb.rows.Cap, 2*w)
	b := blockTrace{k: kv.Columns(0, w), v: kv.Columns(w, w)}
	p.Add(runtime.Linear{X: tr.in, Norm: t.norm(p, l.ln1), W: l.kv, Bias: bias.Columns(w, 2*w), Rows: tb.rows, Out: kv})
	t.store(p, i, b, tb)
	if tb.prefill {
		return
	}
	b.in = p.Temp("pooled", runtime.F32, tb.seqs.Cap, w)
	b.q = p.Temp("q", t.half, tb.seqs.Cap, w)
	p.Add(runtime.CopyRows{Src: tr.in, SrcRows: tb.pool, Dst: b.in, Rows: tb.seqs})
	p.Add(runtime.Linear{X: b.in, Norm: t.norm(p, l.ln1), W: l.q, Bias: bias.Columns(0, w), Rows: tb.seqs, Out: b.q})
	att := t.attend(p, i, b, tb)
	tr.pooled = t.finish(p, l, att, &b, tb.seqs, grad)
	tr.blocks = append(tr.blocks, b)
}

// store records the copy of a layer's keys and values into the prefix pool.
func (t *tower) store(p *runtime.Plan, i int, b blockTrace, tb tables) {
	if !tb.prefill {
		return
	}
	p.Add(runtime.CopyRows{Src: b.k, Dst: tb.prefixK[i], DstRows: tb.appendTo, Rows: tb.rows})
	p.Add(runtime.CopyRows{Src: b.v, Dst: tb.prefixV[i], DstRows: tb.appendTo, Rows: tb.rows})
}

// attention is a layer's attention without its output; the last layer has one query a sequence.
func (t *tower) attention(i int, b blockTrace, tb tables) runtime.Attention {
	o := runtime.Attention{Q: b.q, K: b.k, V: b.v, Heads: t.heads, Scale: float32(1 / math.Sqrt(float64(t.width/t.heads))),
		Causal: tb.causal, Seqs: tb.seqs, QStarts: tb.starts, Starts: tb.starts, MaxKeys: tb.maxKeys}
	pos := tb.pos
	if i == len(t.layers)-1 {
		o.QStarts, pos = tb.ones, tb.poolPos
	}
	if tb.causal {
		o.QPos = pos
	}
	if !tb.prefill && !tb.prefix.Absent() {
		o.PrefixK, o.PrefixV, o.Prefix = tb.prefixK[i], tb.prefixV[i], tb.prefix
	}
	return o
}

func (t *tower) attend(p *runtime.Plan, i int, b blockTrace, tb tables) runtime.View {
	o := t.attention(i, b, tb)
	o.Out = p.Temp("att", t.half, b.q.Rows, t.width)
	p.Add(o)
	return o.Out
}

// finish records what follows the attention of a block and returns the block's output.
func (t *tower) finish(p *runtime.Plan, l *layer, att runtime.View, b *blockTrace, rows runtime.Dim, grad bool) runtime.View {
	w := t.width
	b.mid = p.Temp("mid", runtime.F32, rows.Cap, w)
	hidden, out := p.Temp("hidden", t.half, rows.Cap, t.mlp), p.Temp("x", runtime.F32, rows.Cap, w)
	if grad {
		b.pre = p.Temp("pre", t.half, rows.Cap, t.mlp)
	}
	p.Add(runtime.Linear{X: att, W: l.out, Bias: p.Use("out bias", l.outB, 1, w), Residual: b.in, Rows: rows, Out: b.mid})
	p.Add(runtime.Linear{X: b.mid, Norm: t.norm(p, l.ln2), W: l.fc1, Bias: p.Use("fc1 bias", l.fc1B, 1, t.mlp), Act: t.act, Rows: rows,
		Out: hidden, Pre: b.pre})
	p.Add(runtime.Linear{X: hidden, W: l.fc2, Bias: p.Use("fc2 bias", l.fc2B, 1, w), Residual: b.mid, Rows: rows, Out: out})
	return out
}

// project records the final norm and projection of pooled rows.
func (t *tower) project(p *runtime.Plan, pooled, out runtime.View, seqs runtime.Dim) {
	p.Add(runtime.Project{X: pooled, Norm: t.norm(p, t.final), W: t.proj, Rows: seqs, Out: out})
}
