package phi

import "isearle/runtime"

// recorder records a network's forward and backward pass in a training Plan, with dropout behind every activation. Masks hold 0 or
// 1/(1-p).
type recorder struct {
	p      *runtime.Plan
	n      *Network
	all    runtime.Dim
	ws, bs []paramViews
	masks  []runtime.View
	kept   []kept       // of each layer
	norm   runtime.Norm // of Residual
}

// kept is what a layer's forward pass leaves for the backward one: its input, what the activation is of, the mask behind it, and in
// a Residual network the stream that the input is the normalisation of.
type kept struct{ in, pre, mask, stream runtime.View }

// params are every layer's weight and bias.
func (r *recorder) params() (out []paramViews) {
	for i := range r.ws {
		out = append(out, r.ws[i], r.bs[i])
	}
	return out
}

// optimise records AdamW for every parameter.
func (r *recorder) optimise(hyper runtime.View) {
	for _, v := range r.params() {
		r.p.Add(runtime.AdamW{P: v.p, G: v.g, M: v.m, V: v.v, Hyper: hyper, Rows: runtime.Fixed(v.p.Rows)})
	}
}

// bind finds the masks and parameters in the compiled Plan, and writes what no step changes.
func (r *recorder) bind(prog runtime.Program) (masks []runtime.Buffer, params []param, err error) {
	for _, m := range r.masks {
		masks = append(masks, buffer(prog, m))
	}
	for _, v := range r.params() {
		params = append(params, param{buffer(prog, v.p), buffer(prog, v.g), buffer(prog, v.m), buffer(prog, v.v)})
	}
	if g := r.norm.Gamma; !g.Absent() {
		err = buffer(prog, g).WriteF32(0, ones(g.Cols))
	}
	return masks, params, err
}

// temp makes a matrix of a row for each example.
func (r *recorder) temp(name string, cols int) runtime.View {
	return r.p.Temp(name, runtime.F32, r.all.Cap, cols)
}

// linear records layer i without an activation.
func (r *recorder) linear(i int, o runtime.Linear) runtime.Linear {
	l := r.n.Layers[i]
	w, b := newParam(r.p, l.Out, l.In), newParam(r.p, 1, l.Out)
	r.ws, r.bs = append(r.ws, w), append(r.bs, b)
	o.Dense, o.Bias, o.Rows = w.p, b.p, r.all
	return o
}

// activated records layer i with the activation and the mask behind it, and returns what comes out.
func (r *recorder) activated(i int, x, stream runtime.View) runtime.View {
	cols := r.n.Layers[i].Out
	k := kept{in: x, stream: stream, pre: r.temp("pre", cols), mask: r.p.New("mask", runtime.F32, r.all.Cap, cols)}
	out := r.temp("hidden", cols)
	r.p.Add(r.linear(i, runtime.Linear{X: x, Act: r.n.Act, Out: out, Pre: k.pre}))
	r.p.Add(runtime.Multiply{X: out, Y: k.mask, Out: out, Rows: r.all})
	r.kept, r.masks = append(r.kept, k), append(r.masks, k.mask)
	return out
}

// plain records layer i without an activation, into out.
func (r *recorder) plain(i int, x, stream, residual, out runtime.View) {
	r.p.Add(r.linear(i, runtime.Linear{X: x, Residual: residual, Out: out}))
	r.kept = append(r.kept, kept{in: x, stream: stream})
}

// normalised records the normalisation of a stream.
func (r *recorder) normalised(stream runtime.View) runtime.View {
	out := r.temp("normalised", stream.Cols)
	r.p.Add(runtime.LayerNorm{X: stream, Norm: r.norm, Rows: r.all, Out: out})
	return out
}

// forward records the network and returns its pseudo-words.
func (r *recorder) forward(x runtime.View) runtime.View {
	last := len(r.n.Layers) - 1
	words := r.p.New("words", runtime.F32, r.all.Cap, r.n.Out())
	if r.n.Arch == MLP {
		for i := range last {
			x = r.activated(i, x, runtime.View{})
		}
		r.plain(last, x, runtime.View{}, runtime.View{}, words)
		return words
	}
	r.norm = newNorm(r.p, r.n.In())
	for k := range r.n.blocks() {
		h := r.activated(2*k, r.normalised(x), x)
		next := r.temp("stream", r.n.In())
		r.plain(2*k+1, h, runtime.View{}, x, next)
		x = next
	}
	r.plain(last, r.normalised(x), x, runtime.View{}, words)
	return words
}

// backward records the gradients of all parameters from that of the pseudo-words.
func (r *recorder) backward(d runtime.View) {
	if r.n.Arch == MLP {
		for i := len(r.n.Layers) - 1; i >= 0; i-- {
			d = r.layerGrad(i, d)
		}
		return
	}
	last := len(r.n.Layers) - 1
	stream := r.temp("d stream", r.n.In())
	r.normGrad(last, r.layerGrad(last, d), stream, false)
	for k := r.n.blocks() - 1; k >= 0; k-- {
		dh := r.layerGrad(2*k+1, stream)
		if dn := r.layerGrad(2*k, dh); k > 0 {
			r.normGrad(2*k, dn, stream, true)
		}
	}
}

// layerGrad records the gradients of layer i's parameters and returns that of its input, which the first layer's needs not; d is that
// of its output behind the mask, and is overwritten where there is one.
func (r *recorder) layerGrad(i int, d runtime.View) runtime.View {
	k := r.kept[i]
	if !k.mask.Absent() {
		r.p.Add(runtime.Multiply{X: d, Y: k.mask, Out: d, Rows: r.all})
		r.p.Add(runtime.LinearGrad{DY: d, Act: r.n.Act, Pre: k.pre, Dense: r.ws[i].p, DPre: d, Rows: r.all})
	}
	r.p.Add(runtime.WeightGrad{DPre: d, X: k.in, DW: r.ws[i].g, DBias: r.bs[i].g, Rows: r.all})
	if i == 0 {
		return runtime.View{}
	}
	dx := r.temp("d input", r.n.Layers[i].In)
	r.p.Add(runtime.LinearGrad{DY: d, Dense: r.ws[i].p, DX: dx, Rows: r.all})
	return dx
}

// normGrad records the way of layer i's input gradient through the normalisation to the stream.
func (r *recorder) normGrad(i int, d, stream runtime.View, add bool) {
	r.p.Add(runtime.LayerNormGrad{DY: d, X: r.kept[i].stream, Norm: r.norm, DX: stream, Add: add, Rows: r.all})
}
