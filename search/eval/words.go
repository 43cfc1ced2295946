package eval

import (
	"context"
	"fmt"
	"path/filepath"

	"isearle/search"
)

// References are the files of the queries' reference images, each once, in order; objects that are cut out of images have none before a run.
func (d *Dataset) References() (paths []string) {
	seen := map[string]bool{}
	for _, t := range d.Tasks {
		for _, q := range t.Queries {
			if p := q.Reference.Path; p != "" && !seen[p] {
				seen[p] = true
				paths = append(paths, p)
			}
		}
	}
	return paths
}

// ByWords is a method whose pseudo-words have been made before, by whatever means: tokens are [len(paths), width], one for each
// reference image's file.
func ByWords(name, about string, paths []string, width int, tokens []float32) (Method, error) {
	if width < 1 || len(tokens) != len(paths)*width {
		return Method{}, fmt.Errorf("eval: method %s: %d values are not %d pseudo-words of %d", name, len(tokens), len(paths), width)
	}
	at := make(map[string]int, len(paths))
	for i, p := range paths {
		full, err := filepath.Abs(p)
		if err != nil {
			return Method{}, fmt.Errorf("eval: method %s: %w", name, err)
		}
		at[full] = i
	}
	features := func(ctx context.Context, e *search.Engine, dst []float32, q []Query, _ []float32) error {
		if width != e.Width() {
			return fmt.Errorf("pseudo-words of %d elements, the model's have %d", width, e.Width())
		}
		words := make([]float32, 0, len(q)*width)
		for i := range q {
			full, err := filepath.Abs(q[i].Reference.Path)
			if err != nil {
				return err
			}
			k, ok := at[full]
			if !ok {
				return fmt.Errorf("query %s: there is no pseudo-word of its reference %q", q[i].ID, q[i].Reference.Path)
			}
			words = append(words, tokens[k*width:(k+1)*width]...)
		}
		return Compose(ctx, e, dst, q, words)
	}
	return Method{name, about, features}, nil
}

// Inverter makes pseudo-words [len(names), Width] of raw image features [len(names), Dim], by whatever method.
type Inverter func(ctx context.Context, e *search.Engine, names []string, features []float32) ([]float32, error)

// ByInverter is a method that makes the pseudo-word of each reference when the features are known, once for all queries that share it.
func ByInverter(name, about string, invert Inverter) Method {
	features := func(ctx context.Context, e *search.Engine, dst []float32, q []Query, refs []float32) error {
		at := map[string]int{}
		var names []string
		var unique []float32
		for i := range q {
			ref := refs[i*e.Dim() : (i+1)*e.Dim()]
			key := q[i].wordKey()
			if _, ok := at[key]; !ok {
				at[key] = len(names)
				names, unique = append(names, key), append(unique, ref...)
			}
		}
		tokens, err := invert(ctx, e, names, unique)
		if err != nil {
			return err
		}
		w := e.Width()
		if len(tokens) != len(names)*w {
			return fmt.Errorf("method %s made %d values for %d pseudo-words of %d", name, len(tokens), len(names), w)
		}
		words := make([]float32, 0, len(q)*w)
		for i := range q {
			k := at[q[i].wordKey()]
			words = append(words, tokens[k*w:(k+1)*w]...)
		}
		return Compose(ctx, e, dst, q, words)
	}
	return Method{name, about, features}
}

// wordKey tells references apart: by their files, objects that are cut out by their queries.
func (q *Query) wordKey() string {
	if q.Reference.Path != "" {
		return q.Reference.Path
	}
	return q.ID
}
