// Package half converts between float32 and the two 16-bit floating-point formats that checkpoints and galleries use:
// IEEE 754 binary16 (F16) and bfloat16 (BF16). To 16 bits it rounds to nearest, ties to even; from 16 bits it is exact.
package half

import (
	"encoding/binary"
	"math"
)

const (
	f16Inf     = 0x7c00
	f16Max     = 65520 // the smallest magnitude that rounds to infinity: 65504 (the largest F16) plus half a unit
	f16MinNorm = 0x1p-14

	lanes = 0x0001_0001_0001_0001 // a 1 in each 16-bit quarter of a word
)

// F16ToF32 returns the float32 equal to the binary16 value with bits h. A NaN keeps its sign and payload and is quiet.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	x := uint32(h&0x7fff) << 13
	switch {
	case h&f16Inf == 0: // zero or subnormal: value is mantissa * 2^-24
		return math.Float32frombits(math.Float32bits(float32(h&0x3ff)*0x1p-24) | sign)
	case h&f16Inf == f16Inf:
		x |= 0xff << 23
		if x&0x7fffff != 0 {
			x |= 1 << 22
		}
		return math.Float32frombits(x | sign)
	}
	return math.Float32frombits(x + (127-15)<<23 | sign)
}

// F32ToF16 returns the bits of f rounded to binary16. Magnitudes of 65520 and above become infinity; a NaN keeps its
// sign and the high bits of its payload and is quiet.
func F32ToF16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	abs := bits & 0x7fffffff
	a := math.Float32frombits(abs)
	switch {
	case abs > 0x7f800000:
		return sign | f16Inf | 0x200 | uint16(abs>>13&0x3ff)
	case a >= f16Max:
		return sign | f16Inf
	case a < f16MinNorm:
		// Adding 1/2 leaves the value in units of 2^-24 in the low bits, rounded by the addition itself.
		return sign | uint16(math.Float32bits(a+0.5)-math.Float32bits(0.5))
	}
	odd := abs >> 13 & 1
	return sign | uint16((abs-(127-15)<<23+0xfff+odd)>>13)
}

// BF16ToF32 returns the float32 equal to the bfloat16 value with bits h.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 returns the bits of f rounded to bfloat16. A NaN keeps its sign and the high bits of its payload and is
// quiet.
func F32ToBF16(f float32) uint16 {
	bits := math.Float32bits(f)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// DecodeF16 converts len(dst) little-endian binary16 values of src, which must hold at least 2*len(dst) bytes.
func DecodeF16(dst []float32, src []byte) {
	src = src[:2*len(dst)]
	for len(dst) >= 4 && len(src) >= 8 {
		w := binary.LittleEndian.Uint64(src)
		// Adding one to each exponent, without carries between the four, leaves 0 or 1 only for 31 and 0.
		if e := (w&(0x7c00*lanes) + 0x400*lanes) & (0x7800 * lanes); (e|e<<1|e<<2|e<<3)&(0x4000*lanes) == 0x4000*lanes {
			dst[0] = normalF16(uint32(w))
			dst[1] = normalF16(uint32(w >> 16))
			dst[2] = normalF16(uint32(w >> 32))
			dst[3] = normalF16(uint32(w >> 48))
		} else {
			dst[0] = F16ToF32(uint16(w))
			dst[1] = F16ToF32(uint16(w >> 16))
			dst[2] = F16ToF32(uint16(w >> 32))
			dst[3] = F16ToF32(uint16(w >> 48))
		}
		dst, src = dst[4:], src[8:]
	}
	for i := range dst {
		dst[i] = F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

// normalF16 is F16ToF32 for the low 16 bits of x when they are a normal number.
func normalF16(x uint32) float32 {
	return math.Float32frombits(x&0x8000<<16 | (x&0x7fff<<13 + (127-15)<<23))
}

// DecodeBF16 converts len(dst) little-endian bfloat16 values of src, which must hold at least 2*len(dst) bytes.
func DecodeBF16(dst []float32, src []byte) {
	src = src[:2*len(dst)]
	for len(dst) >= 4 {
		w := binary.LittleEndian.Uint64(src)
		dst[0] = math.Float32frombits(uint32(w) << 16)
		dst[1] = math.Float32frombits(uint32(w) & 0xffff0000)
		dst[2] = math.Float32frombits(uint32(w>>32) << 16)
		dst[3] = math.Float32frombits(uint32(w>>32) & 0xffff0000)
		dst, src = dst[4:], src[8:]
	}
	for i := range dst {
		dst[i] = BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

// EncodeF16 writes src as little-endian binary16 to dst, which must hold at least 2*len(src) bytes.
func EncodeF16(dst []byte, src []float32) {
	dst = dst[:2*len(src)]
	for i, f := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], F32ToF16(f))
	}
}

// EncodeBF16 writes src as little-endian bfloat16 to dst, which must hold at least 2*len(src) bytes.
func EncodeBF16(dst []byte, src []float32) {
	dst = dst[:2*len(src)]
	for i, f := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], F32ToBF16(f))
	}
}
