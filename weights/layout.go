package weights

import (
	"fmt"
	"strconv"
	"strings"
)

// Layout is a way to name a CLIP's tensors and to store its configuration.
type Layout uint8

const (
	// HuggingFace is transformers' CLIPModel: config.json, separate q, k and v, projections as [out, in].
	HuggingFace Layout = iota + 1
	// OpenAI is the naming of the original archives, without a configuration; projections are [in, out].
	OpenAI
	// OpenCLIP is the same naming with open_clip_config.json.
	OpenCLIP
	// OpenCLIPText is OpenCLIP with the text tower's tensors under "text." (custom_text).
	OpenCLIPText
)

var layoutNames = map[Layout]string{HuggingFace: "hf", OpenAI: "openai", OpenCLIP: "openclip", OpenCLIPText: "openclip-text"}

// String returns hf, openai, openclip or openclip-text.
func (l Layout) String() string {
	if s, ok := layoutNames[l]; ok {
		return s
	}
	return "unknown"
}

// ParseLayout is the inverse of String.
func ParseLayout(s string) (Layout, error) {
	for l, name := range layoutNames {
		if s == name {
			return l, nil
		}
	}
	return 0, fmt.Errorf("unknown layout %q: hf, openai, openclip, openclip-text", s)
}

// spec is a tensor every CLIP of a configuration has: its canonical name and shape, and Hugging Face's names for it
// (three where q, k and v are separate).
type spec struct {
	name  string
	shape []int
	hf    []string
}

// field is a tensor as a layout stores it: a slice of a spec's rows, or the whole.
type field struct {
	name       string
	shape      []int
	transposed bool // shape is the spec's reversed
}

const (
	visualPrefix = "visual."
	textPrefix   = "text."
	visualProj   = "visual.proj"
	textProj     = "text_projection"
	logitScale   = "logit_scale"
	patchWeights = "visual.conv1.weight"
	tokenWeights = "token_embedding.weight"
	hfPatches    = "vision_model.embeddings.patch_embedding.weight"
)

// specs lists the tensors of a configuration in a fixed order. There are about 12 for each layer.
func (c Config) specs() []spec {
	v, t := c.Vision, c.Text
	s := []spec{{logitScale, []int{}, []string{logitScale}}}
	add := func(name, hf string, shape ...int) { s = append(s, spec{name, shape, []string{hf}}) }
	norm := func(name, hf string, width int) {
		add(name+".weight", hf+".weight", width)
		add(name+".bias", hf+".bias", width)
	}
	add(patchWeights, hfPatches, v.Width, 3, v.PatchSize, v.PatchSize)
	add("visual.class_embedding", "vision_model.embeddings.class_embedding", v.Width)
	add("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight", v.Grid()*v.Grid()+1, v.Width)
	norm("visual.ln_pre", "vision_model.pre_layrnorm", v.Width)
	s = appendBlocks(s, "visual.transformer.resblocks.", "vision_model.encoder.layers.", v.Layers, v.Width, v.MLP)
	norm("visual.ln_post", "vision_model.post_layernorm", v.Width)
	add(visualProj, "visual_projection.weight", c.EmbedDim, v.Width)
	add(tokenWeights, "text_model.embeddings.token_embedding.weight", t.Vocab, t.Width)
	add("positional_embedding", "text_model.embeddings.position_embedding.weight", t.Context, t.Width)
	s = appendBlocks(s, "transformer.resblocks.", "text_model.encoder.layers.", t.Layers, t.Width, t.MLP)
	norm("ln_final", "text_model.final_layer_norm", t.Width)
	add(textProj, "text_projection.weight", c.EmbedDim, t.Width)
	return s
}

// appendBlocks adds the tensors of a tower's blocks.
func appendBlocks(s []spec, prefix, hfPrefix string, layers, width, mlp int) []spec {
	for i := range layers {
		name, hf := prefix+strconv.Itoa(i)+".", hfPrefix+strconv.Itoa(i)+"."
		pair := func(a, b string, out, in int) {
			s = append(s, spec{name + a + ".weight", []int{out, in}, []string{hf + b + ".weight"}},
				spec{name + a + ".bias", []int{out}, []string{hf + b + ".bias"}})
		}
		norm := func(a, b string) {
			s = append(s, spec{name + a + ".weight", []int{width}, []string{hf + b + ".weight"}},
				spec{name + a + ".bias", []int{width}, []string{hf + b + ".bias"}})
		}
		qkv := func(kind string) []string {
			return []string{hf + "self_attn.q_proj." + kind, hf + "self_attn.k_proj." + kind, hf + "self_attn.v_proj." + kind}
		}
		norm("ln_1", "layer_norm1")
		s = append(s, spec{name + "attn.in_proj_weight", []int{3 * width, width}, qkv("weight")},
			spec{name + "attn.in_proj_bias", []int{3 * width}, qkv("bias")})
		pair("attn.out_proj", "self_attn.out_proj", width, width)
		norm("ln_2", "layer_norm2")
		pair("mlp.c_fc", "mlp.fc1", mlp, width)
		pair("mlp.c_proj", "mlp.fc2", width, mlp)
	}
	return s
}

// fields returns how the layout stores a tensor. Their rows, one after the other, are the tensor's.
func (l Layout) fields(s spec) []field {
	if l == HuggingFace {
		out := make([]field, len(s.hf))
		for i, name := range s.hf {
			shape := append([]int{}, s.shape...)
			if len(s.hf) > 1 {
				shape[0] /= len(s.hf)
			}
			out[i] = field{name: name, shape: shape}
		}
		return out
	}
	f := field{name: s.name, shape: s.shape}
	if s.name == visualProj || s.name == textProj {
		f.shape, f.transposed = []int{s.shape[1], s.shape[0]}, true
	}
	if l == OpenCLIPText && s.name != logitScale && !strings.HasPrefix(s.name, visualPrefix) {
		f.name = textPrefix + f.name
	}
	return []field{f}
}

// towers are the beginnings of names that belong to a CLIP. A tensor that has one of them and no place in a plain CLIP
// changes what the model computes, so it is not passed over.
func (l Layout) towers() []string {
	switch l {
	case HuggingFace:
		return []string{"vision_model.", "text_model.", "visual_projection.", "text_projection."}
	case OpenCLIPText:
		return []string{visualPrefix, textPrefix}
	}
	return []string{visualPrefix, "transformer.", "token_embedding.", "positional_embedding", "ln_final.", textProj}
}

// isBuffer says whether a name is that of a constant that some versions of the libraries stored with the weights.
func isBuffer(name string) bool {
	return strings.HasSuffix(name, ".position_ids") || name == "attn_mask" || strings.HasSuffix(name, ".attn_mask")
}
