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
	text       textFlags
	phi        string
	method     string
	template   string
	pad        preprocess.Pad
	order      preprocess.Order
	exif       bool
}

func (f *engineFlags) modelFlags(fs *pflag.FlagSet) {
	fs.StringVarP(&f.model, "model", "m", "", "the CLIP, `MODEL`: a directory, a safetensors file or a torch checkpoint; without it the one inside the program")
	f.device.flags(fs)
	f.checkpoint.flags(fs)
}

func (f *engineFlags) imageFlags(fs *pflag.FlagSet) {
	f.pad = preprocess.TargetPad
	fs.Var(parsed[preprocess.Pad]{&f.pad, preprocess.ParsePad, []string{"none", "targetpad"}}, "pad",
		"pad elongated images as SEARLE does, to a ratio of 1.25 or targetpad:RATIO")
	fs.Var(parsed[preprocess.Order]{&f.order, preprocess.ParseOrder, []string{"rgb", "openai"}}, "order",
		"convert images to RGB first, as Hugging Face does, or last, as OpenAI does")
	fs.BoolVar(&f.exif, "exif", false, "turn images as their EXIF orientation says")
}

func (f *engineFlags) composeFlags(fs *pflag.FlagSet) {
	f.phiFlags(fs)
	fs.StringVar(&f.template, "template", search.DefaultTemplate, "`PROMPT` of a composed query: $ is the image, {caption} the change")
}

func (f *engineFlags) phiFlags(fs *pflag.FlagSet) {
	choose(fs, &f.method, "method", "how an image becomes a pseudo-word", "phi")
	fs.StringVar(&f.phi, "phi", "", "the textual inversion network of the model, a `FILE`: safetensors, or the official checkpoint")
}

// engine is a search.Engine with its device.
type engine struct {
	*search.Engine
	device  runtime.Device
	threads int
}

// open opens the device and the model's files.
func (f *engineFlags) open() (*engine, error) {
	opts, err := f.checkpoint.options()
	if err != nil {
		return nil, err
	}
	dev, err := f.device.open()
	if err != nil {
		return nil, err
	}
	e, err := search.OpenEngine(dev, search.EngineOptions{
		Model: f.model, Weights: opts, Tokenizer: f.text.tokenizer, Rules: f.text.rules, Phi: f.phi,
		Pad: f.pad, Order: f.order, ExifOrientation: f.exif, Template: f.template,
	})
	if err != nil {
		if errors.Is(err, weights.ErrHeads) {
			err = fmt.Errorf("%w: give --heads", err)
		}
		return nil, errors.Join(err, dev.Close())
	}
	return &engine{e, dev, f.device.count()}, nil
}

// Close releases the model and the device.
func (e *engine) Close() error { return errors.Join(e.Engine.Close(), e.device.Close()) }
