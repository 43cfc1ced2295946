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
	"isearle/weights"
)

// Steps of an inversion that are measured, behind one that warms up.
const otiSteps = 4

// OTI measures gradient steps for a batch of 32 images, SEARLE's, with phrases of 16 tokens: forward of the template and of the
// pseudo phrase, both losses, backward, AdamW and the average. The plain phrases' features are made before the first step and not
// measured: a run of hundreds of steps makes each once.
func (b Bench) OTI(ctx context.Context, m *weights.CLIP, name string) error {
	text, err := clipnet.NewTextEncoder(b.Device, m, clipnet.Options{Grad: true})
	if err != nil {
		return err
	}
	defer text.Close()
	o := oti.Defaults()
	o.Steps = otiSteps + 1
	// bos, a photo of dog that, nine words, eot: 16 tokens.
	phrases := oti.NewPhrases(map[string][]string{"dog": {"a photo of dog that " + strings.Repeat("runs ", 9)}})
	v, err := oti.New(b.Device, text, tokenizer.CLIP(), tokenizer.OpenAI, phrases, o)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(4, 4))
	images := make([]oti.Image, o.Batch)
	for i := range images {
		images[i] = oti.Image{Name: fmt.Sprint(i), Feature: normal(rng, text.Dim()), Concepts: []string{"dog"}}
	}
	for range b.Count {
		var steps []time.Duration
		last := time.Now()
		monitor := func(s oti.Step) {
			if s.Index < len(images)-1 {
				return
			}
			now := time.Now()
			if s.Step > 0 {
				steps = append(steps, now.Sub(last))
			}
			last = now
		}
		if err := v.Invert(ctx, images, nil, monitor, func(oti.Result) error { return nil }); err != nil {
			return fmt.Errorf("benchmark OTI: %w", err)
		}
		slices.Sort(steps)
		median := steps[len(steps)/2]
		err := b.write(fmt.Sprintf("OTI/model=%s/batch=%d-%d", name, o.Batch, b.Threads), 1, median,
			[]rate{{1, "steps/s"}, {float64(len(images)) / float64(oti.Defaults().Steps), "images/s"}})
		if err != nil {
			return err
		}
	}
	return nil
}
