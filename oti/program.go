package oti

import (
	"context"

	"isearle/clipnet"
	"isearle/runtime"
)

// program is one optimisation step of up to words pseudo-words, compiled: both forward passes as one ragged batch, the losses,
// the backward pass to the pseudo-words, AdamW and the average. A step of L = (lc*content + lg*gpt)/(lc+lg).
type program struct {
	prog  runtime.Program
	graph *clipnet.TextGraph
	words int

	p, m, v, ema, g runtime.Buffer // [words, width]
	count, hyper    runtime.Buffer
	content, phrase lossBuffers
	embed, width    int
}

// lossBuffers are one loss's: which sequences it is over, their targets, and what comes out.
type lossBuffers struct{ live, rows, target, noise, weight, loss runtime.Buffer }

// compile records a step for a capacity: words pseudo-words, and rows tokens behind the cached prefixes.
func compile(dev runtime.Device, text *clipnet.TextEncoder, words, rows int, noiseUnit bool) (*program, error) {
	w, e := text.Width(), text.Dim()
	p := runtime.NewPlan("oti")
	count := p.New("words", runtime.I32, 1, 1)
	live := runtime.Dim{Cap: words, Live: count}
	state := func(name string) runtime.View { return p.New(name, runtime.F32, words, w) }
	v, m, s, ema, g := state("pseudo-words"), state("first moments"), state("second moments"), state("averages"), state("gradients")
	hyper := p.New("hyper", runtime.F32, 1, runtime.HyperLen)
	graph := text.Record(p, 2*words, rows, v, true)
	dFeatures := p.Temp("d features", runtime.F32, 2*words, e)
	content := recordLoss(p, "content", graph, dFeatures, words, e, true, noiseUnit)
	phrase := recordLoss(p, "phrase", graph, dFeatures, words, e, false, false)
	graph.RecordGrad(p, dFeatures, g, live)
	p.Add(runtime.AdamW{P: v, G: g, M: m, V: s, EMA: ema, Hyper: hyper, Rows: live})
	prog, err := dev.Compile(p)
	if err != nil {
		return nil, err
	}
	b := func(v runtime.View) runtime.Buffer { return prog.Buffer(v.Slot) }
	out := &program{prog: prog, graph: graph, words: words, p: b(v), m: b(m), v: b(s), ema: b(ema), g: b(g), count: b(count), hyper: b(hyper),
		content: content.bind(prog), phrase: phrase.bind(prog), embed: e, width: w}
	if err := graph.Bind(prog); err != nil {
		prog.Close()
		return nil, err
	}
	return out, nil
}

// lossViews are a loss's in the Plan.
type lossViews struct{ live, rows, target, noise, weight, loss runtime.View }

// recordLoss records a loss over the features of the sequences listed in rows, and puts its gradient into those rows of dFeatures.
func recordLoss(p *runtime.Plan, name string, graph *clipnet.TextGraph, dFeatures runtime.View, words, embed int, noise, unit bool) lossViews {
	l := lossViews{live: p.New(name+" live", runtime.I32, 1, 1), rows: p.New(name+" sequences", runtime.I32, 1, words),
		target: p.New(name+" targets", runtime.F32, words, embed), weight: p.New(name+" weights", runtime.F32, words, 1),
		loss: p.New(name+" losses", runtime.F32, words, 1)}
	if noise {
		l.noise = p.New(name+" noise", runtime.F32, words, embed)
	}
	d := runtime.Dim{Cap: words, Live: l.live}
	a, da := p.Temp(name+" features", runtime.F32, words, embed), p.Temp(name+" gradients", runtime.F32, words, embed)
	p.Add(runtime.CopyRows{Src: graph.Features, SrcRows: l.rows, Dst: a, Rows: d})
	p.Add(runtime.CosineLoss{A: a, B: l.target, Noise: l.noise, Unit: unit, Weight: l.weight, Loss: l.loss, DA: da, Rows: d})
	p.Add(runtime.CopyRows{Src: da, Dst: dFeatures, DstRows: l.rows, Rows: d})
	return l
}

func (l lossViews) bind(prog runtime.Program) lossBuffers {
	b := lossBuffers{live: prog.Buffer(l.live.Slot), rows: prog.Buffer(l.rows.Slot), target: prog.Buffer(l.target.Slot),
		weight: prog.Buffer(l.weight.Slot), loss: prog.Buffer(l.loss.Slot)}
	if !l.noise.Absent() {
		b.noise = prog.Buffer(l.noise.Slot)
	}
	return b
}

// setHyper writes the optimiser's numbers for step t, counted from 1.
func (p *program) setHyper(o Options, t int) error {
	return p.hyper.WriteF32(0, runtime.AdamWStep(o.LR, o.WeightDecay, o.Beta1, o.Beta2, o.Eps, o.EMA, t))
}

func (p *program) run(ctx context.Context) error { return p.prog.Run(ctx) }

func (p *program) close() error { return p.prog.Close() }
