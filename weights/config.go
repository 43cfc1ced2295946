package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Activation is the non-linearity of the transformers' blocks. The zero value means that it is not known.
type Activation uint8

const (
	QuickGELU Activation = iota + 1 // x * sigmoid(1.702 x): OpenAI's weights
	GELU                            // x/2 * (1 + erf(x/sqrt 2)): most of open_clip's
)

// Pooling says which position of a text is its feature.
type Pooling uint8

const (
	ArgmaxID Pooling = iota // the first position of the largest id, which is end-of-text
	FirstEOT                // the first position that holds Text.EOT
)

// Vision describes the image tower: a ViT over square images.
type Vision struct {
	ImageSize int `json:"image_size"` // pixels on each side
	PatchSize int `json:"patch_size"`
	Width     int `json:"width"`
	Layers    int `json:"layers"`
	Heads     int `json:"heads"`
	MLP       int `json:"mlp"` // width of the blocks' hidden layer
}

// Grid returns the patches on each side of an image.
func (v Vision) Grid() int { return v.ImageSize / v.PatchSize }

// Text describes the text tower: a causal transformer.
type Text struct {
	Context int     `json:"context"` // most tokens of a text, both ends included
	Vocab   int     `json:"vocab"`
	Width   int     `json:"width"`
	Layers  int     `json:"layers"`
	Heads   int     `json:"heads"`
	MLP     int     `json:"mlp"`
	Pooling Pooling `json:"pooling"`
	BOS     int     `json:"bos"` // id of the beginning of a text
	EOT     int     `json:"eot"` // id of its end
}

// Preprocess is how pixels are prepared: resize, centre crop to Vision.ImageSize, scale to [0,1], subtract Mean, divide
// by Std.
type Preprocess struct {
	Resize        int        `json:"resize"` // the short side becomes this; with Squash both do
	Squash        bool       `json:"squash"` // the aspect ratio is not kept
	Interpolation string     `json:"interpolation"`
	Mean          [3]float64 `json:"mean"` // red, green, blue
	Std           [3]float64 `json:"std"`
}

// Config is everything about a CLIP that is not in its tensors.
type Config struct {
	Vision       Vision     `json:"vision"`
	Text         Text       `json:"text"`
	EmbedDim     int        `json:"embed_dim"` // length of the features of both towers
	Activation   Activation `json:"activation"`
	LayerNormEps float64    `json:"layer_norm_eps"`
	Preprocess   Preprocess `json:"preprocess"`
}

const (
	defaultEps = 1e-5
	// maxDim is beyond every model and keeps products of two dimensions within 64 bits.
	maxDim = 1 << 30
)

// defaultPreprocess is OpenAI's.
func defaultPreprocess(size int) Preprocess {
	return Preprocess{
		Resize: size, Interpolation: "bicubic",
		Mean: [3]float64{0.48145466, 0.4578275, 0.40821073}, Std: [3]float64{0.26862954, 0.26130258, 0.27577711},
	}
}

// check says what is impossible about the numbers. Whether they fit the tensors is another question.
func (c Config) check() error {
	v, t := c.Vision, c.Text
	for _, d := range []struct {
		name  string
		value int
	}{
		{"vision image size", v.ImageSize}, {"vision patch size", v.PatchSize}, {"vision width", v.Width}, {"vision layers", v.Layers},
		{"vision heads", v.Heads}, {"vision mlp", v.MLP}, {"text context", t.Context}, {"text vocab", t.Vocab}, {"text width", t.Width},
		{"text layers", t.Layers}, {"text heads", t.Heads}, {"text mlp", t.MLP}, {"embed dim", c.EmbedDim}, {"resize", c.Preprocess.Resize},
	} {
		if d.value < 1 || d.value > maxDim {
			return fmt.Errorf("%s is %d", d.name, d.value)
		}
	}
	switch {
	case v.PatchSize > v.ImageSize:
		return fmt.Errorf("the patch size %d is larger than the image size %d", v.PatchSize, v.ImageSize)
	case v.Width%v.Heads != 0:
		return fmt.Errorf("%d vision heads do not divide the width %d", v.Heads, v.Width)
	case t.Width%t.Heads != 0:
		return fmt.Errorf("%d text heads do not divide the width %d", t.Heads, t.Width)
	case t.BOS < 0 || t.BOS >= t.Vocab || t.EOT < 0 || t.EOT >= t.Vocab:
		return fmt.Errorf("the ids %d and %d of a text's ends are not in a vocabulary of %d", t.BOS, t.EOT, t.Vocab)
	case t.Pooling > FirstEOT:
		return fmt.Errorf("unknown pooling %d", t.Pooling)
	case c.Activation != QuickGELU && c.Activation != GELU:
		return errors.New("the activation is not known")
	case !(c.LayerNormEps > 0 && c.LayerNormEps < 1):
		return fmt.Errorf("the epsilon of layer norm is %g", c.LayerNormEps)
	}
	if !slices.Contains(resampling, c.Preprocess.Interpolation) {
		return fmt.Errorf("unknown interpolation %q", c.Preprocess.Interpolation)
	}
	for i, std := range c.Preprocess.Std {
		if !(std > 0) || math.IsInf(std, 0) || math.IsNaN(c.Preprocess.Mean[i]) || math.IsInf(c.Preprocess.Mean[i], 0) {
			return fmt.Errorf("pixels cannot be normalised by mean %v and std %v", c.Preprocess.Mean, c.Preprocess.Std)
		}
	}
	return nil
}

// poolsAtLastID says whether both poolings mean the same: end-of-text is the largest id, and every text has one.
func (t Text) poolsAtLastID() bool { return t.Pooling == ArgmaxID || t.EOT == t.Vocab-1 }

var activationNames = map[Activation]string{QuickGELU: "quick_gelu", GELU: "gelu"}

// String returns the name that configurations use: quick_gelu or gelu.
func (a Activation) String() string {
	if s, ok := activationNames[a]; ok {
		return s
	}
	return "unknown"
}

// ParseActivation is the inverse of String.
func ParseActivation(s string) (Activation, error) {
	for a, name := range activationNames {
		if s == name {
			return a, nil
		}
	}
	return 0, fmt.Errorf("unknown activation %q: quick_gelu and gelu (with erf) are implemented", s)
}

// MarshalText writes the name.
func (a Activation) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a name.
func (a *Activation) UnmarshalText(b []byte) (err error) {
	*a, err = ParseActivation(string(b))
	return err
}

var poolingNames = map[Pooling]string{ArgmaxID: "argmax", FirstEOT: "first-eot"}

// String returns argmax or first-eot.
func (p Pooling) String() string {
	if s, ok := poolingNames[p]; ok {
		return s
	}
	return "unknown"
}

// MarshalText writes the name.
func (p Pooling) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a name.
func (p *Pooling) UnmarshalText(b []byte) error {
	for q, name := range poolingNames {
		if string(b) == name {
			*p = q
			return nil
		}
	}
	return fmt.Errorf("unknown pooling %q", b)
}

// parseConfig reads what encodeConfig wrote.
func parseConfig(data []byte) (Config, error) {
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return c, err
	}
	return c, c.check()
}

// encodeConfig writes a configuration for a file that travels without its directory.
func encodeConfig(c Config) string {
	data, err := json.Marshal(c)
	if err != nil {
		panic(err) // a struct of checked numbers and strings
	}
	return string(data)
}
