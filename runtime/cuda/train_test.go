//go:build cuda

package cuda_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/oti"
	"isearle/phi"
	"isearle/runtime"
	"isearle/weights"
	"isearle/weights/demo"
)

// cosine of two vectors.
func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

// Some steps of OTI through the embedded model, noise and a phrase included, must lead to the CPU device's pseudo-words. AdamW's
// first steps are nearly the gradient's signs, so where it is nearly zero rounding shows: directions are compared. In bf16
// two steps were measured to end at cosines above 0.99998.
func TestOTI(t *testing.T) {
	fsys, err := demo.Model()
	if err != nil {
		t.Fatal(err)
	}
	m, err := weights.OpenFS(fsys, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tok, err := tokenizer.LoadFS(fsys)
	if err != nil {
		t.Fatal(err)
	}
	devs := both(t)
	images := captions(t, devs[0], m, tok)
	want := invert(t, devs[0], m, tok, images, runtime.F32)
	if len(want) != len(images) {
		t.Fatalf("%d results", len(want))
	}
	for _, dt := range dtypes {
		t.Run(dt.String(), func(t *testing.T) {
			got := invert(t, devs[1], m, tok, images, dt)
			if len(got) != len(want) {
				t.Fatalf("%d results, want %d", len(got), len(want))
			}
			for j, r := range got {
				if c := cosine(r.Last, want[j].Last); !(c > 0.9999) {
					t.Errorf("image %d: the pseudo-words' cosine is %v", j, c)
				}
			}
		})
	}
}

// captions are features of captions, in place of images'.
func captions(t *testing.T, d runtime.Device, m *weights.CLIP, tok *tokenizer.Tokenizer) (images []oti.Image) {
	text, err := clipnet.NewTextEncoder(d, m, clipnet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	for j, name := range []string{"red heart", "dog face"} {
		ids, _ := tok.EncodeContext(nil, "a photo of a "+name, tokenizer.HF, text.Context())
		f := make([]float32, text.Dim())
		if err := text.Encode(context.Background(), f, []clipnet.Prompt{{IDs: ids}}, nil); err != nil {
			t.Fatal(err)
		}
		images = append(images, oti.Image{Name: fmt.Sprint(j), Feature: f, Concepts: []string{"heart"}})
	}
	return images
}

// invert makes two steps of OTI, with products in a type.
func invert(t *testing.T, d runtime.Device, m *weights.CLIP, tok *tokenizer.Tokenizer, images []oti.Image, dt runtime.DType) (results []oti.Result) {
	o := oti.Defaults()
	o.Steps, o.Batch, o.Parallel, o.Gamma = 2, 2, 4, .1
	text, err := clipnet.NewTextEncoder(d, m, clipnet.Options{DType: dt, Grad: true})
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	phrases := oti.NewPhrases(map[string][]string{"heart": {"a photo of heart that is blue"}})
	v, err := oti.New(d, text, tok, tokenizer.HF, phrases, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Invert(context.Background(), images, nil, nil, func(r oti.Result) error { results = append(results, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return results
}

// Two epochs of phi's training, dropout included, must have the CPU device's losses.
func TestPhiTraining(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var examples []phi.Example
	for i := range 12 {
		e := phi.Example{Name: fmt.Sprint(i), Feature: make([]float32, 16), Token: make([]float32, 8)}
		for j := range e.Feature {
			e.Feature[j] = float32(rng.NormFloat64())
		}
		for j := range e.Token {
			e.Token[j] = float32(rng.NormFloat64())
		}
		examples = append(examples, e)
	}
	o := phi.TrainDefaults()
	o.Batch, o.Hidden, o.LambdaGPT, o.Epochs = 6, 24, 0, 2
	var got [2][]phi.Losses
	for i, d := range both(t) {
		tr, err := phi.NewTrainer(d, nil, nil, 0, nil, examples, o)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		for range o.Epochs {
			l, err := tr.Epoch(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			got[i] = append(got[i], l)
		}
	}
	for e := range got[0] {
		if a, b := got[0][e].Total, got[1][e].Total; !(math.Abs(float64(a-b)) <= 1e-4*math.Abs(float64(a))) {
			t.Errorf("epoch %d: loss %v, the CPU device has %v", e, b, a)
		}
	}
}
