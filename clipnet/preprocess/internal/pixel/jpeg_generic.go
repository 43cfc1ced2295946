package pixel

import "encoding/binary"

var generic = Kernels{
	Name:   "generic",
	MCUs:   mcusGeneric,
	IDCT:   idctGeneric,
	H2V1:   h2v1Generic,
	H2V2:   h2v2Generic,
	RGB:    rgbGeneric,
	Rows:   rowsGeneric,
	Column: columnGeneric,

	Normalize: func([]float32, int, []byte, *Scale) int { return 0 }, // the caller's table is as fast
}

// The inverse DCT of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) as libjpeg's jidctint.c ("islow") rounds it: 13-bit
// constants, two extra bits between the passes, rounding shifts. Between the passes, values are limited to 16 bits, where
// only coefficients that no image has would lead them.
const (
	constBits = 13
	passBits  = 2

	fix0_298631336 = 2446
	fix0_390180644 = 3196
	fix0_541196100 = 4433
	fix0_765366865 = 6270
	fix0_899976223 = 7373
	fix1_175875602 = 9633
	fix1_501321110 = 12299
	fix1_847759065 = 15137
	fix1_961570560 = 16069
	fix2_053119869 = 16819
	fix2_562915447 = 20995
	fix3_072711026 = 25172
)

func idctGeneric(dst []byte, stride int, coefs []int16, quant *[64]uint16, groups int) {
	var blk [64]int32
	for b := range Group * groups {
		cols := uint32(0) // bit x: column x has something below its first row; bit 8: the first row has more than its first
		at := Coef(b, 0)
		for v := range 8 {
			row, q, out := (*[8]int16)(coefs[at+8*Group*v:]), (*[8]uint16)(quant[8*v:]), (*[8]int32)(blk[8*v:])
			if row[0]|row[1]|row[2]|row[3]|row[4]|row[5]|row[6]|row[7] == 0 {
				*out = [8]int32{}
				continue
			}
			for u, c := range row {
				out[u] = int32(c * int16(q[u]))
				if c != 0 {
					cols |= columnBit[8*v+u]
				}
			}
		}
		if cols == 0 {
			flat(blk[0], dst[8*b:], stride)
		} else {
			idct(&blk, cols, dst[8*b:], stride)
		}
	}
}

// columnBit has, for each place in the block, what it adds to cols.
var columnBit = func() (t [64]uint32) {
	for i := 1; i < 64; i++ {
		t[i] = 1 << (i & 7)
		if i < 8 {
			t[i] = 1 << 8
		}
	}
	return t
}()

// flat writes the block of one DC coefficient: idct's result without its work.
func flat(dc int32, out []byte, stride int) {
	v := uint64(clamp((limit16(dc<<passBits)+1<<(passBits+2))>>(passBits+3)+128)) * 0x0101010101010101
	for y := range 8 {
		binary.LittleEndian.PutUint64(out[y*stride:], v)
	}
}

// idct transforms the dequantised block, 64 coefficients in rows, into 8x8 samples at out. Columns without their bit
// in cols have nothing below their first row.
func idct(blk *[64]int32, cols uint32, out []byte, stride int) {
	for x := range 8 {
		if cols>>x&1 == 0 {
			v := limit16(blk[x] << passBits)
			for y := 0; y < 64; y += 8 {
				blk[y+x&63] = v
			}
			continue
		}
		const round, shift = 1 << (constBits - passBits - 1), constBits - passBits
		e0, e1, e2, e3 := even(blk[x], blk[x+16], blk[x+32], blk[x+48])
		o0, o1, o2, o3 := odd(blk[x+8], blk[x+24], blk[x+40], blk[x+56])
		blk[x] = limit16((e0 + o0 + round) >> shift)
		blk[x+56] = limit16((e0 - o0 + round) >> shift)
		blk[x+8] = limit16((e1 + o1 + round) >> shift)
		blk[x+48] = limit16((e1 - o1 + round) >> shift)
		blk[x+16] = limit16((e2 + o2 + round) >> shift)
		blk[x+40] = limit16((e2 - o2 + round) >> shift)
		blk[x+24] = limit16((e3 + o3 + round) >> shift)
		blk[x+32] = limit16((e3 - o3 + round) >> shift)
	}
	const shift = constBits + passBits + 3
	for y := range 8 {
		r := (*[8]int32)(blk[8*y : 8*y+8])
		e0, e1, e2, e3 := even(r[0]+1<<(passBits+2), r[2], r[4], r[6]) // half of 1<<(passBits+3)
		o0, o1, o2, o3 := odd(r[1], r[3], r[5], r[7])
		const level = 128 // the level shift of T.81 section A.3.1
		v := uint64(clamp((e0+o0)>>shift+level)) |
			uint64(clamp((e1+o1)>>shift+level))<<8 |
			uint64(clamp((e2+o2)>>shift+level))<<16 |
			uint64(clamp((e3+o3)>>shift+level))<<24 |
			uint64(clamp((e3-o3)>>shift+level))<<32 |
			uint64(clamp((e2-o2)>>shift+level))<<40 |
			uint64(clamp((e1-o1)>>shift+level))<<48 |
			uint64(clamp((e0-o0)>>shift+level))<<56
		binary.LittleEndian.PutUint64(out[y*stride:], v)
	}
}

// even is the part of the 1-D transform of the coefficients 0, 2, 4 and 6.
func even(c0, c2, c4, c6 int32) (e0, e1, e2, e3 int32) {
	z := (c2 + c6) * fix0_541196100
	t2, t3 := z-c6*fix1_847759065, z+c2*fix0_765366865
	t0, t1 := (c0+c4)<<constBits, (c0-c4)<<constBits
	return t0 + t3, t1 + t2, t1 - t2, t0 - t3
}

// odd is the part of the coefficients 1, 3, 5 and 7.
func odd(c1, c3, c5, c7 int32) (o0, o1, o2, o3 int32) {
	z1, z2, z3, z4 := c7+c1, c5+c3, c7+c3, c5+c1
	z5 := (z3 + z4) * fix1_175875602
	z1, z2 = z1*-fix0_899976223, z2*-fix2_562915447
	z3, z4 = z5-z3*fix1_961570560, z5-z4*fix0_390180644
	return c1*fix1_501321110 + z1 + z4,
		c3*fix3_072711026 + z2 + z3,
		c5*fix2_053119869 + z2 + z4,
		c7*fix0_298631336 + z1 + z3
}

// limit16 limits v to 16 signed bits.
func limit16(v int32) int32 { return max(min(v, 1<<15-1), -1<<15) }

// clamp limits v to a sample.
func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		v = ^(v >> 31)
	}
	return uint8(v)
}

func h2v1Generic(out, in []byte) {
	n := len(in)
	out = out[:2*n]
	last, this := int(in[0]), int(in[0])
	for x := range n - 1 {
		next := int(in[x+1])
		v := uint16((3*this+last+1)>>2) | uint16((3*this+next+2)>>2)<<8
		binary.LittleEndian.PutUint16(out[2*x:], v)
		last, this = this, next
	}
	out[2*n-2], out[2*n-1] = uint8((3*this+last+1)>>2), in[n-1]
}

func h2v2Generic(out, near, far []byte) {
	n := len(near)
	far, out = far[:n], out[:2*n]
	this := 3*int(near[0]) + int(far[0])
	last := this
	for x := range n - 1 {
		next := 3*int(near[x+1]) + int(far[x+1])
		v := uint16((3*this+last+8)>>4) | uint16((3*this+next+7)>>4)<<8
		binary.LittleEndian.PutUint16(out[2*x:], v)
		last, this = this, next
	}
	out[2*n-2], out[2*n-1] = uint8((3*this+last+8)>>4), uint8((4*this+7)>>4)
}

// The factors of the YCbCr conversion (JFIF 1.02) in 16-bit fixed point, as libjpeg's jdcolor.c rounds them.
const (
	crToR = 91881  // 1.40200
	cbToB = 116130 // 1.77200
	crToG = -46802 // 0.71414
	cbToG = -22554 // 0.34414
)

// ToRGB converts one pixel of YCbCr.
func ToRGB(y, cb, cr uint8) (r, g, b uint8) {
	v := rgb(y, cb, cr)
	return uint8(v), uint8(v >> 8), uint8(v >> 16)
}

// rgb converts one pixel to R | G<<8 | B<<16.
func rgb(y, cb, cr uint8) uint32 {
	yy, u, v := int32(y)<<16+1<<15, int32(cb)-128, int32(cr)-128
	return fixed8(yy+crToR*v) | fixed8(yy+cbToG*u+crToG*v)<<8 | fixed8(yy+cbToB*u)<<16
}

// fixed8 limits a sample with 16 fractional bits to 0..255 and drops the fraction.
func fixed8(v int32) uint32 {
	if uint32(v) >= 256<<16 {
		return uint32(^(v >> 31)) & 255
	}
	return uint32(v) >> 16
}

func rgbGeneric(out, y, cb, cr []byte) {
	if len(y) == 0 {
		return
	}
	n := len(y) - 1
	cb, cr = cb[:len(y)], cr[:len(y)]
	for x, l := range y[:n] {
		yy, u, v := int32(l)<<16+1<<15, int32(cb[x])-128, int32(cr[x])-128 // rgb, which is not inlined
		px := fixed8(yy+crToR*v) | fixed8(yy+cbToG*u+crToG*v)<<8 | fixed8(yy+cbToB*u)<<16
		binary.LittleEndian.PutUint32(out[3*x:], px) // the next pixel overwrites the fourth byte
	}
	out[3*n], out[3*n+1], out[3*n+2] = ToRGB(y[n], cb[n], cr[n])
}
