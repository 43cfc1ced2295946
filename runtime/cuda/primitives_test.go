//go:build cuda

package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
	"isearle/weights/half"
)

// The elements of fragments as the PTX ISA's formulas have them ("Matrix Fragments for mma.m16n8k16 with floating point type",
// "... for mma.m16n8k32", "ldmatrix"): groupID = lane >> 2, threadID_in_group = lane % 4, element i of the operand.
type place func(lane, i int) (row, col int)

func pick(ok bool, a, b int) int {
	if ok {
		return a
	}
	return b
}

// Places in A and B of 16-bit elements and of bytes, and in C of both.
var (
	halfA place = func(lane, i int) (int, int) {
		row := pick(i < 2 || i >= 4 && i < 6, lane>>2, lane>>2+8)
		return row, pick(i < 4, (lane%4)*2+i&1, (lane%4)*2+i&1+8)
	}
	halfB place = func(lane, i int) (int, int) {
		return pick(i < 2, (lane%4)*2+i&1, (lane%4)*2+i&1+8), lane >> 2
	}
	byteA place = func(lane, i int) (int, int) {
		row := pick(i < 4 || i >= 8 && i < 12, lane>>2, lane>>2+8)
		return row, pick(i < 8, (lane%4)*4+i&3, (lane%4)*4+i&3+16)
	}
	byteB place = func(lane, i int) (int, int) {
		return pick(i < 4, (lane%4)*4+i&3, (lane%4)*4+i&3+16), lane >> 2
	}
	placeC place = func(lane, i int) (int, int) {
		return pick(i < 2, lane>>2, lane>>2+8), (lane%4)*2 + i&1
	}
)

// primitive runs a kernel of primitives.cu by one warp.
func (d *Device) primitive(t *testing.T, kernel string, in []uint32, kind, count, outWords int) []uint32 {
	t.Helper()
	src, err := d.Alloc(runtime.I32, len(in))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := d.Alloc(runtime.I32, outWords)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	words := make([]int32, len(in))
	for i, w := range in {
		words[i] = int32(w)
	}
	if err := src.WriteI32(0, words); err != nil {
		t.Fatal(err)
	}
	err = d.do(kernel, func() error {
		f, err := d.function("primitives.cu", kernel)
		if err != nil {
			return err
		}
		at := func(b runtime.Buffer) uint64 { return uint64(b.(*buffer).at(0)) }
		args := binary.LittleEndian.AppendUint64(nil, at(src))
		args = binary.LittleEndian.AppendUint64(args, at(dst))
		args = binary.LittleEndian.AppendUint32(args, uint32(kind))
		args = binary.LittleEndian.AppendUint32(args, uint32(count))
		l, err := driver.NewLaunch(kernel, f, driver.Config{Grid: [3]int{1, 1, 1}, Block: 32, Shared: 512}, args)
		if err != nil {
			return err
		}
		defer l.Close()
		if err := l.Run(d.stream); err != nil {
			return err
		}
		return d.wait()
	})
	if err != nil {
		t.Fatal(err)
	}
	words = make([]int32, outWords)
	if err := dst.ReadI32(0, words); err != nil {
		t.Fatal(err)
	}
	out := make([]uint32, outWords)
	for i, w := range words {
		out[i] = uint32(w)
	}
	return out
}

// opened is the first GPU, emulated or not.
func opened(t testing.TB) *Device {
	t.Helper()
	if err := driver.Status(); err != nil {
		t.Skipf("make test-cuda runs this on the emulated driver: %v", err)
	}
	d, err := open(0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// small is a matrix of random whole numbers, exact in the 16-bit type and whose products and sums are exact in f32, so that the order of
// a chip's additions does not matter.
func small(rng *rand.Rand, rows, cols, limit int) [][]float64 {
	m := make([][]float64, rows)
	for i := range m {
		for range cols {
			m[i] = append(m[i], float64(rng.IntN(2*limit+1)-limit))
		}
	}
	return m
}

func TestProductFragments(t *testing.T) {
	d := opened(t)
	rng := rand.New(rand.NewPCG(3, 1))
	for kind, tt := range []struct {
		name          string
		k, each       int // elements of a word
		limit         int
		a, b          place
		encode        func(float64) uint32
		accumulatorIs func(float64) uint32
		result        func(uint32) float64
	}{
		{"f16", 16, 2, 60, halfA, halfB, func(x float64) uint32 { return uint32(half.F32ToF16(float32(x))) }, f32Bits, f32Value},
		{"bf16", 16, 2, 60, halfA, halfB, func(x float64) uint32 { return uint32(half.F32ToBF16(float32(x))) }, f32Bits, f32Value},
		{"s8", 32, 4, 127, byteA, byteB, func(x float64) uint32 { return uint32(uint8(int8(x))) },
			func(x float64) uint32 { return uint32(int32(x)) }, func(w uint32) float64 { return float64(int32(w)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b, c := small(rng, 16, tt.k, tt.limit), small(rng, tt.k, 8, tt.limit), small(rng, 16, 8, 1000)
			in := make([]uint32, 320)
			for lane := range 32 {
				w := in[10*lane:]
				for i := range 4 * tt.each {
					row, col := tt.a(lane, i)
					w[i/tt.each] |= tt.encode(a[row][col]) << (i % tt.each * 32 / tt.each)
				}
				for i := range 2 * tt.each {
					row, col := tt.b(lane, i)
					w[4+i/tt.each] |= tt.encode(b[row][col]) << (i % tt.each * 32 / tt.each)
				}
				for i := range 4 {
					row, col := placeC(lane, i)
					w[6+i] = tt.accumulatorIs(c[row][col])
				}
			}
			out := d.primitive(t, "primitive_mma", in, kind, 0, 128)
			for lane := range 32 {
				for i := range 4 {
					row, col := placeC(lane, i)
					want := c[row][col]
					for k := range tt.k {
						want += a[row][k] * b[k][col]
					}
					if got := tt.result(out[4*lane+i]); got != want {
						t.Fatalf("C[%d, %d] is %v, want %v", row, col, got, want)
					}
				}
			}
		})
	}
}

func f32Bits(x float64) uint32  { return math.Float32bits(float32(x)) }
func f32Value(w uint32) float64 { return float64(math.Float32frombits(w)) }

func TestLoadMatrix(t *testing.T) {
	d := opened(t)
	// Element j of row i of matrix m is 64m + 8i + j.
	in := make([]uint32, 128)
	for w := range in {
		in[w] = uint32(2*w) | uint32(2*w+1)<<16
	}
	for _, count := range []int{1, 2, 4} {
		for transposed := range 2 {
			t.Run(fmt.Sprintf("x%d transposed=%d", count, transposed), func(t *testing.T) {
				out := d.primitive(t, "primitive_ldmatrix", in, transposed, count, 128)
				for lane := range 32 {
					for m := range count {
						for e := range 2 {
							row, col := lane/4, lane%4*2+e
							if transposed == 1 {
								row, col = col, row
							}
							if got, want := out[4*lane+m]>>(16*e)&0xffff, uint32(64*m+8*row+col); got != want {
								t.Fatalf("lane %d, matrix %d, element %d is %d, want %d", lane, m, e, got, want)
							}
						}
					}
				}
			})
		}
	}
}

func TestAsynchronousCopy(t *testing.T) {
	d := opened(t)
	in := make([]uint32, 128)
	for i := range in {
		in[i] = 0x01010101 * uint32(i+1)
	}
	for _, n := range []int{0, 2, 4, 6, 10, 14, 16} {
		out := d.primitive(t, "primitive_copy", in, 0, n, 128)
		for i := range 4 * len(out) {
			want := byte(in[i/4] >> (i % 4 * 8))
			if i%16 >= n {
				want = 0
			}
			if got := byte(out[i/4] >> (i % 4 * 8)); got != want {
				t.Fatalf("%d of 16 bytes: byte %d is %#x, want %#x", n, i, got, want)
			}
		}
	}
}

func TestPackedConversions(t *testing.T) {
	d := opened(t)
	numbers := []float32{0, 1, -1, 65504, 65519.99, 65520, -1e30, 6.1e-5, 6.0e-8, 2.9e-8, 3.0e-8, 1e-10, 1 + 1./2048, 1 + 3./2048, 1 + 1./256, 1 + 3./256,
		float32(math.Inf(1)), 3.4e38, 1e-40, math.Pi}
	for len(numbers) < 64 {
		numbers = append(numbers, float32(math.Exp(float64(len(numbers)-40)))*1.2345678)
	}
	in := make([]uint32, 64)
	for i, x := range numbers {
		in[i] = math.Float32bits(x)
	}
	out := d.primitive(t, "primitive_pack", in, 0, 0, 64)
	for i, x := range numbers {
		if got, want := uint16(out[i/2*2]>>(i%2*16)), half.F32ToF16(x); got != want {
			t.Errorf("%v as f16 is %#x, want %#x", x, got, want)
		}
		if got, want := uint16(out[i/2*2+1]>>(i%2*16)), half.F32ToBF16(x); got != want {
			t.Errorf("%v as bf16 is %#x, want %#x", x, got, want)
		}
	}
}
