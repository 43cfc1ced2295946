package phi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/oti"
	"isearle/runtime"
)

// TrainOptions of the distillation. Start from TrainDefaults.
type TrainOptions struct {
	Batch        int
	Epochs       int
	LR           float64
	WeightDecay  float64
	Dropout      float64
	Tau          float64 // temperature of the distillation loss
	LambdaDistil float64
	LambdaGPT    float64 // 0 leaves the term out: no phrases are needed
	TopConcepts  int     // a concept is drawn from an image's first so many
	Hidden       int     // width of the hidden layers; 0 is four times the feature's
	Arch         Arch
	Seed         uint64
}

// TrainDefaults are SEARLE's.
func TrainDefaults() TrainOptions {
	return TrainOptions{Batch: 256, Epochs: 100, LR: 1e-4, WeightDecay: .01, Dropout: .5, Tau: .25, LambdaDistil: 1, LambdaGPT: .75, TopConcepts: 150}
}

// Check finds options that no training can have.
func (o TrainOptions) Check() error {
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	atLeast0 := func(x float64) bool { return x == 0 || positive(x) }
	switch {
	case o.Batch < 2:
		return fmt.Errorf("phi: a batch of %d: the loss needs at least 2 examples", o.Batch)
	case o.Epochs < 1 || o.TopConcepts < 1 || o.Hidden < 0 || o.Arch > Residual:
		return fmt.Errorf("phi: %d epochs, %d concepts, hidden layers of %d, architecture %d", o.Epochs, o.TopConcepts, o.Hidden, uint8(o.Arch))
	case !positive(o.LR) || !atLeast0(o.WeightDecay) || !positive(o.Tau):
		return fmt.Errorf("phi: learning rate %g, weight decay %g, temperature %g", o.LR, o.WeightDecay, o.Tau)
	case !(o.Dropout >= 0 && o.Dropout < 1):
		return fmt.Errorf("phi: dropout of %g", o.Dropout)
	case !atLeast0(o.LambdaDistil) || !atLeast0(o.LambdaGPT) || o.LambdaDistil == 0 && o.LambdaGPT == 0:
		return fmt.Errorf("phi: lambdas %g and %g", o.LambdaDistil, o.LambdaGPT)
	}
	return nil
}

// Example is an image to learn from.
type Example struct {
	Name     string
	Feature  []float32 // raw
	Token    []float32 // its pseudo-word by OTI
	Concepts []string  // ranked
}

// choices are the random decisions of training: seeded, or recorded from the official code, in tests.
type choices interface {
	// order is the epoch's order of n examples.
	order(epoch, n int) []int
	// concept and phrase choose one of n for the example at a place of a step's batch; attempt counts the concepts drawn before that were dropped.
	concept(step, attempt, place, n int) int
	phrase(step, attempt, place, n int) int
	// mask fills a dropout mask of hidden layer k with zeros and 1/(1-p).
	mask(step, k int, p float64, dst []float32)
}

// seededChoices depend on the seed and the step only, so training resumes to the same bytes.
type seededChoices struct{ seed uint64 }

func (c seededChoices) rng(step, stream int) *rand.Rand {
	return rand.New(rand.NewPCG(c.seed, uint64(step)<<8|uint64(stream)))
}

func (c seededChoices) order(epoch, n int) []int { return c.rng(epoch, 0).Perm(n) }

func (c seededChoices) concept(step, attempt, place, n int) int {
	return rand.New(rand.NewPCG(c.seed^uint64(attempt)<<32^uint64(place), uint64(step)<<8|1)).IntN(n)
}

func (c seededChoices) phrase(step, attempt, place, n int) int {
	return rand.New(rand.NewPCG(c.seed^uint64(attempt)<<32^uint64(place), uint64(step)<<8|2)).IntN(n)
}

func (c seededChoices) mask(step, k int, p float64, dst []float32) {
	r, keep := c.rng(step, 16+k), float32(1/(1-p))
	for i := range dst {
		dst[i] = 0
		if r.Float64() >= p {
			dst[i] = keep
		}
	}
}

// Losses of a step or, as means, of an epoch.
type Losses struct {
	Total  float64 `json:"total"`
	Distil float64 `json:"distillation"`
	GPT    float64 `json:"gpt"`
}

// ErrDiverged is wrapped by the error for a loss that is not finite.
var ErrDiverged = errors.New("phi: training diverged")

// Trainer distils OTI's pseudo-words into a network.
type Trainer struct {
	loop
	dev      runtime.Device
	text     *clipnet.TextEncoder
	tok      *tokenizer.Tokenizer
	rules    tokenizer.Rules
	phrases  *oti.Phrases
	opts     TrainOptions
	examples []Example
	choices  choices
	plan     *trainPlan
	plain    map[string][]float32
}

// NewTrainer prepares training from the start. text must have been made for gradients; without a GPT term text, tok and phrases may
// be nil.
func NewTrainer(dev runtime.Device, text *clipnet.TextEncoder, tok *tokenizer.Tokenizer, rules tokenizer.Rules, phrases *oti.Phrases, examples []Example, o TrainOptions) (*Trainer, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if len(examples) < o.Batch {
		return nil, fmt.Errorf("phi: %d examples do not fill a batch of %d", len(examples), o.Batch)
	}
	t := &Trainer{dev: dev, text: text, tok: tok, rules: rules, phrases: phrases, opts: o, examples: examples, choices: seededChoices{o.Seed}}
	if err := t.checkExamples(); err != nil {
		return nil, err
	}
	in, out := len(examples[0].Feature), len(examples[0].Token)
	if t.opts.Hidden == 0 {
		t.opts.Hidden = 4 * in
	}
	t.loop = loop{net: newNetwork(o.Arch, in, t.opts.Hidden, out, o.Seed), examples: len(examples), batch: o.Batch, epochs: o.Epochs,
		identity: t.identify(), makeStep: t.makeStep, params: func() []param { return t.plan.params },
		order: func(epoch, n int) []int { return t.choices.order(epoch, n) }}
	if err := t.compile(o.Batch * firstRows); err != nil {
		return nil, err
	}
	if err := t.start(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// checkExamples checks that the examples are of one size, finite, and have phrases where they are needed.
func (t *Trainer) checkExamples() error {
	in, out := len(t.examples[0].Feature), len(t.examples[0].Token)
	if t.opts.LambdaGPT > 0 {
		in, out = t.text.Dim(), t.text.Width()
	}
	for i, e := range t.examples {
		if len(e.Feature) != in || len(e.Token) != out || in == 0 || out == 0 {
			return fmt.Errorf("phi: example %q (%d): %d feature and %d token elements, want %d and %d", e.Name, i, len(e.Feature), len(e.Token), in, out)
		}
		for _, x := range [][]float32{e.Feature, e.Token} {
			if slices.ContainsFunc(x, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }) {
				return fmt.Errorf("phi: example %q (%d) is not finite", e.Name, i)
			}
		}
		if t.opts.LambdaGPT > 0 && !slices.ContainsFunc(t.concepts(e), func(c string) bool { return !t.phrases.Dropped(strings.TrimSpace(c)) }) {
			return fmt.Errorf("phi: example %q (%d) has no concept with phrases", e.Name, i)
		}
	}
	return nil
}

// concepts are those that are drawn for an example.
func (t *Trainer) concepts(e Example) []string {
	return e.Concepts[:min(t.opts.TopConcepts, len(e.Concepts))]
}

// firstRows is how many tokens an example's phrase is first expected to take; a longer batch compiles the step anew.
const firstRows = 20

// New is a network that is not trained, for features and pseudo-words of so many elements; hidden 0 is four times the feature's.
func New(a Arch, in, hidden, out int, seed uint64) *Network {
	if hidden == 0 {
		hidden = 4 * in
	}
	return newNetwork(a, in, hidden, out, seed)
}

// newNetwork initialises as torch.nn.Linear does: weights and biases uniform in +-1/sqrt(in).
func newNetwork(a Arch, in, hidden, out int, seed uint64) *Network {
	n := &Network{Arch: a, Act: runtime.GELU, Meta: map[string]string{}}
	r := rand.New(rand.NewPCG(seed, math.MaxUint64))
	for _, s := range a.sizes(in, hidden, out) {
		l := Layer{Out: s[0], In: s[1], W: make([]float32, s[0]*s[1]), B: make([]float32, s[0])}
		bound := 1 / math.Sqrt(float64(s[1]))
		for _, x := range [][]float32{l.W, l.B} {
			for i := range x {
				x[i] = float32((2*r.Float64() - 1) * bound)
			}
		}
		n.Layers = append(n.Layers, l)
	}
	return n
}

// compile compiles the step for so many tokens of phrases.
func (t *Trainer) compile(rows int) error {
	var err error
	if t.plan, err = compileTrain(t.dev, t.text, t.net, rows, t.opts); err != nil {
		return fmt.Errorf("phi: %w", err)
	}
	return nil
}

// tokens is how many there are in prompts.
func tokens(prompts []clipnet.Prompt) (n int) {
	for _, p := range prompts {
		n += len(p.IDs)
	}
	return n
}

// grow compiles the step anew if a batch's phrases need more tokens than it holds.
func (t *Trainer) grow(prompts []clipnet.Prompt) error {
	rows := tokens(prompts)
	if rows <= t.plan.rows {
		return nil
	}
	return t.regrow(t.plan.prog, func() error { return t.compile(rows + rows/4) })
}

// makeStep trains on a batch of examples.
func (t *Trainer) makeStep(ctx context.Context, batch []int) (Losses, error) {
	if t.opts.LambdaGPT > 0 {
		if err := t.layout(ctx, batch); err != nil {
			return Losses{}, err
		}
	}
	p := t.plan
	var features, tokens []float32
	for _, i := range batch {
		features, tokens = append(features, t.examples[i].Feature...), append(tokens, t.examples[i].Token...)
	}
	if err := writeMasks(p.masks, t.choices, t.step, t.opts.Dropout); err != nil {
		return Losses{}, err
	}
	if err := errors.Join(p.features.WriteF32(0, features), p.targets.WriteF32(0, tokens), p.hyper.WriteF32(0, adamW(t.opts.LR, t.opts.WeightDecay, t.step+1))); err != nil {
		return Losses{}, err
	}
	if err := p.prog.Run(ctx); err != nil {
		return Losses{}, err
	}
	t.step++
	return t.losses()
}

// writeMasks draws a step's dropout masks.
func writeMasks(masks []runtime.Buffer, c choices, step int, dropout float64) error {
	for k, m := range masks {
		mask := make([]float32, m.Len())
		c.mask(step, k, dropout, mask)
		if err := m.WriteF32(0, mask); err != nil {
			return err
		}
	}
	return nil
}

// layout draws the batch's phrases and lays them out for the step.
func (t *Trainer) layout(ctx context.Context, batch []int) error {
	prompts, plain, err := t.draw(ctx, batch)
	if err != nil {
		return err
	}
	if err := t.grow(prompts); err != nil {
		return err
	}
	if err := t.plan.gpt.plain.WriteF32(0, plain); err != nil {
		return err
	}
	return t.plan.gpt.graph.Layout(prompts)
}

// adamW are the optimiser's numbers for step t, counted from 1; betas and eps are PyTorch's.
func adamW(lr, decay float64, t int) []float32 {
	return runtime.AdamWStep(lr, decay, .9, .999, 1e-8, 0, t)
}

func (t *Trainer) losses() (Losses, error) {
	distil, phrase := make([]float32, 1), make([]float32, t.opts.Batch)
	if err := t.plan.distil.ReadF32(0, distil); err != nil {
		return Losses{}, err
	}
	if t.plan.gpt != nil {
		if err := t.plan.gpt.loss.ReadF32(0, phrase); err != nil {
			return Losses{}, err
		}
	}
	l := Losses{Distil: float64(distil[0])}
	for _, v := range phrase {
		l.GPT += float64(v) / float64(len(phrase))
	}
	l.Total = t.opts.LambdaDistil*l.Distil + t.opts.LambdaGPT*l.GPT
	if math.IsNaN(l.Total) || math.IsInf(l.Total, 0) {
		return l, fmt.Errorf("%w: distillation loss %v, phrase loss %v", ErrDiverged, l.Distil, l.GPT)
	}
	return l, nil
}

// draw chooses a concept and a phrase for each example of a batch. The official code redraws a whole batch if any of its concepts is
// dropped; since the draws are independent, drawing again for that example alone has the same distribution.
func (t *Trainer) draw(ctx context.Context, batch []int) (prompts []clipnet.Prompt, plain []float32, err error) {
	texts := make([]string, len(batch))
	for place, i := range batch {
		concepts := t.concepts(t.examples[i])
		var c string
		attempt := 0
		for ; ; attempt++ { // NewTrainer has seen that one is kept
			c = strings.TrimSpace(concepts[t.choices.concept(t.step, attempt, place, len(concepts))])
			if !t.phrases.Dropped(c) {
				break
			}
		}
		list := t.phrases.Of(c)
		texts[place] = list[t.choices.phrase(t.step, attempt, place, len(list))]
		p, err := t.pseudo(texts[place], c, place)
		if err != nil {
			return nil, nil, err
		}
		prompts = append(prompts, p)
	}
	plain, err = t.plainFeatures(ctx, texts)
	return prompts, plain, err
}

// pseudo is a phrase with all occurrences of its concept replaced by " $ ", of which the first is the pseudo-word.
func (t *Trainer) pseudo(text, concept string, word int) (clipnet.Prompt, error) {
	before, after, _ := strings.Cut(text, concept)
	pieces := []string{before + " ", " " + strings.ReplaceAll(after, concept, " $ ")}
	ids, places, _, err := t.tok.AppendPrompt(nil, nil, tokenizer.Prompt{Pieces: pieces}, t.rules, t.text.Context())
	if err != nil {
		return clipnet.Prompt{}, fmt.Errorf("phrase %q of concept %q: %w", text, concept, err)
	}
	return clipnet.Prompt{IDs: ids, Pseudo: []clipnet.Pseudo{{Place: int(places[0]), Word: word}}}, nil
}

// maxPlain bounds the plain phrases whose features are kept: 128 MiB at 512 elements.
const maxPlain = 1 << 16

// plainFeatures are the features of plain phrases, each computed once.
func (t *Trainer) plainFeatures(ctx context.Context, texts []string) ([]float32, error) {
	if len(t.plain) > maxPlain || t.plain == nil {
		t.plain = map[string][]float32{}
	}
	var fresh []string
	var prompts []clipnet.Prompt
	for _, s := range texts {
		if _, ok := t.plain[s]; !ok {
			t.plain[s] = nil
			ids, _ := t.tok.EncodeContext(nil, s, t.rules, t.text.Context())
			fresh, prompts = append(fresh, s), append(prompts, clipnet.Prompt{IDs: ids})
		}
	}
	d := t.text.Dim()
	features := make([]float32, len(fresh)*d)
	if err := t.text.Encode(ctx, features, prompts, nil); err != nil {
		t.plain = nil // it names phrases without features
		return nil, err
	}
	for k, s := range fresh {
		t.plain[s] = features[k*d : (k+1)*d]
	}
	out := make([]float32, 0, len(texts)*d)
	for _, s := range texts {
		out = append(out, t.plain[s]...)
	}
	return out, nil
}

// Close releases the device memory.
func (t *Trainer) Close() error { return t.plan.prog.Close() }
