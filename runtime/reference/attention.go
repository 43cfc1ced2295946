package reference

import (
	"math"

	"isearle/runtime"
)

// keys lists, by position, the value of a key or value matrix for one sequence.
func (p *program) keys(own, prefix runtime.View, o runtime.Attention, s int) [][]float64 {
	var rows [][]float64
	if !prefix.Absent() {
		t := p.ints(o.Prefix)
		for i := range t[2*s+1] {
			rows = append(rows, p.mat(prefix).row(int(t[2*s]+i)))
		}
	}
	starts := p.ints(o.Starts)
	for i := starts[s]; i < starts[s+1]; i++ {
		rows = append(rows, p.mat(own).row(int(i)))
	}
	return rows
}

// visible reports whether query row q sees the key at position k.
func (p *program) visible(o runtime.Attention, q, k int) bool {
	if !o.Causal && o.Window == 0 {
		return true
	}
	pos := int(p.ints(o.QPos)[q])
	return (!o.Causal || k <= pos) && (o.Window == 0 || k > pos-o.Window)
}

// weights are the softmax weights of query row q, head h, over keys.
func (p *program) weights(o runtime.Attention, keys [][]float64, q, h int) []float64 {
	d := o.Q.Cols / o.Heads
	w, top, sum := make([]float64, len(keys)), math.Inf(-1), 0.0
	for k := range keys {
		w[k] = math.Inf(-1)
		if p.visible(o, q, k) {
			w[k] = 0
			for j := range d {
				w[k] += float64(o.Scale) * p.mat(o.Q).at(q, h*d+j) * keys[k][h*d+j]
			}
		}
		top = max(top, w[k])
	}
	for k := range w {
		if w[k] = math.Exp(w[k] - top); math.IsInf(top, -1) {
			w[k] = 0
		}
		sum += w[k]
	}
	for k := range w {
		if sum > 0 {
			w[k] /= sum
		}
	}
	return w
}

func (p *program) attention(o runtime.Attention) {
	d, qs := o.Q.Cols/o.Heads, p.ints(o.QStarts)
	for s := range p.live(o.Seqs) {
		keys, vals := p.keys(o.K, o.PrefixK, o, s), p.keys(o.V, o.PrefixV, o, s)
		for q := int(qs[s]); q < int(qs[s+1]); q++ {
			for h := range o.Heads {
				w := p.weights(o, keys, q, h)
				for j := range d {
					y := 0.0
					for k := range w {
						y += w[k] * vals[k][h*d+j]
					}
					p.mat(o.Out).set(q, h*d+j, y)
				}
			}
		}
	}
}
