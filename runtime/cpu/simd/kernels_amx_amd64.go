//go:build !noasm

package simd

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

const (
	amxTile = TileRows    // rows of a tile, and words of 64 bytes, which are a tile's row
	amxRows = 2 * amxTile // of a tile of a product
	amxMost = 8 * amxRows // of a product

	tileBytes = 64 * amxTile
	stepBytes = 4 * PieceWords * amxRows // of the pieces of a step of a panel
)

// amxSet is AVX-512 with products of words by AMX (Intel since Sapphire Rapids).
func amxSet(avx512 Kernels) Kernels {
	k := avx512
	k.Name, k.WordRows, k.GemmBF16, k.GemmI8, k.FastI8, k.Tiles = "amx", amxMost, gemmPairsAMX, gemmQuadsAMX, true, true
	k.GemmPieces, k.PiecesOfRow, k.TileWork, k.PieceWork = gemmPiecesAMX, rowPiecesAMX, tileWorkAMX, pieceWorkAMX
	return k
}

func hasAMX() bool {
	x := cpu.X86
	return x.HasAMXTile && x.HasAMXBF16 && x.HasAMXInt8 && x.HasAVX512BF16 && permitTiles()
}

// amxConfig describes tiles of 16 rows, with so many words of the inner dimension: palette 1, a row's bytes from byte 16 on in 16 bits, and
// numbers of rows from byte 48 on.
func amxConfig(words int) (cfg [64]byte) {
	cfg[0] = 1
	for tile := range 8 {
		rows, bytes := amxTile, 4*amxTile
		switch {
		case tile >= 6: // B
			rows = words
		case tile >= 4: // A
			bytes = 4 * words
		}
		cfg[16+2*tile], cfg[48+tile] = byte(bytes), byte(rows)
	}
	return cfg
}

// A panel is multiplied in chunks of so many steps that one stays in the first-level cache while rows pass. Sums wait in memory meanwhile,
// which takes a tile as long as a step or two of words; so a panel that almost fits is left whole.
const (
	wordChunk  = 8 // steps of 2 KiB
	mostWords  = 12
	pieceChunk = 2 // steps of 6 KiB, beside A's of as many
)

// tileWorkAMX is the room for sums between chunks.
func tileWorkAMX(rows int) int { return (rows + amxRows - 1) / amxRows * amxRows * amxRows }

// pieceWorkAMX is that and the room for the pieces of a chunk and of one more step.
func pieceWorkAMX(rows int) int { return tileWorkAMX(rows) + (pieceChunk+1)*PieceWords*amxRows }

// newProduct is what a product of rows is given but for its cut.
func newProduct(c []float32, ldc int, a []uint32, lda int, b unsafe.Pointer, work []float32) amxProduct {
	return amxProduct{c: unsafe.Pointer(&c[0]), ldc: 4 * ldc, a: unsafe.Pointer(&a[0]), group: 4 * lda * TileRows, b: b, work: unsafe.Pointer(&work[0])}
}

// set makes p ready for rows.
func (p *amxProduct) set(rows, words, steps, chunk int, next []float32) {
	p.steps, p.chunk, p.count, p.lines, p.stop, p.partial = steps, min(steps, chunk), (rows+amxRows-1)/amxRows, 0, 0, -1
	p.cfg = amxConfig(words)
	if rows != TallRows(rows) {
		p.partial = (p.count - 1) * 4 * amxRows * amxRows
	}
	if len(next) > 0 {
		n := steps * p.count
		p.next, p.lines = unsafe.Pointer(&next[0]), (len(next)/amxTile+2*n-1)/(2*n)
		p.stop = uintptr(p.next) + uintptr(4*len(next))
	}
}

// cover calls f, which multiplies whole tiles, for rows.
func (p *amxProduct) cover(c []float32, ldc, rows int, work []float32, f func(high bool)) {
	if p.partial < 0 {
		f(rows > amxTile)
		return
	}
	last := (p.count - 1) * amxRows
	c, sums, rest := c[last*ldc:], work[last*amxRows:], rows-last
	if p.acc != 0 {
		for i := range rest {
			left, right := sumsOf(sums, i)
			copy(left, c[i*ldc:])
			copy(right, c[i*ldc+amxTile:])
		}
	}
	f(rows > amxTile)
	for i := range rest {
		left, right := sumsOf(sums, i)
		copy(c[i*ldc:], left)
		copy(c[i*ldc+amxTile:], right)
	}
}

// sumsOf is row i of a tile's sums, which are four tiles one behind the other.
func sumsOf(sums []float32, i int) (left, right []float32) {
	at := (i/amxTile*2*amxTile + i%amxTile) * amxTile
	return sums[at : at+amxTile], sums[at+amxTile*amxTile:][:amxTile]
}

// words calls f for a product of words: all steps, and a last one that is not whole.
func (p *amxProduct) words(c []float32, ldc, rows, words int, b []uint32, work, next []float32, f func(high bool)) {
	steps, left := words/amxTile, words%amxTile
	if steps > 0 {
		chunk := wordChunk
		if steps <= mostWords {
			chunk = steps
		}
		p.set(rows, amxTile, steps, chunk, next)
		p.cover(c, ldc, rows, work, f)
		p.acc = 1
	}
	if left > 0 {
		p.a, p.b = unsafe.Add(p.a, tileBytes*steps), unsafe.Pointer(&b[steps*amxTile*amxRows])
		p.set(rows, left, 1, 1, nil)
		p.cover(c, ldc, rows, work, f)
	}
}

// The products call the assembly by its name: through a variable, what it is given would have to be on the heap.

func gemmPairsAMX(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, work, next []float32) {
	p := newProduct(c, ldc, a, lda, unsafe.Pointer(&b[0]), work)
	p.words(c, ldc, rows, words, b, work, next, func(high bool) {
		if high {
			tilesBF16x2AMX(&p)
		} else {
			tilesBF16x1AMX(&p)
		}
	})
}

// gemmQuadsAMX has the integers in c until they are scaled.
func gemmQuadsAMX(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, aq, bq, work, next []float32) {
	p := newProduct(c, ldc, a, lda, unsafe.Pointer(&b[0]), work)
	p.words(c, ldc, rows, words, b, work, next, func(high bool) {
		if high {
			tilesI8x2AMX(&p)
		} else {
			tilesI8x1AMX(&p)
		}
	})
	scaleSumsAMX(&c[0], ldc, rows, &aq[0], &bq[0])
}

func gemmPiecesAMX(c []float32, ldc int, a []uint32, lda, rows int, b []float32, k int, acc bool, work, next []float32) {
	p := newProduct(c, ldc, a, lda, unsafe.Pointer(&b[0]), work)
	p.ring, p.limit = unsafe.Pointer(&work[tileWorkAMX(rows)]), (pieceChunk+1)*stepBytes
	if acc {
		p.acc = 1
	}
	run := func(high bool) {
		if high {
			piecesx2AMX(&p)
		} else {
			piecesx1AMX(&p)
		}
	}
	steps, left := k/PieceStep, k%PieceStep
	if steps > 0 {
		p.set(rows, amxTile, steps, pieceChunk, next)
		p.cover(c, ldc, rows, work, run)
		p.acc = 1
	}
	if left > 0 {
		var rest [PieceStep * amxRows]float32
		copy(rest[:], b[(k-left)*amxRows:k*amxRows])
		p.a, p.b = unsafe.Add(p.a, 3*tileBytes*steps), unsafe.Pointer(&rest[0])
		p.set(rows, amxTile, 1, 1, nil)
		p.cover(c, ldc, rows, work, run)
	}
}

func rowPiecesAMX(dst []uint32, x []float32) {
	steps, left := len(x)/PieceStep, len(x)%PieceStep
	if steps > 0 {
		piecesOfRowAMX(&dst[0], &x[0], steps)
	}
	if left > 0 {
		var rest [PieceStep]float32
		copy(rest[:], x[len(x)-left:])
		piecesOfRowAMX(&dst[steps*PieceWords*TileRows], &rest[0], 1)
	}
}

func peaksAMX(p *Peaks) {
	cfg := amxConfig(amxTile)
	counted := func(loop func(*[64]byte, int), products int) func(int) int {
		return func(n int) int {
			if n < 1 {
				return 0
			}
			loop(&cfg, n)
			return n * 4 * amxTile * amxTile * amxTile * products * 2
		}
	}
	p.BF16, p.I8 = counted(peakBF16AMX, 2), counted(peakI8AMX, 4)
}
