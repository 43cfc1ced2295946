package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"isearle/clipnet/tokenizer"
	"isearle/cmd/isearle/internal/images"
	"isearle/cmd/isearle/internal/plot"
	"isearle/oti"
	"isearle/search"
	"isearle/search/eval"
	"isearle/search/eval/ablation"
	"isearle/weights/atomicfile"
)

const ablationHelp = `Test the method's claims: noise, phrases, distillation, and the signs of failure.

Usage:
  isearle eval ablation [SECTION...] [flags]
  isearle eval ablation [SECTION...] -m MODEL --data DIR [flags]

Sections, all of them unless some are named:
  gap       the modality gap: cosines of images with images and with texts
  noise     retrieval over the noise gamma on the text feature in OTI
  phrases   the world's phrases, random words, the concept alone, hand-made phrases, none
  oti       OTI, phi and what needs no pseudo-word, on images that phi did not learn from
  fidelity  phi's pseudo-words beside OTI's: cosines, KL of fitted normal distributions, retrieval, a picture (PCA)
  finetune  phi trained on triplets beside the distilled one, in folds of the queries
  tokens    one pseudo-word against several copies of it
  fraction  how many images phi is distilled from
  arch      phi's architecture and width
  far       domains that no training saw: shapes drawn by the program, and the images of --far
  failures  collapse, overfitting, pseudo-words that do not mix with language

They are about the world inside the program, each query without its reference, or with --data about the queries of a
data set in CIRCO's or CIRR's layout, by their protocol. Every number has its 95 % interval, a bootstrap over the
queries; with several seeds a query's score is their mean. Tables stand on standard output, as Markdown, or with
--json or --csv; --report writes them all, a page and the plots.

Pseudo-words and networks are kept in --work under exact keys: sections share them, a run that was stopped goes on, and
a second run computes only what changed. The default takes about ten minutes on two cores, --quick half a minute,
--full an hour.

Examples:
  isearle eval ablation --report report
  isearle eval ablation noise phrases --seeds 4 --steps 150
  isearle eval ablation far --far photos/ --quick
  isearle eval ablation gap noise -m ViT-B-32 --phi phi.safetensors --data CIRCO --phrases phrases.jsonl
`

type ablationCommand struct {
	engine      engineFlags
	oti         otiFlags // phrases, concepts, noise
	quick, full bool
	seeds       int
	steps       int
	seed        uint64
	queries     int
	train       int
	folds       int
	resamples   int
	gammas      []float64
	tokens      []int
	fractions   []float64
	data        string
	layout      string
	split       string
	far         string
	work        string
	report      string
	csv         bool
	given       *pflag.FlagSet
}

func (c *ablationCommand) flags(fs *pflag.FlagSet) {
	o := ablation.Defaults()
	c.given, c.oti.o = fs, o.OTI
	fs.BoolVar(&c.quick, "quick", false, "a run that shows that everything works: few queries, steps and values")
	fs.BoolVar(&c.full, "full", false, "the paper's steps, and more seeds and images")
	fs.IntVar(&c.seeds, "seeds", o.Seeds, "repeat with `N` seeds")
	fs.Uint64Var(&c.seed, "seed", 0, "the first `SEED`")
	fs.IntVar(&c.steps, "steps", o.OTI.Steps, "OTI: gradient `STEPS`")
	fs.IntVar(&c.queries, "queries", o.Queries, "ask at most `N` queries, evenly from the list (0: all)")
	fs.IntVar(&c.train, "train", o.Train, "distil phi from `N` images")
	fs.IntVar(&c.folds, "folds", o.Folds, "cut the queries into `N` parts for training on triplets")
	fs.Float64SliceVar(&c.gammas, "gammas", nil, "the `LIST` of noises, with commas between (default "+list(o.Gammas)+")")
	fs.IntSliceVar(&c.tokens, "tokens", nil, "the `LIST` of numbers of copies of the pseudo-word (default "+list(o.Copies)+")")
	fs.Float64SliceVar(&c.fractions, "fractions", nil, "the `LIST` of shares of the training images (default "+list(o.Fractions)+")")
	fs.IntVar(&c.resamples, "resamples", o.Resamples, "draw `N` samples of the queries for intervals")
	fs.StringVar(&c.data, "data", "", "ask the queries of the data set in `DIR`")
	choose(fs, &c.layout, "layout", "how the data set is laid out", "circo", "cirr")
	fs.StringVar(&c.split, "split", "", "`NAME` of the data set's split, validation if not given")
	fs.StringVar(&c.far, "far", "", "`DIR` of images of a domain that nothing was trained on")
	fs.StringVar(&c.report, "report", "", "write the report to `DIR`")
	fs.BoolVar(&c.csv, "csv", false, "write the numbers as CSV")
	fs.StringVar(&c.work, "work", "", "keep pseudo-words and networks in `DIR` (default: isearle in the user's cache directory)")
	c.engine.modelFlags(fs)
	fs.StringVar(&c.engine.phi, "phi", "", "`FILE` of the textual inversion network for the model: safetensors, or the official checkpoint")
	c.oti.noiseFlags(fs)
	fs.StringVar(&c.oti.concepts, "concepts", "", "`FILE` of concepts, one a line or Open Images' class names; without it those inside the program")
	fs.StringVar(&c.oti.phrases, "phrases", "", "`FILE` of phrases by concept; for the model inside the program a grammar writes them")
	c.engine.imageFlags(fs)
	c.engine.text.flags(fs)
}

// list is a list as a flag takes it.
func list[T int | float64](x []T) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(x)), ","), "[]")
}

// options are the defaults, the quick or the full ones, with what was given.
func (c *ablationCommand) options() ablation.Options {
	o := ablation.Defaults()
	switch {
	case c.quick:
		o = ablation.Quick()
	case c.full:
		o = ablation.Full()
	}
	o.OTI.Gamma, o.OTI.NoiseUnit, o.OTI.Seed = c.oti.o.Gamma, c.oti.space == "unit", c.seed
	for name, set := range map[string]func(){
		"seeds": func() { o.Seeds = c.seeds }, "steps": func() { o.OTI.Steps = c.steps }, "queries": func() { o.Queries = c.queries },
		"train": func() { o.Train = c.train }, "folds": func() { o.Folds = c.folds }, "gammas": func() { o.Gammas = c.gammas },
		"tokens": func() { o.Copies = c.tokens }, "fractions": func() { o.Fractions = c.fractions }, "resamples": func() { o.Resamples = c.resamples },
	} {
		if c.given.Changed(name) {
			set()
		}
	}
	return o
}

func (c *ablationCommand) check(s *session, args []string) error {
	switch {
	case c.quick && c.full:
		return usagef("one of --quick and --full")
	case s.common.json && c.csv:
		return usagef("one of --json and --csv")
	case c.engine.model != "" && c.data == "":
		return usagef("-m without --data: the world inside the program is of the model inside the program")
	}
	for _, name := range args {
		if !slices.Contains(ablation.Names(), name) {
			return usagef("no section %q: there are %s", name, strings.Join(ablation.Names(), ", "))
		}
	}
	if err := c.options().Check(); err != nil {
		return usageError{err}
	}
	return nil
}

func (c *ablationCommand) run(ctx context.Context, s *session, args []string) error {
	if err := c.check(s, args); err != nil {
		return err
	}
	if err := c.place(); err != nil {
		return err
	}
	eng, err := c.engine.open(s)
	if err != nil {
		return err
	}
	defer eng.Close()
	p := evalProgress{s: s}
	defer p.stop()
	a := ablationRun{c: c, s: s, eng: eng, progress: p.show}
	st := &ablation.Study{Engine: eng.Engine, Device: eng.device, Options: c.options(), Work: c.work, Progress: p.show}
	if st.World, err = a.world(ctx); err != nil {
		return err
	}
	if c.far != "" {
		if st.Far, err = a.folder(ctx); err != nil {
			return err
		}
	}
	r, err := st.Run(ctx, args)
	if err != nil {
		return err
	}
	p.stop()
	if err := c.write(s, r); err != nil {
		return err
	}
	if a.failed {
		return errInputs
	}
	return nil
}

// place chooses the folder of what is kept.
func (c *ablationCommand) place() error {
	if c.work != "" {
		return nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("%w: give --work", err)
	}
	c.work = filepath.Join(dir, "isearle", "ablation")
	return nil
}

// ablationRun reads what an ablation is about.
type ablationRun struct {
	c        *ablationCommand
	s        *session
	eng      *engine
	progress func(what string, done, total int)
	failed   bool
}

func (a *ablationRun) fail(err error) {
	a.failed = true
	a.s.fail(err)
}

// world is the one inside the program, or the data set's.
func (a *ablationRun) world(ctx context.Context) (*ablation.World, error) {
	var phrases *oti.Phrases
	var err error
	if a.c.oti.phrases != "" || a.eng.Embedded() {
		if phrases, err = a.c.oti.readPhrases(ctx, a.eng.Engine); err != nil {
			return nil, err
		}
	}
	concepts, err := a.c.oti.names()
	if err != nil {
		return nil, err
	}
	if a.c.data == "" {
		w, err := ablation.DemoWorld(a.eng.Engine, phrases)
		if err == nil {
			w.Concepts = concepts
		}
		return w, err
	}
	template, err := tokenizer.ParseTemplate(search.DefaultTemplate)
	if err != nil {
		return nil, err
	}
	load := evalProtocols[slices.IndexFunc(evalProtocols, func(p evalProtocol) bool { return p.name == a.c.layout })].load
	d, err := load(a.c.data, eval.LoadOptions{Split: a.c.split, Template: template, TemplateText: search.DefaultTemplate})
	if err != nil {
		return nil, err
	}
	e := &eval.Evaluator{Engine: a.eng.Engine, Device: a.eng.device, Threads: a.eng.threads, CacheDir: a.c.work, Progress: a.progress}
	d, feature, err := e.Images(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, p := range d.Problems() {
		a.fail(fmt.Errorf("image %s: %s", p.ID, p.Error))
	}
	return ablation.DataWorld(d, feature, concepts, phrases)
}

// folder are the images of --far.
func (a *ablationRun) folder(ctx context.Context) (*ablation.World, error) {
	src := images.Source{Args: []string{a.c.far}, Fail: a.fail}
	var ids []string
	var raw []float32
	err := a.eng.EmbedImages(ctx, src.All(), a.eng.threads, func(m search.Embedded) error {
		if m.Err != nil {
			a.fail(m.Err)
			return nil
		}
		ids, raw = append(ids, m.Path), append(raw, m.Feature...)
		return nil
	})
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("--far %s: no images", a.c.far)
	}
	return ablation.FolderWorld("the images of "+a.c.far, ids, raw, search.Unit), err
}

// write writes the tables to standard output, and the report.
func (c *ablationCommand) write(s *session, r *ablation.Report) error {
	if c.report != "" {
		if err := c.writeReport(r); err != nil {
			return err
		}
	}
	switch {
	case s.common.json:
		return r.WriteJSON(s.out)
	case c.csv:
		return r.WriteCSV(s.out)
	}
	return r.WriteMarkdown(s.out)
}

func (c *ablationCommand) writeReport(r *ablation.Report) error {
	if err := os.MkdirAll(c.report, 0o777); err != nil {
		return err
	}
	files := map[string]func(io.Writer) error{"ablation.md": r.WriteMarkdown, "ablation.json": r.WriteJSON, "ablation.csv": r.WriteCSV}
	for i := range r.Sections {
		kept := r.Sections[i].Figures[:0]
		for _, f := range r.Sections[i].Figures {
			err := figure(f).Write(filepath.Join(c.report, f.File))
			if err != nil && !errors.Is(err, plot.ErrEmpty) {
				return err
			}
			if err == nil {
				kept = append(kept, f)
			}
		}
		r.Sections[i].Figures = kept
	}
	files["ablation.html"] = r.WriteHTML
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := atomicfile.Write(filepath.Join(c.report, name), files[name]); err != nil {
			return err
		}
	}
	return nil
}

// figure is a figure as it is drawn.
func figure(f ablation.Figure) plot.Figure {
	out := plot.Figure{Title: f.Title, XLabel: f.XLabel, XNames: f.XNames}
	for _, p := range f.Panels {
		panel := plot.Panel{Label: p.Label}
		for _, c := range p.Curves {
			panel.Curves = append(panel.Curves, plot.Curve{Name: c.Name, X: c.X, Y: c.Y, Low: c.Low, High: c.High, Dots: c.Dots})
		}
		out.Panels = append(out.Panels, panel)
	}
	return out
}
