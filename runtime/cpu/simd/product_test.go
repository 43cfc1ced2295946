package simd

import (
	"fmt"
	"math"
	"testing"
)

var depths = []int{0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 77, 257, 768}

func TestGemm(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, depth := range depths {
			for rows := 1; rows <= k.MR; rows++ {
				for _, acc := range []bool{false, true} {
					testGemm(t, k, rows, depth, depth+rows%3, k.NR+rows%5, acc)
				}
			}
		}
	})
}

// testGemm compares one tile with a float64 sum. A chain of n roundings of partial sums is off by less than
// n*epsilon*sum|a*b|; the random signs make it far less, so the bound is a quarter of that.
func testGemm(t *testing.T, k *Kernels, rows, depth, lda, ldc int, acc bool) {
	t.Helper()
	a := guard("a", random(1, (rows-1)*lda+depth, 1), 1)
	b := guard("b", random(2, depth*k.NR, 1), 2)
	before := random(3, (rows-1)*ldc+k.NR, 1)
	c := guard("c", before, 3)
	next := []float32(nil)
	if depth%2 == 1 {
		next = b.v[depth/2:]
	}
	k.Gemm(c.v, ldc, a.v, lda, rows, b.v, depth, acc, next)
	for _, g := range []*guarded{a, b, c} {
		g.check(t)
	}
	want := make([]float64, len(before))
	size := make([]float64, len(before))
	for i, v := range before {
		want[i] = float64(v)
	}
	for i := range rows {
		for j := range k.NR {
			at := i*ldc + j
			if !acc {
				want[at] = 0
			}
			size[at] = math.Abs(want[at]) * epsilon
			for p := range depth {
				v := float64(a.v[i*lda+p]) * float64(b.v[p*k.NR+j])
				want[at] += v
				size[at] += math.Abs(v) * epsilon
			}
		}
	}
	near(t, fmt.Sprintf("rows %d depth %d acc %v", rows, depth, acc), c.v, want, max(3, float64(depth)/4), func(i int) float64 { return size[i] })
}

// TestGemmRows checks that a row has the same bits in any tile, at any alignment, and that the chain may be cut.
func TestGemmRows(t *testing.T) {
	const depth, rows = 300, 40
	eachSet(t, func(t *testing.T, k *Kernels) {
		a, b := random(4, rows*depth, 1), random(5, depth*k.NR, 1)
		want := make([]float32, rows*k.NR)
		for i := range rows {
			k.Gemm(want[i*k.NR:], k.NR, a[i*depth:], depth, 1, b, depth, false, nil)
		}
		for tile := 2; tile <= k.MR; tile++ {
			shifted := guard("a", a, tile)
			panel := guard("b", b, tile+1)
			got := guard("c", make([]float32, rows*k.NR), tile+2)
			for i := 0; i < rows; i += tile {
				k.Gemm(got.v[i*k.NR:], k.NR, shifted.v[i*depth:], depth, min(tile, rows-i), panel.v, depth, false, nil)
			}
			equalBits(t, fmt.Sprintf("%d rows at once", tile), got.v, want)
		}
		got := make([]float32, len(want))
		for i := range rows {
			k.Gemm(got[i*k.NR:], k.NR, a[i*depth:], depth, 1, b, 101, false, nil)
			k.Gemm(got[i*k.NR:], k.NR, a[i*depth+101:], depth, 1, b[101*k.NR:], depth-101, true, nil)
		}
		equalBits(t, "in two pieces", got, want)
	})
}

// TestGemmChain checks the order of the additions with a sum that any other order gets wrong.
func TestGemmChain(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		// 2^24 + 1 rounds to 2^24 each time, and so the last -2^24 leaves 0; -2^24 earlier would leave the ones.
		const depth = 37
		a, b := make([]float32, depth), make([]float32, depth*k.NR)
		for p := range depth {
			a[p] = 1
			for j := range k.NR {
				b[p*k.NR+j] = 1
			}
		}
		for j := range k.NR {
			b[j], b[(depth-1)*k.NR+j] = 1<<24, -1<<24
		}
		c := make([]float32, k.NR)
		k.Gemm(c, k.NR, a, depth, 1, b, depth, false, nil)
		equalBits(t, "chain", c, make([]float32, k.NR))
	})
}

func TestGemmRefuses(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		v := make([]float32, 4096)
		nr := k.NR
		for name, f := range map[string]func(){
			"no rows":           func() { k.Gemm(v, nr, v, 8, 0, v, 8, false, nil) },
			"too many rows":     func() { k.Gemm(v, nr, v, 8, k.MR+1, v, 8, false, nil) },
			"short a":           func() { k.Gemm(v, nr, v[:15], 8, 2, v, 8, false, nil) },
			"short b":           func() { k.Gemm(v, nr, v, 8, 2, v[:8*nr-1], 8, false, nil) },
			"short c":           func() { k.Gemm(v[:2*nr-1], nr, v, 8, 2, v, 8, false, nil) },
			"negative k":        func() { k.Gemm(v, nr, v, 8, 2, v, -1, false, nil) },
			"rows of c overlap": func() { k.Gemm(v, nr-1, v, 8, 2, v, 8, false, nil) },
			"negative stride":   func() { k.Gemm(v, nr, v, -8, 2, v, 8, false, nil) },
			"pack rows":         func() { k.Pack(v, v, 8, nr+1, 8) },
			"pack dst":          func() { k.Pack(v[:8*nr-1], v, 8, 1, 8) },
			"pack src":          func() { k.Pack(v, v[:15], 8, 2, 8) },
			"dot":               func() { k.Dot(v, v[:4]) },
			"bias":              func() { k.Bias(v, []float32{}) },
			"tile of no rows":   func() { k.TileBias(v, nr, 0, nil, nil, 0) },
			"tile y":            func() { k.TileBias(v[:2*nr-1], nr, 2, nil, nil, 0) },
			"tile bias":         func() { k.TileGELU(v, nr, 1, v[:nr-1], nil, 0) },
			"tile residual":     func() { k.TileReLU(v, nr, 2, nil, v[:2*nr-1], nr) },
			"tile rows overlap": func() { k.TileBias(v, nr-1, 2, nil, nil, 0) },
		} {
			if !panics(f) {
				t.Errorf("%s: no panic", name)
			}
		}
	})
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

// packs is one packer with a source of its type.
func testPack[T any](t *testing.T, k *Kernels, name string, pack func(dst []float32, src []T, stride, rows, k int), convert func(T) float32, value func(i int) T) {
	t.Helper()
	for _, depth := range []int{0, 1, 3, 15, 16, 17, 31, 32, 33, 50, 64, 77, 257} {
		for rows := 0; rows <= k.NR; rows++ {
			stride := depth + rows%4
			src := make([]T, max(0, (rows-1)*stride+depth)+5)
			for i := range src {
				src[i] = value(i)
			}
			src = src[5:len(src):len(src)]
			dst := guard(name, random(1, depth*k.NR, 1), rows%3)
			pack(dst.v, src, stride, rows, depth)
			dst.check(t)
			want := make([]float32, depth*k.NR)
			for p := range depth {
				for i := range rows {
					want[p*k.NR+i] = convert(src[i*stride+p])
				}
			}
			for i := range want {
				if dst.v[i] != want[i] && !(math.IsNaN(float64(want[i])) && math.IsNaN(float64(dst.v[i]))) {
					t.Fatalf("%s: rows %d depth %d: element %d of row %d is %g, should be %g", name, rows, depth, i/k.NR, i%k.NR, dst.v[i], want[i])
				}
			}
		}
	}
}

func TestPack(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		testPack(t, k, "f32", k.Pack, func(v float32) float32 { return v }, func(i int) float32 { return float32(i) + 0.25 })
		testPack(t, k, "f16", k.PackF16, halfByDefinition, func(i int) uint16 { return uint16(i * 2654435761 >> 7) })
		testPack(t, k, "bf16", k.PackBF16, func(v uint16) float32 { return math.Float32frombits(uint32(v) << 16) }, func(i int) uint16 { return uint16(i * 40503) })
	})
}

// halfByDefinition is IEEE 754 binary16 in float64 arithmetic.
func halfByDefinition(v uint16) float32 {
	sign := 1.0
	if v>>15 != 0 {
		sign = -1
	}
	e, f := int(v>>10&31), float64(v&1023)
	switch {
	case e == 31 && f != 0:
		return float32(math.NaN())
	case e == 31:
		return float32(math.Inf(int(sign)))
	case e == 0:
		return float32(math.Copysign(math.Ldexp(f, -24), sign))
	}
	return float32(sign * math.Ldexp(1024+f, e-25))
}

// TestPackAllHalves checks every half precision value, in every lane, with the sign of zero; and every bfloat16.
func TestPackAllHalves(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		depth := 1 << 16 / k.NR
		src := make([]uint16, 1<<16)
		for i := range src {
			src[i] = uint16(i)
		}
		half, brain := make([]float32, 1<<16), make([]float32, 1<<16)
		k.PackF16(half, src, depth, k.NR, depth)
		k.PackBF16(brain, src, depth, k.NR, depth)
		for i := range src {
			at := i%depth*k.NR + i/depth
			same(t, "f16", src[i], half[at], halfByDefinition(src[i]))
			same(t, "bf16", src[i], brain[at], math.Float32frombits(uint32(src[i])<<16))
		}
	})
}

func same(t *testing.T, name string, v uint16, got, want float32) {
	t.Helper()
	if math.IsNaN(float64(want)) {
		if !math.IsNaN(float64(got)) {
			t.Fatalf("%s %#04x: %g, should be NaN", name, v, got)
		}
		return
	}
	if math.Float32bits(got) != math.Float32bits(want) {
		t.Fatalf("%s %#04x: %g, should be %g", name, v, got, want)
	}
}
