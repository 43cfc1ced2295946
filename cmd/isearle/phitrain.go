package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"isearle/oti"
	"isearle/phi"
)

const phiTrainHelp = `Train a textual inversion network by distilling OTI's pseudo-words.

Usage:
  isearle phi train -o FILE --phrases FILE [flags] PATH... | -
  isearle phi train -o FILE --phrases FILE --words WORDS.safetensors [flags]

PATH is an image, or a directory that is searched for images; - reads a list of them from standard input. OTI makes
their pseudo-words into a file beside the output (NAME.words.safetensors), from which the network then learns. With
--words they are made already (isearle invert --method oti): its ids are the images' paths or, for the model inside
the program, pictures of the gallery inside the program (isearle demo --export writes them).

The losses are those of SEARLE: distillation, and regularisation by phrases unless --lambda-gpt is 0. Beside the output
stand the loss curves (NAME.loss.csv, NAME.loss.png) and, while training, NAME.safetensors.checkpoint: a run that was
interrupted goes on where it stopped, and ends in the same bytes.

Examples:
  isearle phi train -m ViT-B-32.pt --phrases phrases.jsonl -o phi.safetensors images/
  isearle phi train --phrases phrases.jsonl --words words.safetensors --arch residual --validate 5 -o phi.safetensors
  isearle phi train --lambda-gpt 0 --fraction 0.1 --words words.safetensors -o tenth.safetensors
`

type phiTrainCommand struct {
	engine      engineFlags
	train       phi.TrainOptions
	oti         otiFlags // its Seed and LambdaGPT are filled in
	output      string
	words       string
	null        bool
	fraction    float64
	save, score int // epochs between
}

func (c *phiTrainCommand) flags(fs *pflag.FlagSet) {
	c.train, c.oti.o = phi.TrainDefaults(), oti.Defaults()
	o := &c.train
	fs.StringVarP(&c.output, "output", "o", "", "write the network to `FILE`: .safetensors")
	fs.StringVar(&c.words, "words", "", "learn from the pseudo-words of `FILE` instead of making them by OTI")
	fs.BoolVarP(&c.null, "null", "0", false, "paths that are read end with NUL instead of a new line")
	c.engine.modelFlags(fs)
	c.engine.imageFlags(fs)
	fs.StringVar(&c.oti.phrases, "phrases", "", "`FILE` of phrases by concept: JSON lines, JSON, or the official pickle")
	fs.StringVar(&c.oti.concepts, "concepts", "", "`FILE` of concepts, one a line or Open Images' class names; without it those inside the program")
	fs.IntVar(&o.Epochs, "epochs", o.Epochs, "train for `N` epochs")
	fs.IntVar(&o.Batch, "batch", o.Batch, "`N` images a step")
	fs.Float64Var(&o.LR, "lr", o.LR, "learning `RATE` of AdamW")
	fs.Float64Var(&o.WeightDecay, "weight-decay", o.WeightDecay, "decoupled weight `DECAY`")
	fs.Float64Var(&o.Dropout, "dropout", o.Dropout, "`SHARE` of hidden elements that are dropped")
	fs.Float64Var(&o.Tau, "tau", o.Tau, "`TEMPERATURE` of the distillation loss")
	fs.Float64Var(&o.LambdaDistil, "lambda-distil", o.LambdaDistil, "`WEIGHT` of the distillation loss")
	fs.Float64Var(&o.LambdaGPT, "lambda-gpt", o.LambdaGPT, "`WEIGHT` of the regularisation by phrases; 0 needs none")
	fs.IntVar(&o.TopConcepts, "concepts-per-image", o.TopConcepts, "regularise by the phrases of the `N` nearest concepts")
	fs.Var(parsed[phi.Arch]{&o.Arch, phi.ParseArch, phi.ArchNames()}, "arch", "architecture: SEARLE's, or residual blocks")
	fs.IntVar(&o.Hidden, "hidden", 0, "`WIDTH` of the hidden layers (0: four times the feature's)")
	fs.Uint64Var(&o.Seed, "seed", o.Seed, "seed of the random choices")
	fs.Float64Var(&c.fraction, "fraction", 1, "`SHARE` of the images to learn from; by the seed, a smaller one is part of a larger")
	fs.IntVar(&c.save, "save-every", 5, "a killed run loses at most `N` epochs")
	fs.IntVar(&c.score, "validate", 0, "score the network every `N` epochs by the queries inside the program (mAP@10); the model inside only")
	fs.IntVar(&c.oti.o.Steps, "oti-steps", c.oti.o.Steps, "OTI: gradient `STEPS`")
	c.oti.noiseFlags(fs)
	fs.IntVar(&c.oti.o.Parallel, "parallel", c.oti.o.Parallel, "OTI: `N` images side by side (0: as suits the device); results do not depend on it")
}

func (c *phiTrainCommand) check(args []string) error {
	switch {
	case c.output == "":
		return usagef("-o is needed: where the network is written")
	case filepath.Ext(c.output) != ".safetensors":
		return usagef("-o %s: a network is written to .safetensors", c.output)
	case c.words == "" && len(args) == 0:
		return usagef("no images: name files or directories, - for a list on standard input, or --words")
	case c.words != "" && len(args) > 0:
		return usagef("images are named by --words %s, not also as %q", c.words, args[0])
	case c.train.LambdaGPT != 0 && c.oti.phrases == "":
		return usagef("the regularisation needs --phrases (isearle phrases makes them); --lambda-gpt 0 goes without")
	case !(c.fraction > 0 && c.fraction <= 1):
		return usagef("--fraction %g: it must be above 0 and at most 1", c.fraction)
	case c.save < 1 || c.score < 0:
		return usagef("--save-every %d, --validate %d: epochs are counted from 1", c.save, c.score)
	case c.score > 0 && c.engine.model != "":
		return usagef("--validate is for the model inside the program, whose gallery and queries are there too: not with -m")
	}
	if err := c.train.Check(); err != nil {
		return usageError{err}
	}
	return nil
}

// The files beside the output.
func (c *phiTrainCommand) checkpoint() string { return c.output + ".checkpoint" }
func (c *phiTrainCommand) wordsPath() string  { return c.beside(".words.safetensors") }

func (c *phiTrainCommand) beside(ending string) string {
	return strings.TrimSuffix(c.output, filepath.Ext(c.output)) + ending
}

func (c *phiTrainCommand) run(ctx context.Context, s *session, args []string) error {
	if err := c.check(args); err != nil {
		return err
	}
	eng, err := c.engine.open(s)
	if err != nil {
		return err
	}
	defer eng.Close()
	d := trainData{c: c, s: s, eng: eng}
	if err := d.read(ctx, args); err != nil {
		return err
	}
	trainer, err := eng.TrainPhi(d.phrases, d.examples(), c.train)
	if err != nil {
		return err
	}
	defer trainer.Close()
	if err := c.distil(ctx, s, eng, trainer); err != nil {
		return err
	}
	if err := c.finish(eng, trainer, &d); err != nil {
		return err
	}
	if d.failed {
		return errInputs
	}
	return nil
}

// distil trains to the last epoch.
func (c *phiTrainCommand) distil(ctx context.Context, s *session, eng *engine, trainer *phi.Trainer) error {
	o := phi.RunOptions{Checkpoint: c.checkpoint(), Every: c.save, ValidateEvery: c.score}
	if c.score > 0 {
		v, err := newValidator(ctx, eng)
		if err != nil {
			return err
		}
		defer v.close()
		o.Validate = v.score
	}
	say := func(r phi.Record) string {
		text := ""
		if c.train.LambdaGPT > 0 {
			text += fmt.Sprintf(", distillation %.4f, phrases %.4f", r.Distil, r.GPT)
		}
		if r.Score != nil {
			text += fmt.Sprintf(", mAP@10 %.2f %%", 100**r.Score)
		}
		return text
	}
	return runEpochs(ctx, s, trainer, c.train.Epochs, o, say, c.curves)
}

// finish writes the network, and removes the checkpoint when it stands.
func (c *phiTrainCommand) finish(eng *engine, trainer *phi.Trainer, d *trainData) error {
	n, err := trainer.Network()
	if err != nil {
		return err
	}
	if err := describeTraining(n, eng, "distillation", c.train, len(d.ids)); err != nil {
		return err
	}
	for _, key := range []string{"method", "options"} {
		if v := d.words.Meta[key]; v != "" {
			n.Meta["words_"+key] = v
		}
	}
	return keepNetwork(n, c.output, c.checkpoint())
}
