package conform

import (
	"fmt"

	"isearle/runtime"
)

// Products whose factors are rounded or quantised, in each type that a device may make them in. The reference rounds in the same
// way, so that only the order of sums differs. Behind a Norm a value may lie so near the middle between two roundings that
// the device's differs from the reference's, by a step of 1/256 (bfloat16) or 1/255 of the row's span.
const (
	factorTol = 2e-5
	normedTol = 5e-3
)

// deep are inner dimensions that are computed in several parts, odd in numbers of pairs and quadruples.
var deep = [][2]int{{1001, 70}, {771, 33}, {2048, 35}}

func factorCases() (t []Case) {
	for _, dt := range []runtime.DType{runtime.F16, runtime.BF16, runtime.I8} {
		t = append(t, factorLinear(dt)...)
		t = append(t, factorEmbed(dt)...)
		if dt != runtime.I8 {
			t = append(t, factorGrad(dt)...)
		}
	}
	return t
}

func factorLinear(dt runtime.DType) (t []Case) {
	for i, w := range append(append([][2]int(nil), widths...), deep...) {
		rows := odd[i%len(odd)]
		t = append(t, Case{"linear", fmt.Sprintf("%s %dx%dx%d", dt, rows, w[0], w[1]), factorTol, rows, func(b *Builder) {
			b.Plan.Add(runtime.Linear{X: b.Floats("x", rows, w[0]), W: b.Weight("w", dt, w[1], w[0]), Rows: b.N, Out: b.Out("y", 1, w[1])})
		}})
	}
	for _, act := range activations {
		t = append(t, Case{"linear", fmt.Sprintf("%s %s, norm, bias, residual, pre", dt, act), normedTol, 19, func(b *Builder) {
			b.Plan.Add(runtime.Linear{X: b.Floats("x", 19, 48), Norm: b.Norm(48), W: b.Weight("w", dt, 70, 48), Bias: b.Floats("bias", 1, 70), Act: act,
				Residual: b.Floats("res", 19, 70), Pre: b.Out("pre", 1, 70), Rows: b.N, Out: b.Out("y", 1, 70)})
		}})
	}
	return append(t,
		Case{"linear", dt.String() + " columns of wider matrices", factorTol, 20, func(b *Builder) {
			x, y := b.Floats("x", 20, 100), b.Out("y", 1, 90)
			b.Plan.Add(runtime.Linear{X: x.Columns(7, 40), W: b.Weight("w", dt, 35, 40), Bias: b.Floats("bias", 1, 35), Rows: b.N, Out: y.Columns(50, 35)})
		}},
		Case{"linear", dt.String() + " residual in place", factorTol, 120, func(b *Builder) {
			y := b.Floats("y", 120, 35)
			b.Check(y)
			b.Plan.Add(runtime.Linear{X: b.Floats("x", 120, 77), W: b.Weight("w", dt, 35, 77), Residual: y, Rows: b.N, Out: y})
		}})
}

func factorEmbed(dt runtime.DType) (t []Case) {
	for _, s := range []struct{ size, patch, width int }{{2, 2, 1}, {12, 4, 33}, {35, 8, 64}} {
		t = append(t, Case{"patchembed", fmt.Sprintf("%s %d by %d, %d", dt, s.size, s.patch, s.width), factorTol, 5, func(b *Builder) {
			o := runtime.PatchEmbed{Pixels: b.Floats("pixels", 5, 3*s.size*s.size), Size: s.size, Patch: s.patch,
				W: b.Weight("w", dt, s.width, 3*s.patch*s.patch), Class: b.Floats("class", 1, s.width), Images: b.N}
			o.Pos, o.Out = b.Floats("pos", o.Rows(), s.width), b.Out("x", o.Rows(), s.width)
			b.Plan.Add(o)
		}})
	}
	for bits := range 4 {
		norm, pool, tol := bits&1 > 0, bits&2 > 0, factorTol
		if norm {
			tol = normedTol
		}
		t = append(t, Case{"project", fmt.Sprintf("%s norm=%t pool=%t", dt, norm, pool), tol, 6, func(b *Builder) {
			o := runtime.Project{X: b.Floats("x", 20, 40), W: b.Weight("w", dt, 28, 40), Unit: pool, Rows: b.N, Out: b.Out("y", 1, 28)}
			if norm {
				o.Norm = b.Norm(40)
			}
			if pool {
				o.Pool = b.Ints("pool", 3, 19, 0, 3, 7, 11)
			}
			b.Plan.Add(o)
		}})
	}
	return t
}

func factorGrad(dt runtime.DType) (t []Case) {
	for i, w := range append(append([][2]int(nil), widths...), deep...) {
		rows := odd[i%len(odd)]
		t = append(t, Case{"lineargrad", fmt.Sprintf("%s %dx%dx%d", dt, rows, w[1], w[0]), factorTol, rows, func(b *Builder) {
			b.Plan.Add(runtime.LinearGrad{DY: b.Floats("dy", rows, w[0]), W: b.Weight("w", dt, w[0], w[1]), Rows: b.N, DX: b.Out("dx", 1, w[1])})
		}})
	}
	for _, act := range activations {
		t = append(t, Case{"lineargrad", fmt.Sprintf("%s %s, added", dt, act), normedTol, 19, func(b *Builder) {
			b.Plan.Add(runtime.LinearGrad{DY: b.Floats("dy", 19, 70), Act: act, Pre: b.Floats("pre", 19, 70), W: b.Weight("w", dt, 70, 48), Add: true,
				DX: b.addTo("dx", 19, 48, true), DPre: b.Out("dpre", 1, 70), Rows: b.N})
		}})
	}
	return t
}
