package conform

import (
	"fmt"
	"math"
	"testing"

	"isearle/runtime"
)

// Halves runs, as Ops does, operations on matrices of a half type: what a device keeps between products made in that type. Ops has
// such products of f32 matrices.
func Halves(t *testing.T, open func(threads int) runtime.Device, dt runtime.DType) {
	devs := []runtime.Device{open(1), open(2)}
	h := halves{dt}
	var table []Case
	for _, add := range []func() []Case{h.linear, h.linearGrad, h.rows, h.attention, h.attentionGrad} {
		table = append(table, add()...)
	}
	ops(t, devs, table)
}

// halves makes the cases of a half type.
type halves struct{ dt runtime.DType }

// step is half the distance of neighbours by one: the largest relative error of rounding to the type.
func step(dt runtime.DType) float64 {
	switch dt {
	case runtime.BF16:
		return 1. / 256
	case runtime.F16:
		return 1. / 2048
	}
	return 0
}

// tol is the tolerance of an f32 result, or one rounded to a type. The factors are equal, since the reference rounds them too, and
// their products exact; what is left are the f32 sums.
func tol(out runtime.DType) float64 { return 3e-5 + step(out) }

// flips is the tolerance behind a factor that is computed before it is rounded: in f32 it may lie on the other side of the middle
// between two neighbours than in float64, which moves a product by their distance.
func (h halves) flips(out runtime.DType) float64 { return tol(out) + 2*step(h.dt) }

// in is a matrix between products; out one that is compared.
func (b *Builder) in(name string, dt runtime.DType, rows, cols int) runtime.View {
	v := b.Plan.New(name, dt, rows, cols)
	b.floats[v.Slot] = random(name, rows*cols)
	return v
}

func (b *Builder) out(name string, dt runtime.DType, rows, cols int) runtime.View {
	v := b.Plan.New(name, dt, rows, cols)
	b.Check(v)
	return v
}

func (h halves) linear() (t []Case) {
	shapes := [][3]int{{1, 1, 1}, {3, 3, 5}, {17, 40, 33}, {50, 64, 96}, {77, 257, 31}, {257, 128, 160}, {3, 768, 77}}
	for _, s := range shapes {
		t = append(t, Case{"linear", fmt.Sprintf("%s %dx%dx%d", h.dt, s[0], s[1], s[2]), tol(h.dt), s[0], func(b *Builder) {
			b.Plan.Add(runtime.Linear{X: b.in("x", h.dt, s[0], s[1]), W: b.Weight("w", h.dt, s[2], s[1]), Rows: b.N, Out: b.out("y", h.dt, s[0], s[2])})
		}})
	}
	for _, act := range activations {
		for _, bits := range []int{0, 5, 11} {
			norm, bias, res, pre := bits&1 > 0, bits&2 > 0, bits&4 > 0, bits&8 > 0
			out := h.dt
			if res {
				out = runtime.F32 // the sum over blocks
			}
			name := fmt.Sprintf("%s norm=%t bias=%t residual=%t pre=%t", act, norm, bias, res, pre)
			t = append(t, Case{"linear", name, h.flips(h.dt), 19, func(b *Builder) {
				o := runtime.Linear{X: b.Floats("x", 19, 48), W: b.Weight("w", h.dt, 70, 48), Act: act, Rows: b.N, Out: b.out("y", out, 19, 70)}
				if norm {
					o.Norm = b.Norm(48)
				}
				if bias {
					o.Bias = b.Floats("bias", 1, 70)
				}
				if res {
					o.Residual = b.Floats("res", 19, 70)
				}
				if pre {
					o.Pre = b.out("pre", h.dt, 19, 70)
				}
				b.Plan.Add(o)
			}})
		}
	}
	// Columns 7 and 50 are aligned to nothing, columns 8 and 48 to 16 bytes.
	for _, at := range [][2]int{{7, 50}, {8, 48}, {3, 47}} {
		t = append(t, Case{"linear", fmt.Sprintf("columns from %d and %d of wider matrices", at[0], at[1]), tol(h.dt), 20, func(b *Builder) {
			x, y := b.in("x", h.dt, 20, 104), b.out("y", h.dt, 20, 90)
			b.Plan.Add(runtime.Linear{X: x.Columns(at[0], 40), W: b.Weight("w", h.dt, 35, 40), Rows: b.N, Out: y.Columns(at[1], 35)})
		}})
	}
	return append(t, Case{"linear", "residual in place", tol(runtime.F32), 20, func(b *Builder) {
		y := b.addTo("y", 20, 35, true)
		b.Plan.Add(runtime.Linear{X: b.in("x", h.dt, 20, 40), W: b.Weight("w", h.dt, 35, 40), Residual: y, Rows: b.N, Out: y})
	}})
}

func (h halves) linearGrad() (t []Case) {
	for _, s := range [][3]int{{1, 1, 1}, {3, 3, 5}, {50, 64, 96}, {77, 257, 31}} {
		t = append(t, Case{"lineargrad", fmt.Sprintf("%dx%dx%d", s[0], s[1], s[2]), tol(h.dt), s[0], func(b *Builder) {
			b.Plan.Add(runtime.LinearGrad{DY: b.in("dy", h.dt, s[0], s[2]), W: b.Weight("w", h.dt, s[2], s[1]), Rows: b.N, DX: b.out("dx", h.dt, s[0], s[1])})
		}})
	}
	for _, act := range activations {
		t = append(t, Case{"lineargrad", act.String(), h.flips(h.dt) + 4*step(h.dt), 19, func(b *Builder) {
			o := runtime.LinearGrad{DY: b.in("dy", h.dt, 19, 70), Act: act, W: b.Weight("w", h.dt, 70, 48), DX: b.out("dx", runtime.F32, 19, 48), Rows: b.N}
			if act != runtime.Identity {
				o.Pre = b.in("pre", h.dt, 19, 70)
			}
			b.Plan.Add(o)
		}})
	}
	return append(t, Case{"lineargrad", "added", tol(runtime.F32), 20, func(b *Builder) {
		b.Plan.Add(runtime.LinearGrad{DY: b.Floats("dy", 20, 70), W: b.Weight("w", h.dt, 70, 48), DX: b.addTo("dx", 20, 48, true), Add: true, Rows: b.N})
	}})
}

// rows are operations without products, on matrices between products.
func (h halves) rows() (t []Case) {
	for _, n := range []int{1, 33, 62, 257} {
		t = append(t, Case{"layernorm", fmt.Sprintf("%d of %s", n, h.dt), tol(h.dt), 21, func(b *Builder) {
			b.Plan.Add(runtime.LayerNorm{X: b.in("x", h.dt, 21, n), Norm: b.Norm(n), Rows: b.N, Out: b.out("y", h.dt, 21, n)})
		}}, Case{"copyrows", fmt.Sprintf("%d of %s", n, h.dt), 0, 5, func(b *Builder) {
			b.Plan.Add(runtime.CopyRows{Src: b.in("src", h.dt, 9, n), SrcRows: b.Ints("from", 8, 0, -1, 3, 3), Dst: b.out("dst", h.dt, 5, n), Rows: b.N})
		}})
	}
	return t
}

// attentionTol: queries, keys and values are equal and their products exact, but weights are rounded in front of the second product, in
// their gradients too, and the results.
func (h halves) attentionTol() float64 { return 5e-5 + 3*step(h.dt) }

func (h halves) attention() (t []Case) {
	lengths := []int{1, 7, 0, 130, 33}
	for _, size := range [][2]int{{1, 8}, {3, 5}, {2, 64}, {1, 80}, {1, 88}, {2, 96}, {1, 128}} {
		for mode, name := range attentionModes {
			if mode >= 2 && size[1] != 64 && size[1] != 5 {
				continue
			}
			s := attentionShape{heads: size[0], d: size[1], mode: mode, window: 9, lengths: lengths}
			t = append(t, Case{"attention", fmt.Sprintf("%s %dx%d", name, size[0], size[1]), h.attentionTol(), len(lengths), h.forward(s)})
		}
	}
	// Up to a tile of keys, and rests of queries and keys behind whole tiles.
	for _, lengths := range [][]int{{50, 64, 1, 0, 16}, {257, 145, 128, 17, 0, 193, 390}} {
		s := attentionShape{heads: 2, d: 64, lengths: lengths}
		t = append(t, Case{"attention", fmt.Sprintf("full 2x64 of %d", lengths), h.attentionTol(), len(lengths), h.forward(s)})
	}
	for _, d := range []int{20, 64} {
		for _, last := range []bool{false, true} {
			s := attentionShape{heads: 2, d: d, mode: 1, lengths: []int{3, 70, 1, 20, 0}, prefix: []int{0, 5, 64, 90, 0}, last: last}
			t = append(t, Case{"attention", s.String(), h.attentionTol(), len(s.lengths), h.forward(s)})
		}
	}
	return t
}

func (h halves) forward(s attentionShape) func(b *Builder) {
	return func(b *Builder) {
		s.dt = h.dt
		o := s.record(b)
		o.Out = b.out("out", h.dt, o.Q.Rows, o.Q.Cols)
		b.Plan.Add(o)
	}
}

func (h halves) attentionGrad() (t []Case) {
	add := func(s attentionShape) {
		s.dt = h.dt
		// Wide heads have products of DOut and V, and so gradients of weights that are rounded, which grow as the root of the width.
		wide := math.Sqrt(max(1, float64(s.d)/64))
		t = append(t, Case{"attentiongrad", s.String(), 2 * wide * h.attentionTol(), len(s.lengths), func(b *Builder) {
			o, w := s.record(b), s.heads*s.d
			b.Plan.Add(runtime.AttentionGrad{Attention: o, DOut: b.in("dout", h.dt, o.Q.Rows, w), DQ: b.out("dq", h.dt, o.Q.Rows, w),
				DK: b.out("dk", h.dt, o.K.Rows, w), DV: b.out("dv", h.dt, o.V.Rows, w)})
		}})
	}
	for _, size := range [][2]int{{3, 5}, {2, 64}, {1, 24}, {1, 80}, {2, 128}} {
		for mode := range attentionModes {
			if mode < 2 || size[1] == 64 || size[1] == 128 {
				add(attentionShape{heads: size[0], d: size[1], mode: mode, window: 9, lengths: []int{1, 7, 0, 70, 33}})
			}
		}
	}
	for _, d := range []int{64, 128} {
		for _, last := range []bool{false, true} {
			add(attentionShape{heads: 1, d: d, mode: 1, lengths: []int{3, 70, 0, 1, 20}, prefix: []int{0, 5, 4, 70, 13}, last: last})
		}
	}
	return t
}
