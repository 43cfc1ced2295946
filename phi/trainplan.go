package phi

import (
	"isearle/clipnet"
	"isearle/runtime"
)

// trainPlan is a training step compiled for a batch size: the network forward with dropout, the distillation loss against OTI's
// pseudo-words, the phrase loss through the frozen text transformer, the backward pass to every parameter, and AdamW.
type trainPlan struct {
	prog  runtime.Program
	graph *clipnet.TextGraph

	features, targets, plain runtime.Buffer // [batch, d], [batch, w], [batch, embed]
	words                    runtime.Buffer // [batch, w]: phi's output
	masks                    []runtime.Buffer
	weight                   runtime.Buffer // [batch, 1]
	distil, phrase           runtime.Buffer // losses: [1, 1], [batch, 1]
	hyper                    runtime.Buffer
	params                   []param
	rows                     int // capacity of the text transformer
}

// param is a trained matrix with its optimiser's state.
type param struct{ p, g, m, v runtime.Buffer }

// paramViews are a parameter's in the Plan.
type paramViews struct{ p, g, m, v runtime.View }

func newParam(p *runtime.Plan, rows, cols int) paramViews {
	n := func(name string) runtime.View { return p.New(name, runtime.F32, rows, cols) }
	return paramViews{n("parameter"), n("gradient"), n("first moment"), n("second moment")}
}

// hidden is what a hidden layer leaves for the backward pass.
type hidden struct{ in, pre, mask, out runtime.View }

// compileTrain records and compiles a step over a batch; rows is the capacity of the text transformer in tokens.
func compileTrain(dev runtime.Device, text *clipnet.TextEncoder, n *Network, batch, rows int, o TrainOptions) (*trainPlan, error) {
	p, all := runtime.NewPlan("phi training"), runtime.Fixed(batch)
	w, embed := n.Out(), text.Dim()
	in := func(name string, cols int) runtime.View { return p.New(name, runtime.F32, batch, cols) }
	features, targets, plain, weight := in("features", n.In()), in("targets", w), in("plain phrases", embed), in("weights", 1)
	phraseLoss, distilLoss := in("phrase losses", 1), p.New("distillation loss", runtime.F32, 1, 1)
	hyper := p.New("hyper", runtime.F32, 1, runtime.HyperLen)

	ws, bs, hs, words := recordForward(p, n, features, batch)
	graph := text.Record(p, batch, rows, words, true)
	dFeatures, dPhrase, dWords := p.Temp("d features", runtime.F32, batch, embed), p.Temp("d words", runtime.F32, batch, w), p.Temp("d words", runtime.F32, batch, w)
	p.Add(runtime.CosineLoss{A: graph.Features, B: plain, Weight: weight, Loss: phraseLoss, DA: dFeatures, Rows: all})
	graph.RecordGrad(p, dFeatures, dPhrase, all)
	p.Add(runtime.InfoNCE{A: targets, B: words, Tau: float32(o.Tau), Weight: float32(o.LambdaDistil), Loss: distilLoss, DB: dWords, Rows: all})
	p.Add(runtime.CopyRows{Src: dPhrase, Dst: dWords, Rows: all, Add: true})
	recordBackward(p, n, ws, bs, hs, dWords, batch)
	for _, v := range append(append([]paramViews(nil), ws...), bs...) {
		p.Add(runtime.AdamW{P: v.p, G: v.g, M: v.m, V: v.v, Hyper: hyper, Rows: runtime.Fixed(v.p.Rows)})
	}
	prog, err := dev.Compile(p)
	if err != nil {
		return nil, err
	}
	b := func(v runtime.View) runtime.Buffer { return prog.Buffer(v.Slot) }
	t := &trainPlan{prog: prog, graph: graph, features: b(features), targets: b(targets), plain: b(plain), words: b(words),
		rows: rows, weight: b(weight), distil: b(distilLoss), phrase: b(phraseLoss), hyper: b(hyper)}
	for _, h := range hs {
		if !h.mask.Absent() {
			t.masks = append(t.masks, b(h.mask))
		}
	}
	for i := range ws {
		for _, v := range []paramViews{ws[i], bs[i]} {
			t.params = append(t.params, param{b(v.p), b(v.g), b(v.m), b(v.v)})
		}
	}
	return t, graph.Bind(prog)
}

// recordForward records the network with dropout behind every activation; masks hold 0 or 1/(1-p).
func recordForward(p *runtime.Plan, n *Network, x runtime.View, batch int) (ws, bs []paramViews, hs []hidden, words runtime.View) {
	all := runtime.Fixed(batch)
	for i, l := range n.Layers {
		w, bias := newParam(p, l.Out, l.In), newParam(p, 1, l.Out)
		ws, bs = append(ws, w), append(bs, bias)
		h := hidden{in: x}
		if i == len(n.Layers)-1 {
			words = p.New("words", runtime.F32, batch, l.Out)
			p.Add(runtime.Linear{X: x, Dense: w.p, Bias: bias.p, Rows: all, Out: words})
			hs = append(hs, h)
			break
		}
		h.pre, h.out = p.Temp("pre", runtime.F32, batch, l.Out), p.Temp("hidden", runtime.F32, batch, l.Out)
		h.mask = p.New("mask", runtime.F32, batch, l.Out)
		p.Add(runtime.Linear{X: x, Dense: w.p, Bias: bias.p, Act: n.Act, Rows: all, Out: h.out, Pre: h.pre})
		p.Add(runtime.Multiply{X: h.out, Y: h.mask, Out: h.out, Rows: all})
		x = h.out
		hs = append(hs, h)
	}
	return ws, bs, hs, words
}

// recordBackward records the gradients of all parameters from d, the gradient of the output.
func recordBackward(p *runtime.Plan, n *Network, ws, bs []paramViews, hs []hidden, d runtime.View, batch int) {
	all := runtime.Fixed(batch)
	for i := len(n.Layers) - 1; i >= 0; i-- {
		h := hs[i]
		if !h.mask.Absent() { // d is that of the layer's masked output
			p.Add(runtime.Multiply{X: d, Y: h.mask, Out: d, Rows: all})
			p.Add(runtime.LinearGrad{DY: d, Act: n.Act, Pre: h.pre, Dense: ws[i].p, DPre: d, Rows: all})
		}
		p.Add(runtime.WeightGrad{DPre: d, X: h.in, DW: ws[i].g, DBias: bs[i].g, Rows: all})
		if i > 0 {
			dx := p.Temp("d hidden", runtime.F32, batch, n.Layers[i].In)
			p.Add(runtime.LinearGrad{DY: d, Dense: ws[i].p, DX: dx, Rows: all})
			d = dx
		}
	}
}
