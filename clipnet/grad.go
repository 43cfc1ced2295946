package clipnet

import "isearle/runtime"

// recordGrad records the backward pass of a recorded tower and its projection: from the gradient of the features,
// dFeatures [seqs, embed], to that of the embedded rows [rows, width], which it returns. Weights are frozen, and prefixes
// get nothing.
func (t *tower) recordGrad(p *runtime.Plan, tr trace, tb tables, dFeatures runtime.View) runtime.View {
	w, last := t.width, len(t.layers)-1
	l, b := &t.layers[last], tr.blocks[last]

	dp, tmp := p.Temp("d pooled", runtime.F32, tb.seqs.Cap, w), p.Temp("d norm", runtime.F32, tb.seqs.Cap, w)
	p.Add(runtime.LinearGrad{DY: dFeatures, W: t.proj, DX: tmp, Rows: tb.seqs})
	p.Add(runtime.LayerNormGrad{DY: tmp, X: tr.pooled, Norm: t.norm(p, t.final), DX: dp, Rows: tb.seqs})
	dAtt := t.finishGrad(p, l, b, dp, tb.seqs)
	dq, dkv := p.Temp("dq", t.half, tb.seqs.Cap, w), p.Temp("dkv", t.half, tb.rows.Cap, 2*w)
	p.Add(runtime.AttentionGrad{Attention: t.attention(last, b, tb), DOut: dAtt, DQ: dq, DK: dkv.Columns(0, w), DV: dkv.Columns(w, w)})
	p.Add(runtime.LinearGrad{DY: dq, W: l.q, DX: tmp, Rows: tb.seqs})
	p.Add(runtime.LayerNormGrad{DY: tmp, X: b.in, Norm: t.norm(p, l.ln1), DX: dp, Add: true, Rows: tb.seqs})

	dx, dn := p.Temp("dx", runtime.F32, tb.rows.Cap, w), p.Temp("d norm", runtime.F32, tb.rows.Cap, w)
	p.Add(runtime.LinearGrad{DY: dkv, W: l.kv, DX: dn, Rows: tb.rows})
	p.Add(runtime.LayerNormGrad{DY: dn, X: tr.in, Norm: t.norm(p, l.ln1), DX: dx, Rows: tb.rows})
	p.Add(runtime.CopyRows{Src: dp, Dst: dx, DstRows: tb.pool, Rows: tb.seqs, Add: true})
	for i := last - 1; i >= 0; i-- {
		t.blockGrad(p, i, tr.blocks[i], tb, dx)
	}
	return dx
}

// blockGrad records the backward pass of a block that is not the last; dx is the gradient of its output, then of its input.
func (t *tower) blockGrad(p *runtime.Plan, i int, b blockTrace, tb tables, dx runtime.View) {
	l, w := &t.layers[i], t.width
	dAtt := t.finishGrad(p, l, b, dx, tb.rows)
	dqkv, dn := p.Temp("dqkv", t.half, tb.rows.Cap, 3*w), p.Temp("d norm", runtime.F32, tb.rows.Cap, w)
	p.Add(runtime.AttentionGrad{Attention: t.attention(i, b, tb), DOut: dAtt,
		DQ: dqkv.Columns(0, w), DK: dqkv.Columns(w, w), DV: dqkv.Columns(2*w, w)})
	p.Add(runtime.LinearGrad{DY: dqkv, W: l.qkv, DX: dn, Rows: tb.rows})
	p.Add(runtime.LayerNormGrad{DY: dn, X: b.in, Norm: t.norm(p, l.ln1), DX: dx, Add: true, Rows: tb.rows})
}

// finishGrad records the backward pass of what follows a block's attention: dx, the gradient of the block's output, becomes
// that of its residual input, and the gradient of the attention's output is returned.
func (t *tower) finishGrad(p *runtime.Plan, l *layer, b blockTrace, dx runtime.View, rows runtime.Dim) runtime.View {
	dh, dn := p.Temp("d hidden", t.half, rows.Cap, t.mlp), p.Temp("d norm", runtime.F32, rows.Cap, t.width)
	p.Add(runtime.LinearGrad{DY: dx, W: l.fc2, DX: dh, Rows: rows})
	p.Add(runtime.LinearGrad{DY: dh, Act: t.act, Pre: b.pre, W: l.fc1, DX: dn, Rows: rows})
	p.Add(runtime.LayerNormGrad{DY: dn, X: b.mid, Norm: t.norm(p, l.ln2), DX: dx, Add: true, Rows: rows})
	dAtt := p.Temp("d att", t.half, rows.Cap, t.width)
	p.Add(runtime.LinearGrad{DY: dx, W: l.out, DX: dAtt, Rows: rows})
	return dAtt
}
