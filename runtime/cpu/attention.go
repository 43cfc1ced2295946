package cpu

import (
	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// attention is a compiled runtime.Attention. A task is one head of one sequence: its keys are packed into panels and its
// values into column panels, prefix first, so a key's place depends on its position alone and cached prefixes give the
// same bits; then query rows go tile by tile through scores, softmax and values without leaving the cache.
type attention struct {
	o                runtime.Attention
	k                *simd.Kernels
	d                int // of a head
	q, key, val, out matrix
	pk, pv           matrix
	qStarts, starts  []int32
	qPos, prefix     []int32
}

func (c *compiler) attention(o runtime.Attention) {
	a := c.attends(o)
	a.out = c.f32(o.Out)
	c.heads(o, a.head)
}

// attends resolves the operands that the passes of an Attention share.
func (c *compiler) attends(o runtime.Attention) *attention {
	return &attention{o: o, k: c.dev.k, d: o.Q.Cols / o.Heads,
		q: c.f32(o.Q), key: c.f32(o.K), val: c.f32(o.V), pk: c.f32(o.PrefixK), pv: c.f32(o.PrefixV),
		qStarts: c.i32(o.QStarts), starts: c.i32(o.Starts), qPos: c.i32(o.QPos), prefix: c.i32(o.Prefix)}
}

// heads appends a phase with a task for every head of every sequence.
func (c *compiler) heads(o runtime.Attention, head func(w *worker, s, h int)) {
	seqs := c.live(o.Seqs)
	c.add(func() int { return seqs() * o.Heads }, func(w *worker, task int) { head(w, task/o.Heads, task%o.Heads) })
}

// span is where a sequence's keys lie: np rows of the pool from pre on, then nk own rows from own on.
type span struct{ pre, np, own, nk int }

// keys is their number.
func (p span) keys() int { return p.np + p.nk }

func (a *attention) span(s int) span {
	p := span{own: int(a.starts[s]), nk: int(a.starts[s+1] - a.starts[s])}
	if a.prefix != nil {
		p.pre, p.np = int(a.prefix[2*s]), int(a.prefix[2*s+1])
	}
	return p
}

// carver hands out parts of one piece of scratch memory.
type carver []float32

func (c *carver) take(n int) []float32 {
	part := (*c)[:n]
	*c = (*c)[n:]
	return part
}

// head computes one head of one sequence.
func (a *attention) head(w *worker, s, h int) {
	k, at, col := a.k, a.span(s), h*a.d
	n := at.keys()
	if n == 0 {
		a.zero(a.out, s, col)
		return
	}
	valPanels, ld := blocks(a.d, k.NR), blocks(n, k.NR)*k.NR
	buf := carver(w.floats(ld*a.d + valPanels*k.NR*n + k.MR*(ld+k.NR+a.d) + k.NR*a.d))
	keys, vals := buf.take(ld*a.d), buf.take(valPanels*k.NR*n)
	scores, tile, near := buf.take(k.MR*ld), buf.take(k.MR*k.NR), buf.take(k.MR*a.d)
	a.packRows(keys, a.key, a.pk, at, col, buf)
	a.packColumns(vals, a.val, a.pv, at, col)
	for lo, end := int(a.qStarts[s]), int(a.qStarts[s+1]); lo < end; lo += k.MR {
		rows := min(k.MR, end-lo)
		a.products(scores, ld, a.q, lo, rows, col, keys, near)
		for r := range rows {
			a.softmax(scores[r*ld:r*ld+n], lo+r)
		}
		a.combine(a.out, lo, rows, col, scores, ld, vals, n, tile)
	}
}

// products computes dst[r] = x[lo+r] . keys for at most MR rows of x and keys packed by packRows; ld is the keys' padded number. Rows that
// collide are copied to near first.
func (a *attention) products(dst []float32, ld int, x matrix, lo, rows, col int, keys, near []float32) {
	from, stride := x.from(lo, col), x.stride
	if collide(x, rows) {
		for r := range rows {
			copy(near[r*a.d:][:a.d], from[r*stride:])
		}
		from, stride = near, a.d
	}
	for p := 0; p < ld; p += a.k.NR {
		a.k.Gemm(dst[p:], ld, from, stride, rows, keys[p*a.d:], a.d, false, nil)
	}
}

// combine computes dst[lo+r] = weights[r] . vals for at most MR rows of n weights and values packed by packColumns.
func (a *attention) combine(dst matrix, lo, rows, col int, weights []float32, ld int, vals []float32, n int, tile []float32) {
	nr := a.k.NR
	for j := 0; j < a.d; j += nr {
		width := min(nr, a.d-j)
		if width == nr {
			a.k.Gemm(dst.from(lo, col+j), dst.stride, weights, ld, rows, vals[j*n:], n, false, nil)
			continue
		}
		a.k.Gemm(tile, nr, weights, ld, rows, vals[j*n:], n, false, nil)
		for r := range rows {
			copy(dst.from(lo+r, col+j)[:width], tile[r*nr:])
		}
	}
}

// softmax turns a row of scores into weights; keys that the query must not see get zero.
func (a *attention) softmax(x []float32, q int) {
	lo, hi := a.visible(q, len(x))
	clear(x[:lo])
	clear(x[hi:])
	if lo < hi {
		a.k.Softmax(x[lo:hi], a.o.Scale)
	}
}

// visible is the range of positions, out of n, that query row q sees.
func (a *attention) visible(q, n int) (lo, hi int) {
	lo, hi = 0, n
	if a.qPos != nil {
		pos := int(a.qPos[q])
		if a.o.Causal {
			hi = max(0, min(hi, pos+1))
		}
		if a.o.Window > 0 {
			lo = min(hi, max(0, pos-a.o.Window+1))
		}
	}
	return lo, hi
}

// row returns the columns from col on of the key or value at position p.
func (at span) row(own, pool matrix, p, col int) []float32 {
	if p < at.np {
		return pool.from(at.pre+p, col)
	}
	return own.from(at.own+p-at.np, col)
}

// packRows fills panels [n/NR][d][NR] of a head's keys; joint is scratch for one panel.
func (a *attention) packRows(dst []float32, own, pool matrix, at span, col int, joint []float32) {
	nr, n := a.k.NR, at.keys()
	for p := 0; p < n; p += nr {
		panel, rows := dst[p*a.d:], min(nr, n-p)
		switch {
		case p >= at.np:
			a.k.Pack(panel, own.from(at.own+p-at.np, col), own.stride, rows, a.d)
		case p+rows <= at.np:
			a.k.Pack(panel, pool.from(at.pre+p, col), pool.stride, rows, a.d)
		default: // the panel in which the prefix ends
			for i := range rows {
				copy(joint[i*a.d:], at.row(own, pool, p+i, col)[:a.d])
			}
			a.k.Pack(panel, joint, a.d, rows, a.d)
		}
	}
}

// packColumns fills column panels [d/NR][n][NR] of a head's values.
func (a *attention) packColumns(dst []float32, own, pool matrix, at span, col int) {
	nr, n := a.k.NR, at.keys()
	for j := 0; j < a.d; j += nr {
		panel, width := dst[j*n:], min(nr, a.d-j)
		for p := range n {
			to := panel[p*nr : p*nr+nr]
			clear(to[copy(to, at.row(own, pool, p, col+j)[:width]):])
		}
	}
}

// zero answers queries without keys.
func (a *attention) zero(dst matrix, s, col int) {
	for i := a.qStarts[s]; i < a.qStarts[s+1]; i++ {
		clear(dst.from(int(i), col)[:a.d])
	}
}
