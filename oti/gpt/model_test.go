package gpt

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/runtime"
	"isearle/runtime/cpu"
	"isearle/weights/safetensors"
)

// The checkpoints of testdata are random; what is expected of them was computed by transformers (see README.md there).
var checkpoints = []string{"gpt2", "gpt2_bare_f16", "gpt_neo", "gpt_neo_bf16"}

type expected struct {
	Sequences []struct {
		IDs    []int32
		Logits [][]float64
	}
	Generations []struct {
		Prompt, IDs []int32
		Ngram       int
		MaxLength   int `json:"max_length"`
	}
}

func device(tb testing.TB, threads int) runtime.Device {
	tb.Helper()
	dev, err := cpu.Open(cpu.Options{Threads: threads})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { dev.Close() })
	return dev
}

func load(tb testing.TB, name string, batch int) (*Model, expected) {
	tb.Helper()
	dir := filepath.Join("testdata", name)
	m, err := open(device(tb, 2), dir, batch)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(); err != nil {
			tb.Error(err)
		}
	})
	var want expected
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err == nil {
		err = json.Unmarshal(data, &want)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return m, want
}

// oneShot computes the logits of every token of a sequence at once, without a cache.
func oneShot(tb testing.TB, m *Model, ids []int32) [][]float32 {
	tb.Helper()
	g, err := m.compile("one shot", capacity{seqs: 1, rows: len(ids), outs: len(ids)}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer g.prog.Close()
	g.add(ids, 0, 0)
	for i := range ids {
		g.outs.host[i] = int32(i)
	}
	g.live.outs = len(ids)
	return results(tb, m, g)
}

func results(tb testing.TB, m *Model, g *graph) [][]float32 {
	tb.Helper()
	if err := g.run(context.Background()); err != nil {
		tb.Fatal(err)
	}
	rows := make([][]float32, g.live.outs)
	for i := range rows {
		rows[i] = make([]float32, m.cfg.Vocab)
		if err := g.logits.ReadF32(i*m.cfg.Vocab, rows[i]); err != nil {
			tb.Fatal(err)
		}
	}
	return rows
}

func TestLogits(t *testing.T) {
	for _, name := range checkpoints {
		m, want := load(t, name, 0)
		for _, s := range want.Sequences {
			got, worst, largest := oneShot(t, m, s.IDs), 0.0, 0.0
			for i := range got {
				for j, v := range got[i] {
					worst, largest = max(worst, math.Abs(float64(v)-s.Logits[i][j])), max(largest, math.Abs(s.Logits[i][j]))
				}
			}
			if !(worst <= 1e-5*largest) {
				t.Errorf("%s, %d tokens: logits differ by %g of %g", name, len(s.IDs), worst, largest)
			}
		}
	}
}

// TestCache feeds sequences of several lengths through the cache in pieces, side by side, and wants the bits of one pass.
func TestCache(t *testing.T) {
	for _, name := range checkpoints {
		m, want := load(t, name, 3)
		var seqs [][]int32
		for _, s := range want.Sequences {
			seqs = append(seqs, s.IDs)
		}
		kv, err := m.openCache(m.cfg.Context)
		if err != nil {
			t.Fatal(err)
		}
		done := make([]int, len(seqs))
		r := rand.New(rand.NewPCG(1, 2))
		for step := 0; ; step++ {
			g, order, live := kv.prefill, []int{}, false
			if step%2 == 1 {
				g = kv.decode
			}
			g.reset()
			for s, ids := range seqs {
				n := min(1+r.IntN(4), len(ids)-done[s])
				if g == kv.decode {
					n = min(n, 1)
				}
				live = live || n > 0
				if n == 0 || !g.room(n, 1) {
					continue
				}
				g.add(ids[done[s]:done[s]+n], kv.base(s), done[s], kv.base(s))
				order, done[s] = append(order, s), done[s]+n
			}
			if !live {
				break
			}
			for i, row := range results(t, m, g) {
				s := order[i]
				if !slices.Equal(row, oneShot(t, m, seqs[s])[done[s]-1]) {
					t.Fatalf("%s: token %d of sequence %d has other logits from the cache", name, done[s]-1, s)
				}
			}
		}
	}
}

func TestGreedy(t *testing.T) {
	for _, name := range checkpoints {
		for _, batch := range []int{1, 2, 64} {
			m, want := load(t, name, batch)
			for _, ngram := range []int{0, 2, 3} {
				var seqs []Sequence
				var ids [][]int32
				o := Sampling{NoRepeat: ngram}
				for _, g := range want.Generations {
					if g.Ngram == ngram {
						seqs, ids, o.MaxLength = append(seqs, Sequence{Prompt: g.Prompt}), append(ids, g.IDs), g.MaxLength
					}
				}
				got, err := m.Generate(t.Context(), seqs, o)
				if err != nil {
					t.Fatal(err)
				}
				for i := range ids {
					if !slices.Equal(got[i], ids[i]) {
						t.Errorf("%s, batch %d, no repeated %d-gram: %v, want %v", name, batch, ngram, got[i], ids[i])
					}
				}
			}
		}
	}
}

func TestGenerateDependsOnItsOwnDrawsOnly(t *testing.T) {
	prompts := [][]int32{{5, 6, 7}, {5, 6, 7}, {8}, {5, 6, 7}, {9, 10, 12, 13, 14}, {8}, {8}}
	o := Sampling{Temperature: 2, TopK: 20, NoRepeat: 2, MaxLength: 18}
	var want [][]int32
	for _, batch := range []int{1, 2, 5, 64} {
		m, _ := load(t, "gpt2", batch)
		var seqs []Sequence
		for i, p := range prompts {
			seqs = append(seqs, Sequence{p, stream(9, "x", i)})
		}
		got, err := m.Generate(t.Context(), seqs, o)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		for i := range got {
			if !slices.Equal(got[i], want[i]) {
				t.Errorf("batch %d, sequence %d: %v, want %v", batch, i, got[i], want[i])
			}
			if !slices.Equal(got[i][:len(prompts[i])], prompts[i]) || len(got[i]) > o.MaxLength {
				t.Errorf("sequence %d: %v", i, got[i])
			}
		}
	}
	if slices.Equal(want[0], want[1]) {
		t.Error("two streams drew the same tokens")
	}
}

func TestGenerateErrors(t *testing.T) {
	m, _ := load(t, "gpt2", 0)
	o := Sampling{MaxLength: 10}
	for _, ids := range [][]int32{{}, {97}, {-1}, make([]int32, 10)} {
		if _, err := m.Generate(t.Context(), []Sequence{{Prompt: ids}}, o); !errors.Is(err, ErrPrompt) {
			t.Errorf("%v: error %v", ids, err)
		}
	}
	for _, o := range []Sampling{{MaxLength: 41}, {MaxLength: 1}, {MaxLength: 9, Temperature: -1}, {MaxLength: 9, Temperature: math.NaN()}, {MaxLength: 9, TopK: -1}} {
		if _, err := m.Generate(t.Context(), []Sequence{{Prompt: []int32{1}}}, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Generate(ctx, []Sequence{{Prompt: []int32{1}}}, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestLayouts reads the same model from two shards, and with an output matrix of its own.
func TestLayouts(t *testing.T) {
	m, want := load(t, "gpt_neo", 0)
	ids := want.Sequences[1].IDs
	f, err := safetensors.Open("testdata/gpt_neo/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir, index, shards := t.TempDir(), map[string]string{}, map[string][]safetensors.Tensor{}
	add := func(x safetensors.Tensor) {
		name := []string{"a.safetensors", "b.safetensors"}[len(index)%2]
		index[x.Name], shards[name] = name, append(shards[name], x)
	}
	for x := range f.All() {
		add(x)
		if x.Name == "transformer.wte.weight" {
			x.Name = "lm_head.weight"
			add(x)
		}
	}
	text, err := json.Marshal(map[string]any{"weight_map": index})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), text, 0o600)
	}
	for name, list := range shards {
		err = errors.Join(err, safetensors.WriteFile(filepath.Join(dir, name), list, nil))
	}
	config, e := os.ReadFile("testdata/gpt_neo/config.json")
	config = []byte(strings.Replace(string(config), `"tie_word_embeddings": true`, `"tie_word_embeddings": false`, 1))
	if err = errors.Join(err, e, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)); err != nil {
		t.Fatal(err)
	}
	other, err := Open(device(t, 1), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if other.cfg.Tied {
		t.Error("the configuration is still tied")
	}
	got, same := oneShot(t, other, ids), oneShot(t, m, ids)
	for i := range same {
		if !slices.Equal(got[i], same[i]) {
			t.Errorf("token %d has other logits", i)
		}
	}
}

// TestOpenErrors breaks a checkpoint in every way that a name, a shape or a type can be wrong.
func TestOpenErrors(t *testing.T) {
	config, err := os.ReadFile("testdata/gpt2/config.json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open("testdata/gpt2/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		name, tensor, config string
		change               func(t *safetensors.Tensor) bool // false leaves the tensor out
		words                []string
	}{
		{"missing", "transformer.h.1.mlp.c_fc.bias", "", func(*safetensors.Tensor) bool { return false }, []string{"h.1.mlp.c_fc.bias", "missing"}},
		{"transposed", "transformer.h.0.mlp.c_fc.weight", "", func(t *safetensors.Tensor) bool { slices.Reverse(t.Shape); return true },
			[]string{"h.0.mlp.c_fc.weight", "[96 24]", "[24 96]"}},
		{"integers", "transformer.ln_f.weight", "", func(t *safetensors.Tensor) bool { t.DType = safetensors.I32; return true }, []string{"ln_f.weight", "floating"}},
		{"no such kind", "", `{"model_type":"llama"}`, nil, []string{"config.json", "llama"}},
		{"broken", "", `{`, nil, []string{"config.json"}},
	} {
		dir := t.TempDir()
		var list []safetensors.Tensor
		for x := range f.All() {
			x.Shape = slices.Clone(x.Shape)
			if x.Name != c.tensor || c.change(&x) {
				list = append(list, x)
			}
		}
		if err := safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), list, nil); err != nil {
			t.Fatal(err)
		}
		text := config
		if c.config != "" {
			text = []byte(c.config)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(device(t, 1), dir)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", c.name, err, w)
			}
		}
	}
	if _, err := Open(device(t, 1), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
}
