package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/plot"
	"isearle/phi"
)

const phiFinetuneHelp = `Train a textual inversion network on triplets: reference, change, target.

Usage:
  isearle phi finetune -o FILE [flags] TRIPLETS | -
  isearle phi finetune -o FILE --data DIR --layout circo|cirr|fashioniq [flags]

TRIPLETS are lines of a reference image, a caption and a target image with tabs between, or JSON objects with the keys
reference, caption and target, or targets for several right ones; lines of one reference and caption are put together.
Images are paths or, for the model inside the program, ids of its gallery. With --data they are a data set's queries
with all their right answers, as isearle eval reads them.

The composed query of reference and caption, through the frozen text tower, is drawn to a target and away from the
other targets and queries of the batch (InfoNCE). Training begins with the network of --phi, or the one inside the
program, or with --scratch with a new one. A share of the references is held out: their mAP@10 among all images of
the triplets is told while training. Beside the output stand the curves (NAME.loss.csv, NAME.loss.png) and, while
training, NAME.safetensors.checkpoint: a run that was interrupted goes on where it stopped, and ends in the same bytes.

Examples:
  isearle phi finetune -m ViT-B-32.pt --phi phi.safetensors -o tuned.safetensors triplets.tsv
  isearle demo --export world && isearle phi finetune --data world/circo --layout circo -o tuned.safetensors
  isearle phi finetune --scratch --arch residual --lr 0.001 --epochs 60 -o new.safetensors triplets.jsonl
`

type phiFinetuneCommand struct {
	engine       engineFlags
	tune         phi.TuneOptions
	output       string
	data, layout string
	split        string
	scratch      bool
	arch         phi.Arch
	hidden       int
	holdout      float64
	save, score  int // epochs between
}

func (c *phiFinetuneCommand) flags(fs *pflag.FlagSet) {
	c.tune = phi.TuneDefaults()
	o := &c.tune
	fs.StringVarP(&c.output, "output", "o", "", "write the network to `FILE`: .safetensors")
	fs.StringVar(&c.data, "data", "", "learn from the queries of the data set in `DIR`")
	choose(fs, &c.layout, "layout", "how the data set is laid out", tripletLayouts()...)
	fs.StringVar(&c.split, "split", "", "`NAME` of the data set's split, validation if not given")
	c.engine.modelFlags(fs)
	fs.StringVar(&c.engine.phi, "phi", "", "`FILE` of the network to begin with: safetensors, or the official checkpoint")
	fs.BoolVar(&c.scratch, "scratch", false, "begin with a new network")
	fs.Var(parsed[phi.Arch]{&c.arch, phi.ParseArch, phi.ArchNames()}, "arch", "architecture of a new network")
	fs.IntVar(&c.hidden, "hidden", 0, "`WIDTH` of a new network's hidden layers (0: four times the feature's)")
	fs.IntVar(&o.Epochs, "epochs", o.Epochs, "train for `N` epochs")
	fs.IntVar(&o.Batch, "batch", o.Batch, "`N` triplets a step")
	fs.Float64Var(&o.LR, "lr", o.LR, "learning `RATE` of AdamW")
	fs.Float64Var(&o.WeightDecay, "weight-decay", o.WeightDecay, "decoupled weight `DECAY`")
	fs.Float64Var(&o.Dropout, "dropout", o.Dropout, "`SHARE` of hidden elements that are dropped")
	fs.Float64Var(&o.Tau, "tau", o.Tau, "`TEMPERATURE` of the loss")
	fs.Uint64Var(&o.Seed, "seed", o.Seed, "seed of the random choices")
	fs.Float64Var(&c.holdout, "holdout", .1, "`SHARE` of the references that are not learnt from, to score the network by; 0 for none")
	fs.IntVar(&c.score, "validate", 1, "score the network every `N` epochs")
	fs.IntVar(&c.save, "save-every", 5, "a killed run loses at most `N` epochs")
	c.engine.templateFlags(fs)
	c.engine.imageFlags(fs)
	c.engine.text.flags(fs)
}

func (c *phiFinetuneCommand) check(args []string) error {
	switch {
	case c.output == "":
		return usagef("-o is needed: where the network is written")
	case filepath.Ext(c.output) != ".safetensors":
		return usagef("-o %s: a network is written to .safetensors", c.output)
	case c.data == "" && len(args) != 1:
		return usagef("one file of triplets, - for standard input, or --data")
	case c.data != "" && len(args) > 0:
		return usagef("triplets are those of --data %s, not also of %q", c.data, args[0])
	case c.scratch && c.engine.phi != "":
		return usagef("--scratch begins with a new network, --phi %s with that", c.engine.phi)
	case !(c.holdout >= 0 && c.holdout < 1):
		return usagef("--holdout %g: it must be at least 0 and below 1", c.holdout)
	case c.save < 1 || c.score < 1:
		return usagef("--save-every %d, --validate %d: epochs are counted from 1", c.save, c.score)
	case c.hidden < 0:
		return usagef("--hidden %d", c.hidden)
	}
	if err := c.tune.Check(); err != nil {
		return usageError{err}
	}
	return nil
}

func (c *phiFinetuneCommand) checkpoint() string { return c.output + ".checkpoint" }

func (c *phiFinetuneCommand) run(ctx context.Context, s *session, args []string) error {
	if err := c.check(args); err != nil {
		return err
	}
	eng, err := c.engine.open(s)
	if err != nil {
		return err
	}
	defer eng.Close()
	d := tripletData{c: c, s: s, eng: eng}
	if err := d.read(ctx, args); err != nil {
		return err
	}
	n, err := c.first(eng)
	if err != nil {
		return err
	}
	tuner, err := eng.TunePhi(n, d.learnt(), c.tune)
	if err != nil {
		return err
	}
	defer tuner.Close()
	if err := c.train(ctx, s, tuner, &d); err != nil {
		return err
	}
	if err := c.finish(eng, tuner, &d); err != nil {
		return err
	}
	if d.failed {
		return errInputs
	}
	return nil
}

// first is the network to begin with.
func (c *phiFinetuneCommand) first(eng *engine) (*phi.Network, error) {
	if c.scratch {
		return phi.New(c.arch, eng.Dim(), c.hidden, eng.Width(), c.tune.Seed), nil
	}
	n, err := eng.Phi()
	if err != nil {
		return nil, fmt.Errorf("%w; --scratch begins with a new one", err)
	}
	return n, nil
}

// train trains to the last epoch.
func (c *phiFinetuneCommand) train(ctx context.Context, s *session, tuner *phi.Tuner, d *tripletData) error {
	o := phi.RunOptions{Checkpoint: c.checkpoint(), Every: c.save, ValidateEvery: c.score}
	if d.held() > 0 {
		v, err := newTripletScorer(d)
		if err != nil {
			return err
		}
		defer v.close()
		o.Validate = v.score
	}
	say := func(r phi.Record) string {
		if r.Score == nil {
			return ""
		}
		return fmt.Sprintf(", mAP@%d %.2f %% of %d triplets held out", validateDepth, 100**r.Score, d.held())
	}
	return runEpochs(ctx, s, tuner, c.tune.Epochs, o, say, c.curves)
}

// curves writes the loss and the score beside the output, as numbers and as a picture.
func (c *phiFinetuneCommand) curves(list []phi.Record) error {
	var epoch, loss, score []float64
	scored := false
	for _, r := range list {
		epoch, loss, score = append(epoch, float64(r.Epoch)), append(loss, r.Total), append(score, math.NaN())
		if r.Score != nil {
			score[len(score)-1], scored = *r.Score, true
		}
	}
	path := strings.TrimSuffix(c.output, filepath.Ext(c.output)) + ".loss.csv"
	if err := writeColumns(path, []string{"epoch", "loss", fmt.Sprintf("map_at_%d", validateDepth)}, [][]float64{epoch, loss, score}); err != nil {
		return err
	}
	f := plot.Figure{Title: "Fine-tuning of phi", XLabel: "epoch", Panels: []plot.Panel{{Label: "loss", Curves: []plot.Curve{{Name: "triplets learnt", X: epoch, Y: loss}}}}}
	if scored {
		f.Panels = append(f.Panels, plot.Panel{Label: fmt.Sprintf("mAP@%d", validateDepth), Curves: []plot.Curve{{Name: "triplets held out", X: epoch, Y: score}}})
	}
	return f.Write(picturePath(path))
}

// finish writes the network, and removes the checkpoint when it stands.
func (c *phiFinetuneCommand) finish(eng *engine, tuner *phi.Tuner, d *tripletData) error {
	n, err := tuner.Network()
	if err != nil {
		return err
	}
	if before := n.Meta["method"]; before != "" {
		n.Meta["began_with"] = before
	}
	if err := describeTraining(n, eng, "triplets", c.tune, len(d.learnt())); err != nil {
		return err
	}
	return keepNetwork(n, c.output, c.checkpoint())
}
