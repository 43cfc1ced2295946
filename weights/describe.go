package weights

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"isearle/weights/safetensors"
)

// Info is what can be said about a model without running it.
type Info struct {
	Path       string         `json:"path"`
	Layout     string         `json:"layout"`
	Format     Format         `json:"format"`
	Hash       string         `json:"hash"`
	Config     Config         `json:"config"`
	Tensors    int            `json:"tensors"` // canonical ones
	Parameters int            `json:"parameters"`
	Bytes      int            `json:"bytes"`  // of the tensors, as stored
	DTypes     map[string]int `json:"dtypes"` // parameters of each type
	Scale      float32        `json:"logit_scale"`
	Assumed    []string       `json:"assumed,omitempty"`
	Ignored    []string       `json:"ignored,omitempty"`
}

// Describe returns what the model is. It computes the hash.
func (c *CLIP) Describe() Info {
	info := Info{
		Path: c.Path, Layout: c.Layout.String(), Format: c.Format, Hash: c.Hash(), Config: c.Config, Tensors: len(c.order),
		DTypes: make(map[string]int), Scale: c.LogitScale(), Assumed: c.Assumed, Ignored: c.Ignored,
	}
	for _, t := range c.tensors {
		for _, p := range t.parts {
			n := p.len()
			info.Parameters += n
			info.Bytes += n * p.dtype.Size()
			info.DTypes[p.dtype.String()] += n
		}
	}
	return info
}

// String returns the description as lines of text for a terminal.
func (i Info) String() string {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", key, fmt.Sprintf(format, args...))
	}
	c := i.Config
	v, t, p := c.Vision, c.Text, c.Preprocess
	line("model", "%s", i.Path)
	line("layout", "%s, %s", i.Layout, i.Format)
	line("vision", "ViT/%d at %d x %d: %d tokens, width %d, %d layers, %d heads of %d, mlp %d",
		v.PatchSize, v.ImageSize, v.ImageSize, v.Grid()*v.Grid()+1, v.Width, v.Layers, v.Heads, v.Width/v.Heads, v.MLP)
	line("text", "context %d, vocabulary %d, width %d, %d layers, %d heads of %d, mlp %d",
		t.Context, t.Vocab, t.Width, t.Layers, t.Heads, t.Width/t.Heads, t.MLP)
	line("features", "%d", c.EmbedDim)
	line("activation", "%v", c.Activation)
	line("layer norm", "eps %g", c.LayerNormEps)
	pooling := "largest id"
	if t.Pooling == FirstEOT {
		pooling = fmt.Sprintf("first %d", t.EOT)
	}
	line("pooling", "%s; texts begin with %d and end with %d", pooling, t.BOS, t.EOT)
	line("logit scale", "%g", i.Scale)
	resize := fmt.Sprintf("short side to %d, centre crop %d", p.Resize, v.ImageSize)
	if p.Squash {
		resize = fmt.Sprintf("squash to %d x %d", v.ImageSize, v.ImageSize)
	}
	line("preprocessing", "%s, %s, mean %.8g, std %.8g", resize, p.Interpolation, p.Mean, p.Std)
	line("tensors", "%d, %d parameters, %d bytes", i.Tensors, i.Parameters, i.Bytes)
	for _, d := range slices.Sorted(maps.Keys(i.DTypes)) {
		line("  "+d, "%d parameters", i.DTypes[d])
	}
	line("hash", "%s", i.Hash)
	for _, a := range i.Assumed {
		line("assumed", "%s", a)
	}
	if n := len(i.Ignored); n > 0 {
		line("ignored", "%d tensors: %s", n, strings.Join(i.Ignored[:min(n, 4)], ", "))
	}
	return b.String()
}

// dtype returns the type that most parameters have, the wider of two that share the lead.
func (c *CLIP) dtype() safetensors.DType {
	count := make(map[safetensors.DType]int)
	for _, t := range c.tensors {
		count[t.dtype] += t.len()
	}
	best := safetensors.F32
	for _, d := range []safetensors.DType{safetensors.F64, safetensors.F16, safetensors.BF16} {
		if count[d] > count[best] {
			best = d
		}
	}
	return best
}
