package pixel

import "fmt"

// FixedBits is the fraction of a resize's coefficients: 32 bits less 8 of the sample and 2 for overshoot, as in Pillow.
const FixedBits = 32 - 8 - 2

// RowSlack is how much Rows may write behind a row.
const RowSlack = 32

// splitBits is where a coefficient is cut in two that fit 16 bits, as multiplying instructions take them.
const splitBits = 12

// split cuts a coefficient: c = high<<splitBits + low.
func split(c int32) (high, low int16) {
	h := (c + 1<<(splitBits-1)) >> splitBits
	if h != int32(int16(h)) {
		panic(fmt.Sprintf("pixel: coefficient %d", c))
	}
	return int16(h), int16(c - h<<splitBits)
}

// RowTaps are the coefficients of a horizontal resize. Windows are padded to fours of samples and the outputs to fours of
// pixels, with zeros; the padding of a window may lie behind the row.
type RowTaps struct {
	channels int     // samples a pixel, 1, 3 or 4
	width    int     // pixels that a row has
	outputs  int     // pixels
	quads    int     // fours of coefficients of an output
	first    []int32 // each output's first pixel
	offsets  []int32 // bytes to it from the start of a row
	count    []int32 // coefficients of each output that are not padding
	fixed    []int32 // 4*quads an output
	// halves has, for each four of outputs and each of their quads, 16 high and low halves of every output: of coefficients
	// 0 and 1 high, then low, then those of 2 and 3.
	halves []int16

	packed  []uint64    // scratch memory of the portable loops
	packed3 [][3]uint64 // the same for three channels
	tail    []byte      // scratch memory of the others: rows with room behind them
}

// Set makes the taps: output i is the sum of fixed[i*size+x] * pixel first[i]+x for x < count[i].
func (t *RowTaps) Set(first, count []int, fixed []int32, size int) {
	n, most := len(first), 0
	for _, c := range count[:n] {
		most = max(most, c)
	}
	t.outputs, t.quads = n, max((most+3)/4, 1)
	padded := (n + 3) &^ 3
	t.first, t.offsets, t.count = resized(t.first, padded), resized(t.offsets, padded), resized(t.count, padded)
	t.fixed, t.halves = resized(t.fixed, padded*4*t.quads), resized(t.halves, padded*8*t.quads)
	for i := range padded {
		k := t.fixed[i*4*t.quads:][:4*t.quads]
		clear(k)
		t.first[i], t.count[i] = 0, 0
		if i < n {
			t.first[i], t.count[i] = int32(first[i]), int32(count[i])
			copy(k, fixed[i*size:][:count[i]])
		}
		for q := range t.quads {
			h := t.halves[8*(i&^3*t.quads+4*q+i&3):][:8]
			for j, c := range k[4*q : 4*q+4] {
				at := j&1 + j>>1*4
				h[at], h[at+2] = split(c)
			}
		}
	}
}

// Place says which rows the taps are for: of width pixels of so many channels, the first of which is pixel x0.
func (t *RowTaps) Place(channels, x0, width int) {
	t.channels, t.width = channels, width
	for i, n := range t.count {
		t.offsets[i] = 0
		if n == 0 {
			continue
		}
		first := int(t.first[i]) - x0
		if first < 0 || first+int(n) > width {
			panic(fmt.Sprintf("pixel: %d coefficients from pixel %d of %d", n, first, width))
		}
		t.offsets[i] = int32(channels * first)
	}
}

// reach is the number of bytes behind the start of a row that assembly reads.
func (t *RowTaps) reach() int {
	most := 0
	for _, o := range t.offsets {
		most = max(most, int(o))
	}
	return most + 4*t.channels*t.quads + 16
}

// ColumnTaps are the coefficients of one output of a vertical resize.
type ColumnTaps struct {
	count int
	fixed []int32
	// halves has 4 for each pair of coefficients: both high halves, then both low ones; a missing one is zero.
	halves []int16
}

// Columns are the coefficients of a vertical resize.
type Columns struct {
	taps   []ColumnTaps
	halves []int16
}

// Set makes the taps: output i has the coefficients fixed[i*size:][:count[i]], which are kept.
func (t *Columns) Set(count []int, fixed []int32, size int) {
	pairs := (size + 1) / 2
	t.taps, t.halves = resized(t.taps, len(count)), resized(t.halves, 4*pairs*len(count))
	clear(t.halves)
	for i, n := range count {
		h := t.halves[4*pairs*i:][:4*pairs]
		k := fixed[i*size:][:n]
		for j, c := range k {
			at := j&1 + j>>1*4
			h[at], h[at+2] = split(c)
		}
		t.taps[i] = ColumnTaps{n, k, h}
	}
}

// At returns the taps of output i.
func (t *Columns) At(i int) ColumnTaps { return t.taps[i] }

// resized returns a slice of n elements, s's memory where it is large enough. The elements are undefined.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
