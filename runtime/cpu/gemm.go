package cpu

import (
	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// blockFloats is how much of a product's left side one block of rows may cover: a quarter of the 2 MiB second-level cache
// of the server cores this was measured on, so that the rows stay there while the panels stream by.
const blockFloats = 512 << 10 / 4

// epilogue finishes columns j to j+len(y)-1 of row i of a product.
type epilogue func(y []float32, i, j int)

// product is dst = a . w^T followed by an epilogue, over a live number of rows.
type product struct {
	k    *simd.Kernels
	a    matrix
	w    *packed
	dst  matrix
	done epilogue
}

// tile is the rows of a block: whole micro-tiles.
func (p *product) blockRows() int {
	return max(1, blockFloats/max(1, p.w.k)/p.k.MR) * p.k.MR
}

// add appends the product as a phase: a task is one panel for one block of rows.
func (p *product) add(c *compiler, rows func() int) {
	size, panels := p.blockRows(), p.w.panels()
	c.add(func() int { return blocks(rows(), size) * panels }, func(w *worker, task int) {
		first := task / panels * size
		p.block(w, first, min(first+size, rows()), task%panels)
	})
}

// block computes rows first to last-1 of panel j in tiles of nearly equal height (50 rows are 13+13+12+12).
func (p *product) block(w *worker, first, last, j int) {
	n := last - first
	tiles := blocks(n, p.k.MR)
	col, width := j*p.w.nr, p.w.width(j)
	panel := p.w.panel(j)
	for t := range tiles {
		lo, hi := first+n*t/tiles, first+n*(t+1)/tiles
		if width == p.w.nr {
			p.k.Gemm(p.dst.from(lo, col), p.dst.stride, p.a.from(lo, 0), p.a.stride, hi-lo, panel, p.w.k, false)
		} else {
			p.narrow(w, lo, hi, col, width, panel)
		}
		if p.done != nil {
			for i := lo; i < hi; i++ {
				p.done(p.dst.from(i, col)[:width], i, col)
			}
		}
	}
}

// narrow computes a tile of the last panel, which is narrower than a tile, by way of scratch memory.
func (p *product) narrow(w *worker, lo, hi, col, width int, panel []float32) {
	tmp := w.floats(p.k.MR * p.w.nr)
	p.k.Gemm(tmp, p.w.nr, p.a.from(lo, 0), p.a.stride, hi-lo, panel, p.w.k, false)
	for i := lo; i < hi; i++ {
		copy(p.dst.from(i, col)[:width], tmp[(i-lo)*p.w.nr:])
	}
}

// biasAct returns the kernel that adds a bias and applies an activation.
func biasAct(k *simd.Kernels, a runtime.Activation) func(y, bias []float32) {
	switch a {
	case runtime.QuickGELU:
		return k.BiasQuickGELU
	case runtime.GELU:
		return k.BiasGELU
	case runtime.GELUTanh:
		return k.BiasGELUTanh
	case runtime.ReLU:
		return k.BiasReLU
	default:
		return k.Bias
	}
}
