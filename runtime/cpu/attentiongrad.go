package cpu

import "isearle/runtime"

// attentionGrad is a compiled runtime.AttentionGrad. A task is one head of one sequence, as in the forward pass. Queries go
// by blocks of NR rows: weights and their gradients are computed again, and what they give to the own keys is added to sums in
// scratch, so that each entry of DK and DV is one chain over the queries in their order.
type attentionGrad struct {
	*attention
	dout, dq, dk, dv matrix
}

func (c *compiler) attentionGrad(o runtime.AttentionGrad) {
	g := &attentionGrad{c.attends(o.Attention), c.f32(o.DOut), c.f32(o.DQ), c.f32(o.DK), c.f32(o.DV)}
	c.heads(o.Attention, g.head)
}

// gradScratch is the memory of one task. n counts the keys, ld those of whole panels, dp the columns of whole panels.
type gradScratch struct {
	n, ld, dp        int
	keys, vals       []float32 // panels of rows [ld/NR][d][NR]
	columns          []float32 // column panels of the keys [dp/NR][n][NR]
	weights, grads   []float32 // P and DS, [NR][ld]
	transposed       []float32 // either of them for the own keys, [nk][NR]
	queries          []float32 // column panels of a block's rows of Q or DOut [dp/NR][NR][NR]
	sumK, sumV, tile []float32 // [nk][dp] twice, [MR][NR]
	near             []float32 // of products, [MR][d]
	joint            []float32 // of packRows, [NR][d]
}

func (g *attentionGrad) scratch(w *worker, at span) gradScratch {
	nr, n := g.k.NR, at.keys()
	ld, dp := blocks(n, nr)*nr, blocks(g.d, nr)*nr
	buf := carver(w.floats(2*ld*g.d + dp*n + 2*nr*ld + at.nk*nr + dp*nr + 2*at.nk*dp + g.k.MR*(nr+g.d) + nr*g.d))
	return gradScratch{n: n, ld: ld, dp: dp, keys: buf.take(ld * g.d), vals: buf.take(ld * g.d), columns: buf.take(dp * n),
		weights: buf.take(nr * ld), grads: buf.take(nr * ld), transposed: buf.take(at.nk * nr), queries: buf.take(dp * nr),
		sumK: buf.take(at.nk * dp), sumV: buf.take(at.nk * dp), tile: buf.take(g.k.MR * nr),
		near: buf.take(g.k.MR * g.d), joint: buf}
}

// head computes one head of one sequence.
func (g *attentionGrad) head(w *worker, s, h int) {
	at, col := g.span(s), h*g.d
	if at.keys() == 0 {
		g.zero(g.dq, s, col)
		return
	}
	all := g.scratch(w, at)
	b := &all
	g.packRows(b.keys, g.key, g.pk, at, col, b.joint)
	g.packRows(b.vals, g.val, g.pv, at, col, b.joint)
	g.packColumns(b.columns, g.key, g.pk, at, col)
	clear(b.sumK)
	clear(b.sumV)
	for lo, end := int(g.qStarts[s]), int(g.qStarts[s+1]); lo < end; lo += g.k.NR {
		rows := min(g.k.NR, end-lo)
		g.block(b, lo, rows, col)
		g.accumulate(b, b.sumV, b.weights[at.np:], g.dout, lo, rows, at.nk, col)
		g.accumulate(b, b.sumK, b.grads[at.np:], g.q, lo, rows, at.nk, col)
	}
	for j := range at.nk {
		copy(g.dk.from(at.own+j, col)[:g.d], b.sumK[j*b.dp:])
		copy(g.dv.from(at.own+j, col)[:g.d], b.sumV[j*b.dp:])
	}
}

// block computes weights, their gradients and DQ for query rows lo to lo+rows-1.
func (g *attentionGrad) block(b *gradScratch, lo, rows, col int) {
	tiles := blocks(rows, g.k.MR)
	for t := range tiles {
		first, last := rows*t/tiles, rows*(t+1)/tiles
		p, ds := b.weights[first*b.ld:], b.grads[first*b.ld:]
		g.products(p, b.ld, g.q, lo+first, last-first, col, b.keys, b.near)
		g.products(ds, b.ld, g.dout, lo+first, last-first, col, b.vals, b.near)
		for r := range last - first {
			g.softmaxGrad(p[r*b.ld:][:b.n], ds[r*b.ld:][:b.n], lo+first+r)
		}
		g.combine(g.dq, lo+first, last-first, col, ds, b.ld, b.columns, b.n, b.tile)
	}
}

// softmaxGrad turns scores into weights p, and ds from their gradients into the scores', scale included.
func (g *attentionGrad) softmaxGrad(p, ds []float32, q int) {
	g.softmax(p, q)
	lo, hi := g.visible(q, len(p))
	clear(ds[:lo])
	clear(ds[hi:])
	if lo < hi {
		g.k.SoftmaxGrad(ds[lo:hi], p[lo:hi], g.o.Scale)
	}
}

// accumulate adds the product of the transposed weights of a block's queries and their rows of x to sum [nk][dp].
func (g *attentionGrad) accumulate(b *gradScratch, sum, weights []float32, x matrix, lo, rows, nk, col int) {
	if nk == 0 {
		return
	}
	k := g.k
	k.Pack(b.transposed, weights, b.ld, rows, nk)
	g.packColumns(b.queries, x, matrix{}, span{own: lo, nk: rows}, col)
	tiles := blocks(nk, k.MR)
	for t := range tiles {
		first, last := nk*t/tiles, nk*(t+1)/tiles
		for j := 0; j < b.dp; j += k.NR {
			k.Gemm(sum[first*b.dp+j:], b.dp, b.transposed[first*k.NR:], k.NR, last-first, b.queries[j*rows:], rows, true, nil)
		}
	}
}
