package gpt

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/weights/safetensors"
)

// writeModel writes a random GPT-2 of one layer with a tokeniser of bytes.
func writeModel(tb testing.TB, vocab int) string {
	tb.Helper()
	const w, mlp, context = 8, 16, 80
	dir, r := tb.TempDir(), rand.New(rand.NewPCG(1, 1))
	var list []safetensors.Tensor
	add := func(name string, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		list = append(list, safetensors.FromFloat32s(name, x, shape...))
	}
	add("wte.weight", vocab, w)
	add("wpe.weight", context, w)
	for name, shape := range map[string][]int{"attn.c_attn": {w, 3 * w}, "attn.c_proj": {w, w}, "mlp.c_fc": {w, mlp}, "mlp.c_proj": {mlp, w}} {
		add("h.0."+name+".weight", shape...)
		add("h.0."+name+".bias", shape[1])
	}
	for _, name := range []string{"h.0.ln_1", "h.0.ln_2", "ln_f"} {
		add(name+".weight", w)
		add(name+".bias", w)
	}
	ids := map[string]int{}
	for b := range 256 {
		c := rune(0x100 + b) // bytes that are not printable stand at U+0100 and up, in order
		switch {
		case b > ' ' && b < 0x7F, b > 0xA0 && b != 0xAD:
			c = rune(b)
		case b == 0xAD:
			c = 0x143
		case b > ' ' && b <= 0xA0:
			c = rune(0x121 + b - 0x7F)
		}
		ids[string(c)] = b
	}
	ids["<|endoftext|>"] = 256
	config, _ := json.Marshal(map[string]any{"model_type": "gpt2", "vocab_size": vocab, "n_embd": w, "n_inner": mlp, "n_head": 2, "n_layer": 1,
		"n_positions": context, "tie_word_embeddings": true})
	tokens, _ := json.Marshal(ids)
	err := safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), list, nil)
	for name, data := range map[string]string{"config.json": string(config), "vocab.json": string(tokens), "merges.txt": "#version: 0.2\n"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

func TestPhrases(t *testing.T) {
	dir := writeModel(t, 257)
	o := Options{N: 9, Seed: 5, Sampling: Sampling{Temperature: 1, NoRepeat: 2, MaxLength: 60}}
	phrases := func(o Options, concept string) []string {
		t.Helper()
		g, err := OpenGenerator(device(t, 1), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		p, err := g.Phrases(t.Context(), concept)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	want := phrases(o, "red fox")
	if len(want) != 9 || slices.Equal(want[:1], want[1:2]) {
		t.Errorf("%q", want)
	}
	for _, p := range want {
		if !strings.HasPrefix(p, "a photo of red fox that") || strings.Contains(p, "\n") || strings.Contains(p, "<|endoftext|>") {
			t.Errorf("%q", p)
		}
	}
	few := o
	few.N, few.Batch = 4, 3
	if got := phrases(few, "red fox"); !slices.Equal(got, want[:4]) {
		t.Errorf("fewer phrases in smaller batches are %q, want %q", got, want[:4])
	}
	other := o
	other.Seed = 6
	if slices.Equal(phrases(other, "red fox"), want) {
		t.Error("another seed gives the same phrases")
	}
}

func TestPhrasesErrors(t *testing.T) {
	o := Options{N: 2, Sampling: Sampling{Temperature: 1, MaxLength: 30}}
	if _, err := OpenGenerator(device(t, 1), writeModel(t, 250), o); err == nil || !strings.Contains(err.Error(), "257 tokens") {
		t.Errorf("a model with too few tokens: %v", err)
	}
	g, err := OpenGenerator(device(t, 1), writeModel(t, 300), o)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.Phrases(t.Context(), "a concept of many bytes"); !errors.Is(err, ErrPrompt) || !strings.Contains(err.Error(), "many bytes") {
		t.Errorf("too long a concept: %v", err)
	}
	if _, err := g.Phrases(t.Context(), "\xff"); err == nil {
		t.Error("a concept that is no UTF-8: no error")
	}
}
