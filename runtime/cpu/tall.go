package cpu

import (
	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// tallRows is the height of the tiles that tall ones consist of.
const tallRows = 2 * simd.TileRows

// finishRows is how many rows are finished at once behind a tall tile: what they take is in the first-level cache.
const finishRows = 16

// piecesCut is where pass i of n of a product by pieces begins.
func piecesCut(k, i, n int) int { return min(k, simd.PieceSteps(k)*i/n*simd.PieceStep) }

// tall computes rows first to last-1 of a task's panel in tiles of as many rows as the kernels take, which keep a panel in the first-level
// cache by themselves. All that is ahead is fetched with the first.
func (p *product) tall(w *worker, first, last, task int, again bool) {
	again = again || last-first > p.tileRows() || p.w.pieces && p.to-p.from < p.w.k
	next := p.ahead(w)
	for ; first < last; first += p.tileRows() {
		p.tallTile(w, first, min(p.tileRows(), last-first), task%p.w.panels(), again, next)
		next = nil
	}
}

func (p *product) tallTile(w *worker, i, rows, j int, again bool, next []float32) {
	nr, work := p.w.nr, p.k.TileWork(rows)
	col, width := j*nr, p.w.width(j)
	if p.w.pieces {
		work = p.k.PieceWork(rows)
	}
	aside := p.aside || width < nr
	buf := carver(w.floats(work + (rows+finishRows+1)*nr + p.w.useRoom()))
	panel, scales := p.w.use(p.k, j, again, buf.take(p.w.useRoom()))
	room, y, ld := buf.take(work), p.dst.from(i, col), p.dst.stride
	switch {
	case !p.sums.absent():
		aside, y, ld = true, p.sums.from(i, col), p.sums.stride
	case aside:
		y, ld = buf.take(rows*nr), nr
	}
	switch a, lda := p.a.from(i, 0), p.a.stride; {
	case p.w.pieces:
		b := panel[p.from*nr : p.to*nr]
		p.k.GemmPieces(y, ld, words(a)[simd.TileAt(0, p.from/simd.PieceStep*simd.PieceWords, lda):], lda, rows, b, p.to-p.from, p.from > 0, room, next)
	case p.w.dt == runtime.I8:
		p.k.GemmI8(y, ld, words(a), lda, rows, words(panel), p.w.depth(), p.aq[2*i:], scales, room, next)
	default:
		p.k.GemmBF16(y, ld, words(a), lda, rows, words(panel), p.w.depth(), room, next)
	}
	if p.w.pieces && p.to < p.w.k {
		return
	}
	p.finishTall(y, ld, i, rows, col, width, aside, buf)
}

// finishTall finishes rows i to i+rows-1 of a panel's columns at y, and copies them to where they belong if they are aside.
func (p *product) finishTall(y []float32, ld, i, rows, col, width int, aside bool, spare []float32) {
	if p.end.tile != nil {
		p.end.fetch(p.k, i, min(finishRows, rows), col)
	}
	for lo := 0; lo < rows; lo += finishRows {
		n := min(finishRows, rows-lo)
		if p.end.tile != nil {
			if more := min(finishRows, rows-lo-n); more > 0 {
				p.end.fetch(p.k, i+lo+n, more, col)
			}
			p.end.finish(y[lo*ld:], ld, i+lo, n, col, width, p.w.nr, spare)
		}
		for r := lo; aside && r < lo+n; r++ {
			copy(p.dst.from(i+r, col)[:width], y[r*ld:])
		}
	}
}
