package cpu

import (
	"math"

	"isearle/runtime"
)

// random compiles runtime.Random. Normals are computed in float64 and rounded once.
func (c *compiler) random(o runtime.Random) {
	param, out := c.f32(o.Param), c.f32(o.Out)
	seed, counter, keys := c.i32(o.Seed), c.i32(o.Counter), c.i32(o.Keys)
	fill := normals
	if o.Kind == runtime.Keep {
		fill = mask
	}
	c.eachRow(c.live(o.Rows), taskFloats/4/max(1, out.cols), func(_ *worker, i int) {
		row, p := out.row(i), float64(param.data[0])
		key := [2]uint32{uint32(seed[0]), uint32(seed[1])}
		ctr := [4]uint32{uint32(keys[i]), uint32(counter[0]), uint32(counter[1])}
		for j := 0; j < len(row); j += 4 {
			ctr[3] = uint32(j / 4)
			y := fill(philox(ctr, key), p)
			copy(row[j:], y[:])
		}
	})
}

// philox is Philox4x32-10: ten rounds of two multiplications, the key going up by the golden ratio and sqrt(3)-1.
func philox(c [4]uint32, k [2]uint32) [4]uint32 {
	for range 10 {
		a, b := uint64(c[0])*0xD2511F53, uint64(c[2])*0xCD9E8D57
		c = [4]uint32{uint32(b>>32) ^ c[1] ^ k[0], uint32(b), uint32(a>>32) ^ c[3] ^ k[1], uint32(a)}
		k[0], k[1] = k[0]+0x9E3779B9, k[1]+0xBB67AE85
	}
	return c
}

// uniform is in the open interval (0, 1).
func uniform(x uint32) float64 { return (float64(x>>8) + 0.5) / (1 << 24) }

// normals are two pairs of Box and Muller.
func normals(x [4]uint32, sigma float64) (y [4]float32) {
	for i := 0; i < 4; i += 2 {
		r := sigma * math.Sqrt(-2*math.Log(uniform(x[i])))
		sin, cos := math.Sincos(2 * math.Pi * uniform(x[i+1]))
		y[i], y[i+1] = float32(r*cos), float32(r*sin)
	}
	return y
}

// mask is 1/(1-drop) where a uniform is at least drop, and 0 elsewhere.
func mask(x [4]uint32, drop float64) (y [4]float32) {
	for i, v := range x {
		if uniform(v) >= drop {
			y[i] = float32(1 / (1 - drop))
		}
	}
	return y
}
