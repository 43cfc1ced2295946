package oti

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/runtime/cpu"
	"isearle/weights"
	"isearle/weights/demo"
)

// demoText is the embedded model's text tower for gradients, with its tokeniser.
func demoText(t testing.TB, threads int) (*cpu.Device, *clipnet.TextEncoder, *tokenizer.Tokenizer) {
	t.Helper()
	fsys, err := demo.Model()
	if err != nil {
		t.Fatal(err)
	}
	m, err := weights.OpenFS(fsys, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	dev, err := cpu.Open(cpu.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	text, err := clipnet.NewTextEncoder(dev, m, clipnet.Options{Grad: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { text.Close(); dev.Close() })
	tok, err := tokenizer.LoadFS(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return dev, text, tok
}

// madeUp are images whose features are those of texts, so that the optimisation has something to find, with phrases for two of
// their concepts, one of which is dropped.
func madeUp(t testing.TB, text *clipnet.TextEncoder, tok *tokenizer.Tokenizer) ([]Image, *Phrases) {
	t.Helper()
	var images []Image
	for i, name := range []string{"red heart", "dog face", "man farmer", "green apple", "clock", "cat face", "tiger"} {
		ids, _ := tok.EncodeContext(nil, "a photo of a "+name, tokenizer.HF, text.Context())
		f := make([]float32, text.Dim())
		if err := text.Encode(context.Background(), f, []clipnet.Prompt{{IDs: ids}}, nil); err != nil {
			t.Fatal(err)
		}
		images = append(images, Image{Name: fmt.Sprint(i), Feature: f, Concepts: []string{" apple", "ghost", "apple", "heart"}})
	}
	images[3].Concepts = []string{"ghost"} // nothing to draw from
	return images, NewPhrases(map[string][]string{
		"apple": {"a photo of apple that is red", "a photo of apple that is on a table", "apple"},
		"heart": {"a photo of heart that is blue"},
		"ghost": {"a photo of something else"},
	})
}

func smallOptions() Options {
	o := Defaults()
	o.Steps, o.Batch, o.Parallel, o.Gamma, o.Seed = 12, 3, 32, .1, 5
	return o
}

func invertAll(t testing.TB, threads int, o Options) []Result {
	t.Helper()
	dev, text, tok := demoText(t, threads)
	images, phrases := madeUp(t, text, tok)
	v, err := New(dev, text, tok, tokenizer.HF, phrases, o)
	if err != nil {
		t.Fatal(err)
	}
	var out []Result
	if err := v.Invert(context.Background(), images, nil, nil, func(r Result) error { out = append(out, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// How many images run side by side, and on how many threads, must not change a bit.
func TestNeighboursChangeNothing(t *testing.T) {
	for _, unit := range []bool{false, true} {
		o := smallOptions()
		o.NoiseUnit = unit
		want := invertAll(t, 1, o)
		for _, c := range []struct{ threads, parallel int }{{2, 32}, {3, 2}, {1, 1}} {
			o.Parallel = c.parallel
			for i, r := range invertAll(t, c.threads, o) {
				if !slices.Equal(r.Token, want[i].Token) || !slices.Equal(r.Last, want[i].Last) {
					t.Errorf("image %d: other bits on %d threads, %d side by side", i, c.threads, c.parallel)
				}
			}
		}
	}
}

// The seed, the noise and the phrases must each matter; so must an image's name, which seeds its draws.
func TestOptionsMatter(t *testing.T) {
	base := invertAll(t, 2, smallOptions())
	for name, change := range map[string]func(*Options){
		"seed": func(o *Options) { o.Seed++ }, "gamma": func(o *Options) { o.Gamma = 0 }, "lambda": func(o *Options) { o.LambdaGPT = 0 },
		"batch": func(o *Options) { o.Batch = 32; o.Eps = 1e-4 }, "tokens": func(o *Options) { o.Tokens = 2 },
	} {
		o := smallOptions()
		change(&o)
		if slices.Equal(invertAll(t, 2, o)[0].Token, base[0].Token) {
			t.Errorf("%s changes nothing", name)
		}
	}
	if !slices.Equal(base[0].Kept, []string{"apple", "heart"}) || len(base[3].Kept) != 0 {
		t.Errorf("kept %q and %q", base[0].Kept, base[3].Kept)
	}
}

// The optimisation must find a pseudo-word whose prompts come close to the image.
func TestLossFalls(t *testing.T) {
	dev, text, tok := demoText(t, 2)
	images, phrases := madeUp(t, text, tok)
	o := smallOptions()
	o.Steps, o.Gamma = 150, 0
	v, err := New(dev, text, tok, tokenizer.HF, phrases, o)
	if err != nil {
		t.Fatal(err)
	}
	first, last := 0.0, 0.0
	monitor := func(s Step) {
		switch {
		case s.Step < 10:
			first += float64(s.Content)
		case s.Step >= o.Steps-10:
			last += float64(s.Content)
		}
	}
	if err := v.Invert(context.Background(), images, nil, monitor, func(Result) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if !(last < first/2) {
		t.Errorf("the content loss went from %v to %v", first, last)
	}
}

// A run that is cut off anywhere must end in the bytes of one that is not, and be told from other runs.
func TestRunResumes(t *testing.T) {
	dev, text, tok := demoText(t, 2)
	images, phrases := madeUp(t, text, tok)
	run := func(path string, parallel int, seed uint64, monitor Monitor, ctx context.Context) error {
		o := smallOptions()
		o.Parallel, o.Seed = parallel, seed
		v, err := New(dev, text, tok, tokenizer.HF, phrases, o)
		if err != nil {
			t.Fatal(err)
		}
		return v.Run(ctx, path, images, map[string]string{"model": "demo"}, monitor)
	}
	dir := t.TempDir()
	whole, cut := filepath.Join(dir, "whole.safetensors"), filepath.Join(dir, "cut.safetensors")
	if err := run(whole, 32, 1, nil, context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, stop := range []int{1, 3, 5} { // each run gets a little further
		ctx, cancel := context.WithCancel(context.Background())
		err := run(cut, 2, 1, func(s Step) {
			if s.Index == stop {
				cancel()
			}
		}, ctx)
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
	}
	f, err := os.OpenFile(cut+JournalSuffix, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("half a record")) // as a kill within a write leaves it
	f.Close()
	if err := run(cut, 2, 2, nil, context.Background()); !errors.Is(err, ErrOtherRun) {
		t.Fatalf("another seed: error %v", err)
	}
	if err := run(cut, 3, 1, nil, context.Background()); err != nil {
		t.Fatal(err)
	}
	a, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(cut)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the interrupted run ends in other bytes")
	}
	if _, err := os.Stat(cut + JournalSuffix); !os.IsNotExist(err) {
		t.Errorf("the journal is still there: %v", err)
	}
	w, err := ReadWords(cut)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.IDs) != len(images) || w.IDs[2] != images[2].Name || w.Width != text.Width() || w.Meta["model"] != "demo" {
		t.Errorf("read back %d ids, width %d, meta %v", len(w.IDs), w.Width, w.Meta)
	}
}

func TestRefusesNaN(t *testing.T) {
	dev, text, tok := demoText(t, 1)
	images, phrases := madeUp(t, text, tok)
	images[1].Feature[4] = float32(math.NaN())
	v, err := New(dev, text, tok, tokenizer.HF, phrases, smallOptions())
	if err != nil {
		t.Fatal(err)
	}
	err = v.Invert(context.Background(), images, nil, nil, nil)
	if !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), `"1"`) {
		t.Errorf("error %v", err)
	}
	o := smallOptions()
	o.LR = 1e38 // the first step leaves float32
	if v, err = New(dev, text, tok, tokenizer.HF, phrases, o); err != nil {
		t.Fatal(err)
	}
	images, _ = madeUp(t, text, tok)
	if err = v.Invert(context.Background(), images, nil, nil, func(Result) error { return nil }); !errors.Is(err, ErrNotFinite) {
		t.Errorf("a diverging run: error %v", err)
	}
}

func TestOptionsRefused(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"steps": func(o *Options) { o.Steps = 0 }, "lr": func(o *Options) { o.LR = math.NaN() }, "beta": func(o *Options) { o.Beta1 = 1 },
		"lambdas": func(o *Options) { o.LambdaContent, o.LambdaGPT = 0, 0 }, "gamma": func(o *Options) { o.Gamma = -1 }, "tokens": func(o *Options) { o.Tokens = 0 },
	} {
		o := Defaults()
		change(&o)
		if err := o.check(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestReadPhrases(t *testing.T) {
	write := func(s string) string {
		path := filepath.Join(t.TempDir(), "phrases")
		if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, s := range []string{`{"concept":"a","phrases":["a b"]}` + "\n" + `{"concept":"a","phrases":["c a"]}`, `{"a":["a b","c a"]}`} {
		p, err := ReadPhrases(write(s))
		if err != nil || !slices.Equal(p.Of("a"), []string{"a b", "c a"}) || p.Dropped("a") || !p.Dropped("b") {
			t.Errorf("%s: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{`{"concept":"a"`, `[1]`, `{"a":[1]}`, "\x80\x04garbage"} {
		if _, err := ReadPhrases(write(s)); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}

func FuzzReadNames(f *testing.F) {
	f.Add("dog\ncat\n")
	f.Add("LabelName,DisplayName\n/m/0,\"a, \"\"b\"\"\"\n")
	f.Fuzz(func(t *testing.T, s string) {
		names, err := ReadNames(strings.NewReader(s))
		for _, n := range names {
			if err == nil && n == "" {
				t.Error("an empty name")
			}
		}
	})
}
