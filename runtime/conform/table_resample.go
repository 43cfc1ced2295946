package conform

import (
	"fmt"
	"math"

	"isearle/runtime"
)

// resampleCases resize images of several shapes at once: larger and smaller than the output, rows first and columns first, cropped, with
// coefficients that overshoot on both sides.
func resampleCases() (t []Case) {
	shapes := [][2]int{{7, 5}, {1, 1}, {31, 18}, {3, 40}, {16, 16}}
	for _, size := range []int{1, 5, 16} {
		t = append(t, Case{"resample", fmt.Sprint(size), 0, len(shapes), func(b *Builder) {
			const most = 21
			var src []byte
			var places, taps []int32
			mid := 0
			for i, s := range shapes {
				w, h := s[0], s[1]
				places = append(places, int32(len(src)), int32(w), int32(h), int32(i%2), int32(mid))
				for _, v := range random(fmt.Sprint("samples", i), 3*w*h) {
					src = append(src, byte(min(max(128+100*v, 0), 255))) // many at the limits
				}
				mid += 3 * size * max(w, h)
				taps = append(append(taps, cubic(w, size, most)...), cubic(h, size, most)...)
			}
			p := b.Plan
			p.Add(runtime.Resample{Src: b.Bytes("src", src), Places: b.Ints("places", places...), Taps: b.Ints("taps", taps...), Most: most,
				Norm: b.Floats("norm", 3, 256), Mid: p.Temp("mid", runtime.U8, 1, mid), Size: size, Out: b.Out("out", 1, 3*size*size), Images: b.N})
		}})
	}
	return t
}

// cubic are taps of a bicubic resize (Keys, a = -0.5) of n samples to size.
func cubic(n, size, most int) (t []int32) {
	scale := float64(n) / float64(size)
	wide := max(scale, 1)
	for x := range size {
		center := (float64(x) + .5) * scale
		lo, hi := max(int(center-2*wide+.5), 0), min(int(center+2*wide+.5), n)
		hi = min(hi, lo+most)
		w, sum := make([]float64, hi-lo), 0.0
		for i := range w {
			w[i] = keys((float64(lo+i) - center + .5) / wide)
			sum += w[i]
		}
		t = append(t, int32(lo), int32(hi-lo))
		for i := range most {
			v := int32(0)
			if i < len(w) {
				v = int32(math.Round(w[i] / sum * (1 << runtime.ResampleBits)))
			}
			t = append(t, v)
		}
	}
	return t
}

func keys(x float64) float64 {
	x = math.Abs(x)
	switch {
	case x < 1:
		return (1.5*x-2.5)*x*x + 1
	case x < 2:
		return ((-.5*x+2.5)*x-4)*x + 2
	}
	return 0
}
