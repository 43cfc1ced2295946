package cpu

import (
	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// How a product is cut, for the server cores this was measured on (32 or 48 KiB of first-level, 1 or 2 MiB of second-level cache). What a
// block of rows has of a part of the inner dimension stays in the second-level cache while the part's panels stream by, beside two of them: the
// one in use and the one that is fetched ahead. With fewer rows than blockTiles tiles a panel is read too often, and with shorter parts
// sums are stored and loaded too often, although a tile then finds its part of the panel in the first-level cache.
const (
	blockTiles  = 10
	partDepth   = 1024           // of the inner dimension, about: 128 KiB of a panel
	wideDepth   = 384            // the same, where tiles share what the first one of them widened
	blockFloats = 5 << 20 / 4    // of a block whose rows are deep: all parts of it, in the third-level cache
	cacheFloats = 1280 << 10 / 4 // of rows that stay in the second-level cache whole
	passDepth   = 1024
)

// product is dst = a . w^T followed by an epilogue, over a live number of rows.
type product struct {
	k     *simd.Kernels
	pool  *pool
	tasks func() int
	a     matrix
	aq    []float32 // of I8: scale and least value of each row of a
	w     *packed
	dst   matrix
	end   epilogue
	// aside computes tiles in scratch memory, because the epilogue reads what dst holds.
	aside bool
	// sums holds what is added up in passes, panel beside panel.
	sums matrix
	// from to to-1 is what this pass takes of the inner dimension, in products by pieces.
	from, to int
	// then is the product that follows, if there is one: its first panels are fetched at the end of this one.
	then *product
}

// tileRows is the most rows of a tile.
func (p *product) tileRows() int {
	if p.w.pieces || p.w.dt == runtime.I8 || p.w.dt == runtime.BF16 && !p.widens() {
		return p.k.WordRows
	}
	return p.k.MR
}

// blockRows is the most rows of a block, of each of which a product or pass takes so many floats.
func (p *product) blockRows(floats int) int {
	floats = max(1, floats)
	if rows := p.tileRows(); rows <= p.k.MR {
		return min(blockTiles, max(1, blockFloats/floats/rows)) * rows
	}
	return min(p.tileRows(), max(1, cacheFloats/floats/tallRows)*tallRows)
}

// link makes the product known as what follows the one before. A task is one panel for one block of rows.
func (p *product) link(c *compiler, tasks func() int) {
	p.pool, p.tasks = c.dev.pool, tasks
	if c.last != nil {
		c.last.then = p
	}
	c.last = p
}

// add appends the product as a phase, blocks of rows being as large as they may; or as several, each of which takes a part of the inner
// dimension, where long rows of pieces would leave blocks too low.
func (p *product) add(c *compiler, rows func() int) {
	passes := 1
	if p.w.pieces && p.w.k > passDepth {
		passes = blocks(p.w.k, passDepth)
		p.sums = c.matrix(p.dst.rows, p.w.panels()*p.w.nr)
	}
	for i := range passes {
		pass := *p
		pass.from, pass.to = piecesCut(p.w.k, i, passes), piecesCut(p.w.k, i+1, passes)
		pass.addPass(c, rows, p.a.cols/passes)
	}
}

func (p *product) addPass(c *compiler, rows func() int, floats int) {
	size := p.blockRows(floats)
	p.link(c, func() int { return blocks(rows(), size) * p.w.panels() })
	c.add(p.tasks, func(w *worker, task int) {
		n := rows()
		count := blocks(n, size)
		b := task / p.w.panels()
		p.block(w, p.rowsCut(n, b, count), p.rowsCut(n, b+1, count), task, count > 1)
	})
}

// rowsCut is where part i of count of n rows begins: behind whole tiles where these are tall.
func (p *product) rowsCut(n, i, count int) int {
	if p.tileRows() > p.k.MR {
		return min(n, blocks(n, tallRows)*i/count*tallRows)
	}
	return n * i / count
}

// ahead is the beginning of the panel that a worker will go on with: of its next task, or of its first one in the product that
// follows.
func (p *product) ahead(w *worker) []float32 {
	task := w.next
	if task < 0 {
		if p = p.then; p == nil || p.w.n == 0 {
			return nil
		}
		task = p.pool.first(p.tasks(), w.id)
	}
	if !p.w.isReady(task % p.w.panels()) {
		return nil
	}
	panel := p.w.panel(task % p.w.panels())
	if p.w.pieces {
		return panel[p.from*p.w.nr : p.to*p.w.nr]
	}
	return panel[:p.cut(1, p.parts())*p.w.nr]
}

// block computes rows first to last-1 of a task's panel in tiles of nearly equal height (50 rows are 12+13+12+13), one part of
// the panel after the other: the chain of multiply-adds goes on from part to part. Meanwhile the next part is fetched, at
// last what is ahead. With again other blocks will use the panel too.
func (p *product) block(w *worker, first, last, task int, again bool) {
	if p.tileRows() > p.k.MR {
		p.tall(w, first, last, task, again)
		return
	}
	n, nr, j := last-first, p.w.nr, task%p.w.panels()
	col, width := j*nr, p.w.width(j)
	y, ld := p.dst.from(first, col), p.dst.stride
	aside := p.aside || width < nr
	buf := carver(w.floats(p.scratch(n, aside) + p.w.useRoom()))
	panel, scales := p.w.use(p.k, j, again, buf.take(p.w.useRoom()))
	var wide, spare []float32
	if p.widens() {
		wide = buf.take(p.wideFloats())
	}
	if aside {
		y, ld, spare = buf.take(n*nr), nr, buf
	}
	tiles, parts := blocks(n, p.tileRows()), p.parts()
	for part := range parts {
		from, to := p.cut(part, parts), p.cut(part+1, parts)
		b, next := panel[from*nr:to*nr], p.ahead(w)
		if part+1 < parts {
			next = panel[to*nr : p.cut(part+2, parts)*nr]
		}
		for t := range tiles {
			lo, hi := n*t/tiles, n*(t+1)/tiles
			if part+1 == parts {
				p.end.fetch(p.k, first+lo, hi-lo, col)
			}
			p.tile(y[lo*ld:], ld, first+lo, hi-lo, b, wide, scales, from, to, share(next, t, tiles))
			if wide != nil {
				b = nil // widened
			}
			if part+1 == parts && p.end.tile != nil {
				p.end.finish(y[lo*ld:], ld, first+lo, hi-lo, col, width, nr, spare)
			}
		}
	}
	if aside {
		for i := range n {
			copy(p.dst.from(first+i, col)[:width], y[i*ld:])
		}
	}
}

// tile multiplies rows of a, from row i on, by rows from to to-1 of a panel, which are b, or behind the first tile in wide.
func (p *product) tile(y []float32, ld, i, rows int, b, wide, scales []float32, from, to int, next []float32) {
	switch a, lda := p.a.from(i, 0), p.a.stride; {
	case p.w.dt == runtime.I8:
		p.k.GemmI8(y, ld, words(a), lda, rows, words(b), to, p.aq[2*i:], scales, nil, next)
	case wide != nil && b != nil:
		p.k.GemmWiden(y, ld, a[2*from:], lda, rows, words(b), to-from, from > 0, wide, next)
	case wide != nil:
		p.k.Gemm(y, ld, a[2*from:], lda, rows, wide, 2*(to-from), from > 0, next)
	case p.w.dt == runtime.BF16:
		p.k.GemmBF16(y, ld, words(a), lda, rows, words(b), to, nil, next)
	default:
		p.k.Gemm(y, ld, a[from:], lda, rows, b, to-from, from > 0, next)
	}
}

// widens says whether parts of panels are converted to floats by the first tile of a block, for the others.
func (p *product) widens() bool { return p.w.dt == runtime.BF16 && p.k.GemmBF16 == nil }

// wideFloats is the room for a part of a panel, as floats.
func (p *product) wideFloats() int { return 2 * min(p.w.depth(), wideDepth/2) * p.w.nr }

// scratch is the memory that a block of n rows takes.
func (p *product) scratch(n int, aside bool) (floats int) {
	if p.widens() {
		floats = p.wideFloats()
	}
	if aside {
		floats += (n + p.tileRows() + 1) * p.w.nr
	}
	return floats
}

// parts is how many parts of the inner dimension a panel is multiplied in: one where the kernels cannot go on with a sum.
func (p *product) parts() int {
	switch {
	case p.widens():
		return max(1, blocks(p.w.depth(), wideDepth/2))
	case wordElements(p.w.dt) > 1:
		return 1
	}
	return max(1, (p.w.k+partDepth/2)/partDepth)
}

// cut is the row of a panel where a part begins, a multiple of 16.
func (p *product) cut(part, parts int) int { return cut(p.w.depth(), part, parts) }

// cut is where a part of a depth begins, a multiple of 16.
func cut(depth, part, parts int) int { return min(depth, blocks(depth, 16*parts)*16*part) }

// share is part t of n of what is fetched, in whole cache lines.
func share(v []float32, t, n int) []float32 {
	const line = cacheLine / 4
	lines := len(v) / line
	return v[lines*t/n*line : lines*(t+1)/n*line]
}

// tile is a kernel that finishes a tile of a product: adds a bias, applies an activation, adds a residual.
type tile func(y []float32, ldy, rows int, bias, res []float32, ldres int)

// epilogue is what follows a product: y = act(y + bias) + res; pre keeps y + bias. All but the kernels may be absent.
type epilogue struct {
	tile, add tile // with the activation, and without
	bias      []float32
	res, pre  matrix
}

// fetch asks for what finish will read and write for rows i to i+rows-1 from column col on, while they are multiplied.
func (e *epilogue) fetch(k *simd.Kernels, i, rows, col int) {
	for _, m := range []*matrix{&e.res, &e.pre} {
		if !m.absent() {
			k.Fetch(m.from(i, col), m.stride, rows)
		}
	}
}

// finish finishes rows i to i+rows-1 of a panel's columns, width of nr from col on, at y. Where that is not all of them, spare
// has room for what the kernels read of bias and residual.
func (e *epilogue) finish(y []float32, ld, i, rows, col, width, nr int, spare []float32) {
	var bias, res []float32
	ldres := e.res.stride
	if e.bias != nil {
		bias = e.bias[col:]
	}
	if !e.res.absent() {
		res = e.res.from(i, col)
	}
	if width < nr {
		bias, res, ldres = e.widen(bias, res, rows, width, nr, spare)
	}
	if !e.pre.absent() {
		e.add(y, ld, rows, bias, nil, 0)
		bias = nil
		for r := range rows {
			copy(e.pre.from(i+r, col)[:width], y[r*ld:])
		}
	}
	e.tile(y, ld, rows, bias, res, ldres)
}

// widen copies bias and residual of fewer than nr columns to rows of nr.
func (e *epilogue) widen(bias, res []float32, rows, width, nr int, spare []float32) (b, r []float32, ld int) {
	clear(spare)
	if bias != nil {
		b = spare[:nr]
		copy(b, bias[:width])
	}
	if res != nil {
		r = spare[nr:]
		for i := range rows {
			copy(r[i*nr:], res[i*e.res.stride:][:width])
		}
	}
	return b, r, nr
}

// tileOf returns the kernel of an activation.
func tileOf(k *simd.Kernels, a runtime.Activation) tile {
	switch a {
	case runtime.QuickGELU:
		return k.TileQuickGELU
	case runtime.GELU:
		return k.TileGELU
	case runtime.GELUTanh:
		return k.TileGELUTanh
	case runtime.ReLU:
		return k.TileReLU
	default:
		return k.TileBias
	}
}
