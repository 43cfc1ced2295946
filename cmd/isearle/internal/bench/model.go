package bench

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"isearle/weights"
	"isearle/weights/safetensors"
)

// Shapes are the configurations that Random can be asked for, as OpenAI published them (Radford et al., arXiv
// 2103.00020, table 20).
func Shapes(name string) (weights.Config, bool) {
	c := weights.Config{
		Text:       weights.Text{Context: 77, Vocab: 49408, Layers: 12, BOS: 49406, EOT: 49407},
		Activation: weights.QuickGELU, LayerNormEps: 1e-5,
		Preprocess: weights.Preprocess{Interpolation: "bicubic", Std: [3]float64{1, 1, 1}},
	}
	switch name {
	case "vit-b-32", "vit-b-16":
		c.Vision = weights.Vision{ImageSize: 224, PatchSize: 32, Width: 768, Layers: 12, Heads: 12, MLP: 3072}
		if name == "vit-b-16" {
			c.Vision.PatchSize = 16
		}
		c.Text.Width, c.Text.Heads, c.Text.MLP, c.EmbedDim = 512, 8, 2048, 512
	case "vit-l-14":
		c.Vision = weights.Vision{ImageSize: 224, PatchSize: 14, Width: 1024, Layers: 24, Heads: 16, MLP: 4096}
		c.Text.Width, c.Text.Heads, c.Text.MLP, c.EmbedDim = 768, 12, 3072, 768
	default:
		return c, false
	}
	c.Preprocess.Resize = c.Vision.ImageSize
	return c, true
}

// Random returns a model with random weights. All its tensors are views of one block of numbers, so that a large model
// takes little memory and time to make; its speed does not depend on the values.
func Random(c weights.Config) (*weights.CLIP, error) {
	var r random
	v, t := c.Vision, c.Text
	r.add("logit_scale")
	r.add("visual.conv1.weight", v.Width, 3, v.PatchSize, v.PatchSize)
	r.add("visual.class_embedding", v.Width)
	r.add("visual.positional_embedding", 1+v.Grid()*v.Grid(), v.Width)
	r.pair("visual.ln_pre", v.Width)
	r.pair("visual.ln_post", v.Width)
	r.add("visual.proj", v.Width, c.EmbedDim)
	r.blocks("visual.", v.Layers, v.Width, v.MLP)
	r.add("token_embedding.weight", t.Vocab, t.Width)
	r.add("positional_embedding", t.Context, t.Width)
	r.pair("ln_final", t.Width)
	r.add("text_projection", t.Width, c.EmbedDim)
	r.blocks("", t.Layers, t.Width, t.MLP)
	return weights.New(c, r.tensors())
}

// random is a list of tensors to be made.
type random struct {
	list  []safetensors.Tensor
	bytes int // of the largest
}

func (r *random) add(name string, shape ...int) {
	n := 4
	for _, d := range shape {
		n *= d
	}
	r.bytes = max(r.bytes, n)
	r.list = append(r.list, safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: shape})
}

// pair adds a weight, by default a vector, and its bias.
func (r *random) pair(name string, out int, in ...int) {
	r.add(name+".weight", append([]int{out}, in...)...)
	r.add(name+".bias", out)
}

func (r *random) blocks(tower string, layers, width, mlp int) {
	for i := range layers {
		b := fmt.Sprintf("%stransformer.resblocks.%d.", tower, i)
		r.pair(b+"ln_1", width)
		r.pair(b+"ln_2", width)
		r.add(b+"attn.in_proj_weight", 3*width, width)
		r.add(b+"attn.in_proj_bias", 3*width)
		r.pair(b+"attn.out_proj", width, width)
		r.pair(b+"mlp.c_fc", mlp, width)
		r.pair(b+"mlp.c_proj", width, mlp)
	}
}

// tensors fills the list. The values are those of CLIP's initialisation in size: uniform with a deviation of 0.02.
func (r *random) tensors() []safetensors.Tensor {
	const (
		bound = 0.02 * 1.7320508 // of a uniform distribution with that deviation
		shift = 4 * 977          // between the beginnings of two tensors, so that none equals another
	)
	block := make([]byte, r.bytes+shift*len(r.list))
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(block); i += 4 {
		binary.LittleEndian.PutUint32(block[i:], math.Float32bits(bound*(2*rng.Float32()-1)))
	}
	for i := range r.list {
		n := 4
		for _, d := range r.list[i].Shape {
			n *= d
		}
		r.list[i].Data = block[shift*i:][:n]
	}
	return r.list
}

// ImageFLOP is the number of floating-point operations of an image's feature, two for a multiply-add.
func ImageFLOP(c weights.Config) float64 {
	v := c.Vision
	patches := v.Grid() * v.Grid()
	return towerFLOP(v.Layers, v.Width, v.MLP, 1+patches, patches+1) +
		2*float64(patches*3*v.PatchSize*v.PatchSize*v.Width) + 2*float64(v.Width*c.EmbedDim)
}

// TextFLOP is the number of floating-point operations of the feature of n tokens.
func TextFLOP(c weights.Config, n int) float64 {
	t := c.Text
	return towerFLOP(t.Layers, t.Width, t.MLP, n, (n+1)/2) + 2*float64(t.Width*c.EmbedDim)
}

// towerFLOP counts the blocks over n tokens, each of which attends to keys tokens on the average.
func towerFLOP(layers, width, mlp, n, keys int) float64 {
	return float64(layers) * (2*float64(n)*float64(4*width*width+2*width*mlp) + 4*float64(n)*float64(keys)*float64(width))
}
