package gpt

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"isearle/runtime"
)

// Config is the architecture of a model, as its config.json tells it.
type Config struct {
	Type    string // model_type: gpt2 or gpt_neo
	Vocab   int    // rows of the token embedding and of the logits
	Context int    // most tokens of a sequence
	Width   int
	Layers  int
	Heads   int
	MLP     int // width of the hidden layer
	Act     runtime.Activation
	Eps     float32
	Windows []int     // by layer: how many positions attention reaches back, its own included; 0 is all
	Scales  []float32 // by layer: what scores are multiplied by
	EOS     []int32   // ids that end a text, perhaps none
	Tied    bool      // the token embedding is the output matrix
}

// configJSON has the keys of both kinds.
type configJSON struct {
	ModelType string   `json:"model_type"`
	Vocab     *int     `json:"vocab_size"`
	Act       *string  `json:"activation_function"`
	Eps       *float64 `json:"layer_norm_epsilon"`
	EOS       idList   `json:"eos_token_id"`
	Tied      *bool    `json:"tie_word_embeddings"`

	// GPT-2
	Context    *int  `json:"n_positions"`
	Width      *int  `json:"n_embd"`
	Layers     *int  `json:"n_layer"`
	Heads      *int  `json:"n_head"`
	MLP        *int  `json:"n_inner"`
	Scale      *bool `json:"scale_attn_weights"`
	ByLayer    bool  `json:"scale_attn_by_inverse_layer_idx"`
	CrossAtten bool  `json:"add_cross_attention"`

	// GPT-Neo
	NeoContext *int          `json:"max_position_embeddings"`
	NeoWidth   *int          `json:"hidden_size"`
	NeoLayers  *int          `json:"num_layers"`
	NeoHeads   *int          `json:"num_heads"`
	NeoMLP     *int          `json:"intermediate_size"`
	Window     *int          `json:"window_size"`
	AttnTypes  []attnPattern `json:"attention_types"`
	AttnLayers []string      `json:"attention_layers"`
}

// idList is an id, a list of them, or null.
type idList []int32

func (l *idList) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]int32)(l))
	}
	var id *int32
	if err := json.Unmarshal(b, &id); err != nil || id == nil {
		return err
	}
	*l = idList{*id}
	return nil
}

// attnPattern is [["global", "local"], 12]: kinds of attention, and how often they follow each other.
type attnPattern struct {
	kinds []string
	times int
}

func (p *attnPattern) UnmarshalJSON(b []byte) error {
	parts := []json.RawMessage{}
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return fmt.Errorf("attention_types: %d parts, want kinds and a number", len(parts))
	}
	return errors.Join(json.Unmarshal(parts[0], &p.kinds), json.Unmarshal(parts[1], &p.times))
}

// The bounds of a plausible model: they keep products of two extents within 64 bits and refuse a broken file early.
const (
	maxExtent = 1 << 24
	maxLayers = 1 << 12
)

// ParseConfig reads a config.json. Keys that are absent have the defaults of Hugging Face's GPT2Config and GPTNeoConfig.
// An architecture that this package does not compute is an error.
func ParseConfig(data []byte) (Config, error) {
	var j configJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return Config{}, fmt.Errorf("gpt: config: %w", err)
	}
	c, err := j.config()
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return Config{}, fmt.Errorf("gpt: config: %w", err)
	}
	return c, nil
}

func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

func (j *configJSON) config() (Config, error) {
	c := Config{Type: j.ModelType, Vocab: or(j.Vocab, 50257), Eps: float32(or(j.Eps, 1e-5)), EOS: j.EOS, Tied: or(j.Tied, true)}
	var err error
	if c.Act, err = activation(or(j.Act, "gelu_new")); err != nil {
		return c, err
	}
	switch j.ModelType {
	case "gpt2":
		if j.CrossAtten {
			return c, errors.New("add_cross_attention is not supported")
		}
		c.Context, c.Width, c.Layers, c.Heads = or(j.Context, 1024), or(j.Width, 768), or(j.Layers, 12), or(j.Heads, 12)
		c.MLP = or(j.MLP, 4*c.Width)
	case "gpt_neo":
		c.Context, c.Width, c.Layers, c.Heads = or(j.NeoContext, 2048), or(j.NeoWidth, 2048), or(j.NeoLayers, 24), or(j.NeoHeads, 16)
		c.MLP = or(j.NeoMLP, 4*c.Width)
	default:
		return c, fmt.Errorf("model_type %q, want gpt2 or gpt_neo", j.ModelType)
	}
	if err := c.checkExtents(); err != nil {
		return c, err
	}
	c.Windows, c.Scales = make([]int, c.Layers), make([]float32, c.Layers)
	if c.Type == "gpt_neo" {
		return c, j.neoLayers(&c)
	}
	for i := range c.Scales {
		s := 1.0
		if or(j.Scale, true) {
			s = 1 / math.Sqrt(float64(c.Width/c.Heads))
		}
		if j.ByLayer {
			s /= float64(i + 1)
		}
		c.Scales[i] = float32(s)
	}
	return c, nil
}

func activation(name string) (runtime.Activation, error) {
	switch name {
	case "gelu_new", "gelu_fast", "gelu_pytorch_tanh":
		return runtime.GELUTanh, nil
	case "gelu":
		return runtime.GELU, nil
	case "quick_gelu":
		return runtime.QuickGELU, nil
	case "relu":
		return runtime.ReLU, nil
	}
	return 0, fmt.Errorf("activation_function %q is not supported", name)
}

// neoLayers finds out which layers are local. GPT-Neo's scores are not scaled.
func (j *configJSON) neoLayers(c *Config) error {
	types := j.AttnTypes
	if types == nil {
		types = []attnPattern{{[]string{"global", "local"}, 12}}
	}
	var kinds []string
	for _, p := range types {
		for n := 0; n < p.times && len(p.kinds) > 0 && len(kinds) <= c.Layers; n++ {
			kinds = append(kinds, p.kinds[:min(len(p.kinds), c.Layers+1)]...)
		}
	}
	if len(kinds) != c.Layers {
		return fmt.Errorf("attention_types are not those of %d layers", c.Layers)
	}
	if j.AttnLayers != nil && !slices.Equal(kinds, j.AttnLayers) {
		return errors.New("attention_layers and attention_types differ")
	}
	window := or(j.Window, 256)
	if window < 1 || window > maxExtent {
		return fmt.Errorf("window_size is %d", window)
	}
	for i, k := range kinds {
		c.Scales[i] = 1
		switch k {
		case "local":
			c.Windows[i] = window
		case "global":
		default:
			return fmt.Errorf("attention_types: layer %d is %q, want global or local", i, k)
		}
	}
	return nil
}

func (c *Config) checkExtents() error {
	for _, e := range []struct {
		name       string
		value, max int
	}{
		{"the vocabulary", c.Vocab, maxExtent}, {"the context", c.Context, maxExtent}, {"the width", c.Width, maxExtent},
		{"the hidden width", c.MLP, maxExtent}, {"the number of layers", c.Layers, maxLayers}, {"the number of heads", c.Heads, maxExtent},
	} {
		if e.value < 1 || e.value > e.max {
			return fmt.Errorf("%s is %d", e.name, e.value)
		}
	}
	if c.Width%c.Heads != 0 {
		return fmt.Errorf("%d heads for width %d", c.Heads, c.Width)
	}
	return nil
}

func (c *Config) check() error {
	if !(c.Eps > 0) || math.IsInf(float64(c.Eps), 0) {
		return fmt.Errorf("layer_norm_epsilon is %v", c.Eps)
	}
	for _, id := range c.EOS {
		if id < 0 || int(id) >= c.Vocab {
			return fmt.Errorf("eos_token_id %d, the vocabulary has %d", id, c.Vocab)
		}
	}
	return nil
}
