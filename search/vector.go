package search

import (
	"encoding/binary"
	"math"
	goruntime "runtime"
	"sync"
	"sync/atomic"

	"isearle/runtime"
	"isearle/weights/half"
	"isearle/weights/safetensors"
)

// unitTolerance is how far from 1 the length of a feature that counts as normalised may be: the rounding of bf16, 2^-9 for
// each element, stays well within.
const unitTolerance = 0.01

// norm is a vector's length, NaN or infinite where an element is.
func norm(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}

// unit scales a vector of that length to length one; zero stays zero.
func unit(x []float32, length float64) {
	if length == 0 {
		return
	}
	for i, v := range x {
		x[i] = float32(float64(v) / length)
	}
}

func isUnit(length float64) bool { return math.Abs(length-1) <= unitTolerance }

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// encode appends values as dt.
func encode(dst []byte, values []float32, dt runtime.DType) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, len(values)*dt.Size())...)
	switch dt {
	case runtime.F16:
		half.EncodeF16(dst[at:], values)
	case runtime.BF16:
		half.EncodeBF16(dst[at:], values)
	default:
		putFloats(dst[at:], values)
	}
	return dst
}

// putFloats writes values as little-endian f32.
func putFloats(dst []byte, values []float32) {
	for i, v := range values {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

// decode converts the first len(dst) elements of src.
func decode(dst []float32, src []byte, dt runtime.DType) {
	safetensors.DecodeFloat32(dst, src, stored[dt])
}

// allFinite says whether no element of whole elements of dt is NaN or infinite: whether no exponent has all bits set. It
// takes eight bytes at a time: adding one to an exponent of ones, alone in its lane, carries into the sign's place.
func allFinite(b []byte, dt runtime.DType) bool {
	exponent := map[runtime.DType]uint64{
		runtime.F32: 0x7f800000_7f800000, runtime.F16: 0x7c007c00_7c007c00, runtime.BF16: 0x7f807f80_7f807f80,
	}[dt]
	sign := uint64(0x80008000_80008000)
	if dt == runtime.F32 {
		sign = 0x80000000_80000000
	}
	one := sign - exponent // lane by lane
	carry := uint64(0)
	for len(b) >= 32 {
		carry |= binary.LittleEndian.Uint64(b)&exponent + one
		carry |= binary.LittleEndian.Uint64(b[8:])&exponent + one
		carry |= binary.LittleEndian.Uint64(b[16:])&exponent + one
		carry |= binary.LittleEndian.Uint64(b[24:])&exponent + one
		b = b[32:]
	}
	var rest [32]byte
	copy(rest[:], b)
	for i := 0; i < 32; i += 8 {
		carry |= binary.LittleEndian.Uint64(rest[i:])&exponent + one
	}
	return carry&sign == 0
}

// parallel calls f for blocks of rows [lo, hi) of at most size that cover n, on all cores, until one returns false, and
// reports whether none did. Blocks are taken in order.
func parallel(n, size int, f func(lo, hi int) bool) bool {
	var next atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range min(goruntime.GOMAXPROCS(0), (n+size-1)/size) {
		wg.Go(func() {
			for !stop.Load() {
				lo := int(next.Add(1)-1) * size
				if lo >= n {
					return
				}
				if !f(lo, min(lo+size, n)) {
					stop.Store(true)
				}
			}
		})
	}
	wg.Wait()
	return !stop.Load()
}

// blockRows is how many rows of so many bytes one step of a parallel scan takes: about a mebibyte.
func blockRows(bytes int) int { return max(1, 1<<20/max(1, bytes)) }

// mask is a set of rows.
type mask []uint64

func newMask(n int) mask { return make(mask, (n+63)/64) }
func (m mask) set(i int) { m[i/64] |= 1 << (i % 64) }
