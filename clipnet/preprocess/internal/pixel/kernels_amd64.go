//go:build !noasm

package pixel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// machineSets returns the sets in assembly that this machine runs, the fastest first.
func machineSets() []Kernels {
	var sets []Kernels
	x := cpu.X86
	if x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512VNNI && x.HasBMI1 && x.HasBMI2 {
		sets = append(sets, setAVX512)
	}
	if x.HasAVX2 && x.HasFMA && x.HasBMI1 && x.HasBMI2 {
		sets = append(sets, setAVX2)
	}
	return sets
}

var setAVX512 = Kernels{
	Name: "avx512",
	MCUs: decodeMCUs,
	IDCT: func(dst []byte, stride int, coefs []int16, quant *[64]uint16, groups int) {
		idctAVX512(&dst[0], stride, &coefs[0], &quant[0], groups)
	},
	H2V1: func(dst, src []byte) { doubleRow(dst, src, 32, h2v1AVX512) },
	H2V2: func(dst, near, far []byte) { doubleRows(dst, near, far, 32, h2v2AVX512) },
	RGB:  func(dst, y, cb, cr []byte) { convert(dst, y, cb, cr, 32, rgbAVX512) },
	Rows: func(dst []byte, dstStride int, src []byte, srcStride, height int, t *RowTaps) {
		resizeRows(dst, dstStride, src, srcStride, height, t, 4, rows3AVX512, rows4AVX512)
	},
	Column: func(dst, src []byte, stride int, t ColumnTaps) { resizeColumn(dst, src, stride, t, 32, columnAVX512) },
	Normalize: func(dst []float32, plane int, src []byte, s *Scale) int {
		return normalizeBlocks(dst, plane, src, s, 16, normalizeAVX512)
	},
}

var setAVX2 = Kernels{
	Name: "avx2",
	MCUs: decodeMCUs,
	IDCT: func(dst []byte, stride int, coefs []int16, quant *[64]uint16, groups int) {
		idctAVX2(&dst[0], stride, &coefs[0], &quant[0], groups)
	},
	H2V1: func(dst, src []byte) { doubleRow(dst, src, 16, h2v1AVX2) },
	H2V2: func(dst, near, far []byte) { doubleRows(dst, near, far, 16, h2v2AVX2) },
	RGB:  func(dst, y, cb, cr []byte) { convert(dst, y, cb, cr, 16, rgbAVX2) },
	Rows: func(dst []byte, dstStride int, src []byte, srcStride, height int, t *RowTaps) {
		resizeRows(dst, dstStride, src, srcStride, height, t, 2, rows3AVX2, rows4AVX2)
	},
	Column: func(dst, src []byte, stride int, t ColumnTaps) { resizeColumn(dst, src, stride, t, 16, columnAVX2) },
	Normalize: func(dst []float32, plane int, src []byte, s *Scale) int {
		return normalizeBlocks(dst, plane, src, s, 8, normalizeAVX2)
	},
}

func decodeMCUs(b *Bits, units []Unit, c *Cursor) {
	type unit = struct { // of Unit, with the codes as they are in memory
		DC, AC      *uint32
		Pred        *int32
		Row         []int16
		Block, Step int
	}
	mcusBMI2((*bits)(b), (*unit)(unsafe.Pointer(&units[0])), len(units), (*cursor)(c))
}

// The structures as assembly declares them.
type (
	bits = struct {
		Data     []byte
		End, Pos int
		Acc      uint64
		N        int
	}
	cursor = struct{ MCUs, Unit, K int }
)

// doubleRow doubles all samples but the first and the last by a loop for blocks.
func doubleRow(dst, src []byte, block int, loop func(dst, src *byte, n int)) {
	n := len(src)
	if n < block+2 {
		h2v1Generic(dst, src)
		return
	}
	h2v1Generic(dst, src[:2])
	loop(&dst[2], &src[1], n-2)
	var end [4]byte
	h2v1Generic(end[:], src[n-2:n])
	copy(dst[2*n-2:], end[2:])
}

// doubleRows is doubleRow with a far row.
func doubleRows(dst, near, far []byte, block int, loop func(dst, near, far *byte, n int)) {
	n := len(near)
	if n < block+2 {
		h2v2Generic(dst, near, far)
		return
	}
	h2v2Generic(dst, near[:2], far)
	loop(&dst[2], &near[1], &far[1], n-2)
	var end [4]byte
	h2v2Generic(end[:], near[n-2:n], far[n-2:n])
	copy(dst[2*n-2:], end[2:])
}

func convert(dst, y, cb, cr []byte, block int, loop func(dst, y, cb, cr *byte, n int)) {
	if len(y) < block {
		rgbGeneric(dst, y, cb, cr)
		return
	}
	loop(&dst[0], &y[0], &cb[0], &cr[0], len(y))
}

// rowLoop resizes a few rows at once.
type rowLoop = func(dst *byte, dstStride int, src *byte, srcStride int, offsets *int32, halves *int16, outputs, quads int)

// resizeRows resizes by a loop for so many rows. Fewer are done as copies of each other, the last ones again with those before
// them.
func resizeRows(dst []byte, dstStride int, src []byte, srcStride, height int, t *RowTaps, rows int, loop3, loop4 rowLoop) {
	loop := loop4
	switch {
	case t.outputs == 0:
		return
	case t.channels == 3:
		loop = loop3
	case t.channels != 4:
		rowsGeneric(dst, dstStride, src, srcStride, height, t)
		return
	}
	step := rows
	if height < rows {
		step = 1
	}
	for y := 0; y < height; y += step {
		first := min(y, height-step)
		in, inStride, outStride := src[first*srcStride:], srcStride, dstStride
		if step == 1 {
			inStride, outStride = 0, 0
		}
		if (step-1)*srcStride+t.reach() > len(in) { // the last rows are read where there is room behind them
			in = t.copied(in, srcStride, step)
			if step > 1 {
				inStride = t.room()
			}
		}
		loop(&dst[first*dstStride], outStride, &in[0], inStride, &t.offsets[0], &t.halves[0], t.outputs, t.quads)
	}
}

// room is the size of a row with what is read behind it.
func (t *RowTaps) room() int { return max(t.reach(), t.channels*t.width) }

// copied copies rows to memory that has room behind each of them.
func (t *RowTaps) copied(src []byte, stride, rows int) []byte {
	t.tail = resized(t.tail, rows*t.room())
	for y := range rows {
		copy(t.tail[y*t.room():], src[y*stride:][:t.channels*t.width])
	}
	return t.tail
}

// resizeColumn resizes by a loop for blocks.
func resizeColumn(dst, src []byte, stride int, t ColumnTaps, block int, loop func(dst, src *byte, stride, n int, halves *int16, count int)) {
	if len(dst) < block || t.count == 0 {
		columnGeneric(dst, src, stride, t)
		return
	}
	loop(&dst[0], &src[0], stride, len(dst), &t.halves[0], t.count)
}

// normalizeBlocks normalises whole blocks of pixels, which have 4 bytes behind them.
func normalizeBlocks(dst []float32, plane int, src []byte, s *Scale, block int, loop func(dst *float32, plane int, src *byte, n int, scale *float32)) int {
	n := max(len(src)-4, 0) / 3 / block * block
	if n > 0 {
		loop(&dst[0], plane, &src[0], n, &s[0][0])
	}
	return n
}
