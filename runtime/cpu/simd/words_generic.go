package simd

import "math"

// tinySpan is the least span of a row that QuantiseU8 divides into levels: 255/tinySpan is still a float32.
const tinySpan = 1e-30

// gemmI8Generic computes GemmI8's tile row by row.
func gemmI8Generic(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, aq, bq, _, _ []float32) {
	for i := range rows {
		var sum [genericNR]int32
		for p, x := range a[i*lda : i*lda+words] {
			x0, x1, x2, x3 := int32(x&255), int32(x>>8&255), int32(x>>16&255), int32(x>>24)
			for j, w := range b[p*genericNR : (p+1)*genericNR] {
				sum[j] += x0*int32(int8(w)) + x1*int32(int8(w>>8)) + x2*int32(int8(w>>16)) + x3*int32(int8(w>>24))
			}
		}
		y := c[i*ldc:][:genericNR]
		for j, s := range sum {
			y[j] = float32(float32(float32(s)*aq[2*i])*bq[j]) + float32(aq[2*i+1]*bq[genericNR+j])
		}
	}
}

func roundPairsGeneric(dst []uint32, x []float32) {
	for i := range (len(x) + 1) / 2 {
		dst[i] = uint32(toBF16(x[2*i]))
		if 2*i+1 < len(x) {
			dst[i] |= uint32(toBF16(x[2*i+1])) << 16
		}
	}
}

func roundGeneric(dst, x []float32) {
	for i, v := range x {
		dst[i] = fromBF16(toBF16(v))
	}
}

func gemmWidenGeneric(c []float32, ldc int, a []float32, lda, rows int, b []uint32, words int, acc bool, wide, next []float32) {
	widen(wide, b[:words*genericNR])
	gemmGeneric(c, ldc, a, lda, rows, wide, 2*words, acc, next)
}

// widen makes floats of a panel of bfloat16 words.
func widen(wide []float32, b []uint32) {
	for p := 0; p < len(b); p += genericNR {
		low, high := wide[2*p:2*p+genericNR], wide[2*p+genericNR:2*p+2*genericNR]
		for j, w := range b[p : p+genericNR] {
			low[j], high[j] = math.Float32frombits(w<<16), math.Float32frombits(w&0xffff0000)
		}
	}
}

// toBF16 rounds to nearest, ties to even; a NaN becomes quiet.
func toBF16(v float32) uint16 {
	b := math.Float32bits(v)
	if v != v {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func quantiseU8Generic(dst []uint32, x []float32) (scale, least float32) {
	least = float32(math.Inf(1))
	most, wrong := float32(math.Inf(-1)), float32(0)
	for _, v := range x {
		least, most = min(least, v), max(most, v)
		wrong += v - v
	}
	span := max(most-least, tinySpan)
	by := 255 / span
	clear(dst[:(len(x)+3)/4])
	for i, v := range x {
		dst[i/4] |= uint32(uint8(roundEven(float32(v-least)*by))) << (i % 4 * 8)
	}
	return span/255 + wrong, least
}

// roundEven rounds to an integer, for |v| < 2^22.
func roundEven(v float32) int32 {
	const one = 1.5 * (1 << 23) // adding and subtracting it rounds
	return int32(v + one - one)
}
