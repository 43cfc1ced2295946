package ablation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"isearle/clipnet/tokenizer"
	"isearle/oti"
	"isearle/phi"
	"isearle/runtime"
	"isearle/search"
	"isearle/search/eval"
)

// Options of a Study. Start from Defaults.
type Options struct {
	// OTI are the options of every inversion that a section does not vary. Its Seed counts up from the one given.
	OTI   oti.Options
	Seeds int
	// Queries is at most how many queries are asked, evenly from the list; 0 is all.
	Queries int
	// Train is how many images phi is distilled from, TrainSteps how many steps that takes at the least; Distil are the other options.
	Train, TrainSteps int
	Distil            phi.TrainOptions
	// Tune is how phi is fine-tuned on triplets, Folds how many parts the queries are cut into for it: each is asked of a network
	// that learnt from the others.
	Tune  phi.TuneOptions
	Folds int
	// What is varied.
	Gammas    []float64
	Copies    []int // of the pseudo-word in a prompt
	Fractions []float64
	// Resamples is how many samples of the queries the intervals stand on.
	Resamples int
}

// Defaults take about ten minutes on two cores for the embedded world.
func Defaults() Options {
	o := Options{OTI: oti.Defaults(), Seeds: 2, Train: 512, TrainSteps: 400, Distil: phi.TrainDefaults(), Tune: phi.TuneDefaults(), Folds: 5,
		Gammas: []float64{0, .016, .032, .064, .1, .25, .5, 1, 2}, Copies: []int{1, 2, 3, 4}, Fractions: []float64{.05, .1, .25, .5, 1}, Resamples: 1000}
	o.OTI.Steps = 100
	// A few hundred images and steps need a higher rate and less dropout than 90,000 images and 35,000 steps.
	o.Distil.Batch, o.Distil.LR, o.Distil.Dropout = 128, 1e-3, .1
	return o
}

// Full takes an hour: the paper's steps, and more seeds.
func Full() Options {
	o := Defaults()
	o.OTI.Steps, o.Seeds, o.Train, o.TrainSteps = 350, 4, 1200, 1500
	return o
}

// Quick takes half a minute, and shows that everything works; its numbers say little.
func Quick() Options {
	o := Defaults()
	o.OTI.Steps, o.Seeds, o.Queries, o.Train, o.TrainSteps, o.Folds, o.Resamples = 20, 1, 52, 64, 40, 2, 200
	o.Gammas, o.Copies, o.Fractions = []float64{0, .1, 1}, []int{1, 2}, []float64{.5, 1}
	o.Distil.Batch, o.Tune.Batch, o.Tune.Epochs = 32, 16, 6
	return o
}

// Check finds options that no Study can have.
func (o Options) Check() error {
	switch {
	case o.Seeds < 1 || o.Queries < 0 || o.Train < 2 || o.TrainSteps < 1 || o.Folds < 2 || o.Resamples < 1:
		return fmt.Errorf("ablation: %d seeds, %d queries, %d training images, %d training steps, %d folds, %d resamples", o.Seeds, o.Queries, o.Train, o.TrainSteps, o.Folds, o.Resamples)
	case len(o.Gammas) == 0 || len(o.Copies) == 0 || len(o.Fractions) == 0:
		return errors.New("ablation: an empty list of gammas, copies or fractions")
	}
	for _, f := range o.Fractions {
		if !(f > 0 && f <= 1) {
			return fmt.Errorf("ablation: a fraction of %g", f)
		}
	}
	for _, g := range o.Gammas {
		if !(g >= 0 && !math.IsInf(g, 0)) {
			return fmt.Errorf("ablation: gamma %g", g)
		}
	}
	for _, n := range o.Copies {
		if n < 1 {
			return fmt.Errorf("ablation: %d copies of the pseudo-word", n)
		}
	}
	return nil
}

// Study runs ablations. It is not safe for concurrent use.
type Study struct {
	Engine *search.Engine
	Device runtime.Device
	World  *World
	// Far is a folder's images, for the section of far domains; nil without.
	Far     *World
	Options Options
	// Work is the folder where pseudo-words and networks are kept.
	Work string
	// Progress, if not nil, is told about what takes time.
	Progress func(what string, done, total int)

	queries  []eval.Query
	refs     []int // rows of their references
	scorers  map[*World]*eval.Scorer
	concepts map[*World]*oti.Concepts
	phrases  map[string]*oti.Phrases
}

// section is a row of the table of sections.
type section struct {
	name, title string
	run         func(*Study, context.Context) (Section, error)
}

func sections() []section {
	return []section{
		{"gap", "The modality gap", (*Study).gap},
		{"noise", "Noise on the text feature", (*Study).noise},
		{"phrases", "Phrases that regularise OTI", (*Study).phraseKinds},
		{"oti", "OTI and phi", (*Study).inversion},
		{"fidelity", "Fidelity of the distillation", (*Study).fidelity},
		{"finetune", "phi on triplets", (*Study).finetune},
		{"tokens", "Copies of the pseudo-word", (*Study).copies},
		{"fraction", "The size of phi's training set", (*Study).fractions},
		{"arch", "phi's architecture", (*Study).architectures},
		{"far", "Far domains", (*Study).far},
		{"failures", "Signs of failure", (*Study).failures},
	}
}

// Names are the sections there are, in their order.
func Names() (names []string) {
	for _, s := range sections() {
		names = append(names, s.name)
	}
	return names
}

// Run runs the sections of the names given, none for all, in their order.
func (s *Study) Run(ctx context.Context, names []string) (r *Report, err error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("ablation: no section %q: there are %s", name, strings.Join(Names(), ", "))
		}
	}
	defer func() {
		for _, x := range s.scorers {
			err = errors.Join(err, x.Close())
		}
		s.scorers = nil
	}()
	r = &Report{World: s.World.Name, Model: s.Engine.Model(), Queries: len(s.queries), Images: len(s.World.Task.Gallery), Seeds: s.Options.Seeds, Steps: s.Options.OTI.Steps}
	for _, x := range sections() {
		if len(names) > 0 && !slices.Contains(names, x.name) {
			continue
		}
		begin := time.Now()
		out, err := x.run(s, ctx)
		if err != nil {
			return nil, fmt.Errorf("ablation: %s: %w", x.name, err)
		}
		out.Name, out.Title, out.Seconds = x.name, x.title, time.Since(begin).Seconds()
		r.Sections = append(r.Sections, out)
	}
	return r, nil
}

// prepare chooses the queries.
func (s *Study) prepare() error {
	if err := s.Options.Check(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Work, 0o777); err != nil {
		return fmt.Errorf("ablation: %w", err)
	}
	all := s.World.Task.Queries
	n := len(all)
	if s.Options.Queries > 0 {
		n = min(n, s.Options.Queries)
	}
	s.queries = nil
	for k := range n {
		s.queries = append(s.queries, all[k*len(all)/n])
	}
	s.scorers, s.concepts, s.phrases = map[*World]*eval.Scorer{}, map[*World]*oti.Concepts{}, map[string]*oti.Phrases{}
	var err error
	s.refs, err = s.World.references(s.queries)
	return err
}

func (s *Study) progress(what string, done, total int) {
	if s.Progress != nil {
		s.Progress(what, done, total)
	}
}

// words are pseudo-words by the rows of a gallery.
type words map[int][]float32

func (s *Study) wordsOf(rows []int, tokens []float32) words {
	out, width := make(words, len(rows)), s.Engine.Width()
	for i, row := range rows {
		out[row] = tokens[i*width : (i+1)*width]
	}
	return out
}

// list puts the pseudo-words of rows one after the other.
func (w words) list(rows []int) (out []float32) {
	for _, row := range rows {
		out = append(out, w[row]...)
	}
	return out
}

// features are the raw features of rows, one after the other.
func (s *Study) features(ctx context.Context, w *World, rows []int) ([]float32, error) {
	out := make([]float32, 0, len(rows)*s.Engine.Dim())
	for _, row := range rows {
		f, err := w.feature(ctx, row)
		if err != nil {
			return nil, err
		}
		out = append(out, f...)
	}
	return out, nil
}

// variant is how images are inverted: options, and which phrases regularise.
type variant struct {
	o       oti.Options
	phrases string // a kind of phrases, with LambdaGPT above 0
}

// usual is the variant that sections compare with, of a seed counted from 0: with the world's phrases where there are some.
func (s *Study) usual(seed int) variant {
	v := variant{o: s.Options.OTI, phrases: givenPhrases}
	v.o.Seed += uint64(seed)
	if s.World.Phrases == nil {
		v.o.LambdaGPT = 0
	}
	return v
}

// bare is usual without phrases.
func (s *Study) bare(seed int) variant {
	v := s.usual(seed)
	v.o.LambdaGPT = 0
	return v
}

// invert makes the pseudo-words of rows by OTI, or takes them from the folder.
func (s *Study) invert(ctx context.Context, w *World, rows []int, v variant) (words, error) {
	images, phrases, err := s.inverted(ctx, w, rows, v)
	if err != nil {
		return nil, err
	}
	inverter, err := s.Engine.OTI(phrases, v.o)
	if err != nil {
		return nil, err
	}
	meta := map[string]string{"model": s.Engine.Model().Name, "model_hash": s.Engine.Model().Hash, "products": fmt.Sprint(s.Engine.Meta().Products)}
	id, err := inverter.Identity(images, meta)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.Work, "words-"+id+".safetensors")
	made, err := oti.ReadWords(path)
	if errors.Is(err, fs.ErrNotExist) {
		steps, total := 0, len(images)*v.o.Steps
		s.progress("OTI "+v.String(), 0, total)
		if err := inverter.Run(ctx, path, images, meta, func(oti.Step) { steps++; s.progress("OTI "+v.String(), steps, total) }); err != nil {
			return nil, err
		}
		made, err = oti.ReadWords(path)
	}
	if err != nil {
		return nil, err
	}
	if made.Width != s.Engine.Width() || len(made.IDs) != len(rows) {
		return nil, fmt.Errorf("%s: %d pseudo-words of %d elements, want %d of %d: remove it", path, len(made.IDs), made.Width, len(rows), s.Engine.Width())
	}
	return s.wordsOf(rows, made.Tokens), nil
}

func (v variant) String() string {
	text := fmt.Sprintf("noise %g", v.o.Gamma)
	if v.o.LambdaGPT > 0 {
		text += ", " + v.phrases
	}
	if v.o.Tokens > 1 {
		text += fmt.Sprintf(", %d copies", v.o.Tokens)
	}
	return fmt.Sprintf("%s, seed %d", text, v.o.Seed)
}

// inverted are images as OTI takes them, with their concepts where phrases need them.
func (s *Study) inverted(ctx context.Context, w *World, rows []int, v variant) (images []oti.Image, phrases *oti.Phrases, err error) {
	features, err := s.features(ctx, w, rows)
	if err != nil {
		return nil, nil, err
	}
	d := s.Engine.Dim()
	for i, row := range rows {
		images = append(images, oti.Image{Name: w.Task.Gallery[row].ID, Feature: features[i*d : (i+1)*d]})
	}
	if v.o.LambdaGPT == 0 || len(w.Concepts) == 0 {
		return images, nil, nil
	}
	if phrases, err = s.phrasesOf(w, v.phrases); err != nil {
		return nil, nil, err
	}
	ranked, err := s.associate(ctx, w, features)
	if err != nil {
		return nil, nil, err
	}
	for i := range images {
		images[i].Concepts = ranked[i]
	}
	return images, phrases, nil
}

// associate ranks the world's concepts for features.
func (s *Study) associate(ctx context.Context, w *World, features []float32) ([][]string, error) {
	c := s.concepts[w]
	if c == nil {
		var err error
		if c, err = s.Engine.EncodeConcepts(ctx, w.Concepts, func(n int) { s.progress("concepts", n, len(w.Concepts)) }); err != nil {
			return nil, err
		}
		s.concepts[w] = c
	}
	return s.Engine.Associate(c, features, oti.TopConcepts)
}

// byPhi makes pseudo-words of rows by a network.
func (s *Study) byPhi(ctx context.Context, w *World, rows []int, n *phi.Network) (words, error) {
	features, err := s.features(ctx, w, rows)
	if err != nil {
		return nil, err
	}
	e, err := phi.NewEncoder(s.Device, n)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	tokens := make([]float32, len(rows)*s.Engine.Width())
	if err := e.Invert(ctx, tokens, features, len(rows)); err != nil {
		return nil, err
	}
	return s.wordsOf(rows, tokens), nil
}

// depth is the k of the mAP.
const depth = 10

// outcome is what each query scores.
type outcome struct{ ap, first, found []float64 } // AP@depth; a right answer is first; one is among the best depth

// rank scores unit features of queries [len(queries), Dim].
func (s *Study) rank(ctx context.Context, w *World, queries []eval.Query, features []float32) (o outcome, err error) {
	scorer := s.scorers[w]
	if scorer == nil {
		if scorer, err = eval.NewScorer(s.Device, w.Unit, s.Engine.Dim()); err != nil {
			return o, err
		}
		s.scorers[w] = scorer
	}
	err = scorer.Each(ctx, features, func(i int, scores []float32) error {
		r := eval.Rank(scores, eval.BySimilarity, &queries[i], depth)
		o.ap = append(o.ap, eval.AveragePrecision(r.Hits, r.Right, depth))
		o.first = append(o.first, oneIf(len(r.Hits) > 0 && r.Hits[0]))
		o.found = append(o.found, oneIf(slices.Contains(r.Hits, true)))
		return nil
	})
	return o, err
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// retrieve asks queries with the pseudo-words of their references, so many copies in each prompt.
func (s *Study) retrieve(ctx context.Context, w *World, queries []eval.Query, of words, copies int) (outcome, error) {
	if _, err := w.references(queries); err != nil {
		return outcome{}, err
	}
	var list []float32
	asked := slices.Clone(queries)
	for i, q := range queries {
		asked[i].Prompts = nil
		for _, p := range q.Prompts {
			asked[i].Prompts = append(asked[i].Prompts, p.Repeat(copies))
		}
		list = append(list, of[w.row[q.Reference.ID]]...)
	}
	features := make([]float32, len(queries)*s.Engine.Dim())
	if err := eval.Compose(ctx, s.Engine, features, asked, list); err != nil {
		return outcome{}, err
	}
	return s.rank(ctx, w, queries, features)
}

// plainPrompt is "a photo of $".
var plainPrompt = tokenizer.Prompt{Pieces: []string{"a photo of ", ""}}

// speak encodes "a photo of $" for the pseudo-words of rows, at unit length [len(rows), Dim].
func (s *Study) speak(ctx context.Context, rows []int, of words, copies int) ([]float32, error) {
	prompts := slices.Repeat([]tokenizer.Prompt{plainPrompt.Repeat(copies)}, len(rows))
	out := make([]float32, len(rows)*s.Engine.Dim())
	if _, err := s.Engine.EncodePrompts(ctx, out, prompts, of.list(rows)); err != nil {
		return nil, err
	}
	s.unit(out)
	return out, nil
}

// unit brings rows of Dim elements to unit length.
func (s *Study) unit(x []float32) {
	for row := range slices.Chunk(x, s.Engine.Dim()) {
		search.Unit(row)
	}
}

// mean averages outcomes of the same queries, query by query.
func mean(list ...outcome) (o outcome) {
	o.ap, o.first, o.found = make([]float64, len(list[0].ap)), make([]float64, len(list[0].ap)), make([]float64, len(list[0].ap))
	for _, x := range list {
		for i := range x.ap {
			o.ap[i] += x.ap[i] / float64(len(list))
			o.first[i] += x.first[i] / float64(len(list))
			o.found[i] += x.found[i] / float64(len(list))
		}
	}
	return o
}

// only is the part of an outcome where keep says so.
func (o outcome) only(keep func(i int) bool) (out outcome) {
	for i := range o.ap {
		if keep(i) {
			out.ap, out.first, out.found = append(out.ap, o.ap[i]), append(out.first, o.first[i]), append(out.found, o.found[i])
		}
	}
	return out
}

// percent is the mean of values with its interval, as a percentage.
func (s *Study) percent(values []float64) Cell {
	c := s.measured(values, 1)
	c.Percent = true
	return c
}

// measured is the mean of values with its interval.
func (s *Study) measured(values []float64, digits int) Cell {
	if len(values) == 0 {
		return none()
	}
	c := Cell{Value: average(values), Digits: digits}
	c.Low, c.High = eval.MeanInterval(values, s.Options.OTI.Seed, s.Options.Resamples)
	return c
}

// difference is the mean of a - b with its interval: queries are drawn in pairs.
func (s *Study) difference(a, b []float64) Cell {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	c := s.percent(d)
	c.Sign = true
	return c
}

func average(x []float64) (m float64) {
	for _, v := range x {
		m += v / float64(len(x))
	}
	return m
}

// spread is the standard deviation of the outcomes' mAP over seeds, NaN of one.
func spread(list []outcome) Cell {
	var x []float64
	for _, o := range list {
		x = append(x, average(o.ap))
	}
	m, v := average(x), 0.0
	for _, a := range x {
		v += (a - m) * (a - m)
	}
	c := plain(math.Sqrt(v/float64(len(x)-1)), 2)
	c.Percent = true
	return c
}

// claim adds a comparison to a section's claims.
func (s *Study) claim(out *Section, label string, a, b outcome) {
	out.Claims = append(out.Claims, Row{label, []Cell{s.percent(a.ap), s.percent(b.ap), s.difference(a.ap, b.ap)}})
}

// retrievalColumns are the columns of retrieved.
var retrievalColumns = []string{"mAP@10", "R@1", "R@10"}

// retrieved are the cells of an outcome.
func (s *Study) retrieved(o outcome) []Cell {
	return []Cell{s.percent(o.ap), s.percent(o.first), s.percent(o.found)}
}

// dot is the inner product.
func dot(a, b []float32) (sum float64) {
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

// cosines are those of rows of two matrices of so many columns.
func cosines(a, b []float32, cols int) (out []float64) {
	for i := 0; i < len(a); i += cols {
		x, y := a[i:i+cols], b[i:i+cols]
		out = append(out, dot(x, y)/math.Sqrt(max(1e-30, dot(x, x)*dot(y, y))))
	}
	return out
}

// pairs draws so many pairs of different rows of n that meet a condition; fewer where they are rare.
func pairs(n, want int, seed uint64, ok func(i, j int) bool) (out [][2]int) {
	r := rand.New(rand.NewPCG(seed, 77))
	for tries := 0; len(out) < want && tries < 400*want && n > 1; tries++ {
		if i, j := r.IntN(n), r.IntN(n); i != j && ok(i, j) {
			out = append(out, [2]int{i, j})
		}
	}
	return out
}
