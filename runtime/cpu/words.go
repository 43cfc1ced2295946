package cpu

import (
	"math"
	"unsafe"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
	"isearle/weights/half"
)

// Products in BF16 and I8. Panels hold words: 2 or 4 elements of the inner dimension (see simd.Kernels). The left factor is
// encoded row by row in front of the product, behind its Norm: rounded to bfloat16, or quantised to bytes u with
//
//	x = least + scale*u,  least the row's minimum, scale 1/255 of its span,
//
// while a weight's row is w = s*v for integers v from -127 to 127 and s = max|w|/127. With the sum over u*v exact in 32 bits, and that
// over v known beforehand,
//
//	sum of x*w = scale*s*(sum of u*v) + least*s*(sum of v).
//
// So a row's bits depend on nothing but the row, and in I8 they are the same on every instruction set. In BF16 sums are those of an
// f32 product of the rounded factors, where the set has no faster instruction (simd.Kernels.GemmBF16).
//
// Every product of a model may be in I8: with all of them, patches and projections too, the demo world's composed retrieval kept its
// mAP@10 (phi, 364 queries: f32 65.58, bf16 65.65, i8 65.65), its pictures' features a cosine of 0.9996 or more, and the golden
// models' 0.9979.

// wordElements is how many elements of a weight's inner dimension a panel's word holds.
func wordElements(dt runtime.DType) int {
	switch dt {
	case runtime.BF16:
		return 2
	case runtime.I8:
		return 4
	}
	return 1
}

// words is f32 memory as words.
func words(f []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(f))), len(f))
}

// wordStride is the room that a row of n elements takes as words: whole cache lines.
func wordStride(dt runtime.DType, n int) int {
	const line = cacheLine / 4
	return blocks(n, line*wordElements(dt)) * line
}

// fillWords fills panel j from its rows of the weight.
func (p *packed) fillWords(k *simd.Kernels, dt runtime.DType, data []byte, j int, panel, scales, room []float32) {
	rows, n, size := p.width(j), wordStride(p.dt, p.k), dt.Size()
	buf := carver(room)
	decoded, all := buf.take(p.k), buf.take(rows*n)
	for i := range rows {
		x := floatsOf(decoded, p.k, dt, data[i*p.k*size:])
		row := words(all[i*n : (i+1)*n])
		if p.dt == runtime.BF16 {
			k.RoundPairs(row, x)
			continue
		}
		scale, sum := quantise(row, x)
		scales[i], scales[p.nr+i] = scale, scale*float32(sum)
	}
	k.Pack(panel, all, n, rows, p.depth())
}

// quantise makes words of the integers nearest to x/scale, for scale the 127th part of the largest magnitude; it is NaN for a row that
// is not finite.
func quantise(dst []uint32, x []float32) (scale float32, sum int32) {
	const (
		least    = 1e-30 // whose reciprocal is a float32; of rows without a larger element zeros remain
		infinite = 0x7f800000
		whole    = 3 << 22 // a float32 whose last bit counts ones, so that adding it rounds to an integer, ties to even
	)
	bits := uint32(0) // magnitudes are in the order of their bits
	for _, v := range x {
		bits = max(bits, math.Float32bits(v)&^(1<<31))
	}
	clear(dst)
	largest := math.Float32frombits(bits)
	switch {
	case bits >= infinite:
		return float32(math.NaN()), 0
	case largest < least:
		return 0, 0
	}
	by, base := 127/largest, int32(math.Float32bits(whole))
	for i, v := range x {
		q := int32(math.Float32bits(float32(v*by)+whole)) - base
		sum += q
		dst[i/4] |= uint32(uint8(q)) << (i % 4 * 8)
	}
	return largest / 127, sum
}

// packTransposedPairs fills panel j of the transposed matrix in BF16: two of the source's rows make a row of words.
func (p *packed) packTransposedPairs(t *worker, m runtime.Matrix, j int) {
	width, size := p.width(j), m.DType.Size()
	buf := carver(t.floats(2 * width))
	even, odd := buf.take(width), buf.take(width)
	to := words(p.panel(j))
	clear(to)
	for r := 0; r < m.Rows; r += 2 {
		toF32(even, m.DType, m.Data[(r*m.Cols+j*p.nr)*size:])
		clear(odd)
		if r+1 < m.Rows {
			toF32(odd, m.DType, m.Data[((r+1)*m.Cols+j*p.nr)*size:])
		}
		for i, v := range even {
			to[r/2*p.nr+i] = uint32(half.F32ToBF16(v)) | uint32(half.F32ToBF16(odd[i]))<<16
		}
	}
}

// leftFactor is memory for a left factor in a weight's type, and what fills its rows.
type leftFactor struct {
	a      matrix
	aq     []float32                      // of I8: scale and least value of each row
	room   int                            // floats that encode takes beside a row
	encode func(i int, x, room []float32) // fills row i
}

// encoded returns a left factor of rows.
func (c *compiler) encoded(w *packed, rows int) (l leftFactor) {
	k := c.dev.k
	if w.pieces || k.Tiles && wordElements(w.dt) > 1 {
		return c.inTiles(w, simd.TallRows(rows))
	}
	switch {
	case w.dt == runtime.I8:
		l.a, l.aq = c.apart(rows, wordStride(w.dt, w.k)), c.floats(2*rows)
		l.encode = func(i int, x, _ []float32) { l.aq[2*i], l.aq[2*i+1] = k.QuantiseU8(words(l.a.row(i)), x) }
	case w.dt == runtime.BF16 && k.GemmBF16 != nil:
		l.a = c.apart(rows, wordStride(w.dt, w.k))
		l.encode = func(i int, x, _ []float32) { k.RoundPairs(words(l.a.row(i)), x) }
	case w.dt == runtime.BF16:
		even := 2 * w.depth()
		l.a = c.apart(rows, even)
		l.encode = func(i int, x, _ []float32) {
			row := l.a.row(i)
			row[even-1] = 0
			k.Round(row, x)
		}
	default:
		l.a = c.apart(rows, w.k)
		l.encode = func(i int, x, _ []float32) { copy(l.a.row(i), x) }
	}
	return l
}

// inTiles is encoded for rows in tiles (simd.Kernels.Tiles), a whole number of which there is room for.
func (c *compiler) inTiles(w *packed, rows int) (l leftFactor) {
	k := c.dev.k
	if w.pieces {
		l.a = c.matrix(rows, simd.PieceSteps(w.k)*simd.PieceWords)
		l.encode = func(i int, x, _ []float32) { k.PiecesOfRow(words(l.a.data)[simd.TileAt(i, 0, l.a.cols):], x) }
		return l
	}
	l.a, l.room = c.matrix(rows, wordStride(w.dt, w.k)), wordStride(w.dt, w.k)
	if w.dt == runtime.I8 {
		l.aq = c.floats(2 * rows)
	}
	l.encode = func(i int, x, room []float32) {
		row := words(room[:l.room])
		if w.dt == runtime.I8 {
			l.aq[2*i], l.aq[2*i+1] = k.QuantiseU8(row, x)
		} else {
			k.RoundPairs(row, x)
		}
		simd.Scatter(words(l.a.data)[simd.TileAt(i, 0, l.a.cols):], row)
	}
	return l
}

// left appends what a product takes from x[pool[i]] (x[i] without a pool), behind a Norm if there is one.
func (c *compiler) left(p *product, x matrix, n runtime.Norm, d runtime.Dim, pool []int32) {
	if c.err != nil {
		return
	}
	floats := wordElements(p.w.dt) == 1 && !p.w.pieces
	if floats && n.Gamma.Absent() && pool == nil && !collide(x, d.Cap) {
		p.a = x
		return
	}
	l := c.encoded(p.w, d.Cap)
	p.a, p.aq = l.a, l.aq
	k, rows := c.dev.k, c.live(d)
	var gamma, beta []float32
	if !n.Gamma.Absent() {
		gamma, beta = c.f32(n.Gamma).row(0), c.f32(n.Beta).row(0)
	}
	c.eachRow(rows, normRows, func(w *worker, i int) {
		src := x.row(i)
		if pool != nil {
			src = x.row(int(pool[i]))
		}
		buf := carver(w.floats(l.room + len(src)))
		room, y := buf.take(l.room), buf.take(len(src))
		switch {
		case gamma == nil:
			l.encode(i, src, room)
		case floats:
			k.LayerNorm(l.a.row(i), src, gamma, beta, n.Eps)
		default:
			k.LayerNorm(y, src, gamma, beta, n.Eps)
			l.encode(i, y, room)
		}
	})
}
