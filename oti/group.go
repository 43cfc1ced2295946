package oti

import (
	"context"
	"fmt"
	"math"
	"strings"

	"isearle/clipnet"
)

// group is a set of images that are optimised side by side.
type group struct {
	v       *Inverter
	images  []Image
	index   []int // of the group's images
	draws   draws
	monitor Monitor

	kept [][]string
	pool [][]pair // of each image: its kept concepts' phrases, one after the other
	used map[pair]*phrase
	prog *program
}

// pair is a phrase of a concept.
type pair struct{ concept, text string }

// phrase is a phrase that some step draws.
type phrase struct {
	pseudo  clipnet.Prompt // with the concept's first occurrence replaced; its word is 0
	feature []float32      // of the plain phrase
}

// run makes all steps.
func (g *group) run(ctx context.Context) ([]Result, error) {
	if err := g.prepare(ctx); err != nil {
		return nil, err
	}
	defer g.prog.close()
	for step := range g.v.opts.Steps {
		if err := g.step(ctx, step); err != nil {
			return nil, fmt.Errorf("oti: step %d: %w", step+1, err)
		}
	}
	return g.results()
}

// prepare does what comes before the first step. If it returns an error there is nothing to close.
func (g *group) prepare(ctx context.Context) error {
	if err := g.collect(ctx); err != nil {
		return err
	}
	p, err := compile(g.v.dev, g.v.text, len(g.index), g.rows(), g.v.opts.NoiseUnit)
	if err != nil {
		return fmt.Errorf("oti: %w", err)
	}
	g.prog = p
	if err := g.start(); err != nil {
		p.close()
		return fmt.Errorf("oti: %w", err)
	}
	return nil
}

// collect pools each image's phrases, and encodes every plain phrase that a step will draw, once.
func (g *group) collect(ctx context.Context) error {
	g.used = map[pair]*phrase{}
	var texts []pair
	for k, i := range g.index {
		g.kept, g.pool = append(g.kept, nil), append(g.pool, nil)
		if g.v.opts.LambdaGPT == 0 {
			continue
		}
		g.kept[k] = g.v.phrases.Keep(g.images[i].Concepts, g.v.opts.TopK)
		for _, c := range g.kept[k] {
			for _, s := range g.v.phrases.Of(c) {
				g.pool[k] = append(g.pool[k], pair{c, s})
			}
		}
		for step := range g.v.opts.Steps {
			if p, ok := g.drawn(k, step); ok && g.used[p] == nil {
				f, err := g.v.phrase(p)
				if err != nil {
					return err
				}
				g.used[p] = f
				texts = append(texts, p)
			}
		}
	}
	return g.v.encodePlain(ctx, texts, g.used)
}

// drawn is the phrase that an image draws in a step; false if it has none.
func (g *group) drawn(k, step int) (pair, bool) {
	if len(g.pool[k]) == 0 {
		return pair{}, false
	}
	return g.pool[k][g.draws.phrase(g.index[k], step, len(g.pool[k]))], true
}

// phrase tokenises the pseudo phrase of a pair.
func (v *Inverter) phrase(p pair) (*phrase, error) {
	before, after, _ := strings.Cut(p.text, p.concept)
	prompt, err := v.prompt(before+" ", " "+after, 0)
	if err != nil {
		return nil, fmt.Errorf("oti: phrase %q of concept %q: %w", p.text, p.concept, err)
	}
	return &phrase{pseudo: prompt}, nil
}

// encodePlain computes the features of plain phrases.
func (v *Inverter) encodePlain(ctx context.Context, texts []pair, used map[pair]*phrase) error {
	prompts := make([]clipnet.Prompt, len(texts))
	for i, p := range texts {
		prompts[i].IDs, _ = v.tok.EncodeContext(nil, p.text, v.rules, v.text.Context())
	}
	e := v.text.Dim()
	features := make([]float32, len(texts)*e)
	if err := v.text.Encode(ctx, features, prompts, nil); err != nil {
		return fmt.Errorf("oti: phrases: %w", err)
	}
	for i, p := range texts {
		used[p].feature = features[i*e : (i+1)*e]
	}
	return nil
}

// rows is the most tokens that a step computes. Prefixes may be cached or not, so none is counted as such.
func (g *group) rows() int {
	most := 0
	for step := range g.v.opts.Steps {
		rows := 0
		for _, p := range g.prompts(step) {
			rows += len(p.IDs)
		}
		most = max(most, rows)
	}
	return most
}

// prompts are the sequences of a step: each image's template, then the pseudo phrases of those that have one.
func (g *group) prompts(step int) []clipnet.Prompt {
	var out []clipnet.Prompt
	for k, i := range g.index {
		t := g.draws.template(i, step, len(templates))
		out = append(out, g.v.templates[t].WithWord(k))
	}
	for k := range g.index {
		if p, ok := g.drawn(k, step); ok {
			out = append(out, g.used[p].pseudo.WithWord(k))
		}
	}
	return out
}

// start writes what the steps do not change: the first pseudo-words, the targets of the content loss, the weights.
func (g *group) start() error {
	p, o, n := g.prog, g.v.opts, len(g.index)
	words, targets := make([]float32, 0, n*p.width), make([]float32, 0, n*p.embed)
	rows, weights := make([]int32, n), make([]float32, n)
	for k, i := range g.index {
		words = append(words, make([]float32, p.width)...)
		g.draws.init(i, words[k*p.width:])
		targets = append(targets, g.images[i].Feature...)
		rows[k] = int32(k)
		weights[k] = float32(o.LambdaContent / (o.LambdaContent + o.LambdaGPT) / g.batch(i))
	}
	return firstError(p.p.WriteF32(0, words), p.ema.WriteF32(0, words), p.count.WriteI32(0, []int32{int32(n)}),
		p.content.target.WriteF32(0, targets), p.content.rows.WriteI32(0, rows), p.content.weight.WriteF32(0, weights),
		p.content.live.WriteI32(0, []int32{int32(n)}))
}

// batch is the size of image i's official batch; the last may be smaller.
func (g *group) batch(i int) float64 {
	first := i / g.v.opts.Batch * g.v.opts.Batch
	return float64(min(g.v.opts.Batch, len(g.images)-first))
}

// step makes one step of every image.
func (g *group) step(ctx context.Context, step int) error {
	if err := g.prog.graph.Layout(g.prompts(step)); err != nil {
		return err
	}
	if err := firstError(g.writePhrases(step), g.writeNoise(step), g.prog.setHyper(g.v.opts, step+1)); err != nil {
		return err
	}
	if err := g.prog.run(ctx); err != nil {
		return err
	}
	return g.watch(step)
}

// writePhrases writes the targets and weights of the GPT term.
func (g *group) writePhrases(step int) error {
	o, p := g.v.opts, g.prog
	var rows []int32
	var targets, weights []float32
	for k, i := range g.index {
		if pr, ok := g.drawn(k, step); ok {
			rows = append(rows, int32(len(g.index)+len(rows)))
			targets = append(targets, g.used[pr].feature...)
			weights = append(weights, float32(o.LambdaGPT/(o.LambdaContent+o.LambdaGPT)/g.batch(i)))
		}
	}
	return firstError(p.phrase.live.WriteI32(0, []int32{int32(len(rows))}), p.phrase.rows.WriteI32(0, rows),
		p.phrase.target.WriteF32(0, targets), p.phrase.weight.WriteF32(0, weights))
}

// writeNoise writes the noise on the content's text features.
func (g *group) writeNoise(step int) error {
	if g.v.opts.Gamma == 0 {
		return nil
	}
	e := g.prog.embed
	noise := make([]float32, len(g.index)*e)
	for k, i := range g.index {
		row := noise[k*e : (k+1)*e]
		g.draws.noise(i, step, row)
		for j := range row {
			row[j] *= float32(g.v.opts.Gamma)
		}
	}
	return g.prog.content.noise.WriteF32(0, noise)
}

// watch reads the losses, tells the monitor, and stops at the first that is not finite.
func (g *group) watch(step int) error {
	n := len(g.index)
	content, gpt := make([]float32, n), make([]float32, n)
	if err := firstError(g.prog.content.loss.ReadF32(0, content), g.prog.phrase.loss.ReadF32(0, gpt)); err != nil {
		return err
	}
	used := 0
	for k, i := range g.index {
		s := Step{Index: i, Step: step, Content: content[k]}
		if _, ok := g.drawn(k, step); ok {
			s.GPT = gpt[used]
			used++
		}
		if sum := float64(s.Content + s.GPT); math.IsNaN(sum) || math.IsInf(sum, 0) {
			return fmt.Errorf("%w: the loss of image %q", ErrNotFinite, g.images[i].Name)
		}
		if g.monitor != nil {
			g.monitor(s)
		}
	}
	return nil
}

// results reads the pseudo-words.
func (g *group) results() ([]Result, error) {
	n, w := len(g.index), g.prog.width
	ema, last := make([]float32, n*w), make([]float32, n*w)
	if err := firstError(g.prog.ema.ReadF32(0, ema), g.prog.p.ReadF32(0, last)); err != nil {
		return nil, fmt.Errorf("oti: %w", err)
	}
	var out []Result
	for k, i := range g.index {
		r := Result{Index: i, Token: ema[k*w : (k+1)*w], Last: last[k*w : (k+1)*w], Kept: g.kept[k]}
		for _, x := range r.Last {
			if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
				return nil, fmt.Errorf("%w: the pseudo-word of image %q", ErrNotFinite, g.images[i].Name)
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
