package weights

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"isearle/weights/safetensors"
)

// encoded returns a safetensors file.
func encoded(t testing.TB, tensors []safetensors.Tensor) []byte {
	t.Helper()
	var b strings.Builder
	if err := safetensors.Write(&b, tensors, nil); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

const tinyHF = `{"model_type":"clip","projection_dim":6,
 "vision_config":{"hidden_size":12,"intermediate_size":20,"num_hidden_layers":2,"num_attention_heads":3,"image_size":8,"patch_size":4,"hidden_act":"gelu"},
 "text_config":{"hidden_size":10,"intermediate_size":14,"num_hidden_layers":1,"num_attention_heads":2,"vocab_size":11,"max_position_embeddings":7,"hidden_act":"gelu","bos_token_id":9,"eos_token_id":10}}`

const tinyOpenCLIP = `{"model_cfg":{"embed_dim":6,
 "vision_cfg":{"image_size":8,"patch_size":4,"width":12,"layers":2,"head_width":4,"mlp_ratio":1.67},
 "text_cfg":{"context_length":7,"vocab_size":11,"width":10,"heads":2,"layers":1,"mlp_ratio":1.4}},
 "preprocess_cfg":{"mean":[0.5,0.5,0.5],"std":[0.25,0.5,1],"interpolation":"bilinear","resize_mode":"squash","size":[8,8]}}`

// openTiny opens a directory of the tiny model's tensors with one change to its files.
func openTiny(t *testing.T, l Layout, config string, change func([]safetensors.Tensor) []safetensors.Tensor) (*CLIP, error) {
	t.Helper()
	tensors := numbered(tiny(), l)
	if change != nil {
		tensors = change(tensors)
	}
	name := "config.json"
	if l != HuggingFace {
		name = "open_clip_config.json"
	}
	return OpenFS(fstest.MapFS{name: {Data: []byte(config)}, "model.safetensors": {Data: encoded(t, tensors)}}, Options{})
}

func TestConfigFiles(t *testing.T) {
	c, err := openTiny(t, HuggingFace, tinyHF, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := tiny()
	want.Text.Pooling = FirstEOT
	if c.Config != want {
		t.Errorf("got  %+v\nwant %+v", c.Config, want)
	}
	if c, err = openTiny(t, OpenCLIPText, tinyOpenCLIP, nil); err != nil {
		t.Fatal(err)
	}
	want = tiny()
	want.Preprocess = Preprocess{Resize: 8, Squash: true, Interpolation: "bilinear", Mean: [3]float64{.5, .5, .5}, Std: [3]float64{.25, .5, 1}}
	if c.Config != want {
		t.Errorf("got  %+v\nwant %+v", c.Config, want)
	}
	eos := strings.Replace(tinyOpenCLIP, `"heads":2`, `"heads":2,"pool_type":"eos","eos_id":4,"bos_id":null,"norm_kwargs":{"eps":1e-6}`, 1)
	eos = strings.Replace(eos, `"head_width":4`, `"head_width":4,"norm_kwargs":{"eps":1e-6},"act_kwargs":null,"timm_model_name":null,"patch_dropout":0.5`, 1)
	if c, err = openTiny(t, OpenCLIP, eos, nil); err != nil {
		t.Fatal(err)
	}
	if x := c.Config.Text; x.Pooling != FirstEOT || x.EOT != 4 || x.BOS != 9 || c.Config.LayerNormEps != 1e-6 {
		t.Errorf("%+v", c.Config)
	}
	out := filepath.Join(t.TempDir(), "m")
	for _, l := range []Layout{HuggingFace, OpenCLIP} {
		if err := Write(out+l.String(), c, l, safetensors.Invalid); err != nil {
			t.Fatal(err)
		}
		if d := mustOpen(t, out+l.String()); d.Config != c.Config || d.Hash() != c.Hash() {
			t.Errorf("%v:\ngot  %+v\nwant %+v", l, d.Config, c.Config)
		}
	}
}

func TestRefusedConfigs(t *testing.T) {
	for _, c := range []struct {
		layout   Layout
		old, new string
		want     string
	}{
		{HuggingFace, tinyHF, `{`, `"config.json": unexpected end`},
		{HuggingFace, `"clip"`, `"siglip"`, `model_type is "siglip"`},
		{HuggingFace, `"gelu"`, `"quick_gelu"`, "towers that differ"},
		{HuggingFace, `"gelu"`, `"gelu_new"`, ""},
		{HuggingFace, `"num_attention_heads":3`, `"num_attention_heads":5`, "5 vision heads do not divide"},
		{HuggingFace, `"num_attention_heads":3`, `"num_attention_heads":0`, "vision heads is 0"},
		{HuggingFace, `"num_attention_heads":3`, `"num_attention_heads":"3"`, "config.json"},
		{HuggingFace, `"num_hidden_layers":2`, `"num_hidden_layers":1000000000`, "1000000000 layers, there are"},
		{HuggingFace, `"num_hidden_layers":2`, `"num_hidden_layers":3`, `"vision_model.encoder.layers.2.layer_norm1.weight" is missing`},
		{HuggingFace, `"num_hidden_layers":2`, `"num_hidden_layers":1`, `"vision_model.encoder.layers.1.`},
		{HuggingFace, `"image_size":8`, `"image_size":9223372036854775807`, "vision image size is"},
		{HuggingFace, `"image_size":8`, `"image_size":1000000000`, "expected [62500000000000001 12]"},
		{HuggingFace, `"image_size":8`, `"image_size":3`, "patch size 4 is larger"},
		{HuggingFace, `"patch_size":4`, `"patch_size":4,"num_channels":1`, "num_channels is 1"},
		{HuggingFace, `"projection_dim":6`, `"projection_dim":7`, "has shape [6 12], expected [7 12] (1 more"},
		{HuggingFace, `"bos_token_id":9`, `"bos_token_id":99`, "not in a vocabulary"},
		{HuggingFace, `"patch_size":4`, `"patch_size":4,"layer_norm_eps":1e-6`, "layer_norm_eps"},
		{OpenCLIP, tinyOpenCLIP, `[]`, "open_clip_config.json"},
		{OpenCLIP, tinyOpenCLIP, `{}`, "not a CLIP of a vision_cfg and a text_cfg"},
		{OpenCLIP, `"head_width":4`, `"head_width":5`, "head_width 5 does not divide"},
		{OpenCLIP, `"head_width":4`, `"head_width":0`, "head_width 0 does not divide"},
		{OpenCLIP, `"head_width":4`, `"head_width":4,"timm_model_name":"vit_x"`, `timm_model_name is "vit_x"`},
		{OpenCLIP, `"head_width":4`, `"head_width":4,"no_ln_pre":true`, "no_ln_pre is true"},
		{OpenCLIP, `"head_width":4`, `"head_width":4,"pool_type":"avg"`, `pool_type is "avg"`},
		{OpenCLIP, `"head_width":4`, `"head_width":4,"ls_init_value":0.1`, "ls_init_value is 0.1"},
		{OpenCLIP, `"head_width":4`, `"head_width":4,"act_kwargs":{"approximate":"tanh"}`, "act_kwargs is"},
		{OpenCLIP, `"layers":2`, `"layers":[2,2]`, "layers: [2,2]"},
		{OpenCLIP, `"heads":2`, `"heads":2,"pool_type":"last"`, `pool_type is "last"`},
		{OpenCLIP, `"heads":2`, `"heads":2,"pool_type":"eos"`, "with an eos_id"},
		{OpenCLIP, `"heads":2`, `"heads":2,"no_causal_mask":true`, "no_causal_mask is true"},
		{OpenCLIP, `"heads":2`, `"heads":2,"hf_model_name":"roberta"`, `hf_model_name is "roberta"`},
		{OpenCLIP, `"heads":2`, `"heads":2,"norm_kwargs":{"eps":1e-6}`, "eps is 1e-05 for images and 1e-06 for text"},
		{OpenCLIP, `"embed_dim":6`, `"embed_dim":6,"multimodal_cfg":{}`, "not a CLIP of"},
		{OpenCLIP, `"mlp_ratio":1.4`, `"mlp_ratio":1e300`, "mlp_ratio is 1e+300"},
		{OpenCLIP, `"std":[0.25,`, `"std":[0,`, "cannot be normalised"},
		{OpenCLIP, `"bilinear"`, `"random"`, `unknown interpolation "random"`},
		{OpenCLIP, `"squash"`, `"longest"`, `resize_mode is "longest"`},
		{OpenCLIP, `"size":[8,8]`, `"size":16`, "size is 16, the model's images are 8 x 8"},
	} {
		config := tinyHF
		if c.layout == OpenCLIP {
			config = tinyOpenCLIP
		}
		changed := strings.Replace(config, c.old, c.new, 1)
		if strings.Contains(c.new, "gelu_new") {
			changed = strings.ReplaceAll(config, c.old, c.new)
			c.want = `unknown activation "gelu_new"`
		}
		if changed == config {
			t.Fatalf("%s is not in the configuration", c.old)
		}
		_, err := openTiny(t, c.layout, changed, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v\nwant %q", c.new, err, c.want)
		}
	}
}

func TestPreprocessorConfig(t *testing.T) {
	weights := encoded(t, numbered(tiny(), HuggingFace))
	open := func(text string) (*CLIP, error) {
		return OpenFS(fstest.MapFS{"config.json": {Data: []byte(tinyHF)}, "model.safetensors": {Data: weights}, "preprocessor_config.json": {Data: []byte(text)}}, Options{})
	}
	base := defaultPreprocess(8)
	larger, squashed, other := base, base, base
	larger.Resize, squashed.Squash = 10, true
	other.Interpolation, other.Mean = "bilinear", [3]float64{1, 2, 3}
	for text, want := range map[string]Preprocess{
		`{}`:                       base,
		`{"size":8,"crop_size":8}`: base,
		`{"size":{"shortest_edge":8},"crop_size":{"height":8,"width":8},"resample":3,"do_normalize":true}`: base,
		`{"size":10,"crop_size":8}`:                                               larger,
		`{"size":{"height":8,"width":8}}`:                                         squashed,
		`{"size":{"height":8,"width":8},"do_center_crop":false}`:                  squashed,
		`{"resample":2,"image_mean":[1,2,3]}`:                                     other,
		`{"resample":null,"do_resize":null,"rescale_factor":0.00392156862745098}`: base,
	} {
		if c, err := open(text); err != nil || c.Config.Preprocess != want {
			t.Errorf("%s: %v\nwant %+v", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"crop_size":9}`:                     "crop_size is 9",
		`{"size":7}`:                          "size is 7",
		`{"size":{"height":9,"width":9}}`:     "size 9 x 9",
		`{"do_rescale":false}`:                "not implemented",
		`{"do_center_crop":false}`:            "do_center_crop is false",
		`{"rescale_factor":1}`:                "rescale_factor is 1",
		`{"resample":9}`:                      "resample is 9",
		`{"image_mean":[1,2,3],"size":"big"}`: "preprocessor_config.json",
		`{"image_std":[1,0,1]}`:               "cannot be normalised",
	} {
		if _, err := open(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestBrokenTensors(t *testing.T) {
	find := func(x []safetensors.Tensor, name string) int {
		i := slices.IndexFunc(x, func(t safetensors.Tensor) bool { return t.Name == name })
		if i < 0 {
			t.Fatalf("no %s", name)
		}
		return i
	}
	without := func(name string) func([]safetensors.Tensor) []safetensors.Tensor {
		return func(x []safetensors.Tensor) []safetensors.Tensor { i := find(x, name); return slices.Delete(x, i, i+1) }
	}
	with := func(more ...safetensors.Tensor) func([]safetensors.Tensor) []safetensors.Tensor {
		return func(x []safetensors.Tensor) []safetensors.Tensor { return append(x, more...) }
	}
	reshaped := func(name string, shape ...int) func([]safetensors.Tensor) []safetensors.Tensor {
		return func(x []safetensors.Tensor) []safetensors.Tensor { x[find(x, name)].Shape = shape; return x }
	}
	one := []float32{1}
	for _, c := range []struct {
		name   string
		layout Layout
		change func([]safetensors.Tensor) []safetensors.Tensor
		want   string
	}{
		{"missing", HuggingFace, without("vision_model.post_layernorm.weight"), `tensor "vision_model.post_layernorm.weight" is missing, expected with shape [12]`},
		{"missing k", HuggingFace, without("text_model.encoder.layers.0.self_attn.k_proj.bias"), `k_proj.bias" is missing, expected with shape [10]`},
		{"missing text", OpenCLIPText, without("text.ln_final.bias"), `tensor "text.ln_final.bias" is missing`},
		{"missing scale", OpenAI, without("logit_scale"), `tensor "logit_scale" is missing`},
		{"transposed projection", OpenAI, reshaped("visual.proj", 6, 12), `tensor "visual.proj" has shape [6 12], expected [12 6]`},
		{"wrong q", HuggingFace, reshaped("vision_model.encoder.layers.1.self_attn.q_proj.weight", 144), "has shape [144], expected [12 12]"},
		{"integers", OpenAI, func(x []safetensors.Tensor) []safetensors.Tensor {
			i := find(x, "ln_final.weight")
			x[i].DType = safetensors.I32
			return x
		}, `tensor "ln_final.weight" has type I32`},
		{"a ResNet", OpenAI, with(safetensors.FromFloat32s("visual.layer1.0.conv1.weight", one, 1)), "a CLIP with a ResNet"},
		{"layer scale", OpenAI, with(safetensors.FromFloat32s("visual.transformer.resblocks.0.ls_1.gamma", one, 1)), `"visual.transformer.resblocks.0.ls_1.gamma" has no place`},
		{"one more layer", HuggingFace, with(safetensors.FromFloat32s("text_model.encoder.layers.1.layer_norm1.weight", one, 1)), "has no place"},
		{"only text", HuggingFace, func(x []safetensors.Tensor) []safetensors.Tensor {
			return slices.DeleteFunc(x, func(t safetensors.Tensor) bool { return strings.HasPrefix(t.Name, "vis") })
		}, "a text tower without its image tower"},
		{"only images", HuggingFace, func(x []safetensors.Tensor) []safetensors.Tensor {
			return slices.DeleteFunc(x, func(t safetensors.Tensor) bool { return strings.HasPrefix(t.Name, "text_") })
		}, "is missing"},
		{"something else", OpenAI, func([]safetensors.Tensor) []safetensors.Tensor {
			return []safetensors.Tensor{safetensors.FromFloat32s("layers.0.weight", one, 1)}
		}, "not a CLIP: none of its 1 tensors"},
		{"timm", OpenAI, func([]safetensors.Tensor) []safetensors.Tensor {
			return []safetensors.Tensor{safetensors.FromFloat32s("visual.trunk.x", one, 1)}
		}, "timm"},
	} {
		config := tinyHF
		if c.layout != HuggingFace {
			config = tinyOpenCLIP
		}
		_, err := openTiny(t, c.layout, config, c.change)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "model.safetensors") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	var missing *TensorError
	if _, err := openTiny(t, HuggingFace, tinyHF, without("logit_scale")); !errors.As(err, &missing) || missing.Tensor != "logit_scale" {
		t.Errorf("%v", err)
	}
	ok, err := openTiny(t, HuggingFace, tinyHF, with(safetensors.FromInt64s("text_model.embeddings.position_ids", []int64{0}, 1, 1), safetensors.FromFloat32s("head.weight", one, 1)))
	if err != nil || len(ok.Ignored) != 2 {
		t.Errorf("buffers: %v", err)
	}
	if ok, err = openTiny(t, OpenAI, tinyOpenCLIP, reshaped("logit_scale", 1)); err != nil || ok.LogitScale() != 1 {
		t.Errorf("logit_scale [1]: %v", err)
	}
}

// TestInferredRefusals: without a configuration the shapes themselves must make sense.
func TestInferredRefusals(t *testing.T) {
	for name, want := range map[string]string{
		"visual.positional_embedding": "visual.positional_embedding", "text_projection": "text_projection",
		"token_embedding.weight": "token_embedding.weight", "transformer.resblocks.0.mlp.c_fc.weight": "transformer.resblocks.0.mlp.c_fc.weight",
	} {
		for _, change := range []func([]safetensors.Tensor, int) []safetensors.Tensor{
			func(x []safetensors.Tensor, i int) []safetensors.Tensor { return slices.Delete(x, i, i+1) },
			func(x []safetensors.Tensor, i int) []safetensors.Tensor { x[i].Shape = []int{x[i].Len()}; return x },
			func(x []safetensors.Tensor, i int) []safetensors.Tensor { x[i].Shape = []int{x[i].Len(), 1}; return x },
			func(x []safetensors.Tensor, i int) []safetensors.Tensor {
				x[i].Shape, x[i].Data = []int{0, 5}, nil
				return x
			},
		} {
			x := numbered(tiny(), OpenAI)
			x = change(x, slices.IndexFunc(x, func(t safetensors.Tensor) bool { return t.Name == name }))
			fsys := fstest.MapFS{"model.safetensors": {Data: encoded(t, x)}}
			if _, err := OpenFS(fsys, Options{VisionHeads: 3, TextHeads: 1}); err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "shape") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestBrokenFiles(t *testing.T) {
	dir := t.TempDir()
	good := encoded(t, numbered(tiny(), HuggingFace))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty.safetensors":     {nil, "the file has 0 bytes"},
		"truncated.safetensors": {good[:len(good)-1], "truncated"},
		"text.pt":               {[]byte("hello, this is not a model"), "not a safetensors file"},
		"pickle.pt":             {[]byte("\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R."), "not a zip archive"},
		"zip.pt":                {[]byte("PK\x03\x04 and nothing more"), "damaged or truncated"},
	} {
		path := filepath.Join(dir, name)
		put(t, dir, name, string(c.data))
		_, err := Open(path, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(dir, "missing"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestWriteRefusals(t *testing.T) {
	tensors := numbered(tiny(), OpenAI)
	c, err := New(tiny(), tensors)
	if err != nil {
		t.Fatal(err)
	}
	big := safetensors.FromFloat32s("logit_scale", []float32{1e6})
	tensors[0] = big
	loud, err := New(tiny(), tensors)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.Mkdir(taken, 0o777); err != nil {
		t.Fatal(err)
	}
	put(t, taken, "model.safetensors", "old")
	odd := tiny()
	odd.Preprocess.Resize = 9
	resized, err := New(odd, numbered(tiny(), OpenAI))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name   string
		model  *CLIP
		path   string
		layout Layout
		dtype  safetensors.DType
		want   string
	}{
		{"beyond F16", loud, "new", OpenCLIP, safetensors.F16, `tensor "logit_scale": 1e+06 is beyond the range of F16`},
		{"beyond F16 in torch", loud, "new.pt", OpenCLIP, safetensors.F16, "beyond the range of F16"},
		{"integers", c, "new", OpenCLIP, safetensors.I8, "not as I8"},
		{"unknown layout", c, "new", 77, safetensors.F16, "unknown layout"},
		{"another checkpoint", c, "taken", OpenCLIP, safetensors.F16, "holds another checkpoint, model.safetensors"},
		{"resize in open_clip", resized, "new", OpenCLIP, safetensors.F32, "cannot be described"},
	} {
		path := filepath.Join(dir, x.path)
		err := Write(path, x.model, x.layout, x.dtype)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
	}
	if err := Write(taken, c, OpenAI, safetensors.Invalid); err != nil {
		t.Errorf("replacing a model: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestSidecars: the tokenizer goes along from directory to directory.
func TestSidecars(t *testing.T) {
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "a", "b")
	put(t, src, "config.json", tinyHF)
	put(t, src, "model.safetensors", string(encoded(t, numbered(tiny(), HuggingFace))))
	put(t, src, "merges.txt", "merges")
	if err := Write(dst, mustOpen(t, src), OpenCLIPText, safetensors.F16); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dst, "merges.txt")); err != nil || string(b) != "merges" {
		t.Errorf("%q, %v", b, err)
	}
}

func FuzzConfigs(f *testing.F) {
	f.Add([]byte(tinyHF), []byte(`{"size":8}`), true)
	f.Add([]byte(tinyOpenCLIP), []byte(nil), false)
	hf, other := encoded(f, numbered(tiny(), HuggingFace)), encoded(f, numbered(tiny(), OpenAI))
	f.Fuzz(func(t *testing.T, config, preprocess []byte, isHF bool) {
		fsys := fstest.MapFS{"config.json": {Data: config}, "preprocessor_config.json": {Data: preprocess}, "model.safetensors": {Data: hf}}
		if !isHF {
			fsys = fstest.MapFS{"open_clip_config.json": {Data: config}, "model.safetensors": {Data: other}}
		}
		c, err := OpenFS(fsys, Options{})
		if err != nil {
			return
		}
		if err := c.Config.check(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Config.toHF(safetensors.F32); err == nil {
			c.Config.toHFPreprocess()
		}
		c.Config.toOpenCLIP(true)
		c.Hash()
	})
}

func FuzzOpen(f *testing.F) {
	for _, l := range []Layout{HuggingFace, OpenAI, OpenCLIPText} {
		f.Add(encoded(f, numbered(tiny(), l)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := OpenFS(fstest.MapFS{"x.safetensors": {Data: data}}, Options{VisionHeads: 1, TextHeads: 1})
		if err != nil {
			return
		}
		for _, name := range c.Names() {
			if _, err := c.Tensor(name); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Describe().String()
	})
}
