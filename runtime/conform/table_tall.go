package conform

import (
	"fmt"

	"isearle/runtime"
)

// tallCases are products with weights that are said to meet many rows (runtime.PackOptions.Rows), of any number of rows all the same.
func tallCases() (t []Case) {
	const tol = 1e-5
	for i, w := range append(append([][2]int(nil), widths...), [][2]int{{771, 33}, {1024, 70}, {1025, 33}, {2100, 40}}...) {
		rows := append([]int{257, 300}, odd...)[i%(2+len(odd))]
		t = append(t, Case{"linear", fmt.Sprintf("tall %dx%dx%d", rows, w[0], w[1]), tol, rows, func(b *Builder) {
			b.Plan.Add(runtime.Linear{X: b.Floats("x", rows, w[0]), W: b.Tall("w", w[1], w[0]), Rows: b.N, Out: b.Out("y", 1, w[1])})
		}})
	}
	for i, act := range activations {
		depth := []int{48, 1100}[i%2]
		t = append(t, Case{"linear", fmt.Sprintf("tall %s, norm, bias, residual, pre, %d", act, depth), tol, 70, func(b *Builder) {
			b.Plan.Add(runtime.Linear{X: b.Floats("x", 70, depth), Norm: b.Norm(depth), W: b.Tall("w", 70, depth), Bias: b.Floats("bias", 1, 70), Act: act,
				Residual: b.Floats("res", 70, 70), Pre: b.Out("pre", 1, 70), Rows: b.N, Out: b.Out("y", 1, 70)})
		}})
	}
	for _, depth := range []int{77, 2100} {
		t = append(t, Case{"linear", fmt.Sprintf("tall residual in place, %d", depth), tol, 120, func(b *Builder) {
			y := b.Floats("y", 120, 35)
			b.Check(y)
			b.Plan.Add(runtime.Linear{X: b.Floats("x", 120, depth), W: b.Tall("w", 35, depth), Residual: y, Rows: b.N, Out: y})
		}})
	}
	for _, s := range []struct{ size, patch, width int }{{2, 2, 1}, {12, 4, 33}, {35, 8, 64}, {76, 4, 40}} {
		t = append(t, Case{"patchembed", fmt.Sprintf("tall %d by %d, %d", s.size, s.patch, s.width), tol, 5, func(b *Builder) {
			o := runtime.PatchEmbed{Pixels: b.Floats("pixels", 5, 3*s.size*s.size), Size: s.size, Patch: s.patch,
				W: b.Tall("w", s.width, 3*s.patch*s.patch), Class: b.Floats("class", 1, s.width), Images: b.N}
			o.Pos, o.Out = b.Floats("pos", o.Rows(), s.width), b.Out("x", o.Rows(), s.width)
			b.Plan.Add(o)
		}})
	}
	return append(t, Case{"project", "tall, norm", tol, 40, func(b *Builder) {
		b.Plan.Add(runtime.Project{X: b.Floats("x", 40, 60), Norm: b.Norm(60), W: b.Tall("w", 28, 60), Unit: true, Rows: b.N, Out: b.Out("y", 1, 28)})
	}})
}
