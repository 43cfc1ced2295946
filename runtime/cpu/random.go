package cpu

import (
	"math"

	"isearle/runtime"
)

// random compiles runtime.Random.
func (c *compiler) random(o runtime.Random) {
	param, out := c.f32(o.Param), c.f32(o.Out)
	seed, counter, keys := c.i32(o.Seed), c.i32(o.Counter), c.i32(o.Keys)
	fill := normals
	if o.Kind == runtime.Keep {
		fill = mask
	}
	c.eachRow(c.live(o.Rows), taskFloats/4/max(1, out.cols), func(_ *worker, i int) {
		g := generator{uint32(keys[i]), uint32(counter[0]), uint32(counter[1]), uint32(seed[0]), uint32(seed[1])}
		fill(out.row(i), g, float64(param.data[0]))
	})
}

// generator makes the blocks of a row: the first three words of Philox's counter, and its key.
type generator struct{ c0, c1, c2, k0, k1 uint32 }

// block is block m, of Philox4x32-10: ten rounds of two multiplications, the key going up by the golden ratio and by
// sqrt(3)-1.
func (g generator) block(m uint32) (x0, x1, x2, x3 uint32) {
	x0, x1, x2, x3 = g.c0, g.c1, g.c2, m
	k0, k1 := g.k0, g.k1
	for range 10 {
		a, b := uint64(x0)*0xD2511F53, uint64(x2)*0xCD9E8D57
		x0, x1, x2, x3 = uint32(b>>32)^x1^k0, uint32(b), uint32(a>>32)^x3^k1, uint32(a)
		k0, k1 = k0+0x9E3779B9, k1+0xBB67AE85
	}
	return x0, x1, x2, x3
}

// normals fills a row by Box and Muller, in float64 and rounded once.
func normals(row []float32, g generator, sigma float64) {
	// uniform is in the open interval (0, 1).
	uniform := func(x uint32) float64 { return (float64(x>>8) + 0.5) / (1 << 24) }
	pair := func(x, y uint32) (float32, float32) {
		r := sigma * math.Sqrt(-2*math.Log(uniform(x)))
		sin, cos := math.Sincos(2 * math.Pi * uniform(y))
		return float32(r * cos), float32(r * sin)
	}
	for m := uint32(0); len(row) > 0; m++ {
		x0, x1, x2, x3 := g.block(m)
		y0, y1 := pair(x0, x1)
		y2, y3 := pair(x2, x3)
		row = put(row, y0, y1, y2, y3)
	}
}

// mask fills a row with 1/(1-drop) where a uniform is at least drop, and 0 elsewhere.
func mask(row []float32, g generator, drop float64) {
	// (x>>8 + 0.5)/2^24 >= drop, in integers.
	least := uint32(min(max(math.Ceil(drop*(1<<24)-0.5), 0), 1<<24))
	kept := math.Float32bits(float32(1 / (1 - drop)))
	keep := func(x uint32) float32 { return math.Float32frombits(kept &^ uint32(int32(x>>8-least)>>31)) }
	for m := uint32(0); len(row) > 0; m++ {
		x0, x1, x2, x3 := g.block(m)
		row = put(row, keep(x0), keep(x1), keep(x2), keep(x3))
	}
}

// put writes four numbers, or as many as row takes, and returns the rest of row.
func put(row []float32, y0, y1, y2, y3 float32) []float32 {
	if len(row) >= 4 {
		row[0], row[1], row[2], row[3] = y0, y1, y2, y3
		return row[4:]
	}
	return row[copy(row, []float32{y0, y1, y2, y3}):]
}
