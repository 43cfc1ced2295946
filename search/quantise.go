package search

import "math"

// QuantiseRow writes a row's part of a coarse copy: codes such that x is about mean + scale*codes, with codes from -127 to 127.
// loss is at least the Euclidean norm of the difference; it is infinite where x is not finite, and then nothing is known of x.
// All slices have one length.
func QuantiseRow(codes []int8, x, mean []float32) (scale, loss float32) {
	largest, size := 0.0, 0.0
	for j, v := range x {
		d := math.Abs(float64(v) - float64(mean[j]))
		largest = max(largest, d)
		size += math.Abs(float64(v)) + math.Abs(float64(mean[j]))
	}
	if !finite(size) || largest/127 > math.MaxFloat32 {
		clear(codes)
		return 0, float32(math.Inf(1))
	}
	scale = roundUp(largest / 127)
	step := float64(scale)
	sum := 0.0
	for j, v := range x {
		d := float64(v) - float64(mean[j])
		code := 0.0
		if step > 0 {
			code = math.RoundToEven(d / step)
		}
		codes[j] = int8(code)
		d -= step * code
		sum += d * d
	}
	// In f64 each difference is off by at most 2^-53 of |v|, |mean| and the step taken together, the sum and its root by a few
	// parts in 2^53 for each element. Far more than that is added; beside f32's own rounding it is nothing.
	return scale, roundUp(math.Sqrt(sum)*(1+1e-9) + 1e-14*size)
}

// roundUp is the smallest f32 that is not below v, for v from 0 to below the largest f32.
func roundUp(v float64) float32 {
	f := float32(v)
	if float64(f) < v {
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	return f
}

// meanBlock is the number of rows summed apart. It is part of the result's definition.
const meanBlock = 4096

// meanOf is the mean of n rows of dimension dim, which row(i, dst) gives. Blocks of rows are summed in f64 and then added in
// order, so that the bits do not depend on the cores.
func meanOf(n, dim int, row func(i int, dst []float32)) []float32 {
	blocks := (n + meanBlock - 1) / meanBlock
	sums := make([][]float64, blocks)
	parallel(n, meanBlock, func(lo, hi int) bool {
		sum, x := make([]float64, dim), make([]float32, dim)
		for i := lo; i < hi; i++ {
			row(i, x)
			for j, v := range x {
				sum[j] += float64(v)
			}
		}
		sums[lo/meanBlock] = sum
		return true
	})
	mean := make([]float32, dim)
	if n == 0 {
		return mean
	}
	total := make([]float64, dim)
	for _, s := range sums {
		for j, v := range s {
			total[j] += v
		}
	}
	for j, v := range total {
		mean[j] = float32(v / float64(n))
	}
	return mean
}
