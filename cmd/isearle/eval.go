package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"isearle/clipnet/tokenizer"
	"isearle/oti"
	"isearle/search"
	"isearle/search/eval"
	"isearle/search/eval/coco"
	"isearle/weights/atomicfile"
)

const evalHelp = `Measure composed retrieval on the benchmarks, by their own protocols.

Usage:
  isearle eval fashioniq|cirr|circo|domain|objects --data DIR [flags]

DIR is the data set as it is published: FashionIQ with captions, image_splits and images; CIRR with cirr, dev and
test1; CIRCO with annotations and COCO2017_unlabeled; for domain conversion the folder above imgnet with Pic2Word's
lists; for object composition COCO with annotations and val2017. The split is validation unless --split says test
(CIRCO) or test1 (CIRR), whose right answers are hidden: --submission writes what their servers take.

Methods are phi (composed by a pseudo-word), and to compare with text, image and sum (the mean of both); oti makes each
pseudo-word by gradient steps, with the flags of isearle invert. All are in one table, with 95 % intervals and paired
tests. Percentages stand on standard output, as Markdown, or with --json as one object; --report writes a page with
pictures, plots, CSV, JSON and every ranking.

Features are kept in the cache by the images' content, so a second run computes only what changed. Missing and broken
images are named and counted, the queries that need them are left out, and the exit code is 1; --strict refuses.

Pseudo-words of any other method, OTI's above all, are made by isearle invert and compared with --words.
With --predictions a file for CIRCO's server, of any program, is judged on the validation split as the server does.

Examples:
  isearle demo --export world && isearle eval circo --data world/circo --report report
  isearle eval cirr --data CIRR -m ViT-L-14.pt --phi phi.pt --split test1 --method phi --submission cirr.json
  isearle eval fashioniq --data FashionIQ -m ViT-B-32 --phi phi.pt --method phi,text
  isearle phrases -o phrases.jsonl
  isearle eval circo --data world/circo --method oti,phi --phrases phrases.jsonl
  isearle eval circo --data D --references | isearle invert --method oti -o words.safetensors -
  isearle eval circo --data D --words words.safetensors
  isearle eval circo --data CIRCO --predictions val_predictions.json
  isearle eval objects --data coco --seed 3 --write-list boxes.csv
`

// evalProtocol is the reader of a data set.
type evalProtocol struct {
	name string
	load func(string, eval.LoadOptions) (*eval.Dataset, error)
}

var evalProtocols = []evalProtocol{
	{"fashioniq", eval.LoadFashionIQ}, {"cirr", eval.LoadCIRR}, {"circo", eval.LoadCIRCO},
	{"domain", eval.LoadDomain}, {"objects", eval.LoadObjects},
}

type evalCommand struct {
	engine      engineFlags
	oti         otiFlags
	data, split string
	methods     string
	report      string
	submissions []string
	predictions string
	words       string
	references  bool
	strict      bool
	cache       string
	seed        uint64
	resamples   int
	list        string
	writeList   string
}

func (c *evalCommand) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.data, "data", "", "`DIR` of the data set")
	fs.StringVar(&c.split, "split", "", "`NAME` of the split, validation if not given")
	fs.StringVar(&c.methods, "method", "", "`LIST` of methods with commas between: phi, sum, text, image, oti; all but oti if not given")
	fs.StringVar(&c.words, "words", "", "one more method: pseudo-words of the references from a `FILE` that invert wrote")
	fs.BoolVar(&c.references, "references", false, "list the queries' reference images for invert, and nothing else")
	fs.StringVar(&c.report, "report", "", "write the report to `DIR`")
	fs.StringArrayVar(&c.submissions, "submission", nil, "write the test server's `FILE` of the first method, for CIRR subset_FILE too; once more for the next method")
	fs.StringVar(&c.predictions, "predictions", "", "judge a `FILE` of predictions for CIRCO's server instead of ranking")
	fs.BoolVar(&c.strict, "strict", false, "refuse a data set with missing or broken images")
	fs.StringVar(&c.cache, "cache", "", "keep features in `DIR` (default: isearle in the user's cache directory)")
	fs.Uint64Var(&c.seed, "seed", 0, "`SEED` of intervals, tests and the choice of boxes")
	fs.IntVar(&c.resamples, "resamples", 1000, "draw `N` samples of the queries for intervals and tests; 0 for none")
	fs.StringVar(&c.list, "list", "", "boxes of object composition, a `FILE` like coco_eval.csv")
	fs.StringVar(&c.writeList, "write-list", "", "write the boxes that the seed chooses to `FILE` and use them")
	c.engine.modelFlags(fs)
	fs.StringVar(&c.engine.phi, "phi", "", "`FILE` of the textual inversion network for the model: safetensors, or the official checkpoint")
	c.engine.templateFlags(fs)
	c.engine.imageFlags(fs)
	c.engine.text.flags(fs)
	c.oti.methodFlags(fs)
}

func (c *evalCommand) run(ctx context.Context, s *session, args []string) error {
	d, methods, err := c.open(s, args)
	if err != nil {
		return err
	}
	if c.references {
		for _, path := range d.References() {
			fmt.Fprintln(s.out, path)
		}
		return nil
	}
	if c.predictions != "" {
		predictions, err := eval.ReadPredictions(c.predictions)
		if err != nil {
			return err
		}
		r, err := d.Judge(c.predictions, predictions, c.seed, c.resamples)
		if err != nil {
			return err
		}
		return c.write(s, r)
	}
	eng, err := c.engine.open(s)
	if err != nil {
		return err
	}
	defer eng.Close()
	if c.words != "" {
		m, err := c.given(eng)
		if err != nil {
			return err
		}
		methods = append([]eval.Method{m}, methods...)
	}
	cache := c.cache
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("%w: give --cache", err)
		}
		cache = filepath.Join(dir, "isearle", "eval")
	}
	e := &eval.Evaluator{Engine: eng.Engine, Device: eng.device, Threads: eng.threads, CacheDir: cache, Strict: c.strict,
		Seed: c.seed, Resamples: c.resamples}
	p := evalProgress{s: s}
	e.Progress = p.show
	r, err := e.Run(ctx, d, methods)
	p.stop()
	if err != nil {
		return err
	}
	return c.write(s, r)
}

// open checks the arguments and reads the data set.
func (c *evalCommand) open(s *session, args []string) (*eval.Dataset, []eval.Method, error) {
	var names []string
	for _, p := range evalProtocols {
		names = append(names, p.name)
	}
	if len(args) != 1 || !slices.Contains(names, args[0]) {
		return nil, nil, usagef("one of %s, not %q", strings.Join(names, ", "), strings.Join(args, " "))
	}
	if c.data == "" {
		return nil, nil, usagef("--data DIR is needed")
	}
	if c.resamples < 0 || c.resamples > 1_000_000 {
		return nil, nil, usagef("--resamples %d: 0 to 1000000 are possible", c.resamples)
	}
	if (c.list != "" || c.writeList != "") && args[0] != "objects" || c.list != "" && c.writeList != "" {
		return nil, nil, usagef("--list and --write-list are for objects, one of them")
	}
	if c.predictions != "" && (args[0] != "circo" || len(c.submissions) > 0 || c.methods != "") {
		return nil, nil, usagef("--predictions is for circo, without --method and --submission")
	}
	methods, err := c.parseMethods(s)
	if err != nil {
		return nil, nil, usageError{err}
	}
	if len(c.submissions) > len(methods) {
		return nil, nil, usagef("%d --submission for %d methods", len(c.submissions), len(methods))
	}
	if len(c.submissions) > 0 && args[0] != "cirr" && args[0] != "circo" {
		return nil, nil, usagef("--submission: %s has no test server", args[0])
	}
	o := eval.LoadOptions{Split: c.split, TemplateText: c.engine.template, List: c.list, Seed: c.seed}
	if o.Template, err = tokenizer.ParseTemplate(c.engine.template); err != nil {
		return nil, nil, usageError{err}
	}
	if o.Template.PseudoWords() == 0 {
		return nil, nil, usagef("--template %q has no $", c.engine.template)
	}
	if c.engine.tokens < 1 {
		return nil, nil, usagef("--tokens %d: at least 1 is needed", c.engine.tokens)
	}
	if c.writeList != "" {
		if err := c.chooseBoxes(); err != nil {
			return nil, nil, err
		}
		o.List = c.writeList
	}
	d, err := evalProtocols[slices.Index(names, args[0])].load(c.data, o)
	if err == nil {
		d.Repeat(c.engine.tokens)
	}
	return d, methods, err
}

// parseMethods finds the methods asked for; OTI, which takes options of its own, in its place among them.
func (c *evalCommand) parseMethods(s *session) ([]eval.Method, error) {
	var names []string
	at := -1
	for name := range strings.SplitSeq(c.methods, ",") {
		if name == "oti" && at < 0 {
			at = len(names)
			continue
		}
		names = append(names, name)
	}
	if at < 0 {
		return eval.ParseMethods(c.methods)
	}
	var methods []eval.Method
	if len(names) > 0 {
		var err error
		if methods, err = eval.ParseMethods(strings.Join(names, ",")); err != nil {
			return nil, err
		}
	}
	return slices.Insert(methods, at, eval.ByInverter("oti", c.oti.about(), func(ctx context.Context, e *search.Engine, ids []string, features []float32) ([]float32, error) {
		c.oti.o.Seed, c.oti.o.Tokens = c.seed, c.engine.tokens
		return c.oti.words(ctx, s, e, ids, features)
	})), nil
}

// given is the method of pseudo-words that were made before, by the name of what made them.
func (c *evalCommand) given(eng *engine) (eval.Method, error) {
	w, err := oti.ReadWords(c.words)
	if err != nil {
		return eval.Method{}, err
	}
	if hash := w.Meta["model_hash"]; hash != "" && hash != eng.Model().Hash {
		return eval.Method{}, fmt.Errorf("%s: pseudo-words of model %.16s, not of %v", c.words, hash, eng.Model())
	}
	name := filepath.Base(c.words)
	if method := w.Meta["method"]; method != "" {
		name = method + ":" + name
	}
	return eval.ByWords(name, "pseudo-words of "+c.words, w.IDs, w.Width, w.Tokens)
}

// chooseBoxes writes the list of boxes that the seed gives.
func (c *evalCommand) chooseBoxes() error {
	list, err := eval.ChooseBoxes(c.data, c.seed)
	if err != nil {
		return err
	}
	return atomicfile.Write(c.writeList, func(w io.Writer) error { return coco.WriteList(w, list) })
}

// write writes the tables to standard output, and the files that were asked for.
func (c *evalCommand) write(s *session, r *eval.Result) error {
	const named = 20
	for _, p := range r.Problems[:min(named, len(r.Problems))] {
		s.console.Failf("isearle eval: image %s: %s", p.ID, p.Error)
	}
	if n := len(r.Problems); n > named {
		s.console.Failf("isearle eval: and %d images more are missing or broken", n-named)
	}
	for i, path := range c.submissions {
		files, err := r.WriteSubmission(path, &r.Methods[i])
		if err != nil {
			return err
		}
		s.console.Notef("isearle eval: method %s: wrote %s", r.Methods[i].Method.Name, strings.Join(files, " and "))
	}
	if c.report != "" {
		if err := r.WriteReport(c.report); err != nil {
			return err
		}
	}
	write := r.WriteMarkdown
	if s.common.json {
		write = r.WriteJSON
	}
	if err := write(s.out); err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		return errInputs
	}
	return nil
}

// evalProgress turns an evaluation's steps into lines of progress.
type evalProgress struct {
	s    *session
	what string
	done int
	line interface {
		Add(int)
		Stop()
	}
}

func (p *evalProgress) show(what string, done, total int) {
	if what != p.what {
		p.stop()
		p.what, p.done, p.line = what, 0, p.s.console.Start(what, total)
	}
	p.line.Add(done - p.done)
	p.done = done
}

func (p *evalProgress) stop() {
	if p.line != nil {
		p.line.Stop()
		p.line = nil
	}
}
