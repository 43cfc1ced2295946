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
	a := &attention{o: o, k: c.dev.k, d: o.Q.Cols / o.Heads,
		q: c.f32(o.Q), key: c.f32(o.K), val: c.f32(o.V), out: c.f32(o.Out), pk: c.f32(o.PrefixK), pv: c.f32(o.PrefixV),
		qStarts: c.i32(o.QStarts), starts: c.i32(o.Starts), qPos: c.i32(o.QPos), prefix: c.i32(o.Prefix)}
	seqs := c.live(o.Seqs)
	if c.err != nil {
		return
	}
	c.add(func() int { return seqs() * o.Heads }, func(w *worker, task int) { a.head(w, task/o.Heads, task%o.Heads) })
}

// head computes one head of one sequence.
func (a *attention) head(w *worker, s, h int) {
	k := a.k
	own, nk := int(a.starts[s]), int(a.starts[s+1]-a.starts[s])
	pre, np := 0, 0
	if a.prefix != nil {
		pre, np = int(a.prefix[2*s]), int(a.prefix[2*s+1])
	}
	n, col := np+nk, h*a.d
	if n == 0 {
		a.zero(s, col)
		return
	}
	keyPanels, valPanels := blocks(n, k.NR), blocks(a.d, k.NR)
	ld := keyPanels * k.NR
	buf := w.floats(keyPanels*k.NR*a.d + valPanels*k.NR*n + k.MR*ld + k.MR*k.NR)
	take := func(m int) []float32 {
		part := buf[:m]
		buf = buf[m:]
		return part
	}
	keys, vals := take(keyPanels*k.NR*a.d), take(valPanels*k.NR*n)
	scores, tile := take(k.MR*ld), take(k.MR*k.NR)
	a.packKeys(keys, own, pre, np, n, col)
	a.packValues(vals, own, pre, np, n, col)
	for lo, end := int(a.qStarts[s]), int(a.qStarts[s+1]); lo < end; lo += k.MR {
		rows := min(k.MR, end-lo)
		for p := range keyPanels {
			k.Gemm(scores[p*k.NR:], ld, a.q.from(lo, col), a.q.stride, rows, keys[p*k.NR*a.d:], a.d, false)
		}
		for r := range rows {
			a.softmax(scores[r*ld:r*ld+n], lo+r)
		}
		for p := range valPanels {
			k.Gemm(tile, k.NR, scores, ld, rows, vals[p*k.NR*n:], n, false)
			width := min(k.NR, a.d-p*k.NR)
			for r := range rows {
				copy(a.out.from(lo+r, col+p*k.NR)[:width], tile[r*k.NR:])
			}
		}
	}
}

// softmax turns a row of scores into weights; keys that the query must not see get zero.
func (a *attention) softmax(x []float32, q int) {
	lo, hi := 0, len(x)
	if a.qPos != nil {
		pos := int(a.qPos[q])
		if a.o.Causal {
			hi = max(0, min(hi, pos+1))
		}
		if a.o.Window > 0 {
			lo = min(hi, max(0, pos-a.o.Window+1))
		}
	}
	clear(x[:lo])
	clear(x[hi:])
	if lo < hi {
		a.k.Softmax(x[lo:hi], a.o.Scale)
	}
}

// at returns head columns of the key or value at position p.
func at(own, prefix matrix, first, pre, np, p, col int) []float32 {
	if p < np {
		return prefix.from(pre+p, col)
	}
	return own.from(first+p-np, col)
}

// packKeys fills panels [n/NR][d][NR].
func (a *attention) packKeys(dst []float32, own, pre, np, n, col int) {
	nr := a.k.NR
	for p := 0; p < n; p += nr {
		panel, rows := dst[p*a.d:], min(nr, n-p)
		switch {
		case p >= np:
			a.k.Pack(panel, a.key.from(own+p-np, col), a.key.stride, rows, a.d)
		case p+rows <= np:
			a.k.Pack(panel, a.pk.from(pre+p, col), a.pk.stride, rows, a.d)
		default: // the panel in which the prefix ends
			clear(panel[:nr*a.d])
			for i := range rows {
				src := at(a.key, a.pk, own, pre, np, p+i, col)
				for j, v := range src[:a.d] {
					panel[j*nr+i] = v
				}
			}
		}
	}
}

// packValues fills column panels [d/NR][n][NR].
func (a *attention) packValues(dst []float32, own, pre, np, n, col int) {
	nr := a.k.NR
	for j := 0; j < a.d; j += nr {
		panel, width := dst[j*n:], min(nr, a.d-j)
		for p := range n {
			to := panel[p*nr : p*nr+nr]
			clear(to[copy(to, at(a.val, a.pv, own, pre, np, p, col+j)[:width]):])
		}
	}
}

// zero answers queries without keys.
func (a *attention) zero(s, col int) {
	for i := a.qStarts[s]; i < a.qStarts[s+1]; i++ {
		clear(a.out.from(int(i), col)[:a.d])
	}
}
