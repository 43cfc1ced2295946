package weights

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/weights/safetensors"
	"isearle/weights/torch"
)

// The true models, by open_clip's model_configs, with their numbers of parameters, which round to those of its docs/model_profile.csv.
var trueModels = []struct {
	name       string
	parameters int
	activation Activation // of OpenAI's, where they made one
	openCLIP   string
	hf         string
	want       Config // Vision, Text without ends, EmbedDim
}{
	{"ViT-B-32", 151277313, QuickGELU,
		`{"embed_dim":512,"quick_gelu":true,"vision_cfg":{"image_size":224,"layers":12,"width":768,"patch_size":32},"text_cfg":{"context_length":77,"vocab_size":49408,"width":512,"heads":8,"layers":12}}`,
		`{"model_type":"clip"}`,
		Config{Vision: Vision{224, 32, 768, 12, 12, 3072}, Text: Text{Width: 512, Layers: 12, Heads: 8, MLP: 2048}, EmbedDim: 512}},
	{"ViT-B-16", 149620737, QuickGELU,
		`{"embed_dim":512,"quick_gelu":true,"vision_cfg":{"image_size":224,"layers":12,"width":768,"patch_size":16},"text_cfg":{"context_length":77,"vocab_size":49408,"width":512,"heads":8,"layers":12}}`,
		`{"model_type":"clip","vision_config":{"patch_size":16},"vision_config_dict":null}`,
		Config{Vision: Vision{224, 16, 768, 12, 12, 3072}, Text: Text{Width: 512, Layers: 12, Heads: 8, MLP: 2048}, EmbedDim: 512}},
	{"ViT-L-14", 427616513, QuickGELU,
		`{"embed_dim":768,"quick_gelu":true,"vision_cfg":{"image_size":224,"layers":24,"width":1024,"patch_size":14},"text_cfg":{"context_length":77,"vocab_size":49408,"width":768,"heads":12,"layers":12}}`,
		`{"model_type":"clip","projection_dim":768,"text_config":{"hidden_size":1},"text_config_dict":{"hidden_size":768,"intermediate_size":3072,"num_attention_heads":12,"eos_token_id":2,"bos_token_id":0},"vision_config":{"hidden_size":1024,"intermediate_size":4096,"num_attention_heads":16,"num_hidden_layers":24,"patch_size":14}}`,
		Config{Vision: Vision{224, 14, 1024, 24, 16, 4096}, Text: Text{Width: 768, Layers: 12, Heads: 12, MLP: 3072}, EmbedDim: 768}},
	{"ViT-L-14-336", 427944193, QuickGELU,
		`{"embed_dim":768,"quick_gelu":true,"vision_cfg":{"image_size":336,"layers":24,"width":1024,"patch_size":14},"text_cfg":{"context_length":77,"vocab_size":49408,"width":768,"heads":12,"layers":12}}`,
		`{"model_type":"clip","projection_dim":768,"text_config":{"hidden_size":768,"intermediate_size":3072,"num_attention_heads":12},"vision_config":{"hidden_size":1024,"intermediate_size":4096,"num_attention_heads":16,"num_hidden_layers":24,"patch_size":14,"image_size":336}}`,
		Config{Vision: Vision{336, 14, 1024, 24, 16, 4096}, Text: Text{Width: 768, Layers: 12, Heads: 12, MLP: 3072}, EmbedDim: 768}},
	{"ViT-H-14", 986109441, GELU,
		`{"embed_dim":1024,"vision_cfg":{"image_size":224,"layers":32,"width":1280,"head_width":80,"patch_size":14},"text_cfg":{"context_length":77,"vocab_size":49408,"width":1024,"heads":16,"layers":24}}`,
		`{"model_type":"clip","projection_dim":1024,"text_config":{"hidden_size":1024,"intermediate_size":4096,"num_attention_heads":16,"num_hidden_layers":24,"hidden_act":"gelu"},"vision_config":{"hidden_size":1280,"intermediate_size":5120,"num_attention_heads":16,"num_hidden_layers":32,"patch_size":14,"hidden_act":"gelu"}}`,
		Config{Vision: Vision{224, 14, 1280, 32, 16, 5120}, Text: Text{Width: 1024, Layers: 24, Heads: 16, MLP: 4096}, EmbedDim: 1024}},
	{"ViT-g-14", 1366678273, GELU,
		`{"embed_dim":1024,"vision_cfg":{"image_size":224,"layers":40,"width":1408,"head_width":88,"mlp_ratio":4.3637,"patch_size":14},"text_cfg":{"context_length":77,"vocab_size":49408,"width":1024,"heads":16,"layers":24}}`,
		`{"model_type":"clip","projection_dim":1024,"text_config":{"hidden_size":1024,"intermediate_size":4096,"num_attention_heads":16,"num_hidden_layers":24,"hidden_act":"gelu"},"vision_config":{"hidden_size":1408,"intermediate_size":6144,"num_attention_heads":16,"num_hidden_layers":40,"patch_size":14,"hidden_act":"gelu"}}`,
		Config{Vision: Vision{224, 14, 1408, 40, 16, 6144}, Text: Text{Width: 1024, Layers: 24, Heads: 16, MLP: 4096}, EmbedDim: 1024}},
	{"ViT-bigG-14", 2539567105, GELU,
		`{"embed_dim":1280,"vision_cfg":{"image_size":224,"layers":48,"width":1664,"head_width":104,"mlp_ratio":4.9231,"patch_size":14},"text_cfg":{"context_length":77,"vocab_size":49408,"width":1280,"heads":20,"layers":32}}`,
		`{"model_type":"clip","projection_dim":1280,"text_config":{"hidden_size":1280,"intermediate_size":5120,"num_attention_heads":20,"num_hidden_layers":32,"hidden_act":"gelu"},"vision_config":{"hidden_size":1664,"intermediate_size":8192,"num_attention_heads":16,"num_hidden_layers":48,"patch_size":14,"hidden_act":"gelu"}}`,
		Config{Vision: Vision{224, 14, 1664, 48, 16, 8192}, Text: Text{Width: 1280, Layers: 32, Heads: 20, MLP: 5120}, EmbedDim: 1280}},
}

// zeros is a tensor that takes no memory.
type zeros struct {
	name  string
	dtype safetensors.DType
	shape []int
}

var zeroBlock = make([]byte, 1<<24)

func (z zeros) Header() (string, safetensors.DType, []int) { return z.name, z.dtype, z.shape }

func (z zeros) WriteTo(w io.Writer) (written int64, err error) {
	left := z.dtype.Size()
	for _, d := range z.shape {
		left *= d
	}
	for left > 0 {
		n, err := w.Write(zeroBlock[:min(left, len(zeroBlock))])
		written += int64(n)
		if err != nil {
			return written, err
		}
		left -= n
	}
	return written, nil
}

// sparse leaves holes in a file where many zeros are written.
type sparse struct{ f *os.File }

func (s sparse) Write(p []byte) (int, error) {
	if len(p) > 4096 && bytes.Equal(p, zeroBlock[:len(p)]) {
		at, err := s.f.Seek(int64(len(p)), io.SeekCurrent)
		if err != nil {
			return 0, err
		}
		return len(p), s.f.Truncate(at)
	}
	return s.f.Write(p)
}

// createSparse makes a file with holes.
func createSparse(t *testing.T, path string, write func(io.Writer) error) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(sparse{f}), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// zeroModel lists the tensors of a configuration in a layout.
func zeroModel(c Config, l Layout, d safetensors.DType) []zeros {
	var out []zeros
	for _, s := range c.specs() {
		for _, f := range l.fields(s) {
			out = append(out, zeros{f.name, d, f.shape})
		}
	}
	return out
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTrueShapes opens checkpoints with the shapes of the real models, in the three layouts; nothing but their headers is
// on the disk.
func TestTrueShapes(t *testing.T) {
	for _, m := range trueModels {
		t.Run(m.name, func(t *testing.T) {
			full := m.want
			full.Text.Context, full.Text.Vocab = 77, 49408
			check := func(path string, layout Layout, act Activation) {
				t.Helper()
				c, err := Open(path, Options{})
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				info := c.Describe()
				got := c.Config
				want := full
				want.Activation, want.LayerNormEps, want.Preprocess = act, 1e-5, defaultPreprocess(want.Vision.ImageSize)
				want.Text.Pooling, want.Text.BOS, want.Text.EOT = got.Text.Pooling, 49406, 49407
				if got != want || c.Layout != layout || info.Parameters != m.parameters {
					t.Errorf("%v, %d parameters, want %d\ngot  %+v\nwant %+v", c.Layout, info.Parameters, m.parameters, got, want)
				}
			}
			dir := t.TempDir()
			hf, openclip, pt := filepath.Join(dir, "hf"), filepath.Join(dir, "openclip"), filepath.Join(dir, "x.pt")
			if err := errors.Join(os.Mkdir(hf, 0o777), os.Mkdir(openclip, 0o777)); err != nil {
				t.Fatal(err)
			}
			put(t, hf, "config.json", m.hf)
			createSparse(t, filepath.Join(hf, "model.safetensors"), func(w io.Writer) error {
				return safetensors.Write(w, zeroModel(full, HuggingFace, safetensors.F32), nil)
			})
			check(hf, HuggingFace, m.activation)
			put(t, openclip, "open_clip_config.json", `{"model_cfg":`+m.openCLIP+`}`)
			createSparse(t, filepath.Join(openclip, "open_clip_model.safetensors"), func(w io.Writer) error {
				return safetensors.Write(w, zeroModel(full, OpenCLIPText, safetensors.BF16), nil)
			})
			check(openclip, OpenCLIPText, m.activation)
			if m.parameters > 5e8 && m.name != "ViT-bigG-14" {
				return // the archives' check sums take time; the largest needs zip64
			}
			archive := zeroModel(full, OpenAI, safetensors.F16)
			if m.activation == QuickGELU {
				for _, name := range []string{"input_resolution", "context_length", "vocab_size"} {
					archive = append(archive, zeros{name, safetensors.I64, nil})
				}
			}
			createSparse(t, pt, func(w io.Writer) error { return torch.Write(w, archive, nil) })
			check(pt, OpenAI, m.activation)
		})
	}
}

// tiny is a small model that follows no rule of thumb.
func tiny() Config {
	return Config{
		Vision: Vision{ImageSize: 8, PatchSize: 4, Width: 12, Layers: 2, Heads: 3, MLP: 20},
		Text:   Text{Context: 7, Vocab: 11, Width: 10, Layers: 1, Heads: 2, MLP: 14, BOS: 9, EOT: 10}, EmbedDim: 6,
		Activation: GELU, LayerNormEps: 1e-5, Preprocess: defaultPreprocess(8),
	}
}

// numbered returns the tensors of a configuration in a layout, every element different.
func numbered(c Config, l Layout) []safetensors.Tensor {
	var out []safetensors.Tensor
	next := float32(0)
	for _, z := range zeroModel(c, l, safetensors.F32) {
		n := 1
		for _, d := range z.shape {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			next++
			x[i] = next
		}
		out = append(out, safetensors.FromFloat32s(z.name, x, z.shape...))
	}
	return out
}

func TestNew(t *testing.T) {
	c, err := New(tiny(), numbered(tiny(), OpenAI))
	if err != nil {
		t.Fatal(err)
	}
	if c.LogitScale() != 1 {
		t.Errorf("logit scale %g", c.LogitScale())
	}
	if shape, d := c.Shape("visual.proj"); !slices.Equal(shape, []int{6, 12}) || d != safetensors.F32 {
		t.Errorf("visual.proj is %v %v", d, shape)
	}
	x, err := c.Tensor("visual.proj")
	if err != nil {
		t.Fatal(err)
	}
	v, _ := x.Float32s(nil)
	if v[1] != v[0]+6 || v[12] != v[0]+1 {
		t.Errorf("visual.proj is not transposed: %v", v)
	}
	if _, err := c.Tensor("visual.proj.weight"); err == nil {
		t.Error("an unknown name")
	}
	c.Drop("visual.proj")
	other := numbered(tiny(), OpenAI)
	other[3].Data[0] ^= 1
	d, err := New(tiny(), other)
	if err != nil {
		t.Fatal(err)
	}
	if c.Hash() == d.Hash() || len(c.Hash()) != 32 {
		t.Errorf("hashes %s and %s", c.Hash(), d.Hash())
	}
	cfg := tiny()
	cfg.Vision.Heads = 4
	if d, err = New(cfg, numbered(tiny(), OpenAI)); err != nil || c.Hash() == d.Hash() {
		t.Errorf("other heads, same hash, %v", err)
	}
	cfg.Vision.Heads = 5
	if _, err = New(cfg, numbered(tiny(), OpenAI)); err == nil {
		t.Error("heads that do not divide the width")
	}
	if _, err = New(tiny(), append(other, other[0])); err == nil {
		t.Error("a tensor twice")
	}
}

// TestHashSeesLargeTensors changes what the blocks of a large tensor hold.
func TestHashSeesLargeTensors(t *testing.T) {
	cfg := tiny()
	cfg.Text.Vocab, cfg.Text.BOS, cfg.Text.EOT = 5000, 4998, 4999
	tensors := numbered(cfg, HuggingFace)
	i := slices.IndexFunc(tensors, func(x safetensors.Tensor) bool { return strings.Contains(x.Name, "token_embedding") })
	hashes := make(map[string]bool)
	n := tensors[i].Len()
	for _, at := range []int{-1, 0, n / 3, n / 3 * 2, n - 1} {
		if at >= 0 {
			tensors[i].Data[4*at] ^= 1
		}
		c, err := New(cfg, tensors)
		if err != nil {
			t.Fatal(err)
		}
		hashes[c.Hash()] = true
	}
	if len(hashes) != 5 {
		t.Errorf("%d hashes for 5 models", len(hashes))
	}
}

// TestMixedQKV: separate q, k and v may even differ in type.
func TestMixedQKV(t *testing.T) {
	tensors := numbered(tiny(), HuggingFace)
	for i, x := range tensors {
		if strings.HasSuffix(x.Name, "k_proj.bias") {
			half, err := convert(x.Data, safetensors.F32, safetensors.BF16)
			if err != nil {
				t.Fatal(err)
			}
			tensors[i].DType, tensors[i].Data = safetensors.BF16, half
		}
	}
	c, err := New(tiny(), tensors)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := c.Tensor("transformer.resblocks.0.attn.in_proj_bias")
	if v, err := x.Float32s(nil); err != nil || x.DType != safetensors.F32 || len(v) != 30 || v[29]-v[20] != 9 {
		t.Errorf("%v %v, %v", x.DType, v, err)
	}
	if info := c.Describe(); info.DTypes["BF16"] != 2*12+10 {
		t.Errorf("types %v", info.DTypes)
	}
}

// TestParts checks that a tensor's parts are its rows, and views of what is stored where that is possible.
func TestParts(t *testing.T) {
	for _, l := range []Layout{OpenAI, HuggingFace} {
		tensors := numbered(tiny(), l)
		c, err := New(tiny(), tensors)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range c.Names() {
			whole, err := c.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			parts, err := c.Parts(name)
			if err != nil {
				t.Fatal(err)
			}
			var data []byte
			rows := 0
			for _, p := range parts {
				if p.DType != whole.DType || len(p.Data) != p.Len()*p.DType.Size() || len(p.Shape) != len(whole.Shape) {
					t.Fatalf("%v: %q has a part %v %v of %d bytes", l, name, p.DType, p.Shape, len(p.Data))
				}
				data = append(data, p.Data...)
				if len(p.Shape) > 0 {
					rows += p.Shape[0]
				}
			}
			if !bytes.Equal(data, whole.Data) || len(whole.Shape) > 0 && rows != whole.Shape[0] {
				t.Errorf("%v: the parts of %q are not its rows", l, name)
			}
			if n := len(parts); strings.HasSuffix(name, "in_proj_weight") && l == HuggingFace && n != 3 {
				t.Errorf("%q has %d parts, should have 3", name, n)
			}
		}
		if _, err := c.Parts("visual"); err == nil {
			t.Error("an unknown name")
		}
	}
}

// TestHold checks that a checkpoint which is held stays open until it is released, whatever comes first.
func TestHold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := safetensors.WriteFile(path, numbered(tiny(), OpenAI), nil); err != nil {
		t.Fatal(err)
	}
	for _, closeFirst := range []bool{true, false} {
		c, err := Open(path, Options{VisionHeads: 3, TextHeads: 2, Activation: GELU})
		if err != nil {
			t.Fatal(err)
		}
		closed := 0
		files := c.store.close
		c.store.close = func() error { closed++; return files() }
		first, second := c.Hold(), c.Hold()
		first()
		if !closeFirst {
			second()
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if closeFirst {
			if closed != 0 {
				t.Fatal("closed while it is held")
			}
			parts, err := c.Parts("visual.class_embedding")
			if err != nil || len(parts[0].Data) != 4*12 {
				t.Fatalf("%d bytes, %v", len(parts[0].Data), err)
			}
			second()
		}
		if closed != 1 {
			t.Errorf("closed %d times", closed)
		}
	}
}

// TestPrefixes opens training checkpoints, which hold the weights deeper down.
func TestPrefixes(t *testing.T) {
	cfg := tiny()
	dir := t.TempDir()
	save := func(name string, prefixes ...string) string {
		var all []safetensors.Tensor
		for _, p := range prefixes {
			for _, x := range numbered(cfg, OpenAI) {
				x.Name = p + x.Name
				all = append(all, x)
			}
		}
		path := filepath.Join(dir, name)
		all = append(all, safetensors.FromFloat32s("optimizer.state", []float32{1}, 1))
		if err := safetensors.WriteFile(path, all, nil); err != nil {
			t.Fatal(err)
		}
		return path
	}
	opts := Options{VisionHeads: 3, TextHeads: 2, Activation: GELU}
	c, err := Open(save("one.safetensors", "state_dict.module."), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !slices.Equal(c.Ignored, []string{"optimizer.state"}) || c.Config.Vision.Heads != 3 || c.Config.Text.Heads != 2 {
		t.Errorf("ignored %v, %+v", c.Ignored, c.Config)
	}
	two := save("two.safetensors", "model.", "ema.")
	if _, err := Open(two, opts); err == nil || !strings.Contains(err.Error(), "several models") {
		t.Errorf("two models: %v", err)
	}
	opts.Prefix = "ema"
	d, err := Open(two, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	sameTensors(t, c, d)
	opts.Prefix = "other"
	if _, err := Open(two, opts); err == nil || !strings.Contains(err.Error(), `no CLIP under the prefix "other."`) {
		t.Errorf("unknown prefix: %v", err)
	}
}

// TestAssumed: without a configuration it is said what was concluded, and heads that nothing tells are asked for.
func TestAssumed(t *testing.T) {
	for _, m := range trueModels {
		cfg := m.want
		cfg.Text.Context, cfg.Text.Vocab = 77, 49408
		path := filepath.Join(t.TempDir(), "bare.safetensors")
		createSparse(t, path, func(w io.Writer) error {
			return safetensors.Write(w, zeroModel(cfg, OpenAI, safetensors.F32), nil)
		})
		c := mustOpen(t, path)
		if c.Config.Vision != cfg.Vision || c.Config.Text.Heads != cfg.Text.Heads || c.Config.Activation != m.activation || len(c.Assumed) != 3 {
			t.Errorf("%s: %+v, assumed %q", m.name, c.Config, c.Assumed)
		}
	}
	path := filepath.Join(t.TempDir(), "tiny.safetensors")
	if err := safetensors.WriteFile(path, numbered(tiny(), OpenAI), nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		opts Options
		want string
	}{{Options{}, "--vision-heads"}, {Options{VisionHeads: 3}, "--text-heads"}} {
		if _, err := Open(path, c.opts); !errors.Is(err, ErrHeads) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.opts, err)
		}
	}
	if _, err := Open(path, Options{VisionHeads: 5, TextHeads: 2}); err == nil || !strings.Contains(err.Error(), "5 vision heads do not divide the width 12") {
		t.Errorf("5 heads: %v", err)
	}
	c, err := Open(path, Options{VisionHeads: 3, TextHeads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if want := tiny(); c.Config != want {
		t.Errorf("got %+v\nwant %+v", c.Config, want)
	}
}

// TestFind puts checkpoints into one directory, the preferred ones last.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNoModel) || !strings.Contains(err.Error(), dir) {
		t.Errorf("empty directory: %v", err)
	}
	c, err := New(tiny(), numbered(tiny(), OpenCLIPText))
	if err != nil {
		t.Fatal(err)
	}
	save := func(name string) {
		t.Helper()
		if err := Write(filepath.Join(dir, name), c, 0, safetensors.Invalid); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(name string) {
		t.Helper()
		m, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		if m.Path != filepath.Join(dir, name) {
			t.Errorf("opened %s, want %s", m.Path, name)
		}
	}
	save("a.pth")
	expect("a.pth")
	save("b.bin")
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "a.pth, b.bin") {
		t.Errorf("two archives: %v", err)
	}
	save("z.safetensors")
	expect("z.safetensors")
	for _, name := range []string{"open_clip_pytorch_model.bin", "pytorch_model.bin", "torchscript.pt", "state_dict.pt", "open_clip_model.safetensors"} {
		save(name)
		expect(name)
	}
	save("shard.safetensors")
	f, err := safetensors.Open(filepath.Join(dir, "shard.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var names []string
	for x := range f.All() {
		names = append(names, fmt.Sprintf("%q:%q", x.Name, "shard.safetensors"))
	}
	put(t, dir, "model.safetensors.index.json", `{"weight_map":{`+strings.Join(names, ",")+`}}`)
	expect("model.safetensors.index.json")
	save("model.safetensors")
	expect("model.safetensors")
}
