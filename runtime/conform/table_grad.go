package conform

import (
	"fmt"
	"strings"

	"isearle/runtime"
)

func linearGradCases() (t []Case) {
	for _, rows := range odd {
		for _, w := range widths {
			t = append(t, Case{"lineargrad", fmt.Sprintf("%dx%dx%d", rows, w[0], w[1]), 2e-5, rows, func(b *Builder) {
				b.Plan.Add(runtime.LinearGrad{DY: b.Floats("dy", rows, w[1]), W: b.Weight("w", 0, w[1], w[0]), Rows: b.N, DX: b.Out("dx", 1, w[0])})
			}})
		}
	}
	for _, act := range activations {
		for bits := range 16 {
			dense, add, dpre, dx := bits&1 > 0, bits&2 > 0, bits&4 > 0, bits&8 == 0
			if !dx && (add || !dpre) {
				continue
			}
			name := fmt.Sprintf("%s dense=%t add=%t dpre=%t dx=%t", act, dense, add, dpre, dx)
			t = append(t, Case{"lineargrad", name, 2e-5, 19, func(b *Builder) {
				o := runtime.LinearGrad{DY: b.Floats("dy", 19, 70), Act: act, Add: add, Rows: b.N}
				if act != runtime.Identity || dense {
					o.Pre = b.Floats("pre", 19, 70)
				}
				if dense {
					o.Dense = b.Floats("w", 70, 48)
				} else {
					o.W = b.Weight("w", 0, 70, 48)
				}
				if dx {
					o.DX = b.addTo("dx", 19, 48, add)
				}
				if dpre {
					o.DPre = b.Out("dpre", 1, 70)
				}
				b.Plan.Add(o)
			}})
		}
	}
	return append(t,
		Case{"lineargrad", "dpre in place", 2e-5, 20, func(b *Builder) {
			dy := b.Floats("dy", 20, 35)
			b.Check(dy)
			b.Plan.Add(runtime.LinearGrad{DY: dy, Act: runtime.GELU, Pre: b.Floats("pre", 20, 35), W: b.Weight("w", 0, 35, 40), DX: b.Out("dx", 1, 40), DPre: dy, Rows: b.N})
		}},
		Case{"lineargrad", "columns of wider matrices", 2e-5, 20, func(b *Builder) {
			dy, pre, dx := b.Floats("dy", 20, 100), b.Floats("pre", 20, 60), b.addTo("dx", 20, 90, true)
			b.Plan.Add(runtime.LinearGrad{DY: dy.Columns(7, 40), Act: runtime.QuickGELU, Pre: pre.Columns(20, 40), W: b.Weight("w", 0, 40, 35),
				DX: dx.Columns(50, 35), Add: true, Rows: b.N})
		}})
}

// addTo is an output that is added to, or one that starts as NaN.
func (b *Builder) addTo(name string, rows, cols int, add bool) runtime.View {
	v := b.Plan.New(name, runtime.F32, rows, cols)
	if add {
		b.floats[v.Slot] = random(name, rows*cols)
	}
	b.Check(v)
	return v
}

func weightGradCases() (t []Case) {
	for _, rows := range append([]int{256}, odd...) {
		for _, w := range [][2]int{{1, 1}, {3, 5}, {40, 33}, {97, 70}} {
			t = append(t, Case{"weightgrad", fmt.Sprintf("%dx%dx%d", rows, w[0], w[1]), 5e-5, rows, func(b *Builder) {
				b.Plan.Add(runtime.WeightGrad{DPre: b.Floats("dpre", rows, w[1]), X: b.Floats("x", rows, w[0]), Rows: b.N,
					DW: b.addTo("dw", w[1], w[0], false), DBias: b.addTo("dbias", 1, w[1], false)})
			}})
		}
	}
	return append(t, Case{"weightgrad", "columns of wider matrices, no bias", 5e-5, 20, func(b *Builder) {
		dpre, x, dw := b.Floats("dpre", 20, 50), b.Floats("x", 20, 60), b.addTo("dw", 33, 80, false)
		b.Plan.Add(runtime.WeightGrad{DPre: dpre.Columns(9, 33), X: x.Columns(20, 40), DW: dw.Columns(30, 40), Rows: b.N})
	}})
}

func layerNormGradCases() (t []Case) {
	for _, n := range []int{1, 3, 16, 33, 77, 257, 768} {
		for _, add := range []bool{false, true} {
			t = append(t, Case{"layernormgrad", fmt.Sprintf("%d add=%t", n, add), 2e-5, 21, func(b *Builder) {
				b.Plan.Add(runtime.LayerNormGrad{DY: b.Floats("dy", 21, n), X: b.Floats("x", 21, n), Norm: b.Norm(n), Rows: b.N,
					DX: b.addTo("dx", 21, n, add), Add: add})
			}})
		}
	}
	return append(t, Case{"layernormgrad", "in place", 2e-5, 21, func(b *Builder) {
		dy := b.addTo("dy", 21, 40, true)
		b.Plan.Add(runtime.LayerNormGrad{DY: dy, X: b.Floats("x", 21, 40), Norm: b.Norm(40), Rows: b.N, DX: dy})
	}}, Case{"layernormgrad", "columns of wider matrices", 2e-5, 21, func(b *Builder) {
		dy, x, dx := b.Floats("dy", 21, 60), b.Floats("x", 21, 50), b.addTo("dx", 21, 70, false)
		b.Plan.Add(runtime.LayerNormGrad{DY: dy.Columns(3, 40), X: x.Columns(5, 40), Norm: b.Norm(40), Rows: b.N, DX: dx.Columns(20, 40)})
	}})
}

// attentionModes name the masks: bit 0 of the index is Causal, bit 1 Window.
var attentionModes = []string{"full", "causal", "windowed", "causal windowed"}

// attentionShape is an attention over ragged sequences.
type attentionShape struct {
	heads, d, mode, window int
	lengths                []int // own rows of each sequence
	prefix                 []int // rows in the pool, or nil
	last                   bool  // the last row of each sequence is its only query

	dt runtime.DType // of the matrices, F32 where it is 0
}

func (s attentionShape) String() string {
	name := []string{fmt.Sprintf("%s %dx%d %v", attentionModes[s.mode], s.heads, s.d, s.lengths)}
	if s.prefix != nil {
		name = append(name, fmt.Sprintf("prefix %v", s.prefix))
	}
	if s.last {
		name = append(name, "one query a sequence")
	}
	return strings.Join(name, ", ")
}

// record returns the Attention with its inputs, without Out. The prefixes lie in the pool with gaps, the last one first.
func (s attentionShape) record(b *Builder) runtime.Attention {
	w, first := s.heads*s.d, s.prefix
	if first == nil {
		first = make([]int, len(s.lengths))
	}
	starts, pos := ragged(s.lengths, first)
	qStarts, qPos := starts, pos
	if s.last {
		queries, at := make([]int, len(s.lengths)), make([]int, len(s.lengths))
		for i, n := range s.lengths {
			queries[i], at[i] = min(n, 1), first[i]+n-1
		}
		qStarts, qPos = ragged(queries, at)
	}
	dt := max(s.dt, runtime.F32)
	o := runtime.Attention{Q: b.in("q", dt, len(qPos), w), K: b.in("k", dt, len(pos), w), V: b.in("v", dt, len(pos), w), Heads: s.heads, Scale: 0.3,
		Causal: s.mode&1 > 0, Seqs: b.N, QStarts: b.Ints("qstarts", qStarts...), Starts: b.Ints("starts", starts...), QPos: b.Ints("qpos", qPos...),
		MaxKeys: 1}
	if s.mode&2 > 0 {
		o.Window = max(2, s.window)
	}
	for i, n := range s.lengths {
		o.MaxKeys = max(o.MaxKeys, first[i]+n)
	}
	if s.prefix != nil {
		table, at := make([]int32, 2*len(s.prefix)), 1
		for i := len(s.prefix) - 1; i >= 0; i-- {
			table[2*i], table[2*i+1] = int32(at), int32(s.prefix[i])
			at += s.prefix[i] + 2
		}
		o.PrefixK, o.PrefixV, o.Prefix = b.in("pk", dt, at, w), b.in("pv", dt, at, w), b.Ints("prefix", table...)
	}
	return o
}

func attentionGradCases() (t []Case) {
	add := func(s attentionShape) {
		t = append(t, Case{"attentiongrad", s.String(), 5e-5, len(s.lengths), func(b *Builder) {
			o, w := s.record(b), s.heads*s.d
			b.Plan.Add(runtime.AttentionGrad{Attention: o, DOut: b.Floats("dout", o.Q.Rows, w), DQ: b.addTo("dq", o.Q.Rows, w, false),
				DK: b.addTo("dk", o.K.Rows, w, false), DV: b.addTo("dv", o.V.Rows, w, false)})
		}})
	}
	for _, size := range [][2]int{{1, 1}, {3, 5}, {2, 64}, {1, 88}, {8, 64}} {
		for mode := range attentionModes {
			add(attentionShape{heads: size[0], d: size[1], mode: mode, window: 9, lengths: []int{1, 7, 0, 50, 33, 16}})
		}
	}
	for mode := range attentionModes {
		for _, last := range []bool{false, true} {
			add(attentionShape{heads: 2, d: 20, mode: mode, window: 11, lengths: []int{3, 5, 0, 1, 20, 0}, prefix: []int{0, 5, 4, 40, 13, 0}, last: last})
		}
	}
	// Rows of a product that made q, k and v side by side, and their gradients likewise.
	return append(t, Case{"attentiongrad", "queries that see no key", 5e-5, 3, func(b *Builder) {
		q, k := func(name string) runtime.View { return b.Floats(name, 6, 10) }, func(name string) runtime.View { return b.Floats(name, 4, 10) }
		o := runtime.Attention{Q: q("q"), K: k("k"), V: k("v"), Heads: 2, Scale: 0.3, Causal: true, Seqs: b.N, QStarts: b.Ints("qstarts", 0, 2, 4, 6),
			Starts: b.Ints("starts", 0, 0, 3, 4), QPos: b.Ints("qpos", 0, 1, -1, 1, 0, -1), MaxKeys: 3, Out: b.addTo("out", 6, 10, false)}
		b.Plan.Add(o)
		b.Plan.Add(runtime.AttentionGrad{Attention: o, DOut: q("dout"), DQ: b.addTo("dq", 6, 10, false), DK: b.addTo("dk", 4, 10, false), DV: b.addTo("dv", 4, 10, false)})
	}}, Case{"attentiongrad", "columns of wider matrices", 5e-5, 3, func(b *Builder) {
		const w, rows = 24, 40
		qkv, grad := b.Floats("qkv", rows, 3*w), b.addTo("grad", rows, 3*w, false)
		starts, pos := ragged([]int{4, 30, 6}, []int{0, 0, 0})
		o := runtime.Attention{Q: qkv.Columns(0, w), K: qkv.Columns(w, w), V: qkv.Columns(2*w, w), Heads: 2, Scale: 0.3, Causal: true, Seqs: b.N,
			Starts: b.Ints("starts", starts...), QPos: b.Ints("pos", pos...), MaxKeys: 30}
		o.QStarts = o.Starts
		b.Plan.Add(runtime.AttentionGrad{Attention: o, DOut: b.Floats("dout", rows, w), DQ: grad.Columns(0, w), DK: grad.Columns(w, w), DV: grad.Columns(2*w, w)})
	}})
}

// rowCases move rows: sums of lists, and copies that add.
func rowCases() (t []Case) {
	for _, n := range []int{1, 17, 64, 257} {
		t = append(t, Case{"gathersum", fmt.Sprint(n), 1e-5, 5, func(b *Builder) {
			b.Plan.Add(runtime.GatherSum{Src: b.Floats("src", 9, n), Starts: b.Ints("starts", 0, 1, 4, 4, 6, 13), Rows: b.N,
				List: b.Ints("list", 8, 0, 3, 3, 7, 1, 0, 1, 2, 3, 4, 5, 6), Dst: b.Out("dst", 1, n)})
		}})
	}
	for _, n := range []int{1, 17, 64} {
		t = append(t, Case{"copyrows", fmt.Sprintf("add %d", n), 0, 5, func(b *Builder) {
			b.Plan.Add(runtime.CopyRows{Src: b.Floats("src", 9, n), SrcRows: b.Ints("from", 8, 0, -1, 3, 3), Dst: b.addTo("dst", 7, n, true),
				DstRows: b.Ints("to", 6, 0, 1, -1, 4), Rows: b.N, Add: true})
		}}, Case{"multiply", fmt.Sprint(n), 0, 5, func(b *Builder) {
			b.Plan.Add(runtime.Multiply{X: b.Floats("x", 5, n), Y: b.Floats("y", 5, n), Out: b.Out("out", 1, n), Rows: b.N})
		}})
	}
	return append(t, Case{"multiply", "in place, columns", 0, 5, func(b *Builder) {
		x := b.addTo("x", 5, 40, true)
		b.Plan.Add(runtime.Multiply{X: x.Columns(3, 30), Y: b.Floats("y", 5, 30), Out: x.Columns(3, 30), Rows: b.N})
	}})
}

func lossCases() (t []Case) {
	for _, n := range []int{1, 3, 64, 257, 512} {
		for bits := range 4 {
			unit, noise := bits&1 > 0, bits&2 > 0
			t = append(t, Case{"cosineloss", fmt.Sprintf("%d unit=%t noise=%t", n, unit, noise), 2e-6, 7, func(b *Builder) {
				o := runtime.CosineLoss{A: b.Floats("a", 7, n), B: b.Floats("b", 7, n), Unit: unit, Weight: b.Floats("weight", 7, 1),
					Loss: b.Out("loss", 1, 1), DA: b.Out("da", 1, n), Rows: b.N}
				if noise {
					o.Noise = b.Floats("noise", 7, n)
				}
				b.Plan.Add(o)
			}})
		}
	}
	t = append(t, Case{"cosineloss", "near zero", 2e-6, 4, func(b *Builder) {
		// Squared lengths about 1e-12, the number that the loss adds to them, and zero.
		small := func(name string, scale ...float32) runtime.View {
			v := b.Floats(name, 4, 16)
			for i := range b.floats[v.Slot] {
				b.floats[v.Slot][i] *= scale[i/16]
			}
			return v
		}
		b.Plan.Add(runtime.CosineLoss{A: small("a", 2e-7, 1, 1, 0), B: small("b", 1, 2e-7, 0, 1), Weight: small("weight", 1e-6, 1, 1, 1e-6).Columns(0, 1),
			Loss: b.Out("loss", 1, 1), DA: b.Out("da", 1, 16), Rows: b.N})
	}})
	for _, rows := range []int{1, 3, 16, 50, 77} {
		for _, n := range []int{1, 33, 64} {
			t = append(t, Case{"infonce", fmt.Sprintf("%dx%d", rows, n), 1e-5, rows, func(b *Builder) {
				b.Plan.Add(runtime.InfoNCE{A: b.Floats("a", rows, n), B: b.Floats("b", rows, n), Tau: 0.25, Weight: 0.75,
					Loss: b.addTo("loss", 1, 1, false), DB: b.Out("db", 1, n), Rows: b.N})
			}})
		}
	}
	return append(t, Case{"infonce", "cold, columns of wider matrices", 2e-5, 20, func(b *Builder) {
		x, db := b.Floats("x", 20, 90), b.addTo("db", 20, 50, false)
		b.Plan.Add(runtime.InfoNCE{A: x.Columns(0, 40), B: x.Columns(41, 40), Tau: 0.01, Weight: 1, Loss: b.addTo("loss", 1, 1, false), DB: db.Columns(7, 40), Rows: b.N})
	}})
}

func adamWCases() (t []Case) {
	for _, n := range []int{1, 17, 300} {
		for _, ema := range []bool{false, true} {
			t = append(t, Case{"adamw", fmt.Sprintf("%d ema=%t", n, ema), 2e-6, 7, func(b *Builder) {
				o := runtime.AdamW{P: b.addTo("p", 7, n, true), G: b.Floats("g", 7, n), M: b.addTo("m", 7, n, true), V: b.squares("v", 7, n),
					Hyper: b.Values("hyper", runtime.AdamWStep(2e-2, 0.01, 0.9, 0.999, 1e-8, 0.97, 3)...), Rows: b.N}
				if ema {
					o.EMA = b.addTo("ema", 7, n, true)
				}
				b.Plan.Add(o)
			}})
		}
	}
	return t
}

// squares is a state that is never negative.
func (b *Builder) squares(name string, rows, cols int) runtime.View {
	v := b.addTo(name, rows, cols, true)
	for i, x := range b.floats[v.Slot] {
		b.floats[v.Slot][i] = x * x
	}
	return v
}

func randomCases() (t []Case) {
	for _, n := range []int{1, 2, 3, 4, 5, 31, 64, 513} {
		for _, kind := range []runtime.Distribution{runtime.Normal, runtime.Keep} {
			t = append(t, Case{"random", fmt.Sprintf("distribution %d, %d", kind, n), 1e-6, 5, func(b *Builder) {
				b.Plan.Add(runtime.Random{Kind: kind, Param: b.Values("param", 0.3), Seed: b.Ints("seed", 12345, -7), Counter: b.Ints("counter", 350, 2),
					Keys: b.Ints("keys", 0, -1, 7, 0, 1<<31-1), Out: b.Out("out", 1, n), Rows: b.N})
			}})
		}
	}
	return t
}
