package phi

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/oti"
	"isearle/runtime/cpu"
	"isearle/weights/golden"
	"isearle/weights/golden/cirmodel"
	"isearle/weights/safetensors"
)

// trainTrace is a recorded training of the official code.
type trainTrace struct {
	Dropout     float64
	LR          float64 `json:"learning_rate"`
	Decay       float64 `json:"weight_decay"`
	Distil      float64 `json:"lambda_distil"`
	GPT         float64 `json:"lambda_gpt"`
	Temperature float64
	TopK        int `json:"top_k_concepts"`
	Batch       int
	Steps       int
	Log         []struct {
		Batch   []int    `json:"batch_index"`
		Concept []string `json:"concept"`
		Phrase  []string `json:"phrase"`
	}
	tensors  *safetensors.File
	examples []Example
	phrases  *oti.Phrases
}

func (tr *trainTrace) values(t *testing.T, name string) []float32 {
	t.Helper()
	x, ok := tr.tensors.Tensor(name)
	if !ok {
		t.Fatalf("no tensor %q", name)
	}
	v, err := x.Float32s(nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// recordedChoices replays a trace.
type recordedChoices struct {
	tr    *trainTrace
	masks [][]byte
}

func (r recordedChoices) order(epoch, n int) (out []int) {
	for _, l := range r.tr.Log {
		out = append(out, l.Batch...)
	}
	return out
}

func (r recordedChoices) concept(step, attempt, place, n int) int {
	l := r.tr.Log[step]
	c := r.tr.examples[l.Batch[place]].Concepts[:n]
	return slices.IndexFunc(c, func(s string) bool { return strings.TrimSpace(s) == l.Concept[place] })
}

func (r recordedChoices) phrase(step, attempt, place, n int) int {
	l := r.tr.Log[step]
	return slices.Index(r.tr.phrases.Of(l.Concept[place]), l.Phrase[place])
}

func (r recordedChoices) mask(step, k int, p float64, dst []float32) {
	for i := range dst {
		dst[i] = float32(r.masks[k][step*len(dst)+i]) / float32(1-p)
	}
}

// Given the recorded batches, phrases and masks, training must give the official losses, gradients and parameters.
func TestGoldenTraining(t *testing.T) {
	dir := filepath.Join(golden.Dir(t, "cir"), "phi")
	files, err := filepath.Glob(filepath.Join(dir, "train_*.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	dev, err := cpu.Open(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	text, err := clipnet.NewTextEncoder(dev, cirmodel.Open(t), clipnet.Options{Grad: true})
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	traces := 0
	for _, f := range files {
		tag := strings.TrimSuffix(filepath.Base(f), ".safetensors")
		if tag == "train_data" {
			continue
		}
		traces++
		t.Run(tag, func(t *testing.T) { replayTraining(t, dev, text, readTraining(t, dir, tag)) })
	}
	if traces == 0 {
		t.Fatal("the set has no trainings")
	}
}

func readTraining(t *testing.T, dir, tag string) *trainTrace {
	t.Helper()
	tr := &trainTrace{}
	golden.JSON(t, filepath.Join(dir, tag+".json"), tr)
	var data struct {
		Names    []string
		Concepts map[string][]string `json:"name_to_concepts"`
	}
	golden.JSON(t, filepath.Join(dir, "train_data.json"), &data)
	var err error
	if tr.tensors, err = safetensors.Open(filepath.Join(dir, "train_data.safetensors")); err != nil {
		t.Fatal(err)
	}
	features, tokens := tr.values(t, "features"), tr.values(t, "oti_tokens")
	tr.tensors.Close()
	d, w := len(features)/len(data.Names), len(tokens)/len(data.Names)
	for i, name := range data.Names {
		tr.examples = append(tr.examples, Example{Name: name, Feature: features[i*d : (i+1)*d], Token: tokens[i*w : (i+1)*w], Concepts: data.Concepts[name]})
	}
	if tr.tensors, err = safetensors.Open(filepath.Join(dir, tag+".safetensors")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.tensors.Close() })
	if tr.phrases, err = oti.ReadPhrases(filepath.Join(golden.Dir(t, "cir"), "concepts", "concept_to_phrases.json")); err != nil {
		t.Fatal(err)
	}
	return tr
}

// trainer is the official training's, from the recorded initial parameters.
func (tr *trainTrace) trainer(t *testing.T, dev *cpu.Device, text *clipnet.TextEncoder) *Trainer {
	t.Helper()
	init, err := Open(filepath.Join(golden.Dir(t, "cir"), "phi", "init.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	o := TrainDefaults()
	o.Batch, o.LR, o.WeightDecay, o.Dropout, o.Tau = tr.Batch, tr.LR, tr.Decay, tr.Dropout, tr.Temperature
	o.LambdaDistil, o.LambdaGPT, o.TopConcepts, o.Hidden = tr.Distil, tr.GPT, tr.TopK, init.Layers[0].Out
	trainer, err := NewTrainer(dev, text, tokenizer.CLIP(), tokenizer.OpenAI, tr.phrases, tr.examples, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trainer.Close() })
	for i, l := range init.Layers {
		for k, x := range [][]float32{l.W, l.B} {
			if err := trainer.plan.params[2*i+k].p.WriteF32(0, x); err != nil {
				t.Fatal(err)
			}
		}
	}
	rec := recordedChoices{tr: tr}
	for k := range 2 {
		x, ok := tr.tensors.Tensor([]string{"mask0", "mask1"}[k])
		if !ok { // without dropout the masks keep all
			x.Data = slices.Repeat([]byte{1}, tr.Steps*tr.Batch*o.Hidden)
		}
		rec.masks = append(rec.masks, x.Data)
	}
	trainer.choices = rec
	return trainer
}

func replayTraining(t *testing.T, dev *cpu.Device, text *clipnet.TextEncoder, tr *trainTrace) {
	trainer := tr.trainer(t, dev, text)
	total, gpt, distil := tr.values(t, "loss_total"), tr.values(t, "loss_gpt"), tr.values(t, "loss_distil")
	estimated := tr.values(t, "estimated_tokens")
	for step, l := range tr.Log {
		got, err := trainer.makeStep(context.Background(), l.Batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name      string
			got, want float64
		}{{"total", got.Total, float64(total[step])}, {"gpt", got.GPT, float64(gpt[step])}, {"distillation", got.Distil, float64(distil[step])}} {
			if math.Abs(c.got-c.want) > 1e-6*max(1, math.Abs(c.want)) {
				t.Fatalf("step %d: %s loss %v, want %v", step, c.name, c.got, c.want)
			}
		}
		words := make([]float32, tr.Batch*text.Width())
		if err := trainer.plan.words.ReadF32(0, words); err != nil {
			t.Fatal(err)
		}
		near(t, "estimated tokens", words, estimated[step*len(words):(step+1)*len(words)], 1e-4)
		if step == 0 {
			tr.params(t, trainer, "grad_step0.", func(p param) []float32 { return read(t, p.g) }, 1e-5)
			tr.params(t, trainer, "after1.", func(p param) []float32 { return read(t, p.p) }, 1e-4)
		}
	}
	tr.params(t, trainer, "after10.", func(p param) []float32 { return read(t, p.p) }, 1e-4)
}

func read(t *testing.T, b interface {
	Len() int
	ReadF32(int, []float32) error
}) []float32 {
	t.Helper()
	x := make([]float32, b.Len())
	if err := b.ReadF32(0, x); err != nil {
		t.Fatal(err)
	}
	return x
}

// params compares every parameter with the tensors of a prefix, relative to each one's largest entry.
func (tr *trainTrace) params(t *testing.T, trainer *Trainer, prefix string, get func(param) []float32, tol float64) {
	t.Helper()
	for i, name := range layouts[0].names {
		for k, part := range []string{".weight", ".bias"} {
			near(t, prefix+name+part, get(trainer.plan.params[2*i+k]), tr.values(t, prefix+name+part), tol)
		}
	}
}

func near(t *testing.T, what string, got, want []float32, tol float64) {
	t.Helper()
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(float64(w)))
	}
	for i, w := range want {
		if math.Abs(float64(got[i]-w)) > tol*largest {
			t.Fatalf("%s: element %d is %v, want %v (largest %v)", what, i, got[i], w, largest)
		}
	}
}

// A checkpoint in the middle must lead to the same bytes.
func TestResumeSameBytes(t *testing.T) {
	dev, err := cpu.Open(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	text, err := clipnet.NewTextEncoder(dev, cirmodel.Open(t), clipnet.Options{Grad: true})
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	tr := readTraining(t, filepath.Join(golden.Dir(t, "cir"), "phi"), "train_drop05")
	o := TrainDefaults()
	o.Batch, o.Epochs, o.Hidden = 64, 4, 48
	fresh := func() *Trainer {
		x, err := NewTrainer(dev, text, tokenizer.CLIP(), tokenizer.OpenAI, tr.phrases, tr.examples, o)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	epochs := func(x *Trainer, n int) {
		for range n {
			if _, err := x.Epoch(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	whole, first, second := fresh(), fresh(), fresh()
	epochs(whole, 4)
	epochs(first, 2)
	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	if err := first.Save(path); err != nil {
		t.Fatal(err)
	}
	if err := second.Resume(path); err != nil {
		t.Fatal(err)
	}
	epochs(second, 2)
	want, err := whole.state()
	if err != nil {
		t.Fatal(err)
	}
	got, err := second.state()
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Fatalf("state %d differs after a resume", i)
		}
	}
	o.LR *= 2
	other := fresh()
	if err := other.Resume(path); err == nil {
		t.Error("a checkpoint of a training with another learning rate was taken")
	}
}
