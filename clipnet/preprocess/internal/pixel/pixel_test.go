package pixel

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// eachSet runs f for every set of this machine.
func eachSet(t *testing.T, f func(t *testing.T, k *Kernels)) {
	t.Helper()
	for _, k := range All() {
		t.Run(k.Name, func(t *testing.T) { f(t, k) })
	}
}

// lengths are around the widths of blocks, and those of images.
var lengths = []int{2, 3, 4, 7, 8, 15, 16, 17, 18, 19, 31, 32, 33, 34, 35, 47, 63, 64, 65, 66, 67, 97, 224, 250, 500}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// samples returns n bytes, half of them at the ends of their range.
func samples(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		switch r.IntN(4) {
		case 0:
			b[i] = 255
		case 1:
		default:
			b[i] = uint8(r.Uint32())
		}
	}
	return b
}

const guardLen = 80

// guarded returns n bytes between guards and a check of the guards.
func guarded(t *testing.T, n int) (b []byte, check func(what string)) {
	t.Helper()
	all := bytes.Repeat([]byte{0xA5}, n+2*guardLen)
	return all[guardLen : guardLen+n : guardLen+n], func(what string) {
		t.Helper()
		for i, v := range all {
			if (i < guardLen || i >= guardLen+n) && v != 0xA5 {
				t.Fatalf("%s: byte %d of %d is written", what, i-guardLen, n)
			}
		}
	}
}

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: byte %d of %d is %d, should be %d", what, i, len(want), got[i], want[i])
		}
	}
}

// blocksOf returns the coefficients and the factors of groups of blocks: few or many, up to the largest an image has, or any.
func blocksOf(r *rand.Rand, kind, groups int) (coefs []int16, quant *[64]uint16) {
	coefs, quant = make([]int16, 64*Group*groups), new([64]uint16)
	for i := range quant {
		quant[i] = uint16(1 + r.IntN(99))
		if kind == 3 {
			quant[i] = uint16(r.Uint32())
		}
	}
	for b := range Group * groups {
		count := [...]int{1, 5, 64, 64}[kind]
		for n := range count {
			i := 0
			if n > 0 {
				i = r.IntN(64)
			}
			limit := 1024 / int(quant[i]) / (1 + i/4)
			v := int16(r.IntN(2*limit+1) - limit)
			if kind == 3 {
				v = int16(r.Uint32())
			}
			coefs[Coef(b, i)] = v
		}
	}
	return coefs, quant
}

// TestIDCT compares the portable transform with its definition (T.81 section A.3.3) and the others with it.
func TestIDCT(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		r := random(1)
		for i := range 400 {
			kind, groups := i%4, 1+i%5
			coefs, quant := blocksOf(r, kind, groups)
			stride := 8*Group*groups + r.IntN(40)
			got, check := guarded(t, 7*stride+8*Group*groups)
			k.IDCT(got, stride, coefs, quant, groups)
			check("idct")
			want := bytes.Repeat([]byte{0xA5}, len(got))
			generic.IDCT(want, stride, coefs, quant, groups)
			equal(t, fmt.Sprintf("kind %d", kind), got, want)
			if k.Name == generic.Name && kind < 3 {
				nearDefinition(t, got, stride, coefs, quant, groups)
			}
		}
	})
}

// nearDefinition fails the test where a sample is more than one from the transform in float64.
func nearDefinition(t *testing.T, got []byte, stride int, coefs []int16, quant *[64]uint16, groups int) {
	t.Helper()
	for b := range Group * groups {
		for y := range 8 {
			for x := range 8 {
				sum := 0.0
				for i := range 64 {
					u, v := i%8, i/8
					c := float64(int(coefs[Coef(b, i)])*int(quant[i])) / 4
					if u == 0 {
						c /= math.Sqrt2
					}
					if v == 0 {
						c /= math.Sqrt2
					}
					sum += c * math.Cos(float64((2*x+1)*u)*math.Pi/16) * math.Cos(float64((2*y+1)*v)*math.Pi/16)
				}
				want := min(max(sum+128, 0), 255)
				if v := float64(got[y*stride+8*b+x]); math.Abs(v-want) > 1 {
					t.Fatalf("block %d, sample %d,%d: %g, should be %g", b, x, y, v, want)
				}
			}
		}
	}
}

func TestUpsample(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		r := random(2)
		for _, n := range lengths {
			near, far := samples(r, n), samples(r, n)
			at := func(b []byte, x int) int { return int(b[min(max(x, 0), n-1)]) }
			sum := func(x int) int { return 3*at(near, x) + at(far, x) }
			want1, want2 := make([]byte, 2*n), make([]byte, 2*n)
			for x := range n {
				want1[2*x], want1[2*x+1] = uint8((3*at(near, x)+at(near, x-1)+1)>>2), uint8((3*at(near, x)+at(near, x+1)+2)>>2)
				want2[2*x], want2[2*x+1] = uint8((3*sum(x)+sum(x-1)+8)>>4), uint8((3*sum(x)+sum(x+1)+7)>>4)
			}
			got, check := guarded(t, 2*n)
			k.H2V1(got, near)
			check("h2v1")
			equal(t, fmt.Sprint("h2v1 of ", n), got, want1)
			k.H2V2(got, near, far)
			check("h2v2")
			equal(t, fmt.Sprint("h2v2 of ", n), got, want2)
		}
	})
}

// TestRGB goes through all pairs of chroma.
func TestRGB(t *testing.T) {
	const n = 1 << 16
	y, cb, cr := samples(random(3), n), make([]byte, n), make([]byte, n)
	want := make([]byte, 3*n)
	for i := range n {
		cb[i], cr[i] = uint8(i), uint8(i>>8)
		l, u, v := float64(y[i]), float64(i&255)-128, float64(i>>8)-128
		for c, x := range []float64{l + 1.402*v, l - 0.344136*u - 0.714136*v, l + 1.772*u} {
			if got := [3]byte{}; c == 0 {
				got[0], got[1], got[2] = ToRGB(y[i], cb[i], cr[i])
				copy(want[3*i:], got[:])
			}
			if d := math.Abs(float64(want[3*i+c]) - min(max(x, 0), 255)); d > 0.51 {
				t.Fatalf("channel %d of %d, %d, %d is %d, should be %g", c, y[i], cb[i], cr[i], want[3*i+c], x)
			}
		}
	}
	eachSet(t, func(t *testing.T, k *Kernels) {
		got, check := guarded(t, 3*n)
		k.RGB(got, y, cb, cr)
		check("rgb")
		equal(t, "rgb", got, want)
		for _, n := range lengths {
			got, check := guarded(t, 3*n)
			at := 7 * n
			k.RGB(got, y[at:at+n], cb[at:at+n], cr[at:at+n])
			check("rgb")
			equal(t, fmt.Sprint("rgb of ", n), got, want[3*at:3*(at+n)])
		}
	})
}

// resize is a resize of one direction with random coefficients.
type resize struct {
	in, size     int
	first, count []int
	fixed        []int32
}

func randomResize(r *rand.Rand, in, out, size int) *resize {
	z := &resize{in: in, size: size, first: make([]int, out), count: make([]int, out), fixed: make([]int32, out*size)}
	for i := range out {
		z.count[i] = r.IntN(min(size, in) + 1)
		z.first[i] = r.IntN(in - z.count[i] + 1)
		for x := range z.count[i] {
			most := 3 << (FixedBits - 1) / z.count[i] // the sum of samples stays under 32 bits
			z.fixed[i*size+x] = int32(r.IntN(2*most) - most)
		}
	}
	return z
}

// at is output i of the samples that sample gives.
func (z *resize) at(i int, sample func(x int) byte) byte {
	s := int64(1) << (FixedBits - 1)
	for x := range z.count[i] {
		s += int64(sample(z.first[i]+x)) * int64(z.fixed[i*z.size+x])
	}
	return uint8(min(max(s>>FixedBits, 0), 255))
}

func TestRows(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		r := random(4)
		var taps RowTaps
		for i := range 300 {
			n, out, height, in := []int{1, 2, 3, 4}[i%4], 1+r.IntN(40), 1+r.IntN(9), 1+r.IntN(100)
			z := randomResize(r, in, out, 1+r.IntN(20))
			taps.Set(z.first, z.count, z.fixed, z.size)
			taps.Place(n, 0, in)
			srcStride, dstStride := n*in+r.IntN(20), n*out+RowSlack
			src := samples(r, (height-1)*srcStride+n*in)
			got, check := guarded(t, height*dstStride)
			k.Rows(got, dstStride, src, srcStride, height, &taps)
			check("rows")
			for y := range height {
				for x := range n * out {
					want := z.at(x/n, func(p int) byte { return src[y*srcStride+n*p+x%n] })
					if v := got[y*dstStride+x]; v != want {
						t.Fatalf("%d channels, %d to %d, row %d of %d, sample %d: %d, should be %d", n, in, out, y, height, x, v, want)
					}
				}
			}
		}
	})
}

func TestColumn(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		r := random(5)
		var columns Columns
		for i := range 200 {
			width, in := lengths[i%len(lengths)], 1+r.IntN(50)
			z := randomResize(r, in, 3, 1+r.IntN(20))
			columns.Set(z.count, z.fixed, z.size)
			stride := width + r.IntN(9)
			src := samples(r, (in-1)*stride+width)
			for y := range z.first {
				if z.count[y] == 0 {
					continue
				}
				got, check := guarded(t, width)
				k.Column(got, src[z.first[y]*stride:], stride, columns.At(y))
				check("column")
				for x, v := range got {
					if want := z.at(y, func(i int) byte { return src[i*stride+x] }); v != want {
						t.Fatalf("%d coefficients, sample %d of %d: %d, should be %d", z.count[y], x, width, v, want)
					}
				}
			}
		}
	})
}

// TestShortSlices checks that a slice that is too short panics before anything is written.
func TestShortSlices(t *testing.T) {
	const n = 64
	b := func(n int) []byte { return make([]byte, n) }
	z := randomResize(random(6), n, 8, 5)
	z.count[0] = 5
	z.first[0] = 0
	var rows RowTaps
	rows.Set(z.first, z.count, z.fixed, z.size)
	rows.Place(3, 0, n)
	var columns Columns
	columns.Set(z.count, z.fixed, z.size)
	quant := new([64]uint16)
	eachSet(t, func(t *testing.T, k *Kernels) {
		for name, call := range map[string]func(){
			"mcus row": func() {
				units := unitsOf(new(Codes), new(int32), 5)
				units[1].Row = units[1].Row[:Coef(9, 0)+len(Block{})-1]
				k.MCUs(&Bits{Data: b(BlockBytes)}, units, &Cursor{MCUs: 5, K: -1})
			},
			"mcus data": func() {
				k.MCUs(&Bits{Data: b(BlockBytes - 1)}, unitsOf(new(Codes), new(int32), 5), &Cursor{MCUs: 5, K: -1})
			},
			"idct dst":     func() { k.IDCT(b(8*64-1), 64, make([]int16, 512), quant, 2) },
			"idct stride":  func() { k.IDCT(b(8*64), 63, make([]int16, 512), quant, 2) },
			"idct coefs":   func() { k.IDCT(b(8*64), 64, make([]int16, 511), quant, 2) },
			"h2v1 dst":     func() { k.H2V1(b(2*n-1), b(n)) },
			"h2v1 src":     func() { k.H2V1(b(2*n), b(1)) },
			"h2v2 far":     func() { k.H2V2(b(2*n), b(n), b(n-1)) },
			"rgb dst":      func() { k.RGB(b(3*n-1), b(n), b(n), b(n)) },
			"rgb cr":       func() { k.RGB(b(3*n), b(n), b(n), b(n-1)) },
			"rows src":     func() { k.Rows(b(999), 24+RowSlack, b(2*3*n-1), 3*n, 2, &rows) },
			"rows dst":     func() { k.Rows(b(2*(24+RowSlack)-1), 24+RowSlack, b(999), 3*n, 2, &rows) },
			"rows slack":   func() { k.Rows(b(999), 24+RowSlack-1, b(999), 3*n, 2, &rows) },
			"column short": func() { k.Column(b(n), b(5*n-1), n, columns.At(0)) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic", name)
					}
				}()
				call()
			}()
		}
	})
}

// TestNormalize goes through all samples: a quotient may be an ulp off, but none is with CLIP's constants.
func TestNormalize(t *testing.T) {
	mean, std := [3]float32{.48145466, .4578275, .40821073}, [3]float32{.26862954, .26130258, .27577711}
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range append(lengths, 300) {
			src := make([]byte, 3*n)
			for i := range src {
				src[i] = uint8(i/3 + i%3)
			}
			plane := n + 3
			dst := make([]float32, 3*plane)
			done := k.Normalize(dst[:2*plane+n], plane, src, NewScale(mean, std))
			if done > n || k.Name != generic.Name && done < n-17 {
				t.Errorf("%d of %d pixels", done, n)
			}
			for i, v := range dst {
				c, x, want := i/plane, i%plane, float32(0)
				if x < done {
					want = (float32(src[3*x+c])/255 - mean[c]) / std[c]
				}
				if v != want {
					t.Fatalf("pixel %d of %d, channel %d: %g, should be %g", x, n, c, v, want)
				}
			}
		}
	})
}

// huffmanBits codes blocks with a table of codes of every length from 2 up, and returns the table, the bits and the blocks.
func huffmanBits(r *rand.Rand, blocks int) (codes *Codes, long map[int]uint8, data []byte, want []*Block) {
	// Code i is i+1 ones and a zero: symbols 0x00 (end), 0xF0, then sizes and runs.
	symbols := []uint8{0x00, 0x01, 0x11, 0x02, 0x23, 0xF0, 0x35, 0x0A, 0x0F, 0x51, 0xE2}
	codes, long = new(Codes), map[int]uint8{}
	for i := range codes {
		codes[i] = LongCode
		for j, s := range symbols {
			length := j + 2
			if length > LookBits {
				long[length] = s
				continue
			}
			if i>>(LookBits-length) == 1<<length-2 {
				codes[i] = CodeOf(s, length)
			}
		}
	}
	var acc uint64
	n := 0
	put := func(v, bits int) {
		acc, n = acc<<bits|uint64(v&(1<<bits-1)), n+bits
		for ; n >= 8; n -= 8 {
			data = append(data, uint8(acc>>(n-8)))
		}
	}
	symbol := func(j int) int { // and a value, which it returns
		put(1<<(j+2)-2, j+2)
		size := int(symbols[j] & 15)
		if size == 0 {
			return 0
		}
		v := 1<<(size-1) + r.IntN(1<<(size-1))
		if r.IntN(2) == 0 {
			v = -v
			put(v-1, size)
		} else {
			put(v, size)
		}
		return v
	}
	pred := 0
	for range blocks {
		b := new(Block)
		pred += symbol([]int{1, 3, 7}[r.IntN(3)])
		b[0] = int16(pred)
		k := 0
		for k < 63 {
			j := r.IntN(len(symbols))
			if j == 0 && r.IntN(3) > 0 {
				continue
			}
			if j == 0 {
				symbol(0)
				break
			}
			if k+int(symbols[j]>>4)+1 > 63 {
				continue
			}
			k += int(symbols[j]>>4) + 1
			b[Place(k)] = int16(symbol(j))
		}
		want = append(want, b)
	}
	put(0, 7)
	return codes, long, data, want
}

// unitsOf returns units of so many MCUs: the first has two blocks of a row, the others one of the next row.
func unitsOf(codes *Codes, pred *int32, mcus int) []Unit {
	rows := [2][]int16{}
	for i := range rows {
		rows[i] = make([]int16, Coef((2-i)*mcus-1, 0)+len(Block{})) // to the last block
	}
	return []Unit{{codes, codes, pred, rows[0], 0, 2}, {codes, codes, pred, rows[0], 1, 2}, {codes, codes, pred, rows[1], 0, 1}}
}

func TestMCUs(t *testing.T) {
	const mcus = 200
	eachSet(t, func(t *testing.T, k *Kernels) {
		codes, long, data, want := huffmanBits(random(8), 3*mcus)
		b, pred := &Bits{Data: append(data, make([]byte, BlockBytes)...), End: len(data)}, int32(0)
		units := unitsOf(codes, &pred, mcus)
		c := &Cursor{MCUs: mcus, K: -1}
		for k.MCUs(b, units, c); c.MCUs > 0; k.MCUs(b, units, c) {
			if c.K >= 63 {
				t.Fatalf("stops at %+v", *c)
			}
			b.Fill()
			length := LookBits + 1
			for b.Acc>>(64-length) != 1<<length-2 {
				length++
			}
			code, u := CodeOf(long[length], length), units[c.Unit]
			c.K += code.Step()
			u.Row[Coef(u.Block, 0)+Place(c.K)] = int16(code.Value(b.Acc))
			b.Skip(code.Total())
		}
		if c.Unit != 0 || c.K != -1 || units[0].Block != 2*mcus || units[1].Block != 2*mcus+1 || units[2].Block != mcus {
			t.Errorf("ends at %+v", *c)
		}
		if left := b.Left(); left < 0 || left >= 8 {
			t.Errorf("%d bits are left", left)
		}
		for i, w := range want {
			row, block := units[i%3].Row, [3]int{i / 3 * 2, i/3*2 + 1, i / 3}[i%3]
			for j := range 64 {
				if got, want := row[Coef(block, j)], w[Coef(0, j)]; got != want {
					t.Fatalf("MCU %d, block %d: coefficient %d is %d, should be %d", i/3, i%3, j, got, want)
				}
			}
		}
	})
}

// What is wrong with the data is the caller's to refuse.
func TestMCUsStop(t *testing.T) {
	past, endless := new(Codes), new(Codes)
	for i := range past {
		past[i], endless[i] = CodeOf(0xF1, 1), CodeOf(0x01, 1)
	}
	eachSet(t, func(t *testing.T, k *Kernels) {
		pred := int32(0)
		b, c := &Bits{Data: make([]byte, BlockBytes)}, &Cursor{MCUs: 9, K: -1}
		if k.MCUs(b, unitsOf(past, &pred, 9), c); c.MCUs != 9 || c.Unit != 0 || c.K < 256 {
			t.Errorf("a value beyond the block: stops at %+v", *c)
		}
		b, c = &Bits{Data: make([]byte, 40+BlockBytes), End: 40}, &Cursor{MCUs: 9, K: -1}
		if k.MCUs(b, unitsOf(endless, &pred, 9), c); c.MCUs != 9 || c.Unit != 2 || c.K != 63 || b.Left() != 8*40-3*128 {
			t.Errorf("an overrun: stops at %+v, %d bits left", *c, b.Left())
		}
	})
}
