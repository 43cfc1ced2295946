package reference

import (
	"math"

	"isearle/runtime"
)

// philox is Philox4x32-10 (Salmon et al., SC 2011, section 3.3).
func philox(ctr [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		a, b := uint64(ctr[0])*0xD2511F53, uint64(ctr[2])*0xCD9E8D57
		ctr = [4]uint32{uint32(b>>32) ^ ctr[1] ^ key[0], uint32(b), uint32(a>>32) ^ ctr[3] ^ key[1], uint32(a)}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return ctr
}

func (p *program) random(o runtime.Random) {
	seed, counter, param := p.ints(o.Seed), p.ints(o.Counter), p.mat(o.Param).at(0, 0)
	for r := range p.live(o.Rows) {
		for i := range o.Out.Cols {
			x := philox([4]uint32{uint32(p.ints(o.Keys)[r]), uint32(counter[0]), uint32(counter[1]), uint32(i / 4)},
				[2]uint32{uint32(seed[0]), uint32(seed[1])})
			u := func(k int) float64 { return (float64(x[k]>>8) + 0.5) / (1 << 24) }
			y := 0.0
			switch k := i % 4; {
			case o.Kind == runtime.Normal && k%2 == 0:
				y = param * math.Sqrt(-2*math.Log(u(k))) * math.Cos(2*math.Pi*u(k+1))
			case o.Kind == runtime.Normal:
				y = param * math.Sqrt(-2*math.Log(u(k-1))) * math.Sin(2*math.Pi*u(k))
			case u(k) >= param:
				y = 1 / (1 - param)
			}
			p.mat(o.Out).set(r, i, y)
		}
	}
}
