package main

import (
	"context"
	"iter"
	"os"
	"slices"
	"strings"

	"isearle/cmd/isearle/internal/console"
	"isearle/cmd/isearle/internal/lines"
	"isearle/cmd/isearle/internal/queries"
	"isearle/search"
	"isearle/weights/demo"
)

// askedFor gives the one query of the command line, or those of standard input.
func askedFor(s *session, image string, args []string) (iter.Seq2[queries.Query, error], error) {
	if image == "" && len(args) == 0 {
		if console.IsTerminal(s.stdin) {
			s.notef("reading queries: a path, a tab and a change on each line")
		}
		return queries.All(s.stdin, "standard input"), nil
	}
	if len(args) > 1 {
		return nil, usagef("one TEXT, not %q too: quote it if it has spaces", args[1])
	}
	q := queries.Query{ID: "1", Image: image}
	if len(args) == 1 {
		q.Text = args[0]
		if strings.TrimSpace(q.Text) == "" {
			q.Text, q.Empty = "", true
		}
	}
	if q.Image == "" && q.Text == "" {
		return nil, usagef("the caption is empty and there is no --image: nothing to look for")
	}
	return func(yield func(queries.Query, error) bool) { yield(q, nil) }, nil
}

// answerer computes the features of queries, batch by batch.
type answerer struct {
	s      *session
	engine *engine
	failed bool // a query was named and left out
	oti    *otiFlags
	// pictures finds a picture inside the program by its id; nil if references are files only.
	pictures func(id string) (demo.Picture, bool)
}

// answer is a query with its feature.
type answer struct {
	queries.Query
	feature []float32 // of unit length
}

// queryBatch is how many queries are answered together at most.
const queryBatch = 64

// each hands over the queries that could be computed, in order.
func (a *answerer) each(ctx context.Context, asked iter.Seq2[queries.Query, error], use func([]answer) error) error {
	for batch, err := range lines.Batches(ctx, asked, queryBatch) {
		if err != nil {
			return err
		}
		answers, err := a.compute(ctx, batch)
		if err != nil {
			return err
		}
		if len(answers) > 0 {
			if err := use(answers); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *answerer) fail(err error) {
	a.failed = true
	a.s.fail(err)
}

// compute computes a batch.
func (a *answerer) compute(ctx context.Context, batch []queries.Query) ([]answer, error) {
	references, err := a.references(ctx, batch)
	if err != nil {
		return nil, err
	}
	var answers []answer
	var compositions []search.Composition
	for _, q := range batch {
		ref := references[q.Image]
		switch {
		case q.Err != nil:
			a.fail(q.Err)
			continue
		case q.Image != "" && ref.Err != nil:
			a.fail(ref.Err)
			continue
		case q.Empty:
			a.s.notef("query %s: the caption is empty: the image alone is the query", q.ID)
		}
		answers = append(answers, answer{Query: q})
		compositions = append(compositions, search.Composition{Image: ref.Feature, Text: q.Text})
	}
	dim := a.engine.Dim()
	features := make([]float32, len(answers)*dim)
	cut, err := a.compose(ctx, features, answers, compositions)
	if err != nil {
		return nil, err
	}
	for _, i := range cut {
		a.s.notef("query %s: the caption is cut to fit %d tokens", answers[i].ID, a.engine.Config().Text.Context)
	}
	for i := range answers {
		answers[i].feature = features[i*dim : (i+1)*dim]
	}
	return answers, nil
}

// compose composes by phi or by OTI, which inverts each image once.
func (a *answerer) compose(ctx context.Context, dst []float32, answers []answer, q []search.Composition) (truncated []int, err error) {
	if a.engine.method != "oti" {
		return a.engine.Compose(ctx, dst, q)
	}
	var names []string
	var features []float32
	var places []int // of each query's among names
	for i, c := range q {
		if c.Image == nil || c.Text == "" {
			continue
		}
		at := slices.Index(names, answers[i].Image)
		if at < 0 {
			at = len(names)
			names, features = append(names, answers[i].Image), append(features, c.Image...)
		}
		places = append(places, at)
	}
	a.oti.o.Tokens = a.engine.tokens
	made, err := a.oti.words(ctx, a.s, a.engine.Engine, names, features)
	if err != nil {
		return nil, err
	}
	var words []float32
	for _, at := range places {
		words = append(words, made[at*a.engine.Width():(at+1)*a.engine.Width()]...)
	}
	return a.engine.ComposeWords(ctx, dst, q, words)
}

// references computes the raw features of a batch's images, each once.
func (a *answerer) references(ctx context.Context, batch []queries.Query) (map[string]search.Embedded, error) {
	found := map[string]search.Embedded{}
	var paths []string
	for _, q := range batch {
		if q.Err != nil || q.Image == "" || slices.Contains(paths, q.Image) {
			continue
		}
		if p, ok := a.picture(q.Image); ok {
			f, err := a.engine.EmbedImage(ctx, p.ID, p.Data)
			found[q.Image] = search.Embedded{Path: p.ID, Feature: f, Err: err}
			continue
		}
		paths = append(paths, q.Image)
	}
	if len(paths) == 0 {
		return found, nil // and leave the vision tower unopened
	}
	err := a.engine.EmbedImages(ctx, slices.Values(paths), a.engine.threads, func(m search.Embedded) error {
		m.Feature = slices.Clone(m.Feature)
		found[m.Path] = m
		return nil
	})
	return found, err
}

// picture finds a picture inside the program that a query names and that is no file.
func (a *answerer) picture(name string) (demo.Picture, bool) {
	if a.pictures == nil {
		return demo.Picture{}, false
	}
	if _, err := os.Stat(name); err == nil {
		return demo.Picture{}, false
	}
	return a.pictures(name)
}
