package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/phi"
	"isearle/runtime"
	"isearle/weights"
)

// Images measures a model's image tower, from pixels.
func (b *Bench) Images(ctx context.Context, m *weights.CLIP, name string) error {
	dt, dtype := b.dtype()
	batches := b.batches(1, 8, 32)
	enc, err := clipnet.NewImageEncoder(b.Device, m, clipnet.Options{DType: dt, Batch: slices.Min(batches)})
	if err != nil {
		return err
	}
	defer enc.Close()
	for _, n := range batches {
		pixels := normal(rand.New(rand.NewPCG(1, 1)), n*3*enc.Size()*enc.Size())
		features := make([]float32, n*enc.Dim())
		err := b.run(ctx, task{
			name:  fmt.Sprintf("Embed/model=%s/dtype=%s/batch=%d", name, dtype, n),
			call:  func() error { return enc.Encode(ctx, features, pixels, n) },
			items: float64(n), unit: "images", flop: float64(n) * ImageFLOP(m.Config), dtype: dt,
		})
		if err == nil && runtime.Breadth(b.Device) > 1 {
			err = b.onDevice(ctx, enc, m.Config, name, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// onDevice measures the image tower of a GPU alone, the last pixels there already, features not read back.
func (b *Bench) onDevice(ctx context.Context, enc *clipnet.ImageEncoder, c weights.Config, name string, n int) error {
	const times = 8 // in a call, so that the wait at its end counts little
	dt, dtype := b.dtype()
	return b.run(ctx, task{
		name:  fmt.Sprintf("Embed/model=%s/dtype=%s/batch=%d/pixels=device", name, dtype, n),
		call:  func() error { return enc.Repeat(ctx, n, times) },
		items: float64(times * n), unit: "images", flop: float64(times*n) * ImageFLOP(c), dtype: dt,
	})
}

// Captions measures a model's text tower: the texts, by CLIP's tokeniser, or else ids of 5 to 20 tokens as captions have.
func (b *Bench) Captions(ctx context.Context, m *weights.CLIP, name string, texts []string) error {
	dt, dtype := b.dtype()
	enc, err := clipnet.NewTextEncoder(b.Device, m, clipnet.Options{DType: dt})
	if err != nil {
		return err
	}
	defer enc.Close()
	own := []int{1, 8, 64}
	if texts != nil {
		own = []int{len(texts)}
	}
	for _, n := range b.batches(own...) {
		list := prompts(m.Config, n)
		if texts != nil {
			list = tokenised(m.Config, texts, n)
		}
		err := b.captions(ctx, enc, m.Config, list, n, fmt.Sprintf("Text/model=%s/dtype=%s/batch=%d", name, dtype, n))
		if err != nil {
			return err
		}
	}
	return nil
}

// captions measures prompts in batches of n.
func (b *Bench) captions(ctx context.Context, enc *clipnet.TextEncoder, c weights.Config, prompts []clipnet.Prompt, n int, name string) error {
	dt, _ := b.dtype()
	features, flop := make([]float32, len(prompts)*enc.Dim()), 0.0
	for _, p := range prompts {
		flop += TextFLOP(c, len(p.IDs))
	}
	return b.run(ctx, task{
		name: name,
		call: func() error {
			for i := 0; i < len(prompts); i += n {
				hi := min(i+n, len(prompts))
				if err := enc.Encode(ctx, features[i*enc.Dim():hi*enc.Dim()], prompts[i:hi], nil); err != nil {
					return err
				}
			}
			return nil
		},
		items: float64(len(prompts)), unit: "captions", flop: flop, dtype: dt,
	})
}

// prompts are n texts of 5 to 20 tokens, as captions and composed queries have, in all lengths equally often.
func prompts(c weights.Config, n int) (list []clipnet.Prompt) {
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range n {
		list = append(list, prompt(rng, c, 5+(7+11*i)%16)) // 11 and 16 share no divisor: every length comes
	}
	return list
}

// prompt is a text of n random tokens.
func prompt(rng *rand.Rand, c weights.Config, n int) clipnet.Prompt {
	ids := make([]int32, min(n, c.Text.Context))
	for j := range ids {
		ids[j] = int32(1 + rng.IntN(max(1, min(c.Text.BOS, c.Text.EOT)-1)))
	}
	ids[0], ids[len(ids)-1] = int32(c.Text.BOS), int32(c.Text.EOT)
	return clipnet.Prompt{IDs: ids}
}

// tokenised are the prompts of texts, at least n of them: from the beginning again where there are fewer.
func tokenised(c weights.Config, texts []string, n int) (list []clipnet.Prompt) {
	tok := tokenizer.CLIP()
	for len(list) < max(n, len(texts)) {
		ids, _ := tok.EncodeContext(nil, texts[len(list)%len(texts)], tokenizer.OpenAI, c.Text.Context)
		list = append(list, clipnet.Prompt{IDs: ids})
	}
	return list
}

// Phi measures the textual inversion network of a model's shape, with SEARLE's hidden width, four times the feature's.
func (b *Bench) Phi(ctx context.Context, c weights.Config, name string) error {
	in, out := c.EmbedDim, c.Text.Width
	net, flop := phi.New(phi.MLP, in, 0, out, 5), 0.0
	for _, l := range net.Layers {
		flop += 2 * float64(l.Out*l.In)
	}
	enc, err := phi.NewEncoder(b.Device, net)
	if err != nil {
		return err
	}
	defer enc.Close()
	rng := rand.New(rand.NewPCG(5, 5))
	for _, n := range b.batches(1, 32) {
		features, words := normal(rng, n*in), make([]float32, n*out)
		err := b.run(ctx, task{
			name:  fmt.Sprintf("Phi/model=%s/dtype=f32/batch=%d", name, n),
			call:  func() error { return enc.Invert(ctx, words, features, n) },
			items: float64(n), unit: "features", flop: float64(n) * flop,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// PhiTrain measures steps of the network's training by SEARLE's defaults: 256 images and their phrases of 16 tokens.
func (b *Bench) PhiTrain(ctx context.Context, m *weights.CLIP, name string) error {
	dt, dtype := b.differentiable()
	text, err := clipnet.NewTextEncoder(b.Device, m, clipnet.Options{DType: dt, Grad: true})
	if err != nil {
		return err
	}
	defer text.Close()
	for _, n := range b.batches(phi.TrainDefaults().Batch) {
		o := phi.TrainDefaults()
		o.Batch = max(2, n)
		rng := rand.New(rand.NewPCG(6, 6))
		examples := make([]phi.Example, o.Batch)
		for i := range examples {
			examples[i] = phi.Example{Name: fmt.Sprint(i), Feature: normal(rng, text.Dim()), Token: normal(rng, text.Width()), Concepts: []string{"dog"}}
		}
		t, err := phi.NewTrainer(b.Device, text, tokenizer.CLIP(), tokenizer.OpenAI, phrases16(), examples, o)
		if err != nil {
			return err
		}
		err = b.run(ctx, task{
			name: fmt.Sprintf("PhiTrain/model=%s/dtype=%s/batch=%d", name, dtype, o.Batch),
			call: func() error { // of one step
				_, err := t.Epoch(ctx)
				return err
			},
			items: 1, unit: "steps",
		})
		if err := errors.Join(err, t.Close()); err != nil {
			return err
		}
	}
	return nil
}

func normal(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}
