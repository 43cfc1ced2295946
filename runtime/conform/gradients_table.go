package conform

import (
	"fmt"

	"isearle/runtime"
)

// gradient is one row of the gradient mode; extent is the capacity of Builder.N, all of it live.
type gradient struct {
	name   string
	extent int
	build  func(g *Gradient)
}

func gradientTable() (t []gradient) {
	for _, add := range []func() []gradient{linearGradients, normGradients, attentionGradients, rowGradients, lossGradients} {
		t = append(t, add()...)
	}
	return t
}

// linearGradients differentiate products, by the input and where the weight is dense by the weight and the bias.
func linearGradients() (t []gradient) {
	for _, act := range activations {
		t = append(t, gradient{fmt.Sprintf("linear %s, dense", act), 7, func(g *Gradient) {
			x, w, bias, res := g.Floats("x", 7, 5), g.Floats("w", 6, 5), g.Floats("bias", 1, 6), g.Floats("res", 7, 6)
			y, dy := g.New("y", 7, 6), g.Floats("dy", 7, 6)
			o := runtime.Linear{X: x, Dense: w, Bias: bias, Act: act, Residual: res, Rows: g.N, Out: y, Pre: g.New("pre", 7, 6)}
			g.Plan.Add(o)
			dx, dpre, dw, dbias := g.New("dx", 7, 5), g.New("dpre", 7, 6), g.New("dw", 6, 5), g.New("dbias", 1, 6)
			g.Plan.Add(runtime.LinearGrad{DY: dy, Act: act, Pre: o.Pre, Dense: w, DX: dx, DPre: dpre, Rows: g.N})
			g.Plan.Add(runtime.WeightGrad{DPre: dpre, X: x, DW: dw, DBias: dbias, Rows: g.N})
			g.Objective(y, dy)
			g.Derivative(x, dx)
			g.Derivative(w, dw)
			g.Derivative(bias, dbias)
			g.Derivative(res, dy)
		}}, gradient{fmt.Sprintf("linear %s, norm and residual", act), 5, func(g *Gradient) {
			x, y, dy := g.Floats("x", 5, 8), g.New("y", 5, 8), g.Floats("dy", 5, 8)
			w, norm, pre := g.Weight("w", 0, 8, 8), g.Norm(8), g.New("pre", 5, 8)
			g.Plan.Add(runtime.Linear{X: x, Norm: norm, W: w, Bias: g.Floats("bias", 1, 8), Act: act, Residual: x, Rows: g.N, Out: y, Pre: pre})
			dx, dn := g.New("dx", 5, 8), g.New("dn", 5, 8)
			g.Plan.Add(runtime.CopyRows{Src: dy, Dst: dx, Rows: g.N})
			g.Plan.Add(runtime.LinearGrad{DY: dy, Act: act, Pre: pre, W: w, DX: dn, Rows: g.N})
			g.Plan.Add(runtime.LayerNormGrad{DY: dn, X: x, Norm: norm, DX: dx, Add: true, Rows: g.N})
			g.Objective(y, dy)
			g.Derivative(x, dx)
		}})
	}
	return append(t, gradient{"linear, one input of two products", 4, func(g *Gradient) {
		x, dx := g.Floats("x", 4, 6), g.New("dx", 4, 6)
		for i, n := range []int{3, 7} {
			w, y, dy := g.Weight(fmt.Sprint("w", i), 0, n, 6), g.New("y", 4, n), g.Floats(fmt.Sprint("dy", i), 4, n)
			g.Plan.Add(runtime.Linear{X: x, W: w, Rows: g.N, Out: y})
			g.Plan.Add(runtime.LinearGrad{DY: dy, W: w, DX: dx, Add: i > 0, Rows: g.N})
			g.Objective(y, dy)
		}
		g.Derivative(x, dx)
	}}, gradient{"linear, two layers with dropout", 6, twoLayers})
}

// twoLayers is phi in small.
func twoLayers(g *Gradient) {
	const act = runtime.GELU
	x, y, dy := g.Floats("x", 6, 5), g.New("y", 6, 4), g.Floats("dy", 6, 4)
	w1, w2, bias := g.Floats("w1", 7, 5), g.Floats("w2", 4, 7), g.Floats("bias", 1, 7)
	pre, h, dropped, mask := g.New("pre", 6, 7), g.New("h", 6, 7), g.New("dropped", 6, 7), g.New("mask", 6, 7)
	g.Plan.Add(runtime.Random{Kind: runtime.Keep, Param: g.Values("p", 0.5), Seed: g.Ints("seed", 3, 4), Counter: g.Ints("counter", 5, 6),
		Keys: g.Ints("keys", 0, 1, 2, 3, 4, 5), Out: mask, Rows: g.N})
	g.Plan.Add(runtime.Linear{X: x, Dense: w1, Bias: bias, Act: act, Rows: g.N, Out: h, Pre: pre})
	g.Plan.Add(runtime.Multiply{X: h, Y: mask, Out: dropped, Rows: g.N})
	g.Plan.Add(runtime.Linear{X: dropped, Dense: w2, Rows: g.N, Out: y})

	dh, dx, dw1, dw2, dbias := g.New("dh", 6, 7), g.New("dx", 6, 5), g.New("dw1", 7, 5), g.New("dw2", 4, 7), g.New("dbias", 1, 7)
	g.Plan.Add(runtime.WeightGrad{DPre: dy, X: dropped, DW: dw2, Rows: g.N})
	g.Plan.Add(runtime.LinearGrad{DY: dy, Dense: w2, DX: dh, Rows: g.N})
	g.Plan.Add(runtime.Multiply{X: dh, Y: mask, Out: dh, Rows: g.N})
	g.Plan.Add(runtime.LinearGrad{DY: dh, Act: act, Pre: pre, Dense: w1, DX: dx, DPre: dh, Rows: g.N})
	g.Plan.Add(runtime.WeightGrad{DPre: dh, X: x, DW: dw1, DBias: dbias, Rows: g.N})
	g.Objective(y, dy)
	g.Derivative(x, dx)
	g.Derivative(w1, dw1)
	g.Derivative(w2, dw2)
	g.Derivative(bias, dbias)
}

func normGradients() (t []gradient) {
	for _, n := range []int{3, 16} {
		t = append(t, gradient{fmt.Sprintf("layernorm %d", n), 4, func(g *Gradient) {
			x, y, dy, dx, norm := g.Floats("x", 4, n), g.New("y", 4, n), g.Floats("dy", 4, n), g.New("dx", 4, n), g.Norm(n)
			g.Plan.Add(runtime.LayerNorm{X: x, Norm: norm, Rows: g.N, Out: y})
			g.Plan.Add(runtime.LayerNormGrad{DY: dy, X: x, Norm: norm, DX: dx, Rows: g.N})
			g.Objective(y, dy)
			g.Derivative(x, dx)
		}})
	}
	return append(t, gradient{"project", 3, func(g *Gradient) {
		x, y, dy := g.Floats("x", 6, 7), g.New("y", 3, 4), g.Floats("dy", 3, 4)
		pool, norm, w := g.Ints("pool", 5, 0, 2), g.Norm(7), g.Weight("w", 0, 4, 7)
		g.Plan.Add(runtime.Project{X: x, Pool: pool, Norm: norm, W: w, Rows: g.N, Out: y})
		pooled, dpooled, dx := g.New("pooled", 3, 7), g.New("dpooled", 3, 7), g.New("dx", 6, 7)
		g.Plan.Add(runtime.CopyRows{Src: x, SrcRows: pool, Dst: pooled, Rows: g.N})
		g.Plan.Add(runtime.LinearGrad{DY: dy, W: w, DX: dpooled, Rows: g.N})
		g.Plan.Add(runtime.LayerNormGrad{DY: dpooled, X: pooled, Norm: norm, DX: dpooled, Rows: g.N})
		g.Plan.Add(runtime.CopyRows{Src: dpooled, Dst: dx, DstRows: pool, Rows: g.N})
		g.Objective(y, dy)
		g.Derivative(x, dx)
	}})
}

// attentionGradients take ragged sequences, one of them empty, in every mode, with and without a prefix and for some queries only.
func attentionGradients() (t []gradient) {
	for mode := range attentionModes {
		for _, prefix := range []bool{false, true} {
			for _, last := range []bool{false, true} {
				s := attentionShape{heads: 2, d: 3, mode: mode, lengths: []int{1, 3, 0, 4}, last: last}
				if prefix {
					s.prefix = []int{2, 0, 1, 3}
				}
				t = append(t, gradient{"attention " + s.String(), len(s.lengths), func(g *Gradient) {
					o := s.record(g.Builder)
					o.Out = g.New("out", o.Q.Rows, o.Q.Cols)
					dy := g.Floats("dout", o.Q.Rows, o.Q.Cols)
					dq, dk, dv := g.New("dq", o.Q.Rows, o.Q.Cols), g.New("dk", o.K.Rows, o.K.Cols), g.New("dv", o.K.Rows, o.K.Cols)
					g.Plan.Add(o)
					g.Plan.Add(runtime.AttentionGrad{Attention: o, DOut: dy, DQ: dq, DK: dk, DV: dv})
					g.Objective(o.Out, dy)
					g.Derivative(o.Q, dq)
					g.Derivative(o.K, dk)
					g.Derivative(o.V, dv)
				}})
			}
		}
	}
	return t
}

// rowGradients move rows.
func rowGradients() []gradient {
	return []gradient{
		{"tokenembed", 6, func(g *Gradient) {
			pseudo, x, dy, dv := g.Floats("pseudo", 3, 5), g.New("x", 6, 5), g.Floats("dx", 6, 5), g.New("dv", 3, 5)
			g.Plan.Add(runtime.TokenEmbed{IDs: g.Ints("ids", 1, 0, 3, 2, 1, 0), Pos: g.Ints("pos", 0, 1, 2, 3, 0, 1), Rows: g.N,
				Inject: g.Ints("inject", -1, 2, 0, -1, 2, 1), Pseudo: pseudo, Table: g.Floats("table", 4, 5), PosTable: g.Floats("postable", 4, 5), Out: x})
			g.Plan.Add(runtime.GatherSum{Src: dy, Starts: g.Ints("starts", 0, 1, 2, 4), List: g.Ints("list", 2, 5, 1, 4), Dst: dv, Rows: runtime.Fixed(3)})
			g.Objective(x, dy)
			g.Derivative(pseudo, dv)
		}},
		{"copyrows", 3, func(g *Gradient) {
			x, y, dy, z, dz, dx := g.Floats("x", 5, 4), g.New("y", 3, 4), g.Floats("dy", 3, 4), g.New("z", 5, 4), g.Floats("dz", 5, 4), g.New("dx", 5, 4)
			rows := g.Ints("rows", 4, 0, 3)
			g.Plan.Add(runtime.CopyRows{Src: x, SrcRows: rows, Dst: y, Rows: g.N})
			g.Plan.Add(runtime.CopyRows{Src: x, Dst: z, Rows: runtime.Fixed(5)})
			g.Plan.Add(runtime.CopyRows{Src: dz, Dst: dx, Rows: runtime.Fixed(5)})
			g.Plan.Add(runtime.CopyRows{Src: dy, Dst: dx, DstRows: rows, Rows: g.N, Add: true})
			g.Objective(y, dy)
			g.Objective(z, dz)
			g.Derivative(x, dx)
		}},
	}
}

func lossGradients() (t []gradient) {
	for bits := range 4 {
		unit, noise := bits&1 > 0, bits&2 > 0
		t = append(t, gradient{fmt.Sprintf("cosineloss unit=%t noise=%t", unit, noise), 4, func(g *Gradient) {
			o := runtime.CosineLoss{A: g.Floats("a", 4, 6), B: g.Floats("b", 4, 6), Unit: unit, Weight: g.Floats("weight", 4, 1),
				Loss: g.New("loss", 4, 1), DA: g.New("da", 4, 6), Rows: g.N}
			if noise {
				o.Noise = g.Floats("noise", 4, 6)
			}
			g.Plan.Add(o)
			g.Objective(o.Loss, o.Weight)
			g.Derivative(o.A, o.DA)
		}})
	}
	for _, rows := range []int{2, 5} {
		t = append(t, gradient{fmt.Sprintf("infonce %d", rows), rows, func(g *Gradient) {
			o := runtime.InfoNCE{A: g.Floats("a", rows, 4), B: g.Floats("b", rows, 4), Tau: 0.25, Weight: 0.75,
				Loss: g.New("loss", 1, 1), DB: g.New("db", rows, 4), Rows: g.N}
			g.Plan.Add(o)
			g.Objective(o.Loss, g.Values("weight", 0.75))
			g.Derivative(o.B, o.DB)
		}})
	}
	return t
}
