package conform

import (
	"fmt"

	"isearle/runtime"
)

func linearCases() (t []Case) {
	for _, rows := range odd {
		for _, w := range widths {
			t = append(t, Case{"linear", fmt.Sprintf("%dx%dx%d", rows, w[0], w[1]), 2e-5, rows, func(b *Builder) {
				b.Plan.Add(runtime.Linear{X: b.Floats("x", rows, w[0]), W: b.Weight("w", 0, w[1], w[0]), Rows: b.N, Out: b.Out("y", 1, w[1])})
			}})
		}
	}
	// Rows whose distance is a multiple of 2 KiB, and inner dimensions and rows of several parts.
	for _, s := range [][3]int{{1, 1024, 35}, {7, 512, 33}, {8, 512, 33}, {50, 2048, 70}, {150, 1024, 40}, {140, 3100, 35}} {
		t = append(t, Case{"linear", fmt.Sprintf("%dx%dx%d", s[0], s[1], s[2]), 2e-5, s[0], func(b *Builder) {
			b.Plan.Add(runtime.Linear{X: b.Floats("x", s[0], s[1]), W: b.Weight("w", 0, s[2], s[1]), Residual: b.Floats("res", s[0], s[2]), Rows: b.N,
				Out: b.Out("y", 1, s[2])})
		}})
	}
	for _, act := range activations {
		for bits := range 16 {
			norm, bias, res, pre := bits&1 > 0, bits&2 > 0, bits&4 > 0, bits&8 > 0
			name := fmt.Sprintf("%s norm=%t bias=%t residual=%t pre=%t", act, norm, bias, res, pre)
			t = append(t, Case{"linear", name, 2e-5, 19, func(b *Builder) {
				o := runtime.Linear{X: b.Floats("x", 19, 48), W: b.Weight("w", 0, 70, 48), Act: act, Rows: b.N, Out: b.Out("y", 1, 70)}
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
					o.Pre = b.Out("pre", 1, 70)
				}
				b.Plan.Add(o)
			}})
		}
	}
	return append(t,
		Case{"linear", "dense weight", 2e-5, 20, func(b *Builder) {
			b.Plan.Add(runtime.Linear{X: b.Floats("x", 20, 37), Norm: b.Norm(37), Dense: b.Floats("w", 41, 37), Rows: b.N, Out: b.Out("y", 1, 41)})
		}},
		Case{"linear", "columns of wider matrices", 2e-5, 20, func(b *Builder) {
			x, y := b.Floats("x", 20, 100), b.Out("y", 1, 90)
			b.Plan.Add(runtime.Linear{X: x.Columns(7, 40), W: b.Weight("w", 0, 35, 40), Rows: b.N, Out: y.Columns(50, 35)})
		}},
		Case{"linear", "residual in place", 2e-5, 20, func(b *Builder) {
			y := b.Floats("y", 20, 35)
			b.Check(y)
			b.Plan.Add(runtime.Linear{X: b.Floats("x", 20, 40), W: b.Weight("w", 0, 35, 40), Residual: y, Rows: b.N, Out: y})
		}})
}

func layerNormCases() (t []Case) {
	for _, n := range []int{1, 3, 16, 33, 77, 130, 257, 768, 1024, 1026} {
		t = append(t, Case{"layernorm", fmt.Sprint(n), 1e-5, 21, func(b *Builder) {
			b.Plan.Add(runtime.LayerNorm{X: b.Floats("x", 21, n), Norm: b.Norm(n), Rows: b.N, Out: b.Out("y", 1, n)})
		}})
	}
	return append(t, Case{"layernorm", "in place", 1e-5, 21, func(b *Builder) {
		x := b.Floats("x", 21, 40)
		b.Check(x)
		b.Plan.Add(runtime.LayerNorm{X: x, Norm: b.Norm(40), Rows: b.N, Out: x})
	}})
}

// ragged returns the starts and positions of sequences with the given lengths, positions from first[i] on.
func ragged(lengths, first []int) (starts, pos []int32) {
	starts = []int32{0}
	for s, n := range lengths {
		for i := range n {
			pos = append(pos, int32(first[s]+i))
		}
		starts = append(starts, starts[s]+int32(n))
	}
	return starts, pos
}

func sum(x []int) (s int) {
	for _, v := range x {
		s += v
	}
	return s
}

func attentionCases() (t []Case) {
	shapes := []struct{ heads, d int }{{1, 1}, {3, 5}, {2, 64}, {1, 88}, {2, 32}, {8, 64}}
	lengths := []int{1, 7, 0, 50, 33, 16}
	none := make([]int, len(lengths))
	for _, s := range shapes {
		for mode, name := range []string{"full", "causal", "windowed", "causal windowed"} {
			w := s.heads * s.d
			t = append(t, Case{"attention", fmt.Sprintf("%s %dx%d", name, s.heads, s.d), 2e-5, len(lengths), func(b *Builder) {
				rows := sum(lengths)
				starts, pos := ragged(lengths, none)
				qkv := b.Floats("qkv", rows, 3*w)
				o := runtime.Attention{Q: qkv.Columns(0, w), K: qkv.Columns(w, w), V: qkv.Columns(2*w, w), Heads: s.heads, Scale: 0.3,
					Causal: mode&1 > 0, Seqs: b.N, MaxKeys: 50, Out: b.Plan.New("out", runtime.F32, rows, w)}
				o.Starts = b.Ints("starts", starts...)
				o.QStarts, o.QPos = o.Starts, b.Ints("pos", pos...)
				if mode >= 2 {
					o.Window = 9
				}
				b.Check(o.Out)
				b.Plan.Add(o)
			}})
		}
	}
	return append(t, prefixCases()...)
}

// prefixCases have keys in a pool and queries for some rows only.
func prefixCases() (t []Case) {
	own, prefix := []int{3, 5, 1, 20}, []int{0, 5, 40, 13}
	const heads, d, w = 2, 20, 40
	base := func(b *Builder, queries []int, pos []int32) runtime.Attention {
		starts, _ := ragged(own, prefix)
		qStarts, _ := ragged(queries, prefix)
		return runtime.Attention{Q: b.Floats("q", sum(queries), w), K: b.Floats("k", sum(own), w), V: b.Floats("v", sum(own), w),
			Heads: heads, Scale: 0.25, Causal: true, Seqs: b.N, QStarts: b.Ints("qstarts", qStarts...), Starts: b.Ints("starts", starts...),
			QPos: b.Ints("qpos", pos...), MaxKeys: 53,
			PrefixK: b.Floats("pk", 64, w), PrefixV: b.Floats("pv", 64, w), Prefix: b.Ints("prefix", 0, 0, 10, 5, 20, 40, 0, 13),
			Out: b.Plan.New("out", runtime.F32, sum(queries), w)}
	}
	return append(t,
		Case{"attention", "prefix", 2e-5, len(own), func(b *Builder) {
			_, pos := ragged(own, prefix)
			o := base(b, own, pos)
			b.Check(o.Out)
			b.Plan.Add(o)
		}},
		Case{"attention", "prefix, one query a sequence", 2e-5, len(own), func(b *Builder) {
			var last []int32
			for s := range own {
				last = append(last, int32(prefix[s]+own[s]-1))
			}
			o := base(b, []int{1, 1, 1, 1}, last)
			b.Check(o.Out)
			b.Plan.Add(o)
		}})
}

func embedCases() (t []Case) {
	for _, s := range []struct{ size, patch, width int }{{2, 2, 1}, {12, 4, 33}, {32, 8, 40}, {35, 8, 64}} {
		t = append(t, Case{"patchembed", fmt.Sprintf("%d by %d, %d", s.size, s.patch, s.width), 2e-5, 5, func(b *Builder) {
			o := runtime.PatchEmbed{Pixels: b.Floats("pixels", 5, 3*s.size*s.size), Size: s.size, Patch: s.patch,
				W: b.Weight("w", 0, s.width, 3*s.patch*s.patch), Class: b.Floats("class", 1, s.width), Images: b.N}
			o.Pos, o.Out = b.Floats("pos", o.Rows(), s.width), b.Out("x", o.Rows(), s.width)
			b.Plan.Add(o)
		}})
	}
	for _, dt := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
		t = append(t, Case{"tokenembed", dt.String() + " table, ids out of range", 1e-6, 6, func(b *Builder) {
			b.Plan.Add(runtime.TokenEmbed{IDs: b.Ints("ids", 0, 9, 3, 10, -1, 4), Pos: b.Ints("pos", 0, 1, 2, 3, 4, 7), Rows: b.N,
				Table: b.Typed("table", dt, 10, 19), PosTable: b.Floats("postable", 7, 19), Out: b.Out("x", 1, 19)})
		}})
	}
	return append(t, Case{"tokenembed", "pseudo-words", 1e-6, 6, func(b *Builder) {
		b.Plan.Add(runtime.TokenEmbed{IDs: b.Ints("ids", 0, 9, 3, 5, 2, 4), Pos: b.Ints("pos", 0, 1, 2, 3, 4, 5), Rows: b.N,
			Inject: b.Ints("inject", -1, 1, -1, 0, 2, 3), Pseudo: b.Floats("pseudo", 3, 19),
			Table: b.Floats("table", 10, 19), PosTable: b.Floats("postable", 7, 19), Out: b.Out("x", 1, 19)})
	}})
}

func copyCases() []Case {
	return []Case{
		{"copyrows", "gather", 0, 5, func(b *Builder) {
			b.Plan.Add(runtime.CopyRows{Src: b.Floats("src", 9, 17), SrcRows: b.Ints("from", 8, 0, -1, 3, 3), Dst: b.Out("dst", 1, 17), Rows: b.N})
		}},
		{"copyrows", "scatter", 0, 5, func(b *Builder) {
			dst := b.Plan.New("dst", runtime.F32, 9, 17)
			b.Check(dst)
			b.Plan.Add(runtime.CopyRows{Src: b.Floats("src", 5, 17), DstRows: b.Ints("to", 8, 0, -1, 3, 4), Dst: dst, Rows: b.N})
		}},
	}
}

func projectCases() (t []Case) {
	for bits := range 8 {
		norm, pool, unit := bits&1 > 0, bits&2 > 0, bits&4 > 0
		t = append(t, Case{"project", fmt.Sprintf("norm=%t pool=%t unit=%t", norm, pool, unit), 2e-5, 6, func(b *Builder) {
			o := runtime.Project{X: b.Floats("x", 20, 40), W: b.Weight("w", 0, 28, 40), Unit: unit, Rows: b.N, Out: b.Out("y", 1, 28)}
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
