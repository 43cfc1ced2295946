package simd

// Peaks are loops that do nothing but multiply-adds of a type in registers, n rounds of them of some 20 ns each, and return how many
// operations these were, two a multiply-add: no product is faster. A loop is nil where the set has no instruction for the type;
// what multiplies bfloat16 by widening it has the loop of f32.
type Peaks struct {
	F32, BF16, I8 func(n int) (operations int)
}

// Peaks returns the set's loops.
func (k *Kernels) Peaks() Peaks { return peaks(k.Name) }

// peakGeneric is peakFloat in Go: each product is rounded before it is added.
func peakGeneric(n int) int {
	const b, c, chains = -0.5, 1, 8
	s := [chains]float32{1, 2, 3, 4, 5, 6, 7, 8}
	for range n {
		s[0], s[1], s[2], s[3] = float32(s[0]*b)+c, float32(s[1]*b)+c, float32(s[2]*b)+c, float32(s[3]*b)+c
		s[4], s[5], s[6], s[7] = float32(s[4]*b)+c, float32(s[5]*b)+c, float32(s[6]*b)+c, float32(s[7]*b)+c
	}
	if s[0]+s[1]+s[2]+s[3]+s[4]+s[5]+s[6]+s[7] == 0 {
		return 0 // never: it keeps the loop
	}
	return 2 * chains * n
}
