package preprocess

import (
	"math"

	"isearle/clipnet/preprocess/internal/pixel"
)

// taps are the coefficients of one direction of a resize, for a window of the output.
type taps struct {
	of     tapsOf    // what they were computed for
	size   int       // coefficients kept per output sample
	first  []int     // the first input sample of each output sample
	count  []int     // how many input samples contribute
	weight []float64 // size per output sample
	fixed  []int32   // the same, times 2^pixel.FixedBits
}

// tapsOf is what taps depend on.
type tapsOf struct {
	filter                      Filter
	in, out, from, n, pad, real int
}

// support is the radius of the filter at scale 1.
func (f Filter) support() float64 {
	if f == Bilinear {
		return 1
	}
	return 2
}

// at evaluates the filter. The conversions keep compilers from fusing a product with a sum, which rounds otherwise.
func (f Filter) at(x float64) float64 {
	x = math.Abs(x)
	if f == Bilinear {
		return max(1-x, 0)
	}
	const a = -0.5
	switch {
	case x < 1:
		return float64(float64(float64((a+2)*x)-(a+3))*x*x) + 1
	case x < 2:
		return float64(float64(float64(float64(float64(x-5)*x)+8)*x)-4) * a
	}
	return 0
}

// set computes the taps for the output samples from to from+n of a resize of in samples to out samples. Of the input,
// only real samples from pad on exist; the others are zeros, so their coefficients are dropped after normalisation.
// The arithmetic is Pillow's precompute_coeffs and normalize_coeffs_8bpc. It reports whether the taps have changed.
func (t *taps) set(f Filter, in, out, from, n, pad, real int) bool {
	of := tapsOf{f, in, out, from, n, pad, real}
	if t.of == of { // as for the next image of the same size
		return false
	}
	t.of = of
	scale := float64(in) / float64(out)
	filterScale := max(scale, 1)
	support := f.support() * filterScale
	inverse := 1 / filterScale
	t.size = int(math.Ceil(support))*2 + 1
	t.first, t.count = resized(t.first, n), resized(t.count, n)
	t.weight, t.fixed = resized(t.weight, n*t.size), resized(t.fixed, n*t.size)
	for i := range n {
		center := float64((float64(from+i) + 0.5) * scale)
		lo := max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), in)
		w := t.weight[i*t.size:][:hi-lo]
		sum := 0.0
		for x := range w {
			w[x] = f.at(float64((float64(x+lo) - center + 0.5) * inverse))
			sum += w[x]
		}
		if sum != 0 {
			for x := range w {
				w[x] /= sum
			}
		}
		skip := min(max(pad-lo, 0), len(w))
		kept := copy(w, w[skip:max(min(pad+real-lo, len(w)), skip)])
		t.first[i], t.count[i] = 0, kept
		if kept > 0 {
			t.first[i] = lo + skip - pad
		}
		for x, v := range w[:kept] {
			t.fixed[i*t.size+x] = int32(math.Copysign(0.5, v) + float64(v*(1<<pixel.FixedBits)))
		}
	}
	return true
}

// span returns the range of input samples that the taps read.
func (t *taps) span() (from, to int) {
	from, to = math.MaxInt, 0
	for i, n := range t.count {
		if n > 0 {
			from, to = min(from, t.first[i]), max(to, t.first[i]+n)
		}
	}
	return min(from, to), to
}

// resized returns a slice of n elements, s's memory where it is large enough. The elements are undefined.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
