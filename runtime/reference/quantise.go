package reference

import (
	"math"

	"isearle/runtime"
)

// factors are the rows of a matrix as they go into products made in a type: rounded to it, or, for I8, what their integers stand
// for. The steps are those that runtime.PackOptions defines, in float32 where it says so; the values are exact.
func factors(dt runtime.DType, x []float64, weight bool) []float64 {
	if dt != runtime.I8 {
		for i, v := range x {
			x[i] = float64(round(dt, float32(v)))
		}
		return x
	}
	least, most := math.Inf(1), math.Inf(-1)
	for _, v := range x {
		least, most = min(least, float64(float32(v))), max(most, float64(float32(v)))
	}
	low, span, levels := float32(least), float32(most)-float32(least), float32(255)
	if weight {
		low, span, levels = 0, float32(max(-least, most)), 127
	}
	span = max(span, 1e-30)
	by, scale := levels/span, float64(span/levels)
	for i, v := range x {
		x[i] = float64(low) + scale*math.RoundToEven(float64((float32(v)-low)*by))
	}
	return x
}
