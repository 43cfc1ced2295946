package half

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// f16 is binary16 by its definition: sign, exponent and mantissa in float64.
func f16(h uint16) float64 {
	sign := 1 - 2*float64(h>>15)
	e, m := int(h>>10&31), float64(h&1023)
	switch {
	case e == 31 && m != 0:
		return math.NaN()
	case e == 31:
		return math.Inf(int(sign))
	case e == 0:
		return sign * math.Ldexp(m, -24)
	}
	return sign * math.Ldexp(1024+m, e-25)
}

// nearest rounds by search: the candidate next to f in the ordered list of all values, ties to the even pattern.
func nearest(f float64, value func(uint16) float64, inf uint16) uint16 {
	abs := math.Abs(f)
	lo, hi := uint16(0), inf
	for lo+1 < hi {
		if mid := (lo + hi) / 2; value(mid) <= abs {
			lo = mid
		} else {
			hi = mid
		}
	}
	top := value(hi)
	if hi == inf { // infinity stands one unit above the largest finite value
		top = 2*value(inf-1) - value(inf-2)
	}
	h := lo
	if d, u := abs-value(lo), top-abs; u < d || u == d && lo&1 == 1 {
		h = hi
	}
	if math.IsInf(abs, 0) {
		h = inf
	}
	if math.Signbit(f) {
		h |= 0x8000
	}
	return h
}

func bf16(h uint16) float64 {
	sign := 1 - 2*float64(h>>15)
	e, m := int(h>>7&255), float64(h&127)
	switch {
	case e == 255 && m != 0:
		return math.NaN()
	case e == 255:
		return math.Inf(int(sign))
	case e == 0:
		return sign * math.Ldexp(m, -133)
	}
	return sign * math.Ldexp(128+m, e-134)
}

// pattern runs through all 16-bit values in an order that puts different kinds of numbers side by side.
func pattern(i int) uint16 { return uint16(i * 40503) }

func TestDecodeEveryPattern(t *testing.T) {
	var raw [2 * 65536]byte
	for i := range 65536 {
		binary.LittleEndian.PutUint16(raw[2*i:], pattern(i))
	}
	for _, c := range []struct {
		name   string
		decode func([]float32, []byte)
		one    func(uint16) float32
		want   func(uint16) float64
		quiet  uint32
	}{{"f16", DecodeF16, F16ToF32, f16, 1 << 22}, {"bf16", DecodeBF16, BF16ToF32, bf16, 0}} {
		got := make([]float32, 65536)
		c.decode(got, raw[:])
		for i, g := range got {
			h := pattern(i)
			if math.Float32bits(g) != math.Float32bits(c.one(h)) {
				t.Fatalf("%s %#04x: the slice gives %x, the single value %x", c.name, h, math.Float32bits(g), math.Float32bits(c.one(h)))
			}
			w := c.want(h)
			if math.IsNaN(w) {
				bits := math.Float32bits(g)
				if !math.IsNaN(float64(g)) || bits>>31 != uint32(h>>15) || bits&c.quiet != c.quiet {
					t.Fatalf("%s %#04x: %x is not the NaN asked for", c.name, h, bits)
				}
				continue
			}
			if float64(g) != w || math.Signbit(float64(g)) != math.Signbit(w) {
				t.Fatalf("%s %#04x: got %g, want %g", c.name, h, g, w)
			}
		}
	}
}

// TestEncode takes every 16-bit value, the midpoints between neighbours, what stands next to both, and random bits.
func TestEncode(t *testing.T) {
	for _, c := range []struct {
		name   string
		encode func(float32) uint16
		value  func(uint16) float64
		inf    uint16
	}{{"f16", F32ToF16, f16, f16Inf}, {"bf16", F32ToBF16, bf16, 0x7f80}} {
		check := func(f float32) {
			if got, want := c.encode(f), nearest(float64(f), c.value, c.inf); got != want {
				t.Fatalf("%s: %g (%#08x): got %#04x, want %#04x", c.name, f, math.Float32bits(f), got, want)
			}
		}
		around := func(f float64) {
			x := float32(f)
			for _, y := range []float32{x, math.Nextafter32(x, float32(math.Inf(1))), math.Nextafter32(x, 0)} {
				check(y)
				check(-y)
			}
		}
		for h := range c.inf {
			around(c.value(h))
			if h+1 < c.inf {
				around((c.value(h) + c.value(h+1)) / 2)
			}
		}
		check(float32(math.Inf(1)))
		check(float32(math.Inf(-1)))
		check(math.MaxFloat32)
		rng := rand.New(rand.NewPCG(1, 2))
		for range 200_000 {
			if f := math.Float32frombits(rng.Uint32()); f == f {
				check(f)
			}
		}
		for _, bits := range []uint32{0x7fc00000, 0x7f800001, 0xffc12345, 0xff800001} {
			h := c.encode(math.Float32frombits(bits))
			if !math.IsNaN(c.value(h)) || uint32(h>>15) != bits>>31 {
				t.Errorf("%s: NaN %#08x became %#04x", c.name, bits, h)
			}
		}
	}
}

func TestEncodeSlices(t *testing.T) {
	src := []float32{0, 1, -2.5, 1e-7, 70000, 3.14159}
	a, b := make([]byte, 2*len(src)), make([]byte, 2*len(src))
	EncodeF16(a, src)
	EncodeBF16(b, src)
	for i, f := range src {
		if g := binary.LittleEndian.Uint16(a[2*i:]); g != F32ToF16(f) {
			t.Errorf("F16 of %g: %#04x", f, g)
		}
		if g := binary.LittleEndian.Uint16(b[2*i:]); g != F32ToBF16(f) {
			t.Errorf("BF16 of %g: %#04x", f, g)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	src, dst := make([]byte, 1<<18), make([]float32, 1<<17)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range dst {
		binary.LittleEndian.PutUint16(src[2*i:], F32ToF16(float32(rng.NormFloat64()*0.02)))
	}
	for _, c := range []struct {
		name   string
		decode func([]float32, []byte)
	}{{"f16", DecodeF16}, {"bf16", DecodeBF16}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				c.decode(dst, src)
			}
		})
	}
}
