package simd

// The generator of the assembly reads the constants of this file too.

// exp(x) = 2^n * (1 + r + r*r*q(r)) with n = round(x*log2e) and r = x - n*ln2. q is the minimax fit of degree 4 on
// |r| <= ln2/2 (gen/fit.go: relative error of the exponential 3.1e-9).
const (
	log2e   = 1.44269504088896341
	ln2High = 0.693359375 // 10 bits, so that n*ln2High is exact (Cody and Waite)
	ln2Low  = -2.12194440054690583e-4
	expLow  = -87.3365447505531 // ln 2^-126: below, the result is zero
	expHigh = 89                // above, the result is +Inf
	expQ0   = 0.499999934477885
	expQ1   = 0.16666520631724924
	expQ2   = 0.04166838804693058
	expQ3   = 0.008368716878372595
	expQ4   = 0.0013814598566598035
)

// The upper tail of the normal distribution for a >= 0 is exp(-a*a/2) * t * m(t) with t = 1/(1+tailT*a), a form of Hastings
// (Abramowitz and Stegun 26.2.17). m is the minimax fit of degree 7 on 0 <= a <= tailMax (gen/fit.go: relative error 9.4e-8).
const (
	tailT   = 0.305
	tailMax = 14 // exp(-14*14/2) is zero in float32
	tailM0  = 0.12163973267296374
	tailM1  = 0.12246681653188991
	tailM2  = 0.10342086941787375
	tailM3  = 0.12102166842981385
	tailM4  = -0.03797681120315385
	tailM5  = 0.18571688732561065
	tailM6  = -0.15298830548790668
	tailM7  = 0.03669918930521252
)

const (
	sqrt2OverPi = 0.797884560802865356 // sqrt(2/pi)
	invSqrt2Pi  = 0.398942280401432678 // 1/sqrt(2*pi)

	// The tanh form of GELU is x times the sigmoid of u = tanh1*x + tanh3*x^3 (Hendrycks and Gimpel 2016, arXiv:1606.08415).
	tanh1      = 2 * sqrt2OverPi
	tanh3      = 0.044715 * tanh1
	tanhMinus1 = -tanh1
	tanhMinus3 = -tanh3
	tanhSlope1 = tanh1
	tanhSlope3 = 3 * tanh3
	// The sigmoid form is x times the sigmoid of quickSlope*x (the same paper).
	quickSlope = 1.702
	quickMinus = -quickSlope
	// Beyond these the derivatives of the two are 0 or 1 in float32, and up to them no exponential overflows.
	tanhSaturate       = 9.5
	tanhMinusSaturate  = -tanhSaturate
	quickSaturate      = 48
	quickMinusSaturate = -quickSaturate
)
