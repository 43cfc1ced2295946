package weights

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"isearle/weights/safetensors"
)

// ErrHeads is wrapped by the error for a checkpoint whose number of attention heads nothing tells.
var ErrHeads = errors.New("the weights do not tell the number of attention heads")

// size is what tells models apart whose tensors have the same names.
type size struct{ width, layers int }

// The heads of the models of open_clip 3.3's model_configs, by width and layers; OpenAI's are among them.
var (
	knownVisionHeads = map[size]int{
		{384, 12}: 6, {512, 12}: 8, {768, 12}: 12, {896, 12}: 14, {1024, 24}: 16,
		{1280, 32}: 16, // ViT-H
		{1408, 40}: 16, // ViT-g
		{1664, 48}: 16, // ViT-bigG
		{1792, 56}: 16, // ViT-e
	}
	knownTextHeads = map[size]int{
		{256, 10}: 4, {384, 12}: 6, {512, 12}: 8, {640, 12}: 10, {768, 12}: 12, {1024, 24}: 16, {1280, 32}: 20, {1280, 36}: 20,
	}
)

// openAIHeadWidth is what OpenAI's own loader divides a width by (clip/model.py, build_model).
const openAIHeadWidth = 64

// inference concludes a configuration from the shapes of a store.
type inference struct {
	s       *store
	n       naming
	opts    Options
	assumed []string
}

func (f *inference) assume(format string, args ...any) {
	f.assumed = append(f.assumed, fmt.Sprintf(format, args...))
}

// config returns the configuration that the tensors imply.
func (f *inference) config() (c Config, err error) {
	patches, err := f.shape(patchWeights, 4)
	if err != nil {
		return c, err
	}
	positions, err := f.shape("visual.positional_embedding", 2)
	if err != nil {
		return c, err
	}
	grid := int(math.Sqrt(float64(positions[0] - 1)))
	if grid < 1 || grid*grid+1 != positions[0] {
		return c, &TensorError{File: f.s.path, Tensor: "visual.positional_embedding", Want: []int{grid*grid + 1, positions[1]}, Got: positions}
	}
	tokens, err := f.shape(tokenWeights, 2)
	if err != nil {
		return c, err
	}
	context, err := f.shape("positional_embedding", 2)
	if err != nil {
		return c, err
	}
	projection, err := f.shape(textProj, 2)
	if err != nil {
		return c, err
	}
	c.EmbedDim = projection[0]
	c.Vision = Vision{ImageSize: grid * patches[2], PatchSize: patches[2], Width: patches[0]}
	c.Text = Text{Context: context[0], Vocab: tokens[0], Width: tokens[1], BOS: tokens[0] - 2, EOT: tokens[0] - 1}
	if c.Vision.Layers, c.Vision.MLP, err = f.tower("visual.transformer.resblocks."); err != nil {
		return c, err
	}
	if c.Text.Layers, c.Text.MLP, err = f.tower("transformer.resblocks."); err != nil {
		return c, err
	}
	c.LayerNormEps, c.Preprocess = defaultEps, defaultPreprocess(c.Vision.ImageSize)
	return c, f.rest(&c)
}

// rest fills in what no shape says.
func (f *inference) rest(c *Config) (err error) {
	original := f.isOpenAI()
	c.Vision.Heads, err = f.heads("vision", c.Vision.Width, c.Vision.Layers, original, knownVisionHeads, f.opts.VisionHeads)
	if err != nil {
		return err
	}
	c.Text.Heads, err = f.heads("text", c.Text.Width, c.Text.Layers, original, knownTextHeads, f.opts.TextHeads)
	if err != nil {
		return err
	}
	openAISize := c.Vision.Width == 768 && c.Text.Width == 512 || c.Vision.Width == 1024 && c.Text.Width == 768
	switch {
	case f.opts.Activation != 0:
		c.Activation = f.opts.Activation
	case original:
		c.Activation = QuickGELU
	case openAISize && f.n.layout != OpenCLIPText:
		c.Activation = QuickGELU
		f.assume("activation %v, because OpenAI's models of this size use it; open_clip's use %v", QuickGELU, GELU)
	default:
		c.Activation = GELU
		f.assume("activation %v, because models of this kind use it", GELU)
	}
	return nil
}

// heads finds the number of heads: the user's, OpenAI's rule for OpenAI's archives, or that of a known size.
func (f *inference) heads(tower string, width, layers int, original bool, known map[size]int, given int) (int, error) {
	if given != 0 {
		return given, nil
	}
	if original && width >= openAIHeadWidth {
		return width / openAIHeadWidth, nil
	}
	if n, ok := known[size{width, layers}]; ok {
		f.assume("%d %s heads, because known models of width %d with %d layers have them", n, tower, width, layers)
		return n, nil
	}
	return 0, fmt.Errorf("%q: %w of the %s tower (width %d, %d layers), and there is no configuration: give --%s-heads",
		f.s.path, ErrHeads, tower, width, layers, tower)
}

// isOpenAI says whether the store is one of OpenAI's archives or a state dict of one: a TorchScript archive, or the three
// integers beside the weights, or their mixture of types (clip/model.py, convert_weights).
func (f *inference) isOpenAI() bool {
	if f.n.layout != OpenAI {
		return false
	}
	_, resolution := f.s.tensors[f.n.prefix+"input_resolution"]
	_, context := f.s.tensors[f.n.prefix+"context_length"]
	mixed := f.s.tensors[f.n.prefix+patchWeights].dtype == safetensors.F16 && f.s.tensors[f.n.prefix+"visual.ln_pre.weight"].dtype == safetensors.F32
	return f.s.format == TorchScript || resolution && context || mixed
}

// shape returns the canonical shape of a tensor, given by its canonical name.
func (f *inference) shape(name string, rank int) ([]int, error) {
	sp := spec{name: name, shape: make([]int, rank), hf: []string{hfName(name)}}
	field := f.n.layout.fields(sp)[0]
	full := f.n.prefix + field.name
	v, ok := f.s.tensors[full]
	if !ok {
		return nil, fmt.Errorf("%q: tensor %q is missing", f.s.path, full)
	}
	if len(v.shape) != rank {
		return nil, fmt.Errorf("%q: tensor %q has shape %v, expected %d dimensions", f.s.path, full, v.shape, rank)
	}
	for _, d := range v.shape {
		if d < 1 || d > maxDim {
			return nil, fmt.Errorf("%q: tensor %q has shape %v", f.s.path, full, v.shape)
		}
	}
	if field.transposed {
		v = v.transpose()
	}
	return v.shape, nil
}

// tower counts the blocks under a canonical prefix and returns the width of their hidden layer.
func (f *inference) tower(prefix string) (layers, mlp int, err error) {
	const suffix = ".mlp.c_fc.weight"
	for ; ; layers++ {
		name := prefix + strconv.Itoa(layers) + suffix
		full := f.n.prefix + f.n.layout.fields(spec{name: name, shape: []int{0, 0}, hf: []string{hfName(name)}})[0].name
		if _, ok := f.s.tensors[full]; !ok {
			break
		}
	}
	shape, err := f.shape(prefix+"0"+suffix, 2)
	if err != nil {
		return 0, 0, err
	}
	return layers, shape[0], nil
}

// hfName returns Hugging Face's name for a tensor that it stores in one piece.
func hfName(name string) string {
	one := Config{Vision: Vision{ImageSize: 1, PatchSize: 1, Layers: 1}, Text: Text{Layers: 1}}
	layer, rest := "0", ""
	if before, after, ok := strings.Cut(name, "resblocks."); ok {
		layer, rest, _ = strings.Cut(after, ".")
		name = before + "resblocks.0." + rest
	}
	for _, s := range one.specs() {
		if s.name == name {
			return strings.Replace(s.hf[0], ".layers.0.", ".layers."+layer+".", 1)
		}
	}
	return name
}
