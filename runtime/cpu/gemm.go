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
	// aside computes tiles in scratch memory, because the epilogue reads what dst holds.
	aside bool
}

// blockRows is the rows of a block: whole micro-tiles.
func (p *product) blockRows() int {
	return max(1, blockFloats/max(1, p.w.k)/p.k.MR) * p.k.MR
}

// add appends the product as a phase: a task is one panel for one block of rows.
func (p *product) add(c *compiler, rows func() int) {
	size := p.blockRows()
	c.add(func() int { return blocks(rows(), size) * p.w.panels() }, func(w *worker, task int) {
		first := task / p.w.panels() * size
		p.block(w, first, min(first+size, rows()), task%p.w.panels())
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
		y, ld := p.dst.from(lo, col), p.dst.stride
		aside := p.aside || width < p.w.nr
		if aside {
			y, ld = w.floats(p.k.MR*p.w.nr), p.w.nr
		}
		p.k.Gemm(y, ld, p.a.from(lo, 0), p.a.stride, hi-lo, panel, p.w.k, false)
		for i := lo; i < hi; i++ {
			row := y[(i-lo)*ld:][:width]
			if p.done != nil {
				p.done(row, i, col)
			}
			if aside {
				copy(p.dst.from(i, col), row)
			}
		}
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
