package search

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"isearle/clipnet"
	"isearle/clipnet/preprocess"
	"isearle/clipnet/tokenizer"
	"isearle/phi"
	"isearle/runtime"
	"isearle/weights"
	"isearle/weights/demo"
)

// DefaultTemplate is SEARLE's prompt for a composed query.
const DefaultTemplate = "a photo of $ that {caption}"

// EngineOptions say which model an Engine uses, and how.
type EngineOptions struct {
	// Model is a checkpoint's file or directory; "" is the embedded default.
	Model   string
	Weights weights.Options
	// DType is the type that the towers' products are made in (see runtime.PackOptions); 0 means F32. Where gradients are
	// needed, I8 stands for F32.
	DType runtime.DType
	// Batch is how many images most batches to embed have, or more (see clipnet.Options); 0 is 1.
	Batch int
	// Tokenizer is a tokeniser's file or directory; "" is the model's own, or CLIP's where it brings none.
	Tokenizer string
	Rules     tokenizer.Rules
	// Phi is a textual inversion network's file; "" is the embedded one, for the embedded model only.
	Phi string
	// How images are prepared. The model says the rest.
	Pad             preprocess.Pad
	Order           preprocess.Order
	ExifOrientation bool
	// Template is the prompt of composed queries; "" is DefaultTemplate.
	Template string
	// Tokens is how many copies of a pseudo-word stand in the place of each of the template's; 0 is 1.
	Tokens int
}

// ErrNoPhi is wrapped where a pseudo-word is needed and no textual inversion network was given.
var ErrNoPhi = errors.New("a textual inversion network (phi) is needed, and none was given for this model")

// Engine is a model ready to embed and to compose: checkpoint, tokeniser, preprocessing and phi on one device. Each part is
// loaded when it is first needed. It is safe for concurrent use; the device runs one thing at a time.
type Engine struct {
	dev      runtime.Device
	opts     EngineOptions
	ckpt     *weights.CLIP
	pre      *preprocess.Preprocessor
	template tokenizer.Template

	image func() (*clipnet.ImageEncoder, error)
	text  func() (*clipnet.TextEncoder, error)
	// gradient is the text tower packed for backward passes too.
	gradient func() (*clipnet.TextEncoder, error)
	words    func() (*tokenizer.Tokenizer, error)
	phi      func() (*phi.Encoder, error)

	mu     sync.Mutex
	closed []func() error
}

// OpenEngine opens a model's files. Nothing is packed for the device yet.
func OpenEngine(dev runtime.Device, o EngineOptions) (*Engine, error) {
	if o.Template == "" {
		o.Template = DefaultTemplate
	}
	if o.DType == 0 {
		o.DType = runtime.F32
	}
	e := &Engine{dev: dev, opts: o}
	var err error
	if e.template, err = tokenizer.ParseTemplate(o.Template); err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	if o.Tokens < 0 {
		return nil, fmt.Errorf("search: %d copies of a pseudo-word", o.Tokens)
	}
	e.template = e.template.Repeat(max(1, o.Tokens))
	if e.ckpt, err = openModel(o); err != nil {
		return nil, fmt.Errorf("search: open model: %w", err)
	}
	if e.pre, err = preprocessor(e.ckpt.Config, o); err != nil {
		e.ckpt.Close()
		return nil, fmt.Errorf("search: open model %q: %w", e.ckpt.Path, err)
	}
	e.image = once(e, func() (*clipnet.ImageEncoder, error) {
		return clipnet.NewImageEncoder(dev, e.ckpt, clipnet.Options{DType: o.DType, Batch: o.Batch, Images: e.pre})
	})
	e.text = once(e, func() (*clipnet.TextEncoder, error) {
		return clipnet.NewTextEncoder(dev, e.ckpt, clipnet.Options{DType: o.DType})
	})
	e.gradient = once(e, func() (*clipnet.TextEncoder, error) {
		return clipnet.NewTextEncoder(dev, e.ckpt, clipnet.Options{DType: differentiable(o.DType), Grad: true})
	})
	e.words = sync.OnceValues(e.openTokenizer)
	e.phi = once(e, e.openPhi)
	return e, nil
}

// differentiable is the type that a tower with a backward pass computes in.
func differentiable(dt runtime.DType) runtime.DType {
	if dt == runtime.I8 {
		return runtime.F32
	}
	return dt
}

// once opens a part when it is first asked for, and closes it with the engine.
func once[T interface{ Close() error }](e *Engine, open func() (T, error)) func() (T, error) {
	return sync.OnceValues(func() (T, error) {
		x, err := open()
		if err == nil {
			e.mu.Lock()
			e.closed = append(e.closed, x.Close)
			e.mu.Unlock()
		}
		return x, err
	})
}

func openModel(o EngineOptions) (*weights.CLIP, error) {
	if o.Model != "" {
		return weights.Open(o.Model, o.Weights)
	}
	fsys, err := demo.Model()
	if err != nil {
		return nil, err
	}
	return weights.OpenFS(fsys, o.Weights)
}

// preprocessor combines what the model says about images with what the user says.
func preprocessor(c weights.Config, o EngineOptions) (*preprocess.Preprocessor, error) {
	p := preprocess.Options{Size: c.Vision.ImageSize, Pad: o.Pad, Order: o.Order, ExifOrientation: o.ExifOrientation}
	for i := range 3 {
		p.Mean[i], p.Std[i] = float32(c.Preprocess.Mean[i]), float32(c.Preprocess.Std[i])
	}
	switch c.Preprocess.Interpolation {
	case "bicubic":
	case "bilinear":
		p.Filter = preprocess.Bilinear
	default:
		return nil, fmt.Errorf("interpolation %q is not supported: bicubic and bilinear are", c.Preprocess.Interpolation)
	}
	if c.Preprocess.Squash || c.Preprocess.Resize != c.Vision.ImageSize {
		return nil, fmt.Errorf("images resized to %d (squashed: %t) for a model of %d pixels are not supported: only a resize of the short side to the model's size is",
			c.Preprocess.Resize, c.Preprocess.Squash, c.Vision.ImageSize)
	}
	return preprocess.New(p)
}

func (e *Engine) openTokenizer() (*tokenizer.Tokenizer, error) {
	t, err := e.findTokenizer()
	if err != nil {
		return nil, fmt.Errorf("search: open tokenizer: %w", err)
	}
	if have, want := t.VocabSize(), e.ckpt.Config.Text.Vocab; have > want {
		return nil, fmt.Errorf("search: open tokenizer: it has %d ids, the model's vocabulary %d: give the model's own by --tokenizer", have, want)
	}
	return t, nil
}

func (e *Engine) findTokenizer() (*tokenizer.Tokenizer, error) {
	switch {
	case e.opts.Tokenizer != "":
		return tokenizer.Load(e.opts.Tokenizer)
	case e.opts.Model == "":
		fsys, err := demo.Model()
		if err != nil {
			return nil, err
		}
		return tokenizer.LoadFS(fsys)
	}
	t, err := tokenizer.Load(filepath.Dir(e.ckpt.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return tokenizer.CLIP(), nil
	}
	return t, err
}

func (e *Engine) openPhi() (*phi.Encoder, error) {
	n, err := e.Phi()
	if err != nil {
		return nil, err
	}
	return phi.NewEncoder(e.dev, n)
}

// Phi is the textual inversion network that Invert uses, for training to begin with.
func (e *Engine) Phi() (*phi.Network, error) {
	n, err := e.findPhi()
	if err != nil {
		return nil, err
	}
	c := e.ckpt.Config
	if n.In() != c.EmbedDim || n.Out() != c.Text.Width {
		return nil, fmt.Errorf("search: phi maps %d elements to %d, the model's features have %d and its tokens %d", n.In(), n.Out(), c.EmbedDim, c.Text.Width)
	}
	if hash := n.Meta[phi.MetaModel]; hash != "" && hash != e.ckpt.Hash() {
		return nil, fmt.Errorf("search: phi was trained for model %.16s, not for %v", hash, e.Model())
	}
	return n, nil
}

func (e *Engine) findPhi() (*phi.Network, error) {
	switch {
	case e.opts.Phi != "":
		return phi.Open(e.opts.Phi)
	case e.opts.Model != "":
		return nil, fmt.Errorf("search: %w (--phi)", ErrNoPhi)
	}
	data, err := demo.Phi()
	if err != nil {
		return nil, err
	}
	return phi.Parse(data, "embedded phi")
}

// Model identifies the model, as galleries record it.
func (e *Engine) Model() Model {
	name := "emoji world"
	if e.opts.Model != "" {
		name = filepath.Base(strings.TrimRight(e.opts.Model, string(filepath.Separator)))
	}
	return Model{Name: name, Hash: e.ckpt.Hash()}
}

// Embedded says that the model is the one inside the program.
func (e *Engine) Embedded() bool { return e.opts.Model == "" }

// Meta describes features of images that this engine makes, in f32 and at unit length.
func (e *Engine) Meta() Meta {
	p := e.pre.Options()
	return Meta{Model: e.Model(), Size: p.Size, Pad: p.Pad.String(), Order: p.Order.String(), Dim: e.Dim(), Normalised: true, DType: runtime.F32,
		Products: e.opts.DType}
}

// Assumed lists what was concluded about the model and stands in no file of it; a user should be told.
func (e *Engine) Assumed() []string { return e.ckpt.Assumed }

// Config is the model's; Dim is the number of elements of a feature, Width that of a pseudo-word.
func (e *Engine) Config() weights.Config { return e.ckpt.Config }
func (e *Engine) Dim() int               { return e.ckpt.Config.EmbedDim }
func (e *Engine) Width() int             { return e.ckpt.Config.Text.Width }

// Vocabulary is the table of token embeddings [n, Width], which pseudo-words stand beside.
func (e *Engine) Vocabulary() ([]float32, error) {
	t, err := e.ckpt.Tensor("token_embedding.weight")
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return t.Float32s(nil)
}

// Prompt is the prompt of a composed query with a relative caption.
func (e *Engine) Prompt(caption string) tokenizer.Prompt { return e.template.Fill(caption) }

// forGradients are what takes prompts through the text tower and back.
func (e *Engine) forGradients() (*clipnet.TextEncoder, *tokenizer.Tokenizer, error) {
	text, err := e.gradient()
	if err != nil {
		return nil, nil, err
	}
	tok, err := e.words()
	return text, tok, err
}

// Tokenizer is the model's.
func (e *Engine) Tokenizer() (*tokenizer.Tokenizer, error) { return e.words() }

// Invert writes the pseudo-words [n, Width] of n raw image features [n, Dim], by phi.
func (e *Engine) Invert(ctx context.Context, dst, features []float32, n int) error {
	p, err := e.phi()
	if err != nil {
		return err
	}
	return p.Invert(ctx, dst, features, n)
}

// Close releases the device memory and the files.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, f := range e.closed {
		errs = append(errs, f())
	}
	return errors.Join(append(errs, e.ckpt.Close())...)
}
