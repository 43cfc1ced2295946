package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
)

// config returns the configuration of a store, and what was assumed for it. It is looked for in the file itself (Write puts
// one into files that stand alone), then beside it, and concluded from the tensors where there is none. n.layout becomes
// OpenCLIP where OpenAI's names stand beside open_clip's configuration.
func (d folder) config(s *store, n *naming, opts Options) (c Config, assumed []string, err error) {
	var found bool
	switch {
	case s.config != "":
		c, err = parseConfig([]byte(s.config))
		if err != nil {
			err = fmt.Errorf("%q: the configuration in it: %w", s.path, err)
		}
		found = true
	case n.layout == HuggingFace:
		c, found, err = d.hfConfig()
	default:
		c, found, err = d.openCLIPConfig()
		if found && n.layout == OpenAI {
			n.layout = OpenCLIP
		}
	}
	if err != nil {
		return c, nil, err
	}
	if !found {
		f := inference{s: s, n: *n, opts: opts}
		c, err = f.config()
		if err == nil && n.layout == HuggingFace {
			err = d.hfPreprocess(&c)
		}
		return c, f.assumed, err
	}
	if opts.VisionHeads != 0 {
		c.Vision.Heads = opts.VisionHeads
	}
	if opts.TextHeads != 0 {
		c.Text.Heads = opts.TextHeads
	}
	if opts.Activation != 0 {
		c.Activation = opts.Activation
	}
	return c, nil, nil
}

// readJSON decodes a file beside the checkpoint. found is false when there is none.
func (d folder) readJSON(name string, v any) (found bool, err error) {
	data, err := fs.ReadFile(d.fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return true, fmt.Errorf("%q: %w", d.show(name), err)
	}
	return true, nil
}

// hfTower is what text_config and vision_config have in common.
type hfTower struct {
	Width      int     `json:"hidden_size"`
	MLP        int     `json:"intermediate_size"`
	Layers     int     `json:"num_hidden_layers"`
	Heads      int     `json:"num_attention_heads"`
	Activation string  `json:"hidden_act"`
	Eps        float64 `json:"layer_norm_eps"`
}

type hfVision struct {
	hfTower
	ImageSize int `json:"image_size"`
	PatchSize int `json:"patch_size"`
	Channels  int `json:"num_channels"`
}

type hfText struct {
	hfTower
	Vocab   int `json:"vocab_size"`
	Context int `json:"max_position_embeddings"`
	BOS     int `json:"bos_token_id"`
	EOT     int `json:"eos_token_id"`
}

// The defaults of transformers' CLIPVisionConfig and CLIPTextConfig, which configurations leave out at will.
func defaultHFVision() hfVision {
	return hfVision{hfTower{768, 3072, 12, 12, "quick_gelu", defaultEps}, 224, 32, 3}
}

func defaultHFText() hfText {
	return hfText{hfTower{512, 2048, 12, 8, "quick_gelu", defaultEps}, 49408, 77, 49406, 49407}
}

// legacyEOT is the eos_token_id of the first configurations, which is wrong: with it transformers pools at the largest id
// (CLIPTextTransformer.forward).
const legacyEOT = 2

// hfConfig reads config.json.
func (d folder) hfConfig() (c Config, found bool, err error) {
	file := struct {
		ModelType  string          `json:"model_type"`
		Dim        int             `json:"projection_dim"`
		Vision     json.RawMessage `json:"vision_config"`
		Text       json.RawMessage `json:"text_config"`
		VisionDict json.RawMessage `json:"vision_config_dict"`
		TextDict   json.RawMessage `json:"text_config_dict"`
	}{Dim: 512}
	if found, err = d.readJSON(hfConfig, &file); !found || err != nil {
		return c, found, err
	}
	fail := func(err error) (Config, bool, error) {
		return c, true, fmt.Errorf("%q: %w", d.show(hfConfig), err)
	}
	if file.ModelType != "clip" {
		return fail(fmt.Errorf("model_type is %q, expected %q", file.ModelType, "clip"))
	}
	v, t := defaultHFVision(), defaultHFText()
	if err := decodeFirst(&v, file.VisionDict, file.Vision); err != nil {
		return fail(fmt.Errorf("vision_config: %w", err))
	}
	if err := decodeFirst(&t, file.TextDict, file.Text); err != nil {
		return fail(fmt.Errorf("text_config: %w", err))
	}
	switch {
	case v.Channels != 3:
		return fail(fmt.Errorf("num_channels is %d, expected 3", v.Channels))
	case v.Activation != t.Activation:
		return fail(fmt.Errorf("hidden_act is %q for images and %q for text: towers that differ are not implemented", v.Activation, t.Activation))
	case v.Eps != t.Eps:
		return fail(fmt.Errorf("layer_norm_eps is %g for images and %g for text: towers that differ are not implemented", v.Eps, t.Eps))
	}
	if c.Activation, err = ParseActivation(v.Activation); err != nil {
		return fail(err)
	}
	c.EmbedDim, c.LayerNormEps = file.Dim, v.Eps
	c.Vision = Vision{v.ImageSize, v.PatchSize, v.Width, v.Layers, v.Heads, v.MLP}
	c.Text = Text{Context: t.Context, Vocab: t.Vocab, Width: t.Width, Layers: t.Layers, Heads: t.Heads, MLP: t.MLP, Pooling: FirstEOT, BOS: t.BOS, EOT: t.EOT}
	c.Text.fixEnds()
	c.Preprocess = defaultPreprocess(c.Vision.ImageSize)
	if err := d.hfPreprocess(&c); err != nil {
		return c, true, err
	}
	if err := c.check(); err != nil {
		return fail(err)
	}
	return c, true, nil
}

// fixEnds replaces the ids of old configurations, and of those that leave out ids the vocabulary does not have, by CLIP's
// convention: the last two ids.
func (t *Text) fixEnds() {
	if t.EOT == legacyEOT || t.EOT >= t.Vocab {
		t.Pooling, t.EOT = ArgmaxID, t.Vocab-1
		if t.BOS <= legacyEOT || t.BOS >= t.Vocab {
			t.BOS = t.Vocab - 2
		}
	}
}

// decodeFirst decodes the first that is there into v. In transformers a text_config_dict replaces a text_config.
func decodeFirst(v any, candidates ...json.RawMessage) error {
	for _, data := range candidates {
		if len(data) > 0 && string(data) != "null" {
			return json.Unmarshal(data, v)
		}
	}
	return nil
}

// pixels is a size in a preprocessor's configuration: a number, or an object with shortest_edge, or height and width.
type pixels struct{ short, height, width int }

func (p *pixels) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if err := json.Unmarshal(data, &p.short); err == nil {
		return nil
	}
	var o struct {
		Short  int `json:"shortest_edge"`
		Height int `json:"height"`
		Width  int `json:"width"`
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return err
	}
	*p = pixels{o.Short, o.Height, o.Width}
	return nil
}

// resampling are Pillow's filters by number, as preprocessor_config.json has them.
var resampling = []string{"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"}

// hfPreprocess reads preprocessor_config.json over the defaults in c.
func (d folder) hfPreprocess(c *Config) error {
	file := struct {
		Resize    *bool       `json:"do_resize"`
		Crop      *bool       `json:"do_center_crop"`
		Rescale   *bool       `json:"do_rescale"`
		Normalize *bool       `json:"do_normalize"`
		Filter    *int        `json:"resample"`
		Factor    *float64    `json:"rescale_factor"`
		Size      pixels      `json:"size"`
		CropSize  pixels      `json:"crop_size"`
		Mean      *[3]float64 `json:"image_mean"`
		Std       *[3]float64 `json:"image_std"`
	}{Mean: &c.Preprocess.Mean, Std: &c.Preprocess.Std}
	found, err := d.readJSON(hfPreprocess, &file)
	if !found || err != nil {
		return err
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%q: %s", d.show(hfPreprocess), fmt.Sprintf(format, args...))
	}
	side := c.Vision.ImageSize
	squash := file.Size.height == side && file.Size.width == side
	crop := file.CropSize
	if crop.short == 0 && crop.height == crop.width {
		crop.short = crop.height
	}
	off := func(b *bool) bool { return b != nil && !*b }
	switch {
	case off(file.Resize) || off(file.Rescale) || off(file.Normalize):
		return fail("images without resizing, scaling or normalising are not implemented")
	case file.Factor != nil && math.Abs(*file.Factor*255-1) > 1e-4:
		return fail("rescale_factor is %g, expected 1/255", *file.Factor)
	case file.Filter != nil && (*file.Filter < 0 || *file.Filter >= len(resampling)):
		return fail("resample is %d, not a filter of Pillow", *file.Filter)
	case off(file.Crop) && !squash:
		return fail("do_center_crop is false, and size is not the model's %d x %d", side, side)
	case !off(file.Crop) && crop != (pixels{}) && crop.short != side:
		return fail("crop_size is %d, the model's images are %d x %d", crop.short, side, side)
	case file.Size.short == 0 && file.Size.height != file.Size.width || !squash && file.Size.height != 0:
		return fail("size %d x %d is not the model's %d x %d", file.Size.height, file.Size.width, side, side)
	case file.Size.short != 0 && file.Size.short < side:
		return fail("size is %d, less than the model's images of %d x %d", file.Size.short, side, side)
	}
	p := &c.Preprocess
	if file.Size.short != 0 {
		p.Resize = file.Size.short
	}
	p.Squash = squash && file.Size.short == 0
	if file.Filter != nil {
		p.Interpolation = resampling[*file.Filter]
	}
	return nil
}
