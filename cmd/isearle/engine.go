package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"isearle/clipnet/preprocess"
	"isearle/runtime"
	"isearle/search"
	"isearle/weights"
)

// engineFlags choose a model and say how it is used. A command registers the groups that concern it.
type engineFlags struct {
	model      string
	checkpoint checkpointFlags
	device     deviceFlags
	profile    profileFlags
	precision  string
	text       textFlags
	phi        string
	method     string
	template   string
	tokens     int
	pad        preprocess.Pad
	order      preprocess.Order
	exif       bool
	batch      int // images that are mostly embedded at once
}

func (f *engineFlags) modelFlags(fs *pflag.FlagSet) {
	fs.StringVarP(&f.model, "model", "m", "", "`MODEL` to use: a directory, a safetensors file or a torch checkpoint; without it the one inside the program")
	f.device.flags(fs)
	f.checkpoint.flags(fs)
	precisionFlag(fs, &f.precision, "precision")
	f.profile.flags(fs)
}

// precisionFlag chooses the type of a model's products.
func precisionFlag(fs *pflag.FlagSet, to *string, name string) {
	choose(fs, to, name, "type of the factors in the model's products: less is faster and less exact", "f32", "bf16", "f16", "int8")
}

// products is the dtype that a precision stands for.
var products = map[string]runtime.DType{"f32": runtime.F32, "bf16": runtime.BF16, "f16": runtime.F16, "int8": runtime.I8}

func (f *engineFlags) imageFlags(fs *pflag.FlagSet) {
	f.pad = preprocess.TargetPad
	fs.Var(parsed[preprocess.Pad]{&f.pad, preprocess.ParsePad, []string{"none", "targetpad"}}, "pad",
		"pad elongated images as SEARLE does, to a ratio of 1.25 or targetpad:RATIO")
	fs.Var(parsed[preprocess.Order]{&f.order, preprocess.ParseOrder, []string{"rgb", "openai"}}, "order",
		"convert images to RGB first, as Hugging Face does, or last, as OpenAI does")
	fs.BoolVar(&f.exif, "exif", false, "turn images as their EXIF orientation says")
}

func (f *engineFlags) composeFlags(fs *pflag.FlagSet) {
	f.phiFlags(fs, "phi", "oti")
	f.templateFlags(fs)
}

func (f *engineFlags) templateFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.template, "template", search.DefaultTemplate, "`PROMPT` of a composed query: $ is the image, {caption} the change")
	fs.IntVar(&f.tokens, "tokens", 1, "`COPIES` of the pseudo-word in the place of each $ of a prompt")
}

// phiFlags registers the ways from an image to a pseudo-word, the first of methods being the default.
func (f *engineFlags) phiFlags(fs *pflag.FlagSet, methods ...string) {
	choose(fs, &f.method, "method", "how an image becomes a pseudo-word", methods...)
	fs.StringVar(&f.phi, "phi", "", "`FILE` of the textual inversion network for the model: safetensors, or the official checkpoint")
}

// openFor opens the engine for queries to a gallery, which must be of the same model. Images are prepared as the gallery's
// were, as far as the user, whose flags are given, did not say otherwise.
func (f *engineFlags) openFor(s *session, g *search.Gallery, given *pflag.FlagSet) (*engine, error) {
	m := g.Meta()
	var err error
	if m.Pad != "" && !given.Changed("pad") {
		if f.pad, err = preprocess.ParsePad(m.Pad); err != nil {
			return nil, fmt.Errorf("gallery %q: %w", g.Path(), err)
		}
	}
	if m.Order != "" && !given.Changed("order") {
		if f.order, err = preprocess.ParseOrder(m.Order); err != nil {
			return nil, fmt.Errorf("gallery %q: %w", g.Path(), err)
		}
	}
	e, err := f.open(s)
	if err != nil {
		return nil, err
	}
	if err := g.CheckModel(e.Model()); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// engine is a search.Engine with its device.
type engine struct {
	*search.Engine
	device  runtime.Device
	threads int
	method  string // how images become pseudo-words: "phi" or "oti"
	tokens  int    // copies of a pseudo-word
}

// open opens the device and the model's files, and tells what the model's files leave open.
func (f *engineFlags) open(s *session) (*engine, error) {
	opts, err := f.checkpoint.options()
	if err != nil {
		return nil, err
	}
	if f.tokens < 0 || f.tokens == 0 && f.template != "" {
		return nil, usagef("--tokens %d: at least 1 is needed", f.tokens)
	}
	dev, err := f.device.open()
	if err != nil {
		return nil, err
	}
	if err := f.profile.start(s, dev); err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	e, err := search.OpenEngine(dev, search.EngineOptions{
		Model: f.model, Weights: opts, DType: products[f.precision], Tokenizer: f.text.tokenizer, Rules: f.text.rules, Phi: f.phi,
		Pad: f.pad, Order: f.order, ExifOrientation: f.exif, Template: f.template, Tokens: f.tokens, Batch: f.batch,
	})
	if err != nil {
		if errors.Is(err, weights.ErrHeads) {
			err = fmt.Errorf("%w: give --heads", err)
		}
		return nil, errors.Join(err, dev.Close())
	}
	for _, a := range e.Assumed() {
		s.notef("%s: assumed %s", f.model, a)
	}
	return &engine{e, dev, f.device.count(), f.method, f.tokens}, nil
}

// Close releases the model and the device.
func (e *engine) Close() error { return errors.Join(e.Engine.Close(), e.device.Close()) }
