package weights

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"isearle/weights/golden"
	"isearle/weights/safetensors"
)

// goldenFiles returns every checkpoint of the set.
func goldenFiles(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"*/*.safetensors", "*/*.pt"} {
		found, err := filepath.Glob(filepath.Join(golden.Dir(t, "clip"), pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	if len(out) == 0 {
		t.Fatal("the set has no checkpoints")
	}
	return out
}

func mustOpen(t *testing.T, path string) *CLIP {
	t.Helper()
	c, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// lookup follows keys into a decoded JSON document.
func lookup(v any, keys ...string) any {
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

func number(v any) int {
	f, _ := v.(float64)
	return int(f)
}

// TestGoldenConfig compares what was understood with the files, read in another way.
func TestGoldenConfig(t *testing.T) {
	for _, path := range goldenFiles(t) {
		c := mustOpen(t, path)
		cfg, dir := c.Config, filepath.Dir(path)
		var doc any
		var want Config
		switch {
		case exists(dir, "config.json"):
			golden.JSON(t, filepath.Join(dir, "config.json"), &doc)
			v, x := lookup(doc, "vision_config"), lookup(doc, "text_config")
			want = Config{
				Vision: Vision{number(lookup(v, "image_size")), number(lookup(v, "patch_size")), number(lookup(v, "hidden_size")),
					number(lookup(v, "num_hidden_layers")), number(lookup(v, "num_attention_heads")), number(lookup(v, "intermediate_size"))},
				Text: Text{Context: number(lookup(x, "max_position_embeddings")), Vocab: number(lookup(x, "vocab_size")), Width: number(lookup(x, "hidden_size")),
					Layers: number(lookup(x, "num_hidden_layers")), Heads: number(lookup(x, "num_attention_heads")), MLP: number(lookup(x, "intermediate_size")),
					Pooling: FirstEOT, BOS: number(lookup(x, "bos_token_id")), EOT: number(lookup(x, "eos_token_id"))},
				EmbedDim: number(lookup(doc, "projection_dim")),
			}
			want.Activation, _ = ParseActivation(lookup(v, "hidden_act").(string))
			if want.Text.EOT == 2 {
				want.Text.Pooling, want.Text.BOS, want.Text.EOT = ArgmaxID, want.Text.Vocab-2, want.Text.Vocab-1
			}
			if c.Layout != HuggingFace {
				t.Errorf("%s: layout %v", path, c.Layout)
			}
		case exists(dir, "open_clip_config.json"):
			golden.JSON(t, filepath.Join(dir, "open_clip_config.json"), &doc)
			m := lookup(doc, "model_cfg")
			v, x := lookup(m, "vision_cfg"), lookup(m, "text_cfg")
			width := number(lookup(v, "width"))
			want = Config{
				Vision: Vision{number(lookup(v, "image_size")), number(lookup(v, "patch_size")), width, number(lookup(v, "layers")),
					width / number(lookup(v, "head_width")), cfg.Vision.MLP},
				Text: Text{Context: number(lookup(x, "context_length")), Vocab: number(lookup(x, "vocab_size")), Width: number(lookup(x, "width")),
					Layers: number(lookup(x, "layers")), Heads: number(lookup(x, "heads")), MLP: cfg.Text.MLP},
				EmbedDim: number(lookup(m, "embed_dim")), Activation: GELU,
			}
			if lookup(m, "quick_gelu") == true {
				want.Activation = QuickGELU
			}
			custom := lookup(m, "custom_text") == true
			if custom != (c.Layout == OpenCLIPText) || custom == (c.Layout == OpenCLIP) {
				t.Errorf("%s: layout %v", path, c.Layout)
			}
			want.Text.BOS, want.Text.EOT = want.Text.Vocab-2, want.Text.Vocab-1
		default:
			tokens, _ := c.Tensor("token_embedding.weight")
			positions, _ := c.Tensor("positional_embedding")
			want = cfg // of its shapes, compared with the tensors below
			want.Vision.Heads, want.Text.Heads, want.Activation = cfg.Vision.Width/64, cfg.Text.Width/64, QuickGELU
			want.Text = Text{positions.Shape[0], tokens.Shape[0], tokens.Shape[1], cfg.Text.Layers, tokens.Shape[1] / 64, cfg.Text.MLP, ArgmaxID, tokens.Shape[0] - 2, tokens.Shape[0] - 1}
			if c.Layout != OpenAI || len(c.Assumed) > 0 {
				t.Errorf("%s: layout %v, assumed %v", path, c.Layout, c.Assumed)
			}
		}
		want.LayerNormEps, want.Preprocess = defaultEps, defaultPreprocess(want.Vision.ImageSize)
		if !reflect.DeepEqual(cfg, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", path, cfg, want)
		}
		checkPixels(t, c)
		if info := c.Describe(); info.Parameters < 1 || !strings.Contains(info.String(), c.Config.Activation.String()) {
			t.Errorf("%s: %v", path, info)
		}
	}
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// checkPixels compares the image size with the recorded pixels of the set.
func checkPixels(t *testing.T, c *CLIP) {
	t.Helper()
	pixels := golden.NPY(t, filepath.Join(golden.Dir(t, "clip"), "pixels_std.npy"))
	if side := pixels.Shape[len(pixels.Shape)-1]; c.Config.Vision.ImageSize != side {
		t.Errorf("%s: images of %d, the pixels of the set are %d wide", c.Path, c.Config.Vision.ImageSize, side)
	}
}

// TestGoldenTensors compares the canonical tensors of safetensors files with the file's own, following the table of names
// in the set's README.
func TestGoldenTensors(t *testing.T) {
	for _, path := range goldenFiles(t) {
		if filepath.Ext(path) != ".safetensors" {
			continue // compared with the safetensors form by TestGoldenSameModel and in package torch
		}
		c := mustOpen(t, path)
		f, err := safetensors.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		raw := func(name string) safetensors.Tensor {
			x, ok := f.Tensor(name)
			if !ok {
				t.Fatalf("%s: no %s", path, name)
			}
			return x
		}
		check := func(canonical string, want []byte) {
			got, err := c.Tensor(canonical)
			if err != nil || !bytes.Equal(got.Data, want) {
				t.Errorf("%s: %s differs, %v", path, canonical, err)
			}
		}
		if c.Layout == HuggingFace {
			for canonical, prefix := range map[string]string{"visual.transformer.resblocks.0.": "vision_model.encoder.layers.0.", "transformer.resblocks.0.": "text_model.encoder.layers.0."} {
				for _, kind := range []string{"weight", "bias"} {
					check(canonical+"attn.in_proj_"+kind, slices.Concat(raw(prefix+"self_attn.q_proj."+kind).Data,
						raw(prefix+"self_attn.k_proj."+kind).Data, raw(prefix+"self_attn.v_proj."+kind).Data))
					check(canonical+"ln_2."+kind, raw(prefix+"layer_norm2."+kind).Data)
					check(canonical+"mlp.c_proj."+kind, raw(prefix+"mlp.fc2."+kind).Data)
				}
			}
			check("visual.proj", raw("visual_projection.weight").Data)
			check("text_projection", raw("text_projection.weight").Data)
			check("visual.ln_pre.weight", raw("vision_model.pre_layrnorm.weight").Data)
			continue
		}
		text := ""
		if c.Layout == OpenCLIPText {
			text = "text."
		}
		for canonical, name := range map[string]string{"visual.proj": "visual.proj", "text_projection": text + "text_projection"} {
			x := raw(name)
			size, rows, cols := x.DType.Size(), x.Shape[0], x.Shape[1]
			var want []byte
			for j := range cols {
				for i := range rows {
					want = append(want, x.Data[(i*cols+j)*size:(i*cols+j+1)*size]...)
				}
			}
			check(canonical, want)
		}
		for _, name := range []string{"token_embedding.weight", "positional_embedding", "transformer.resblocks.0.attn.in_proj_weight", "ln_final.bias"} {
			check(name, raw(text+name).Data)
		}
		for _, name := range []string{"visual.conv1.weight", "visual.transformer.resblocks.0.mlp.c_fc.weight", "visual.class_embedding", "logit_scale"} {
			check(name, raw(name).Data)
		}
	}
}

// sameTensors says whether two models have the same tensors, bit for bit.
func sameTensors(t *testing.T, a, b *CLIP) {
	t.Helper()
	if !slices.Equal(a.Names(), b.Names()) {
		t.Errorf("%s and %s have different names", a.Path, b.Path)
		return
	}
	for _, name := range a.Names() {
		x, err1 := a.Tensor(name)
		y, err2 := b.Tensor(name)
		if err1 != nil || err2 != nil || x.DType != y.DType || !slices.Equal(x.Shape, y.Shape) || !bytes.Equal(x.Data, y.Data) {
			t.Errorf("%s: %s is %v %v, in %s %v %v", a.Path, name, x.DType, x.Shape, b.Path, y.DType, y.Shape)
		}
	}
}

// TestGoldenSameModel: files of one directory are one model.
func TestGoldenSameModel(t *testing.T) {
	byDir := make(map[string]*CLIP)
	for _, path := range goldenFiles(t) {
		c := mustOpen(t, path)
		dir := filepath.Dir(path)
		if other := byDir[dir]; other != nil {
			sameTensors(t, other, c)
			if other.Hash() != c.Hash() || !reflect.DeepEqual(other.Config, c.Config) {
				t.Errorf("%s and %s differ in hash or configuration", other.Path, path)
			}
		}
		byDir[dir] = c
		if whole := mustOpen(t, dir); filepath.Dir(whole.Path) != dir || whole.Hash() != c.Hash() {
			t.Errorf("%s opened as %s with another hash", dir, whole.Path)
		}
		inMemory, err := OpenFS(os.DirFS(dir), Options{})
		if err != nil {
			t.Fatal(err)
		}
		sameTensors(t, c, inMemory)
	}
	seen := make(map[string]string)
	for dir, c := range byDir {
		if other, ok := seen[c.Hash()]; ok {
			t.Errorf("%s and %s have the same hash", dir, other)
		}
		seen[c.Hash()] = dir
	}
}

// TestGoldenRoundTrip converts every model into every layout and container and back.
func TestGoldenRoundTrip(t *testing.T) {
	for _, path := range goldenFiles(t) {
		a := mustOpen(t, path)
		dir := t.TempDir()
		for layout := range layoutNames {
			for _, name := range []string{"dir", "x.safetensors", "x.pt"} {
				out := filepath.Join(dir, layout.String()+"-"+name)
				if err := Write(out, a, layout, safetensors.Invalid); err != nil {
					t.Fatal(err)
				}
				b := mustOpen(t, out)
				sameTensors(t, a, b)
				if a.Hash() != b.Hash() {
					t.Errorf("%s: the hash changed", out)
				}
				if b.Layout != layout && !(layout == OpenCLIP && b.Layout == OpenAI) {
					t.Errorf("%s: layout %v", out, b.Layout)
				}
				if len(b.Ignored) > 0 || len(b.Assumed) > 0 {
					t.Errorf("%s: ignored %v, assumed %v", out, b.Ignored, b.Assumed)
				}
				if got, want := configUpToPooling(b.Config), configUpToPooling(a.Config); got != want {
					t.Errorf("%s:\ngot  %+v\nwant %+v", out, got, want)
				}
				back := filepath.Join(dir, "back-"+layout.String()+"-"+name)
				if err := Write(back, b, a.Layout, safetensors.Invalid); err != nil {
					t.Fatal(err)
				}
				sameTensors(t, a, mustOpen(t, back))
			}
		}
	}
}

// configUpToPooling makes the two ways equal that mean the same where end-of-text is the last id.
func configUpToPooling(c Config) Config {
	if c.Text.poolsAtLastID() {
		c.Text.Pooling = ArgmaxID
	}
	return c
}

// TestGoldenTypes converts every model to each type, and says what was lost.
func TestGoldenTypes(t *testing.T) {
	for _, path := range goldenFiles(t) {
		a := mustOpen(t, path)
		for _, d := range []safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16} {
			out := filepath.Join(t.TempDir(), "m")
			if err := Write(out, a, 0, d); err != nil {
				t.Fatal(err)
			}
			b := mustOpen(t, out)
			eps := map[safetensors.DType]float64{safetensors.F32: 0, safetensors.F16: 0x1p-11, safetensors.BF16: 0x1p-8}[d]
			for _, name := range a.Names() {
				x, _ := a.Tensor(name)
				y, _ := b.Tensor(name)
				if y.DType != d {
					t.Fatalf("%s: %s is %v", out, name, y.DType)
				}
				u, _ := x.Float32s(nil)
				v, _ := y.Float32s(nil)
				for i := range u {
					if diff := float64(u[i]) - float64(v[i]); max(diff, -diff) > eps*max(float64(u[i]), -float64(u[i]))+0x1p-25 {
						t.Fatalf("%s: %s[%d] is %g, was %g", out, name, i, v[i], u[i])
					}
				}
			}
			if (d == safetensors.F32) != (a.Hash() == b.Hash()) && d != a.dtype() {
				t.Errorf("%s as %v: hash %s, was %s", path, d, b.Hash(), a.Hash())
			}
		}
	}
}

// TestGoldenHFDocument looks at config.json as transformers would.
func TestGoldenHFDocument(t *testing.T) {
	for _, path := range goldenFiles(t) {
		a := mustOpen(t, path)
		if a.Layout != HuggingFace {
			continue
		}
		out := filepath.Join(t.TempDir(), "m")
		if err := Write(out, a, HuggingFace, safetensors.Invalid); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"config.json", "preprocessor_config.json"} {
			var want, got map[string]any
			golden.JSON(t, filepath.Join(filepath.Dir(path), name), &want)
			data, err := os.ReadFile(filepath.Join(out, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			compareDocuments(t, name, got, want)
		}
	}
}

// compareDocuments compares the keys that both have.
func compareDocuments(t *testing.T, where string, got, want map[string]any) {
	t.Helper()
	for k, g := range got {
		w, ok := want[k]
		if !ok {
			continue
		}
		if sub, ok := g.(map[string]any); ok {
			compareDocuments(t, where+"."+k, sub, w.(map[string]any))
		} else if !reflect.DeepEqual(g, w) {
			t.Errorf("%s.%s is %v, was %v", where, k, g, w)
		}
	}
}
