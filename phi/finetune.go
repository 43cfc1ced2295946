package phi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/runtime"
)

// TuneOptions of fine-tuning on triplets. Start from TuneDefaults.
type TuneOptions struct {
	Batch       int
	Epochs      int
	LR          float64
	WeightDecay float64
	Dropout     float64
	Tau         float64 // temperature of the contrastive loss
	Seed        uint64
}

// TuneDefaults start from a network that is trained: a rate and dropout below the distillation's, and CLIP's first temperature.
func TuneDefaults() TuneOptions {
	return TuneOptions{Batch: 64, Epochs: 20, LR: 1e-4, WeightDecay: .01, Dropout: .1, Tau: .07}
}

// Check finds options that no training can have.
func (o TuneOptions) Check() error {
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	switch {
	case o.Batch < 2:
		return fmt.Errorf("phi: a batch of %d: the loss needs at least 2 triplets", o.Batch)
	case o.Epochs < 1:
		return fmt.Errorf("phi: %d epochs", o.Epochs)
	case !positive(o.LR) || o.WeightDecay != 0 && !positive(o.WeightDecay) || !positive(o.Tau):
		return fmt.Errorf("phi: learning rate %g, weight decay %g, temperature %g", o.LR, o.WeightDecay, o.Tau)
	case !(o.Dropout >= 0 && o.Dropout < 1):
		return fmt.Errorf("phi: dropout of %g", o.Dropout)
	}
	return nil
}

// Triplet is a reference image, a change, and the images that it leads to. Features are raw.
type Triplet struct {
	Name      string
	Reference []float32
	Prompt    tokenizer.Prompt // all its pseudo-words are that of the reference
	Targets   [][]float32      // at least one; each time the triplet is learnt from, one is drawn
}

// Tuner trains a network on triplets directly: the composed queries' features, through the frozen text transformer, against their
// targets' among those of the batch, by the loss of runtime.InfoNCE.
type Tuner struct {
	loop
	dev      runtime.Device
	text     *clipnet.TextEncoder
	opts     TuneOptions
	triplets []Triplet
	prompts  []clipnet.Prompt
	choices  seededChoices
	plan     *tunePlan
}

// NewTuner prepares training from a network, which stays as it is. text must have been made for gradients.
func NewTuner(dev runtime.Device, text *clipnet.TextEncoder, tok *tokenizer.Tokenizer, rules tokenizer.Rules, n *Network, triplets []Triplet, o TuneOptions) (*Tuner, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if len(triplets) < o.Batch {
		return nil, fmt.Errorf("phi: %d triplets do not fill a batch of %d", len(triplets), o.Batch)
	}
	if n.In() != text.Dim() || n.Out() != text.Width() {
		return nil, fmt.Errorf("phi: the network maps %d elements to %d, the model's features have %d and its tokens %d", n.In(), n.Out(), text.Dim(), text.Width())
	}
	t := &Tuner{dev: dev, text: text, opts: o, triplets: triplets, choices: seededChoices{o.Seed}}
	for i, x := range triplets {
		p, err := t.prepare(tok, rules, x)
		if err != nil {
			return nil, fmt.Errorf("phi: triplet %q (%d): %w", x.Name, i, err)
		}
		t.prompts = append(t.prompts, p)
	}
	t.loop = loop{net: fresh(n), examples: len(triplets), batch: o.Batch, epochs: o.Epochs, identity: t.identify(n),
		order: t.choices.order, makeStep: t.makeStep, params: func() []param { return t.plan.params }}
	if err := t.compile(o.Batch * firstRows); err != nil {
		return nil, err
	}
	if err := t.start(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// fresh is the same network with metadata of its own.
func fresh(n *Network) *Network {
	c := *n
	c.Meta = maps.Clone(n.Meta)
	if c.Meta == nil {
		c.Meta = map[string]string{}
	}
	return &c
}

// prepare checks a triplet and tokenises its prompt.
func (t *Tuner) prepare(tok *tokenizer.Tokenizer, rules tokenizer.Rules, x Triplet) (clipnet.Prompt, error) {
	if len(x.Targets) == 0 {
		return clipnet.Prompt{}, errors.New("no targets")
	}
	for _, f := range append([][]float32{x.Reference}, x.Targets...) {
		if len(f) != t.text.Dim() {
			return clipnet.Prompt{}, fmt.Errorf("a feature of %d elements, want %d", len(f), t.text.Dim())
		}
		for _, v := range f {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return clipnet.Prompt{}, errors.New("a feature is not finite")
			}
		}
	}
	ids, places, _, err := tok.AppendPrompt(nil, nil, x.Prompt, rules, t.text.Context())
	if err == nil && len(places) == 0 {
		err = errors.New("the prompt has no pseudo-word")
	}
	p := clipnet.Prompt{IDs: ids}
	for _, at := range places {
		p.Pseudo = append(p.Pseudo, clipnet.Pseudo{Place: int(at)})
	}
	return p, err
}

// identify tells trainings apart: options, the network they begin with, and the triplets.
func (t *Tuner) identify(n *Network) string {
	h := sha256.New()
	o := t.opts
	o.Epochs = 0 // more epochs go on from fewer
	json.NewEncoder(h).Encode(o)
	fmt.Fprintf(h, "%v %v", n.Arch, n.Act)
	for _, l := range n.Layers {
		h.Write(runtime.Float32Bytes(l.W))
		h.Write(runtime.Float32Bytes(l.B))
	}
	for i, x := range t.triplets {
		fmt.Fprintf(h, "%q%v%d", x.Name, t.prompts[i], len(x.Targets))
		h.Write(runtime.Float32Bytes(x.Reference))
		for _, f := range x.Targets {
			h.Write(runtime.Float32Bytes(f))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// tunePlan is a step compiled for a batch: the network forward with dropout, the text transformer over the prompts, the contrastive
// loss, the backward pass through both to every parameter, and AdamW.
type tunePlan struct {
	prog              runtime.Program
	graph             *clipnet.TextGraph
	features, targets runtime.Buffer // [batch, embed]
	masks             []runtime.Buffer
	loss, hyper       runtime.Buffer
	params            []param
	rows              int // capacity of the text transformer
}

// compile compiles the step for so many tokens of prompts.
func (t *Tuner) compile(rows int) error {
	o, p, all := t.opts, runtime.NewPlan("phi fine-tuning"), runtime.Fixed(t.opts.Batch)
	in := func(name string) runtime.View { return p.New(name, runtime.F32, o.Batch, t.text.Dim()) }
	features, targets := in("features"), in("targets")
	loss, hyper := p.New("loss", runtime.F32, 1, 1), p.New("hyper", runtime.F32, 1, runtime.HyperLen)
	r := &recorder{p: p, n: t.net, all: all}
	words := r.forward(features)
	graph := t.text.Record(p, o.Batch, rows, words, true)
	dFeatures, dWords := p.Temp("d features", runtime.F32, o.Batch, t.text.Dim()), p.Temp("d words", runtime.F32, o.Batch, t.text.Width())
	p.Add(runtime.InfoNCE{A: targets, B: graph.Features, Tau: float32(o.Tau), Weight: 1, Loss: loss, DB: dFeatures, Rows: all})
	graph.RecordGrad(p, dFeatures, dWords, all)
	r.backward(dWords)
	r.optimise(hyper)
	prog, err := t.dev.Compile(p)
	if err != nil {
		return fmt.Errorf("phi: %w", err)
	}
	t.plan = &tunePlan{prog: prog, graph: graph, rows: rows, features: buffer(prog, features), targets: buffer(prog, targets),
		loss: buffer(prog, loss), hyper: buffer(prog, hyper)}
	if t.plan.masks, t.plan.params, err = r.bind(prog); err == nil {
		err = graph.Bind(prog)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("phi: %w", err), prog.Close())
	}
	return nil
}

// target draws one of n targets for the triplet at a place of a step's batch.
func (c seededChoices) target(step, place, n int) int {
	return rand.New(rand.NewPCG(c.seed^uint64(place), uint64(step)<<8|3)).IntN(n)
}

// makeStep trains on a batch of triplets.
func (t *Tuner) makeStep(ctx context.Context, batch []int) (Losses, error) {
	var features, targets []float32
	var prompts []clipnet.Prompt
	for place, i := range batch {
		x, p := t.triplets[i], t.prompts[i]
		features = append(features, x.Reference...)
		targets = append(targets, x.Targets[t.choices.target(t.step, place, len(x.Targets))]...)
		prompts = append(prompts, p.WithWord(place))
	}
	if rows := tokens(prompts); rows > t.plan.rows {
		if err := t.regrow(t.plan.prog, func() error { return t.compile(rows + rows/4) }); err != nil {
			return Losses{}, err
		}
	}
	p := t.plan
	if err := errors.Join(p.graph.Layout(prompts), writeMasks(p.masks, t.choices, t.step, t.opts.Dropout), p.features.WriteF32(0, features),
		p.targets.WriteF32(0, targets), p.hyper.WriteF32(0, adamW(t.opts.LR, t.opts.WeightDecay, t.step+1))); err != nil {
		return Losses{}, err
	}
	if err := p.prog.Run(ctx); err != nil {
		return Losses{}, err
	}
	t.step++
	loss := make([]float32, 1)
	if err := p.loss.ReadF32(0, loss); err != nil {
		return Losses{}, err
	}
	l := Losses{Total: float64(loss[0])}
	if math.IsNaN(l.Total) || math.IsInf(l.Total, 0) {
		return l, fmt.Errorf("%w: the loss is %v", ErrDiverged, l.Total)
	}
	return l, nil
}

// Close releases the device memory.
func (t *Tuner) Close() error { return t.plan.prog.Close() }
