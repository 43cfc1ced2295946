package eval

import (
	"context"
	"errors"
	"fmt"
	"os"

	"isearle/runtime"
	"isearle/search"
)

// Evaluator ranks data sets with a model.
type Evaluator struct {
	Engine *search.Engine
	Device runtime.Device
	// Threads decode images.
	Threads int
	// CacheDir is where features are kept between runs, and the objects that were cut out of images; "" is a folder that goes with the
	// run, so that a report cannot show those.
	CacheDir string
	// Strict refuses a data set with missing or broken images.
	Strict bool
	// Seed and Resamples are those of the bootstrap and of the paired tests. Without resamples there are none.
	Seed      uint64
	Resamples int
	// Progress, if not nil, is told about steps that take time.
	Progress func(what string, done, total int)
}

// Result is what an evaluation gives.
type Result struct {
	// Dataset is what could be ranked: without images that have no features, and the queries that need them.
	Dataset  *Dataset
	Model    search.Model
	Meta     search.Meta
	Total    int // queries of the data set
	Ranked   int // queries that the numbers stand on
	Images   int // image files of the data set
	Cached   int // images whose features were in the cache
	Computed int
	Problems []Problem
	Methods  []MethodResult
	Tests    []PairedTest
	Seed     uint64
	// Resamples is how many samples of queries the intervals stand on.
	Resamples int
}

// MethodResult is a method's rankings and numbers.
type MethodResult struct {
	Method  Method
	Tasks   []TaskResult
	Metrics []Metric
}

// TaskResult is a method's rankings of a task.
type TaskResult struct {
	Queries  []int // of the task, one per ranking
	Rankings []Ranking
	Measures []Measure
}

// queryBatch is how many queries are encoded at once.
const queryBatch = 256

// Run evaluates methods on a data set. Images without features are listed in the result, with Strict they are an error.
func (e *Evaluator) Run(ctx context.Context, d *Dataset, methods []Method) (*Result, error) {
	for _, m := range methods {
		// No queries yet: what a method lacks shows before all images are embedded.
		if err := m.Features(ctx, e.Engine, nil, nil, nil); err != nil {
			return nil, fmt.Errorf("eval: method %s: %w", m.Name, err)
		}
	}
	dir := e.CacheDir
	if dir == "" {
		tmp, err := os.MkdirTemp("", "isearle-eval-")
		if err != nil {
			return nil, fmt.Errorf("eval: %w", err)
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("eval: cache: %w", err)
	}
	f, err := e.imageFeatures(ctx, d, dir)
	if err != nil {
		return nil, err
	}
	good := d.clean(f)
	if e.Strict && len(good.problems) > 0 {
		return nil, problemsError(good.problems)
	}
	r := &Result{Dataset: good, Model: e.Engine.Model(), Meta: e.Engine.Meta(), Total: d.Queries(), Ranked: good.Queries(), Images: len(d.sources()),
		Cached: f.cached, Computed: f.computed, Problems: good.problems, Seed: e.Seed, Resamples: e.Resamples}
	if r.Ranked == 0 {
		return nil, fmt.Errorf("eval: %s: none of %d queries can be ranked: %d images are missing or broken, the first: %v", d.Title, r.Total, len(r.Problems), firstProblem(r.Problems))
	}
	for _, m := range methods {
		r.Methods = append(r.Methods, MethodResult{Method: m})
	}
	for i := range good.Tasks {
		if err := e.runTask(ctx, r, &good.Tasks[i], f); err != nil {
			return nil, err
		}
	}
	r.summarise()
	return r, nil
}

// Images computes the raw features of a data set's images, or takes them from the cache, and returns the data set without what cannot
// be ranked, and the features by the images' paths.
func (e *Evaluator) Images(ctx context.Context, d *Dataset) (*Dataset, func(path string) []float32, error) {
	if err := os.MkdirAll(e.CacheDir, 0o777); err != nil {
		return nil, nil, fmt.Errorf("eval: cache: %w", err)
	}
	f, err := e.imageFeatures(ctx, d, e.CacheDir)
	if err != nil {
		return nil, nil, err
	}
	good := d.clean(f)
	if good.Queries() == 0 {
		return nil, nil, fmt.Errorf("eval: %s: none of %d queries can be ranked: %v", d.Title, d.Queries(), firstProblem(good.problems))
	}
	return good, func(path string) []float32 { x, _ := f.of(path); return x }, nil
}

// Problems are the images that a data set names and that could not be used.
func (d *Dataset) Problems() []Problem { return d.problems }

func firstProblem(p []Problem) string {
	if len(p) == 0 {
		return "none"
	}
	return p[0].Error
}

// runTask ranks a task by all methods.
func (e *Evaluator) runTask(ctx context.Context, r *Result, t *Task, f *features) (err error) {
	gallery := make([]float32, 0, len(t.Gallery)*f.dim)
	for _, m := range t.Gallery {
		x, _ := f.of(m.Path)
		gallery = append(gallery, x...)
		search.Unit(gallery[len(gallery)-f.dim:])
	}
	scorer, err := NewScorer(e.Device, gallery, f.dim)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scorer.Close()) }()
	refs := make([]float32, 0, len(t.Queries)*f.dim)
	for _, q := range t.Queries {
		x, _ := f.of(q.Reference.Path)
		refs = append(refs, x...)
	}
	for i := range r.Methods {
		m := &r.Methods[i]
		queries := make([]float32, len(refs))
		for lo := 0; lo < len(t.Queries); lo += queryBatch {
			hi := min(lo+queryBatch, len(t.Queries))
			e.progress(t.Name+" "+m.Method.Name, lo, len(t.Queries))
			if err := m.Method.Features(ctx, e.Engine, queries[lo*f.dim:hi*f.dim], t.Queries[lo:hi], refs[lo*f.dim:hi*f.dim]); err != nil {
				return fmt.Errorf("eval: %s: method %s: %w", r.Dataset.Title, m.Method.Name, err)
			}
		}
		tr, err := r.Dataset.rank(ctx, t, scorer, queries)
		if err != nil {
			return err
		}
		if r.Dataset.reverse {
			more, err := reverseMeasures(ctx, e.Device, t, gallery, queries, f.dim)
			if err != nil {
				return err
			}
			tr.Measures = append(tr.Measures, more...)
		}
		m.Tasks = append(m.Tasks, tr)
	}
	return nil
}

// rank ranks a gallery for the unit features of all queries of a task.
func (d *Dataset) rank(ctx context.Context, t *Task, s *Scorer, queries []float32) (TaskResult, error) {
	tr := TaskResult{}
	err := s.Each(ctx, queries, func(i int, scores []float32) error {
		tr.Queries = append(tr.Queries, i)
		tr.Rankings = append(tr.Rankings, Rank(scores, d.Order, &t.Queries[i], d.Depth))
		return nil
	})
	if err != nil {
		return tr, err
	}
	if d.judged(t) {
		tr.Measures = d.measures(t, tr.Queries, tr.Rankings)
	}
	return tr, nil
}

// judged says that a task has right answers; a test split has none.
func (d *Dataset) judged(t *Task) bool {
	if d.partial {
		return true
	}
	for i := range t.Queries {
		if len(t.Queries[i].Targets) == 0 {
			return false
		}
	}
	return len(t.Queries) > 0
}

// reversePrefix begins the names of measures of the other direction, in which each query's target ranks the queries.
const reversePrefix = "image to query "

func reverseMeasures(ctx context.Context, dev runtime.Device, t *Task, gallery, queries []float32, dim int) (out []Measure, err error) {
	s, err := NewScorer(dev, queries, dim)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var images []float32
	for i := range t.Queries {
		row := t.Queries[i].Targets[0]
		images = append(images, gallery[row*dim:(row+1)*dim]...)
	}
	var ranks []Ranking
	err = s.Each(ctx, images, func(i int, scores []float32) error {
		ranks = append(ranks, Rank(scores, BySimilarity, &Query{Exclude: -1, Targets: []int{i}}, 0))
		return nil
	})
	out = objectMeasures(nil, nil, ranks)
	for i := range out {
		out[i].Name = reversePrefix + out[i].Name
	}
	return out, err
}

func (e *Evaluator) progress(what string, done, total int) {
	if e.Progress != nil {
		e.Progress(what, done, total)
	}
}
