package simd

import "math"

// The functions below are the polynomials of all sets in portable form: the assembly differs by fused multiply-adds only.

// expf returns e**x: +Inf above expHigh, 0 below expLow, NaN for NaN.
func expf(x float32) float32 {
	if x < expLow {
		return 0
	}
	if x > expHigh {
		x = expHigh
	}
	const half = 1.5 * (1 << 23) // adding and subtracting it rounds to an integer
	n := float32(x*log2e) + half
	n -= half
	r := x - float32(n*ln2High)
	r -= float32(n * ln2Low)
	q := float32(expQ4*r) + expQ3
	q = float32(q*r) + expQ2
	q = float32(q*r) + expQ1
	q = float32(q*r) + expQ0
	q = float32(q*r) + 1
	q = float32(q*r) + 1
	// in two steps, as 2^128 is no float32
	h := int32(n) >> 1
	return q * power2(h) * power2(int32(n)-h)
}

func power2(n int32) float32 { return math.Float32frombits(uint32(n+127) << 23) }

// tail returns the upper tail of the normal distribution at a >= 0 and exp(-a*a/2).
func tail(a float32) (upper, e float32) {
	e = expf(float32(-0.5*a) * a)
	t := 1 / (1 + float32(tailT*a))
	m := float32(tailM7*t) + tailM6
	m = float32(m*t) + tailM5
	m = float32(m*t) + tailM4
	m = float32(m*t) + tailM3
	m = float32(m*t) + tailM2
	m = float32(m*t) + tailM1
	m = float32(m*t) + tailM0
	return float32(m*t) * e, e
}

// gelu is x for positive x and 0 otherwise, less |x| times the upper tail at |x|: nothing cancels.
func gelu(x float32) float32 {
	a := min(abs(x), tailMax)
	q, _ := tail(a)
	return relu(x) - float32(a*q)
}

func geluSlope(x float32) float32 {
	x = min(max(x, -tailMax), tailMax)
	q, e := tail(abs(x))
	if x >= 0 {
		q = 1 - q
	}
	return q + float32(x*float32(invSqrt2Pi*e))
}

// geluTanh is x times the sigmoid of twice the tanh's argument.
func geluTanh(x float32) float32 {
	u := float32(float32(x*x)*tanhMinus3) + tanhMinus1
	return x / (1 + expf(float32(u*x)))
}

func geluTanhSlope(x float32) float32 {
	x = min(max(x, tanhMinusSaturate), tanhSaturate)
	xx := float32(x * x)
	u := float32(xx*tanhMinus3) + tanhMinus1
	du := float32(xx*tanhSlope3) + tanhSlope1
	return sigmoidSlope(float32(du*x), float32(u*x))
}

func quickGELU(x float32) float32 { return x / (1 + expf(float32(x*quickMinus))) }

func quickGELUSlope(x float32) float32 {
	x = min(max(x, quickMinusSaturate), quickSaturate)
	return sigmoidSlope(float32(x*quickSlope), float32(x*quickMinus))
}

// sigmoidSlope returns s + du*s*(1-s) for s = 1/(1+exp(minusU)).
func sigmoidSlope(du, minusU float32) float32 {
	e := expf(minusU)
	s := 1 / (1 + e)
	return s + float32(float32(du*s)*float32(e*s)) // e*s is 1-s without cancellation
}

func relu(x float32) float32 {
	if x < 0 {
		return 0
	}
	return x
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
