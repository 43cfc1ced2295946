package jpeg

import "encoding/binary"

// The inverse DCT of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) as libjpeg's jidctint.c ("islow") rounds it:
// 13-bit constants, two extra bits between the passes, rounding shifts.
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

// columnBit has, for each place in the block, what it adds to idct's cols: bit x for an AC coefficient below the first
// row of column x, and bit 8 for one in the first row.
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
	v := uint64(clamp((dc+4)>>3+128)) * 0x0101010101010101
	for y := range 8 {
		binary.LittleEndian.PutUint64(out[y*stride:], v)
	}
}

// idct transforms the dequantised block, 64 coefficients in rows, into 8x8 samples at out. Columns without their bit
// in cols have nothing below their first row.
func idct(blk *[64]int32, cols uint32, out []byte, stride int) {
	for x := range 8 {
		if cols>>x&1 == 0 {
			v := blk[x] << passBits
			for y := 0; y < 64; y += 8 {
				blk[y+x&63] = v
			}
			continue
		}
		const round, shift = 1 << (constBits - passBits - 1), constBits - passBits
		e0, e1, e2, e3 := even(blk[x], blk[x+16], blk[x+32], blk[x+48])
		o0, o1, o2, o3 := odd(blk[x+8], blk[x+24], blk[x+40], blk[x+56])
		blk[x] = (e0 + o0 + round) >> shift
		blk[x+56] = (e0 - o0 + round) >> shift
		blk[x+8] = (e1 + o1 + round) >> shift
		blk[x+48] = (e1 - o1 + round) >> shift
		blk[x+16] = (e2 + o2 + round) >> shift
		blk[x+40] = (e2 - o2 + round) >> shift
		blk[x+24] = (e3 + o3 + round) >> shift
		blk[x+32] = (e3 - o3 + round) >> shift
	}
	const shift = constBits + passBits + 3
	const round = 1<<(shift-1) + 128<<shift // and the level shift of T.81 section A.3.1
	for y := range 8 {
		r := (*[8]int32)(blk[8*y : 8*y+8])
		e0, e1, e2, e3 := even(r[0]+round>>constBits, r[2], r[4], r[6])
		o0, o1, o2, o3 := odd(r[1], r[3], r[5], r[7])
		v := uint64(clamp((e0+o0)>>shift)) |
			uint64(clamp((e1+o1)>>shift))<<8 |
			uint64(clamp((e2+o2)>>shift))<<16 |
			uint64(clamp((e3+o3)>>shift))<<24 |
			uint64(clamp((e3-o3)>>shift))<<32 |
			uint64(clamp((e2-o2)>>shift))<<40 |
			uint64(clamp((e1-o1)>>shift))<<48 |
			uint64(clamp((e0-o0)>>shift))<<56
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

// clamp limits v to a sample.
func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		v = ^(v >> 31)
	}
	return uint8(v)
}
