package simd

import "math"

// gemmGeneric computes tiles of two rows and four columns, which fit the registers of any machine. It cannot prefetch.
func gemmGeneric(c []float32, ldc int, a []float32, lda, rows int, b []float32, k int, acc bool, _ []float32) {
	for i := 0; i < rows; i += 2 {
		a0, c0 := a[i*lda:], c[i*ldc:]
		a1, c1 := a0, c0
		if i+1 < rows {
			a1, c1 = a[(i+1)*lda:], c[(i+1)*ldc:]
		}
		for j := 0; j < genericNR; j += 4 {
			gemm2x4(c0[j:j+4:j+4], c1[j:j+4:j+4], a0[:k], a1[:k], b[j:], acc)
		}
	}
}

// gemm2x4 computes four columns of two rows, which may be the same one.
func gemm2x4(c0, c1, a0, a1, b []float32, acc bool) {
	var s0, s1 [4]float32
	if acc {
		s0, s1 = [4]float32(c0), [4]float32(c1)
	}
	s00, s01, s02, s03 := s0[0], s0[1], s0[2], s0[3]
	s10, s11, s12, s13 := s1[0], s1[1], s1[2], s1[3]
	a1 = a1[:len(a0)]
	for p, x0 := range a0 {
		x1 := a1[p]
		w := (*[4]float32)(b[p*genericNR:])
		s00 += float32(x0 * w[0])
		s01 += float32(x0 * w[1])
		s02 += float32(x0 * w[2])
		s03 += float32(x0 * w[3])
		s10 += float32(x1 * w[0])
		s11 += float32(x1 * w[1])
		s12 += float32(x1 * w[2])
		s13 += float32(x1 * w[3])
	}
	c0[0], c0[1], c0[2], c0[3] = s00, s01, s02, s03
	c1[0], c1[1], c1[2], c1[3] = s10, s11, s12, s13
}

func packGeneric(dst, src []float32, stride, rows, k int) {
	packPortable(dst, genericNR, src, stride, rows, k, fromF32)
}

func packF16Generic(dst []float32, src []uint16, stride, rows, k int) {
	packPortable(dst, genericNR, src, stride, rows, k, fromF16)
}

func packBF16Generic(dst []float32, src []uint16, stride, rows, k int) {
	packPortable(dst, genericNR, src, stride, rows, k, fromBF16)
}

// packPortable is every packer in plain Go, for a panel nr wide.
func packPortable[T any](dst []float32, nr int, src []T, stride, rows, k int, convert func(T) float32) {
	for i := range nr {
		if i >= rows {
			for p := range k {
				dst[p*nr+i] = 0
			}
			continue
		}
		for p, v := range src[i*stride : i*stride+k] {
			dst[p*nr+i] = convert(v)
		}
	}
}

func fromF32(v float32) float32 { return v }

func fromBF16(v uint16) float32 { return math.Float32frombits(uint32(v) << 16) }

// fromF16 converts IEEE half precision: 5 bits of exponent with bias 15, 10 bits of fraction.
func fromF16(v uint16) float32 {
	sign, exponent, fraction := uint32(v>>15)<<31, uint32(v>>10)&31, uint32(v)&1023
	switch exponent {
	case 0: // fraction * 2^-24, exact
		return math.Float32frombits(math.Float32bits(float32(fraction)*0x1p-24) | sign)
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
