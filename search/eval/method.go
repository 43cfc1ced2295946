package eval

import (
	"context"
	"fmt"
	"strings"

	"isearle/clipnet/tokenizer"
	"isearle/search"
)

// Method makes features of queries.
type Method struct {
	Name  string
	About string // for the tables
	// Features writes the unit features of queries to dst [len(q), Dim]; refs are the raw features of their references. It is called
	// without queries first, and says then what it lacks.
	Features func(ctx context.Context, e *search.Engine, dst []float32, q []Query, refs []float32) error
}

// Methods are all there are, the ones that compose first.
func Methods() []Method {
	return []Method{
		{"phi", "pseudo-word by phi", byPhi},
		{"sum", "mean of the image's and the text's unit features", bySum},
		{"text", "text alone", byText},
		{"image", "reference image alone", byImage},
	}
}

// ParseMethods finds methods by their names, separated by commas; "" is all of them.
func ParseMethods(list string) ([]Method, error) {
	all := Methods()
	if list == "" {
		return all, nil
	}
	var out []Method
	for name := range strings.SplitSeq(list, ",") {
		m, err := parseMethod(all, name)
		if err != nil {
			return nil, err
		}
		for _, have := range out {
			if have.Name == name {
				return nil, fmt.Errorf("eval: method %q is given twice", name)
			}
		}
		out = append(out, m)
	}
	return out, nil
}

func parseMethod(all []Method, name string) (Method, error) {
	var known []string
	for _, m := range all {
		if m.Name == name {
			return m, nil
		}
		known = append(known, m.Name)
	}
	return Method{}, fmt.Errorf("eval: no method %q: there are %s", name, strings.Join(known, ", "))
}

// byPhi is the composed query: the unit mean of the unit features of the query's prompts.
func byPhi(ctx context.Context, e *search.Engine, dst []float32, q []Query, refs []float32) error {
	words := make([]float32, len(q)*e.Width())
	if err := e.Invert(ctx, words, refs, len(q)); err != nil {
		return err
	}
	return Compose(ctx, e, dst, q, words)
}

// Compose makes features of queries from pseudo-words [len(q), Width]: it is what a method that makes pseudo-words ends with.
func Compose(ctx context.Context, e *search.Engine, dst []float32, q []Query, words []float32) error {
	var prompts []tokenizer.Prompt
	var each []float32
	counts := make([]int, len(q))
	for i := range q {
		for _, p := range q[i].Prompts {
			prompts = append(prompts, p)
			each = append(each, words[i*e.Width():(i+1)*e.Width()]...)
		}
		counts[i] = len(q[i].Prompts)
	}
	features := make([]float32, len(prompts)*e.Dim())
	if _, err := e.EncodePrompts(ctx, features, prompts, each); err != nil {
		return err
	}
	average(dst, features, counts, e.Dim())
	return nil
}

// byText encodes each text once.
func byText(ctx context.Context, e *search.Engine, dst []float32, q []Query, _ []float32) error {
	var texts []string
	at := map[string]int{}
	for i := range q {
		for _, s := range q[i].Texts {
			if _, ok := at[s]; !ok {
				at[s] = len(texts)
				texts = append(texts, s)
			}
		}
	}
	unique := make([]float32, len(texts)*e.Dim())
	if _, err := e.EmbedTexts(ctx, unique, texts); err != nil {
		return err
	}
	var features []float32
	counts := make([]int, len(q))
	for i := range q {
		for _, s := range q[i].Texts {
			features = append(features, unique[at[s]*e.Dim():(at[s]+1)*e.Dim()]...)
		}
		counts[i] = len(q[i].Texts)
	}
	average(dst, features, counts, e.Dim())
	return nil
}

// average writes the unit mean of each query's unit features, which follow one another.
func average(dst, features []float32, counts []int, dim int) {
	for i, n := range counts {
		out := dst[i*dim : (i+1)*dim]
		clear(out)
		for range n {
			search.Unit(features[:dim])
			for k, v := range features[:dim] {
				out[k] += v
			}
			features = features[dim:]
		}
		if n > 1 {
			search.Unit(out)
		}
	}
}

func byImage(_ context.Context, e *search.Engine, dst []float32, q []Query, refs []float32) error {
	copy(dst, refs)
	for i := range q {
		search.Unit(dst[i*e.Dim() : (i+1)*e.Dim()])
	}
	return nil
}

func bySum(ctx context.Context, e *search.Engine, dst []float32, q []Query, refs []float32) error {
	if err := byText(ctx, e, dst, q, refs); err != nil {
		return err
	}
	images := make([]float32, len(dst))
	if err := byImage(ctx, e, images, q, refs); err != nil {
		return err
	}
	for i := range dst {
		dst[i] += images[i]
	}
	for i := range q {
		search.Unit(dst[i*e.Dim() : (i+1)*e.Dim()])
	}
	return nil
}
