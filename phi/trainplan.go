package phi

import (
	"isearle/clipnet"
	"isearle/runtime"
)

// trainPlan is a training step compiled for a batch size: the network forward with dropout, the distillation loss against OTI's
// pseudo-words, the phrase loss through the frozen text transformer, the backward pass to every parameter, and AdamW.
type trainPlan struct {
	prog runtime.Program
	gpt  *gptTerm // nil without

	features, targets runtime.Buffer // [batch, d], [batch, w]
	words             runtime.Buffer // [batch, w]: phi's output
	masks             []runtime.Buffer
	distil            runtime.Buffer // loss: [1, 1]
	hyper             runtime.Buffer
	params            []param // each layer's weight and bias
	rows              int     // capacity of the text transformer
}

// param is a trained matrix with its optimiser's state.
type param struct{ p, g, m, v runtime.Buffer }

// paramViews are a parameter's in the Plan.
type paramViews struct{ p, g, m, v runtime.View }

func newParam(p *runtime.Plan, rows, cols int) paramViews {
	n := func(name string) runtime.View { return p.New(name, runtime.F32, rows, cols) }
	return paramViews{n("parameter"), n("gradient"), n("first moment"), n("second moment")}
}

// compileTrain records and compiles a step over a batch; rows is the capacity of the text transformer in tokens. Without a GPT term
// there is no text transformer.
func compileTrain(dev runtime.Device, text *clipnet.TextEncoder, n *Network, rows int, o TrainOptions) (*trainPlan, error) {
	p, all := runtime.NewPlan("phi training"), runtime.Fixed(o.Batch)
	in := func(name string, cols int) runtime.View { return p.New(name, runtime.F32, o.Batch, cols) }
	features, targets := in("features", n.In()), in("targets", n.Out())
	distilLoss, hyper := p.New("distillation loss", runtime.F32, 1, 1), p.New("hyper", runtime.F32, 1, runtime.HyperLen)

	r := &recorder{p: p, n: n, all: all}
	words := r.forward(features)
	dWords := p.Temp("d words", runtime.F32, o.Batch, n.Out())
	p.Add(runtime.InfoNCE{A: targets, B: words, Tau: float32(o.Tau), Weight: float32(o.LambdaDistil), Loss: distilLoss, DB: dWords, Rows: all})
	var gpt *gptTerm
	if o.LambdaGPT > 0 {
		gpt = recordGPT(p, text, words, dWords, rows)
	}
	r.backward(dWords)
	r.optimise(hyper)
	prog, err := dev.Compile(p)
	if err != nil {
		return nil, err
	}
	t := &trainPlan{prog: prog, rows: rows, gpt: gpt, features: buffer(prog, features), targets: buffer(prog, targets),
		words: buffer(prog, words), distil: buffer(prog, distilLoss), hyper: buffer(prog, hyper)}
	if t.masks, t.params, err = r.bind(prog); err != nil || gpt == nil {
		return t, err
	}
	return t, gpt.bind(prog, o)
}

func buffer(prog runtime.Program, v runtime.View) runtime.Buffer { return prog.Buffer(v.Slot) }

// gptTerm is the regularisation: the pseudo phrases' features against the plain ones'.
type gptTerm struct {
	graph               *clipnet.TextGraph
	views               [3]runtime.View // of the buffers
	plain, weight, loss runtime.Buffer  // [batch, embed], [batch, 1], [batch, 1]
}

// recordGPT records the term and adds its gradient to dWords.
func recordGPT(p *runtime.Plan, text *clipnet.TextEncoder, words, dWords runtime.View, rows int) *gptTerm {
	batch, embed := words.Rows, text.Dim()
	all := runtime.Fixed(batch)
	plain, weight, loss := p.New("plain phrases", runtime.F32, batch, embed), p.New("weights", runtime.F32, batch, 1), p.New("phrase losses", runtime.F32, batch, 1)
	graph := text.Record(p, batch, rows, words, true)
	dFeatures, dPhrase := p.Temp("d features", runtime.F32, batch, embed), p.Temp("d phrases", runtime.F32, batch, words.Cols)
	p.Add(runtime.CosineLoss{A: graph.Features, B: plain, Weight: weight, Loss: loss, DA: dFeatures, Rows: all})
	graph.RecordGrad(p, dFeatures, dPhrase, all)
	p.Add(runtime.CopyRows{Src: dPhrase, Dst: dWords, Rows: all, Add: true})
	return &gptTerm{graph: graph, views: [3]runtime.View{plain, weight, loss}}
}

func (g *gptTerm) bind(prog runtime.Program, o TrainOptions) error {
	g.plain, g.weight, g.loss = buffer(prog, g.views[0]), buffer(prog, g.views[1]), buffer(prog, g.views[2])
	weight := make([]float32, o.Batch)
	for i := range weight {
		weight[i] = float32(o.LambdaGPT / float64(o.Batch))
	}
	if err := g.weight.WriteF32(0, weight); err != nil {
		return err
	}
	return g.graph.Bind(prog)
}
