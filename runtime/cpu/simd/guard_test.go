package simd

import (
	"math"
	"math/rand/v2"
	"testing"
)

// lengths are the vectors of every test: around the widths of registers and blocks, and those of CLIP.
var lengths = []int{0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 47, 50, 63, 64, 65, 77, 127, 129, 257, 768, 1024}

// eachSet runs f for every set of this machine.
func eachSet(t *testing.T, f func(t *testing.T, k *Kernels)) {
	t.Helper()
	for _, k := range All() {
		t.Run(k.Name, func(t *testing.T) { f(t, k) })
	}
}

const guardLen = 40

// guarded is a vector between guards that nothing may write.
type guarded struct {
	all  []float32
	v    []float32
	name string
}

// guard copies v to offset places past the start of an allocation, between guards.
func guard(name string, v []float32, offset int) *guarded {
	g := &guarded{name: name, all: make([]float32, guardLen+offset+len(v)+guardLen)}
	for i := range g.all {
		g.all[i] = guardValue(i)
	}
	g.v = g.all[guardLen+offset : guardLen+offset+len(v) : guardLen+offset+len(v)]
	copy(g.v, v)
	return g
}

func guardValue(i int) float32 { return 1e30 + 1e25*float32(i%7) }

// check fails the test if a guard has changed.
func (g *guarded) check(t *testing.T) {
	t.Helper()
	first := len(g.all) - guardLen - len(g.v)
	for i, v := range g.all {
		if (i < first || i >= first+len(g.v)) && v != guardValue(i) {
			t.Fatalf("%s: element %d of %d overwritten with %g", g.name, i-first, len(g.v), v)
		}
	}
}

// random returns n normal values times scale, the same for the same seed.
func random(seed uint64, n int, scale float64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * scale)
	}
	return v
}

func clone(v []float32) []float32 { return append([]float32(nil), v...) }

// equalBits fails the test where got and want differ in a bit.
func equalBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %g, should be %g to the bit", what, i, got[i], want[i])
		}
	}
}

// near fails the test where |got-want| > tol*size(i).
func near(t *testing.T, what string, got []float32, want []float64, tol float64, size func(i int) float64) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(got[i]) - want[i]); !(d <= tol*size(i)) {
			t.Fatalf("%s: element %d of %d is %g, should be %g (off by %.3g, allowed %.3g)", what, i, len(want), got[i], want[i], d, tol*size(i))
		}
	}
}

func one(int) float64 { return 1 }

const epsilon = 1.0 / (1 << 24) // half a unit in the last place of float32 at 1
