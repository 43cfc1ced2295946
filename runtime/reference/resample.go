package reference

import (
	"math"

	"isearle/runtime"
)

// resample computes each output sample on its own: the intermediate samples that it needs, by rational arithmetic on whole
// numbers, which float64 holds exactly.
func (p *program) resample(o runtime.Resample) {
	places, taps := p.ints(o.Places), p.ints(o.Taps)
	src := p.buffers[o.Src.Slot-1].I[o.Src.Offset:]
	norm, out := p.mat(o.Norm), p.mat(o.Out)
	for image := range p.live(o.Images) {
		begin, width, columnsFirst := int(places[5*image]), int(places[5*image+1]), places[5*image+3] != 0
		pixel := func(y, x, c int) float64 { return float64(src[begin+3*(y*width+x)+c]) }
		// sum is the tap sum of output sample i of an axis (0: columns, 1: rows) over at.
		sum := func(axis, i int, at func(j int) float64) float64 {
			t := taps[((2*image+axis)*o.Size+i)*(2+o.Most):]
			s := 0.5
			for j := range int(t[1]) {
				s += float64(t[2+j]) / (1 << runtime.ResampleBits) * at(int(t[0])+j)
			}
			return math.Min(math.Max(math.Floor(s), 0), 255)
		}
		for c := range 3 {
			for y := range o.Size {
				for x := range o.Size {
					v := 0.0
					if columnsFirst {
						v = sum(0, x, func(j int) float64 { return sum(1, y, func(i int) float64 { return pixel(i, j, c) }) })
					} else {
						v = sum(1, y, func(j int) float64 { return sum(0, x, func(i int) float64 { return pixel(j, i, c) }) })
					}
					out.put(image, (c*o.Size+y)*o.Size+x, norm.at(c, int(v)), false)
				}
			}
		}
	}
}
