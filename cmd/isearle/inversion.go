package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/plot"
	"isearle/oti"
	"isearle/oti/gpt/grammar"
	"isearle/search"
	"isearle/weights/demo"
)

// otiFlags are the options of optimisation-based textual inversion.
type otiFlags struct {
	o                        oti.Options
	space                    string
	concepts, phrases, trace string
	known                    struct { // what was read and computed of them
		phrases  *oti.Phrases
		concepts *oti.Concepts
	}
}

func (f *otiFlags) flags(fs *pflag.FlagSet) {
	f.methodFlags(fs)
	fs.IntVar(&f.o.Tokens, "tokens", f.o.Tokens, "OTI: `COPIES` of the pseudo-word in a prompt")
	fs.IntVar(&f.o.Batch, "batch", f.o.Batch, "OTI: images over which a loss is averaged; only AdamW's eps sees it")
	f.seedFlag(fs)
	fs.StringVar(&f.trace, "trace", "", "OTI: write each step's loss and cosine, averaged over the images, to `FILE` (.csv), and plot them beside it (.png)")
}

// queryFlags are those of queries on the command line, each of which is inverted by itself.
func (f *otiFlags) queryFlags(fs *pflag.FlagSet) {
	f.methodFlags(fs)
	f.seedFlag(fs)
	f.o.Batch = 1
}

func (f *otiFlags) seedFlag(fs *pflag.FlagSet) {
	fs.Uint64Var(&f.o.Seed, "seed", f.o.Seed, "OTI: seed of the random choices")
}

// methodFlags are those that all commands with OTI have.
func (f *otiFlags) methodFlags(fs *pflag.FlagSet) {
	f.o = oti.Defaults()
	fs.IntVar(&f.o.Steps, "steps", f.o.Steps, "OTI: gradient `STEPS`")
	fs.Float64Var(&f.o.LR, "lr", f.o.LR, "OTI: learning `RATE` of AdamW")
	f.noiseFlags(fs)
	fs.Float64Var(&f.o.LambdaContent, "lambda-content", f.o.LambdaContent, "OTI: `WEIGHT` of the loss against the image")
	fs.Float64Var(&f.o.LambdaGPT, "lambda-gpt", f.o.LambdaGPT, "OTI: `WEIGHT` of the regularisation by phrases; 0 needs none")
	fs.IntVar(&f.o.TopK, "concepts-per-image", f.o.TopK, "OTI: regularise by the phrases of the `N` nearest concepts")
	fs.IntVar(&f.o.Parallel, "parallel", f.o.Parallel, "OTI: `N` images side by side (0: as suits the device); results do not depend on it")
	fs.StringVar(&f.concepts, "concepts", "", "OTI: `FILE` of concepts, one a line or Open Images' class names; without it those inside the program")
	fs.StringVar(&f.phrases, "phrases", "", "OTI: `FILE` of phrases by concept: JSON lines, JSON, or the official pickle; for the model inside the program a grammar writes them")
}

func (f *otiFlags) noiseFlags(fs *pflag.FlagSet) {
	fs.Float64Var(&f.o.Gamma, "gamma", f.o.Gamma, "OTI: `DEVIATION` of the noise on the text feature; 0 for none")
	choose(fs, &f.space, "noise-space", "OTI: noise on the text feature at unit length, or on the raw one", "unit", "raw")
}

// run inverts images by OTI: to a file, which a killed run resumes, or as lines of JSON.
func (f *otiFlags) run(ctx context.Context, s *session, eng *engine, ids []string, features []float32, output string) error {
	f.o.NoiseUnit = f.space == "unit"
	images, phrases, err := f.prepare(ctx, s, eng.Engine, ids, features)
	if err != nil {
		return err
	}
	v, err := eng.OTI(phrases, f.o)
	if err != nil {
		return err
	}
	t := newStepTrace(f.o.Steps)
	progress := s.console.Start("steps", len(images)*f.o.Steps)
	monitor := func(st oti.Step) {
		t.add(st)
		progress.Add(1)
	}
	if output != "" {
		model := eng.Model()
		err = v.Run(ctx, output, images, map[string]string{"model": model.Name, "model_hash": model.Hash}, monitor)
	} else {
		err = v.Invert(ctx, images, nil, monitor, func(r oti.Result) error {
			return errors.Join(json.NewEncoder(s.out).Encode(word{images[r.Index].Name, r.Token}), s.out.Flush())
		})
	}
	progress.Stop()
	if err == nil && f.trace != "" {
		err = t.write(f.trace)
	}
	return err
}

// words inverts images by OTI and returns the pseudo-words [len(ids), Width].
func (f *otiFlags) words(ctx context.Context, s *session, eng *search.Engine, ids []string, features []float32) ([]float32, error) {
	f.o.NoiseUnit = f.space == "unit"
	images, phrases, err := f.prepare(ctx, s, eng, ids, features)
	if err != nil {
		return nil, err
	}
	v, err := eng.OTI(phrases, f.o)
	if err != nil {
		return nil, err
	}
	var words []float32
	progress := s.console.Start("steps", len(images)*f.o.Steps)
	err = v.Invert(ctx, images, nil, func(oti.Step) { progress.Add(1) }, func(r oti.Result) error {
		words = append(words, r.Token...)
		return nil
	})
	progress.Stop()
	return words, err
}

// about tells the options that matter.
func (f *otiFlags) about() string {
	return fmt.Sprintf("pseudo-word by OTI: %d steps, noise %g (%s), lambda of phrases %g", f.o.Steps, f.o.Gamma, f.space, f.o.LambdaGPT)
}

// prepare reads phrases and concepts and ranks the concepts for each image.
func (f *otiFlags) prepare(ctx context.Context, s *session, eng *search.Engine, ids []string, features []float32) ([]oti.Image, *oti.Phrases, error) {
	images := make([]oti.Image, len(ids))
	for i, id := range ids {
		images[i] = oti.Image{Name: id, Feature: features[i*eng.Dim() : (i+1)*eng.Dim()]}
	}
	if f.o.LambdaGPT == 0 {
		return images, nil, nil
	}
	if err := f.know(ctx, s, eng, len(ids) > 0); err != nil {
		return nil, nil, err
	}
	if len(ids) == 0 {
		return nil, f.known.phrases, nil
	}
	ranked, err := eng.Associate(f.known.concepts, features, oti.TopConcepts)
	if err != nil {
		return nil, nil, err
	}
	for i := range images {
		images[i].Concepts = ranked[i]
	}
	return images, f.known.phrases, nil
}

// know reads the phrases and encodes the concepts, if they are needed yet, once.
func (f *otiFlags) know(ctx context.Context, s *session, eng *search.Engine, concepts bool) (err error) {
	if f.known.phrases == nil {
		if f.known.phrases, err = f.readPhrases(ctx, eng); err != nil {
			return err
		}
	}
	if f.known.concepts != nil {
		return nil
	}
	names, err := f.names()
	if err != nil || !concepts {
		return err
	}
	progress := s.console.Start("concepts", len(names))
	defer progress.Stop()
	done := 0
	f.known.concepts, err = eng.EncodeConcepts(ctx, names, func(n int) { progress.Add(n - done); done = n })
	return err
}

// readPhrases reads the phrases, or lets the grammar of the world inside the program write them.
func (f *otiFlags) readPhrases(ctx context.Context, eng *search.Engine) (*oti.Phrases, error) {
	switch {
	case f.phrases != "":
		return oti.ReadPhrases(f.phrases)
	case !eng.Embedded():
		return nil, usagef("OTI's regularisation needs --phrases (isearle phrases makes them); --lambda-gpt 0 goes without")
	}
	return grammar.WorldPhrases(ctx, f.o.Seed)
}

// names are the concepts that images are ranked against.
func (f *otiFlags) names() ([]string, error) {
	if f.concepts == "" {
		return demo.Concepts(), nil
	}
	file, err := os.Open(f.concepts)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	names, err := oti.ReadNames(file)
	if err == nil && len(names) == 0 {
		err = errors.New("no concepts in it")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.concepts, err)
	}
	return names, nil
}

// stepTrace sums the losses of each step.
type stepTrace struct {
	content, gpt []float64
	images       []int
}

func newStepTrace(steps int) *stepTrace {
	return &stepTrace{make([]float64, steps), make([]float64, steps), make([]int, steps)}
}

func (t *stepTrace) add(s oti.Step) {
	t.content[s.Step] += float64(s.Content)
	t.gpt[s.Step] += float64(s.GPT)
	t.images[s.Step]++
}

// write writes one line a step, both losses and the cosine of the prompt's feature with the image's, and draws them beside it.
func (t *stepTrace) write(path string) error {
	picture := picturePath(path)
	var step, content, gpt, cosine []float64
	for i, n := range t.images {
		if n > 0 {
			c := t.content[i] / float64(n)
			step, content, gpt, cosine = append(step, float64(i+1)), append(content, c), append(gpt, t.gpt[i]/float64(n)), append(cosine, 1-c)
		}
	}
	err := writeColumns(path, []string{"step", "content_loss", "gpt_loss", "cosine"}, [][]float64{step, content, gpt, cosine})
	if err != nil || len(step) == 0 {
		return err
	}
	return plot.Figure{Title: "Optimisation-based textual inversion, mean of the images", XLabel: "step", Panels: []plot.Panel{
		{Label: "loss", Curves: []plot.Curve{{Name: "content", X: step, Y: content}, {Name: "phrases", X: step, Y: gpt}}},
		{Label: "cosine", Curves: []plot.Curve{{Name: "prompt with image", X: step, Y: cosine}}},
	}}.Write(picture)
}

// features embeds all images before an optimisation starts: its official batches are those of the whole list.
func (c *invertCommand) features(ctx context.Context, s *session, eng *engine, paths func(yield func(string) bool), fail func(error)) (ids []string, features []float32, err error) {
	progress := s.console.Start("images", 0)
	defer progress.Stop()
	err = eng.EmbedImages(ctx, paths, eng.threads, func(m search.Embedded) error {
		progress.Add(1)
		if m.Err != nil {
			fail(m.Err)
			return nil
		}
		ids, features = append(ids, m.Path), append(features, m.Feature...)
		return nil
	})
	return ids, features, err
}
