package weights

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// openCLIPTower is vision_cfg or text_cfg. What is not read here must be absent, null, false or zero, or have the value
// that open_clip's dataclasses (CLIPVisionCfg, CLIPTextCfg) use for a plain transformer: any other changes the model.
type openCLIPTower map[string]json.RawMessage

// plainValues are the values of a plain CLIP, beside null, false, 0 and "", of keys that are not read.
var plainValues = map[string]string{
	"pos_embed_type": `"learnable"`, "block_type": `"default"`, "text_arch": `"clip"`, "proj_type": `"linear"`,
	"norm_type": `"layernorm"`, "attention_bias": `true`, "mlp_bias": `true`, "act_kwargs": `{}`,
}

// harmless are keys that matter in training, to the tokenizer, or to towers that are refused by other keys.
var harmless = []string{
	"patch_dropout", "output_tokens", "image_seq_len", "attn_pooler_queries", "attn_pooler_heads", "timm_pool", "timm_proj",
	"timm_proj_bias", "timm_drop", "timm_drop_path", "timm_model_pretrained", "timm_model_kwargs", "hf_tokenizer_name",
	"tokenizer_mode", "tokenizer_kwargs", "tokenizer_type", "tiktoken_name", "pad_id", "variable_text", "hf_model_pretrained",
	"hf_proj_type", "hf_pooler_type", "hf_model_config", "attention_mode", "pos_embed", "rope_temperature", "mlp_type", "norm_eps",
	"norm_placement", "attn_gated", "zero_init_residual", "gate_bias",
}

// get decodes a key into v, which keeps its value when the key is absent or null, and removes it.
func (t openCLIPTower) get(key string, v any) error {
	data, ok := t[key]
	delete(t, key)
	if !ok || string(data) == "null" {
		return nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %s is not of the right type", key, data)
	}
	return nil
}

// ints decodes several whole numbers.
func (t openCLIPTower) ints(fields map[string]*int) error {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if err := t.get(key, fields[key]); err != nil {
			return err
		}
	}
	return nil
}

// rest refuses what is left and not plain.
func (t openCLIPTower) rest() error {
	for _, key := range slices.Sorted(maps.Keys(t)) {
		switch value := string(t[key]); {
		case slices.Contains(harmless, key), slices.Contains([]string{"null", "false", "0", "0.0", `""`}, value), value == plainValues[key]:
		default:
			return fmt.Errorf("%s is %.40s: not a plain CLIP, a variant that is not implemented", key, value)
		}
	}
	return nil
}

// mlp returns the width of the hidden layer, computed as open_clip does.
func (t openCLIPTower) mlp(width int) (int, error) {
	ratio := 4.0
	err := t.get("mlp_ratio", &ratio)
	if err == nil && !(ratio > 0 && ratio < 1000) {
		err = fmt.Errorf("mlp_ratio is %g", ratio)
	}
	return int(float64(width) * ratio), err
}

// eps reads norm_kwargs, of which only eps is known.
func (t openCLIPTower) eps() (float64, error) {
	kwargs := openCLIPTower{}
	if err := t.get("norm_kwargs", &kwargs); err != nil {
		return 0, err
	}
	eps := defaultEps
	if err := kwargs.get("eps", &eps); err != nil {
		return 0, err
	}
	return eps, kwargs.rest()
}

// openCLIPFile is open_clip_config.json.
type openCLIPFile struct {
	Model struct {
		Dim        int             `json:"embed_dim"`
		QuickGELU  bool            `json:"quick_gelu"`
		Multimodal json.RawMessage `json:"multimodal_cfg"`
		Audio      json.RawMessage `json:"audio_cfg"`
		Vision     openCLIPTower   `json:"vision_cfg"`
		Text       openCLIPTower   `json:"text_cfg"`
	} `json:"model_cfg"`
	Preprocess openCLIPPreprocess `json:"preprocess_cfg"`
}

// openCLIPPreprocess is preprocess_cfg.
type openCLIPPreprocess struct {
	Size          json.RawMessage `json:"size"`
	Mode          string          `json:"mode"`
	Mean          *[3]float64     `json:"mean"`
	Std           *[3]float64     `json:"std"`
	Interpolation string          `json:"interpolation"`
	ResizeMode    string          `json:"resize_mode"`
}

// openCLIPConfig reads open_clip_config.json.
func (d folder) openCLIPConfig() (c Config, found bool, err error) {
	var file openCLIPFile
	if found, err = d.readJSON(openCLIPConfig, &file); !found || err != nil {
		return c, found, err
	}
	fail := func(where string, err error) (Config, bool, error) {
		return c, true, fmt.Errorf("%q: %s: %w", d.show(openCLIPConfig), where, err)
	}
	m := file.Model
	if m.Multimodal != nil || m.Audio != nil || m.Vision == nil || m.Text == nil {
		return fail("model_cfg", fmt.Errorf("not a CLIP of a vision_cfg and a text_cfg"))
	}
	c.EmbedDim, c.Activation = m.Dim, GELU
	if m.QuickGELU {
		c.Activation = QuickGELU
	}
	visionEps, err := c.Vision.fromOpenCLIP(m.Vision)
	if err != nil {
		return fail("vision_cfg", err)
	}
	textEps, err := c.Text.fromOpenCLIP(m.Text)
	if err != nil {
		return fail("text_cfg", err)
	}
	if visionEps != textEps {
		return fail("norm_kwargs", fmt.Errorf("eps is %g for images and %g for text: towers that differ are not implemented", visionEps, textEps))
	}
	c.LayerNormEps = visionEps
	if c.Preprocess, err = file.Preprocess.preprocess(c.Vision.ImageSize); err != nil {
		return fail("preprocess_cfg", err)
	}
	if err := c.check(); err != nil {
		return fail("model_cfg", err)
	}
	return c, true, nil
}

func (v *Vision) fromOpenCLIP(t openCLIPTower) (eps float64, err error) {
	headWidth, pool := 64, "tok"
	v.ImageSize, v.PatchSize, v.Width, v.Layers = 224, 16, 768, 12
	if err := t.ints(map[string]*int{"image_size": &v.ImageSize, "patch_size": &v.PatchSize, "width": &v.Width, "layers": &v.Layers, "head_width": &headWidth}); err != nil {
		return 0, err
	}
	if v.Width < 1 || v.Width > maxDim || headWidth < 1 || v.Width%headWidth != 0 {
		return 0, fmt.Errorf("head_width %d does not divide the width %d", headWidth, v.Width)
	}
	v.Heads = v.Width / headWidth
	if v.MLP, err = t.mlp(v.Width); err != nil {
		return 0, err
	}
	if err := t.get("pool_type", &pool); err != nil || pool != "tok" {
		return 0, fmt.Errorf("pool_type is %q: only the class token (tok) is implemented", pool)
	}
	if eps, err = t.eps(); err != nil {
		return 0, err
	}
	return eps, t.rest()
}

func (x *Text) fromOpenCLIP(t openCLIPTower) (eps float64, err error) {
	pool, eot, bos := "argmax", -1, -1
	x.Context, x.Vocab, x.Width, x.Heads, x.Layers = 77, 49408, 512, 8, 12
	if err := t.ints(map[string]*int{"context_length": &x.Context, "vocab_size": &x.Vocab, "width": &x.Width, "heads": &x.Heads, "layers": &x.Layers, "eos_id": &eot, "bos_id": &bos}); err != nil {
		return 0, err
	}
	if x.Width < 1 || x.Width > maxDim {
		return 0, fmt.Errorf("width is %d", x.Width)
	}
	if x.MLP, err = t.mlp(x.Width); err != nil {
		return 0, err
	}
	if err := t.get("pool_type", &pool); err != nil {
		return 0, err
	}
	x.BOS, x.EOT = x.Vocab-2, x.Vocab-1
	if bos >= 0 {
		x.BOS = bos
	}
	switch {
	case pool == "argmax":
	case pool == "eos" && eot >= 0:
		x.Pooling, x.EOT = FirstEOT, eot
	default:
		return 0, fmt.Errorf("pool_type is %q: only argmax, and eos with an eos_id, are implemented", pool)
	}
	if eps, err = t.eps(); err != nil {
		return 0, err
	}
	return eps, t.rest()
}

// preprocess applies what the file says to open_clip's defaults.
func (p openCLIPPreprocess) preprocess(side int) (Preprocess, error) {
	out := defaultPreprocess(side)
	if p.Mean != nil {
		out.Mean = *p.Mean
	}
	if p.Std != nil {
		out.Std = *p.Std
	}
	if p.Interpolation != "" {
		out.Interpolation = p.Interpolation
	}
	switch p.ResizeMode {
	case "", "shortest":
	case "squash":
		out.Squash = true
	default:
		return out, fmt.Errorf("resize_mode is %q: shortest and squash are implemented", p.ResizeMode)
	}
	var one int
	var two [2]int
	switch {
	case p.Mode != "" && p.Mode != "RGB":
		return out, fmt.Errorf("mode is %q, expected RGB", p.Mode)
	case len(p.Size) == 0 || string(p.Size) == "null":
	case json.Unmarshal(p.Size, &one) == nil && one == side:
	case json.Unmarshal(p.Size, &two) == nil && two == [2]int{side, side}:
	default:
		return out, fmt.Errorf("size is %.40s, the model's images are %d x %d", p.Size, side, side)
	}
	return out, nil
}
