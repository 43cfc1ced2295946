package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/oti"
	"isearle/runtime"
	"isearle/weights"
)

// Steps of an inversion that are measured, behind one that warms up.
const otiSteps = 4

// OTI measures gradient steps for a batch of 32 images, SEARLE's, with phrases of 16 tokens: forward of the template and of the
// pseudo phrase, both losses, backward, AdamW and the average. The plain phrases' features are made before the first step and not
// measured: a run of hundreds of steps makes each once.
func (b *Bench) OTI(ctx context.Context, m *weights.CLIP, name string) error {
	dt, dtype := b.differentiable()
	text, err := clipnet.NewTextEncoder(b.Device, m, clipnet.Options{DType: dt, Grad: true})
	if err != nil {
		return err
	}
	defer text.Close()
	for _, n := range b.batches(oti.Defaults().Batch) {
		o := oti.Defaults()
		o.Steps, o.Batch, o.Parallel = otiSteps+1, n, n
		v, err := oti.New(b.Device, text, tokenizer.CLIP(), tokenizer.OpenAI, phrases16(), o)
		if err != nil {
			return err
		}
		rng := rand.New(rand.NewPCG(4, 4))
		images := make([]oti.Image, n)
		for i := range images {
			images[i] = oti.Image{Name: fmt.Sprint(i), Feature: normal(rng, text.Dim()), Concepts: []string{"dog"}}
		}
		w := stepWatch{images: n}
		err = b.run(ctx, task{
			name: fmt.Sprintf("OTI/model=%s/dtype=%s/batch=%d", name, dtype, n),
			call: func() error {
				w.steps, w.last = w.steps[:0], time.Now()
				return v.Invert(ctx, images, nil, w.see, func(oti.Result) error { return nil })
			},
			items: 1, unit: "steps", took: w.median,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// phrases16 is a phrase of 16 tokens for a concept: the text's begin, a photo of dog that, nine words, its end.
func phrases16() *oti.Phrases {
	return oti.NewPhrases(map[string][]string{"dog": {"a photo of dog that " + strings.Repeat("runs ", 9)}})
}

// differentiable is the type of products that have gradients: f32 stands for int8.
func (b *Bench) differentiable() (runtime.DType, string) {
	dt, name := b.dtype()
	if dt == runtime.I8 {
		return runtime.F32, "f32"
	}
	return dt, name
}

// stepWatch takes the times of an inversion's steps.
type stepWatch struct {
	images int
	last   time.Time
	steps  []time.Duration
}

// see is the oti.Monitor: a step ends with its last image.
func (w *stepWatch) see(s oti.Step) {
	if s.Index < w.images-1 {
		return
	}
	now := time.Now()
	if s.Step > 0 {
		w.steps = append(w.steps, now.Sub(w.last))
	}
	w.last = now
}

func (w *stepWatch) median() time.Duration {
	slices.Sort(w.steps)
	return w.steps[len(w.steps)/2]
}
