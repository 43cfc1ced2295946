package oti

import (
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/runtime/cpu"
	"isearle/weights/golden"
	"isearle/weights/golden/cirmodel"
	"isearle/weights/safetensors"
)

// trace is a recorded run of the official code.
type trace struct {
	Args struct {
		LearningRate float64 `json:"learning_rate"`
		WeightDecay  float64 `json:"weight_decay"`
		BatchSize    int     `json:"batch_size"`
		TopK         int     `json:"top_k"`
		Steps        int     `json:"oti_steps"`
		LambdaGPT    float64 `json:"lambda_gpt"`
		LambdaCos    float64 `json:"lambda_cos"`
		EMADecay     float64 `json:"ema_decay"`
	}
	Gamma     float64
	NoiseKind string `json:"noise_kind"`
	Names     []string
	Batches   []struct {
		Names []string
		Kept  [][]string `json:"kept_concepts"`
		Pool  []int      `json:"pool_size"`
		Steps []struct {
			Template []int    `json:"template_index"`
			Phrase   []int    `json:"phrase_index"`
			Concept  []string `json:"concept"`
			Text     []string `json:"phrase"`
		}
	}
	tensors *safetensors.File
}

func readTrace(t *testing.T, tag string) *trace {
	t.Helper()
	dir := filepath.Join(golden.Dir(t, "cir"), "oti")
	tr := &trace{}
	golden.JSON(t, filepath.Join(dir, tag+".json"), tr)
	var err error
	if tr.tensors, err = safetensors.Open(filepath.Join(dir, tag+".safetensors")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.tensors.Close() })
	return tr
}

// values reads tensor b{batch}.{name} from element row*width on.
func (tr *trace) values(batch int, name string) []float32 {
	x, ok := tr.tensors.Tensor(fmt.Sprintf("b%d.%s", batch, name))
	if !ok {
		panic("no tensor " + name)
	}
	v, err := x.Float32s(nil)
	if err != nil {
		panic(err)
	}
	return v
}

// at finds image i's batch and its place in it.
func (tr *trace) at(i int) (batch, place int) { return i / tr.Args.BatchSize, i % tr.Args.BatchSize }

// recorded are the draws of a trace.
type recorded struct {
	tr     *trace
	width  int
	scaled [][]float32 // noise by batch, times gamma
	gamma  float64
}

func (r recorded) init(i int, v []float32) {
	b, p := r.tr.at(i)
	copy(v, r.tr.values(b, "init")[p*r.width:])
}

func (r recorded) template(i, step, n int) int {
	b, p := r.tr.at(i)
	return r.tr.Batches[b].Steps[step].Template[p]
}

func (r recorded) phrase(i, step, n int) int {
	b, p := r.tr.at(i)
	return r.tr.Batches[b].Steps[step].Phrase[p]
}

// noise gives the recorded noise, which gamma has scaled already.
func (r recorded) noise(i, step int, dst []float32) {
	b, p := r.tr.at(i)
	batch := len(r.tr.Batches[b].Names)
	for j := range dst {
		dst[j] = r.scaled[b][(step*batch+p)*len(dst)+j] / float32(r.gamma)
	}
}

// readAssociation reads each image's ranked concepts, by the official association, and the images' order.
func readAssociation(t *testing.T) (ranked map[string][]string, order []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(golden.Dir(t, "cir"), "concepts", "*image_texts.csv"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("association files %v, %v", paths, err)
	}
	f, err := os.Open(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	ranked = map[string][]string{}
	for _, r := range rows[1:] {
		ranked[r[0]], order = r[1:], append(order, r[0])
	}
	return ranked, order
}

func concepts(t *testing.T) map[string][]string {
	t.Helper()
	ranked, _ := readAssociation(t)
	return ranked
}

// tags are the set's traces.
func tags(t *testing.T) (out []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(golden.Dir(t, "cir"), "oti", "*.safetensors"))
	if err != nil || len(files) == 0 {
		t.Fatalf("traces %v, %v", files, err)
	}
	for _, f := range files {
		out = append(out, strings.TrimSuffix(filepath.Base(f), ".safetensors"))
	}
	return out
}

func setup(t *testing.T) (*cpu.Device, *clipnet.TextEncoder, *Phrases) {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	text, err := clipnet.NewTextEncoder(dev, cirmodel.Open(t), clipnet.Options{Grad: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { text.Close(); dev.Close() })
	phrases, err := ReadPhrases(filepath.Join(golden.Dir(t, "cir"), "concepts", "concept_to_phrases.pkl"))
	if err != nil {
		t.Fatal(err)
	}
	return dev, text, phrases
}

// images are the trace's, with their ranked concepts.
func (tr *trace) images(ranked map[string][]string, dim int) (out []Image) {
	for i, name := range tr.Names {
		b, p := tr.at(i)
		out = append(out, Image{Name: name, Concepts: ranked[name], Feature: tr.values(b, "image_features")[p*dim : (p+1)*dim]})
	}
	return out
}

// Given the recorded choices, every step must give the official losses, pseudo-words and averages.
func TestGoldenTraces(t *testing.T) {
	ranked := concepts(t)
	dev, text, phrases := setup(t)
	for _, tag := range tags(t) {
		t.Run(tag, func(t *testing.T) { replay(t, dev, text, phrases, ranked, readTrace(t, tag)) })
	}
}

// options are the trace's.
func (tr *trace) options() Options {
	o := Defaults()
	o.LR, o.WeightDecay, o.Batch, o.TopK, o.Steps = tr.Args.LearningRate, tr.Args.WeightDecay, tr.Args.BatchSize, tr.Args.TopK, tr.Args.Steps
	o.LambdaGPT, o.LambdaContent, o.EMA = tr.Args.LambdaGPT, tr.Args.LambdaCos, tr.Args.EMADecay
	o.Gamma, o.NoiseUnit = tr.Gamma, tr.NoiseKind == "unit"
	return o
}

func (tr *trace) draws(width int) recorded {
	d := recorded{tr: tr, width: width, gamma: tr.Gamma}
	for b := range tr.Batches {
		if tr.Gamma > 0 {
			d.scaled = append(d.scaled, tr.values(b, "noise"))
		}
	}
	return d
}

func replay(t *testing.T, dev *cpu.Device, text *clipnet.TextEncoder, phrases *Phrases, ranked map[string][]string, tr *trace) {
	v, err := New(dev, text, tokenizer.CLIP(), tokenizer.OpenAI, phrases, tr.options())
	if err != nil {
		t.Fatal(err)
	}
	images := tr.images(ranked, text.Dim())
	loss := map[[2]int][2]float64{} // batch, step: sums of the content and GPT terms
	monitor := func(s Step) {
		b, _ := tr.at(s.Index)
		n := float64(len(tr.Batches[b].Names))
		l := loss[[2]int{b, s.Step}]
		loss[[2]int{b, s.Step}] = [2]float64{l[0] + float64(s.Content)/n, l[1] + float64(s.GPT)/n}
	}
	var results []Result
	err = v.invert(context.Background(), images, tr.draws(text.Width()), nil, monitor, func(r Result) error {
		results = append(results, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for b, batch := range tr.Batches {
		for k, name := range batch.Names {
			r := results[b*tr.Args.BatchSize+k]
			if fmt.Sprint(r.Kept) != fmt.Sprint(batch.Kept[k]) {
				t.Errorf("%s keeps concepts %v, want %v", name, r.Kept, batch.Kept[k])
			}
		}
		cos, gpt := tr.values(b, "loss_cos"), tr.values(b, "loss_gpt")
		for s := range batch.Steps {
			got := loss[[2]int{b, s}]
			if math.Abs(got[0]-float64(cos[s])) > 1e-6 || math.Abs(got[1]-float64(gpt[s])) > 1e-6 {
				t.Fatalf("batch %d, step %d: losses %v, want %v and %v", b, s, got, cos[s], gpt[s])
			}
		}
	}
	final := func(name string, got func(Result) []float32) {
		x, _ := tr.tensors.Tensor(name)
		want, err := x.Float32s(nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			for j, g := range got(r) {
				if w := want[i*text.Width()+j]; math.Abs(float64(g-w)) > 1e-4 {
					t.Fatalf("%s of %s: element %d is %v, want %v", name, tr.Names[i], j, g, w)
				}
			}
		}
	}
	final("final_tokens", func(r Result) []float32 { return r.Last })
	final("final_ema", func(r Result) []float32 { return r.Token })
}

// The gradient of the first step, before AdamW hides its size.
func TestGoldenFirstGradient(t *testing.T) {
	ranked := concepts(t)
	dev, text, phrases := setup(t)
	for _, tag := range tags(t) {
		tr := readTrace(t, tag)
		o := tr.options()
		o.Steps = 1
		v, err := New(dev, text, tokenizer.CLIP(), tokenizer.OpenAI, phrases, o)
		if err != nil {
			t.Fatal(err)
		}
		images := tr.images(ranked, text.Dim())
		for b, batch := range tr.Batches {
			g := &group{v: v, images: images, draws: tr.draws(text.Width())}
			for k := range batch.Names {
				g.index = append(g.index, b*tr.Args.BatchSize+k)
			}
			got := make([]float32, len(g.index)*text.Width())
			if err := g.prepare(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := firstError(g.step(context.Background(), 0), g.prog.g.ReadF32(0, got), g.prog.close()); err != nil {
				t.Fatal(err)
			}
			want := tr.values(b, "grad")[:len(batch.Names)*text.Width()]
			largest := 0.0
			for _, w := range want {
				largest = max(largest, math.Abs(float64(w)))
			}
			for i := range got {
				if math.Abs(float64(got[i]-want[i])) > 1e-5*largest {
					t.Fatalf("%s, batch %d, element %d: gradient %v, want %v", tag, b, i, got[i], want[i])
				}
			}
		}
	}
}

// The association with concepts, from the model and the images' features. Names repeat in the list, so names are compared.
func TestGoldenAssociation(t *testing.T) {
	dev, text, phrases := setup(t)
	dir := filepath.Join(golden.Dir(t, "cir"), "concepts")
	f, err := os.Open(filepath.Join(dir, "concepts.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names, err := ReadNames(f)
	if err != nil {
		t.Fatal(err)
	}
	c, err := EncodeConcepts(context.Background(), text, tokenizer.CLIP(), tokenizer.OpenAI, names, nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := safetensors.Open(filepath.Join(dir, "association.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	read := func(name string) []float32 {
		x, _ := st.Tensor(name)
		v, err := x.Float32s(nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i, w := range read("dictionary_embeddings") {
		if math.Abs(float64(c.Features[i]-w)) > 5e-6 {
			t.Fatalf("concept %q, element %d is %v, want %v", names[i/text.Dim()], i%text.Dim(), c.Features[i], w)
		}
	}
	images, similarity := read("image_features_normalised"), read("similarity")
	rows, order := readAssociation(t)
	got, err := c.Associate(dev, images, len(rows[order[0]]))
	if err != nil {
		t.Fatal(err)
	}
	score := map[string]float32{}
	for i, name := range order {
		for k, n := range names {
			score[n] = similarity[i*len(names)+k]
		}
		for rank, n := range rows[name] {
			if got[i][rank] != n && math.Abs(float64(score[got[i][rank]]-score[n])) > 1e-6 {
				t.Fatalf("%s: concept %d is %q, want %q", name, rank+1, got[i][rank], n)
			}
		}
	}
	var filtered []string
	golden.JSON(t, filepath.Join(dir, "filtered_out.json"), &filtered)
	drop := map[string]bool{}
	for _, n := range filtered {
		drop[n] = true
	}
	for n := range phrases.byConcept {
		if phrases.Dropped(n) != drop[n] {
			t.Errorf("concept %q dropped: %t, want %t", n, phrases.Dropped(n), drop[n])
		}
	}
}
