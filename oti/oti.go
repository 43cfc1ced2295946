package oti

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/runtime"
)

// Image is what is inverted.
type Image struct {
	Name     string
	Feature  []float32 // raw, not normalised, [Dim]
	Concepts []string  // ranked, best first; see Associate
}

// Result is an image's pseudo-word.
type Result struct {
	Index int       // among the images
	Token []float32 // the moving average, [Width]: what is kept and distilled
	Last  []float32 // the pseudo-word of the last step, [Width]
	Kept  []string  // concepts whose phrases were used
}

// Step is what a Monitor sees of an image after each step.
type Step struct {
	Index, Step  int
	Content, GPT float32 // the image's own terms of the loss: 1 - cosine; GPT is 0 without phrases
}

// Monitor is told of every step of every image. It may be nil.
type Monitor func(Step)

// Inverter optimises pseudo-words of images with one text transformer.
type Inverter struct {
	dev     runtime.Device
	text    *clipnet.TextEncoder
	tok     *tokenizer.Tokenizer
	rules   tokenizer.Rules
	phrases *Phrases
	opts    Options

	templates []clipnet.Prompt
}

// New returns an Inverter. text must have been made for gradients; phrases may be nil if LambdaGPT is 0.
func New(dev runtime.Device, text *clipnet.TextEncoder, tok *tokenizer.Tokenizer, rules tokenizer.Rules, phrases *Phrases, o Options) (*Inverter, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.LambdaGPT > 0 && phrases == nil {
		return nil, errors.New("oti: the GPT term needs phrases: give them, or set its lambda to 0")
	}
	v := &Inverter{dev: dev, text: text, tok: tok, rules: rules, phrases: phrases, opts: o}
	for _, t := range templates {
		before, after, _ := strings.Cut(t, "{}")
		p, err := v.prompt(before+" ", " "+after, 0)
		if err != nil {
			return nil, fmt.Errorf("oti: template %q: %w", t, err)
		}
		v.templates = append(v.templates, p)
	}
	return v, nil
}

// prompt tokenises a text with the copies of pseudo-word word between two pieces.
func (v *Inverter) prompt(before, after string, word int) (clipnet.Prompt, error) {
	pieces := make([]string, v.opts.Tokens+1)
	pieces[0], pieces[v.opts.Tokens] = before, after
	ids, places, _, err := v.tok.AppendPrompt(nil, nil, tokenizer.Prompt{Pieces: pieces}, v.rules, v.text.Context())
	if err != nil {
		return clipnet.Prompt{}, err
	}
	return place(clipnet.Prompt{IDs: ids}, places, word), nil
}

func place(p clipnet.Prompt, places []int32, word int) clipnet.Prompt {
	for _, at := range places {
		p.Pseudo = append(p.Pseudo, clipnet.Pseudo{Place: int(at), Word: word})
	}
	return p
}

// Invert optimises the images' pseudo-words, Options.Parallel at a time, and hands each result to sink in order; skip, if not nil, says
// which images are done already. The official batches are those of the whole list, so images keep it when some are skipped.
func (v *Inverter) Invert(ctx context.Context, images []Image, skip func(i int) bool, monitor Monitor, sink func(Result) error) error {
	for i, m := range images {
		if len(m.Feature) != v.text.Dim() {
			return fmt.Errorf("oti: image %q has a feature of %d elements, want %d", m.Name, len(m.Feature), v.text.Dim())
		}
		for _, x := range m.Feature {
			if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Errorf("%w: the feature of image %q (%d)", ErrNotFinite, m.Name, i)
			}
		}
	}
	return v.invert(ctx, images, newSeeded(v.opts.Seed, v.opts.InitStd, images), skip, monitor, sink)
}

// parallel is how many images suit a device: 32 for a CPU, and four times as many as others gather for wider ones, since a step's
// kernels are small.
func parallel(dev runtime.Device) int {
	n := 32 * runtime.Breadth(dev)
	if n > 32 {
		n *= 4
	}
	return n
}

func (v *Inverter) invert(ctx context.Context, images []Image, d draws, skip func(int) bool, monitor Monitor, sink func(Result) error) error {
	var todo []int
	for i := range images {
		if skip == nil || !skip(i) {
			todo = append(todo, i)
		}
	}
	most := v.opts.Parallel
	if most == 0 {
		most = parallel(v.dev)
	}
	for len(todo) > 0 {
		n := min(most, len(todo))
		g := &group{v: v, images: images, index: todo[:n], draws: d, monitor: monitor}
		results, err := g.run(ctx)
		if errors.Is(err, runtime.ErrOutOfMemory) && n > 1 {
			most = n / 2
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range results {
			if err := sink(r); err != nil {
				return err
			}
		}
		todo = todo[n:]
	}
	return nil
}
