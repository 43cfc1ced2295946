package oti

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/runtime"
)

// TopConcepts is how many concepts the official code associates with an image; OTI takes the first Options.TopK of them, phi's
// training the first 150.
const TopConcepts = 250

// Concepts are names with their CLIP features.
type Concepts struct {
	Names    []string
	Features []float32 // [len(Names), dim], at unit length
	dim      int
}

// ReadNames reads a list of concepts: one a line, or a CSV of Open Images (LabelName,DisplayName), of which it takes the second
// column. Empty lines are passed over; repeated names stay, since an association counts them.
func ReadNames(r io.Reader) ([]string, error) {
	var names []string
	s := bufio.NewScanner(r)
	csv := false
	for line := 1; s.Scan(); line++ {
		text := strings.TrimRight(strings.TrimPrefix(s.Text(), "\ufeff"), "\r")
		if line == 1 && text == "LabelName,DisplayName" {
			csv = true
			continue
		}
		if csv {
			_, name, ok := strings.Cut(text, ",")
			if !ok {
				return nil, fmt.Errorf("oti: concepts: line %d has no second column", line)
			}
			text = unquote(name)
		}
		if text != "" {
			names = append(names, text)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("oti: concepts: %w", err)
	}
	return names, nil
}

// unquote removes a CSV field's quotes.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return s
}

// conceptBatch is how many names are encoded at once, each in all templates.
const conceptBatch = 64

// EncodeConcepts computes the names' features: each fills the templates, its features are brought to unit length, averaged, and
// brought to unit length again. progress, if not nil, is told how many names are done.
func EncodeConcepts(ctx context.Context, text *clipnet.TextEncoder, tok *tokenizer.Tokenizer, rules tokenizer.Rules, names []string, progress func(done int)) (*Concepts, error) {
	d := text.Dim()
	c := &Concepts{Names: names, Features: make([]float32, len(names)*d), dim: d}
	features := make([]float32, conceptBatch*len(templates)*d)
	for at := 0; at < len(names); at += conceptBatch {
		n := min(conceptBatch, len(names)-at)
		var prompts []clipnet.Prompt
		for _, name := range names[at : at+n] {
			for _, t := range templates {
				ids, _ := tok.EncodeContext(nil, strings.Replace(t, "{}", " "+name+" ", 1), rules, text.Context())
				prompts = append(prompts, clipnet.Prompt{IDs: ids})
			}
		}
		f := features[:len(prompts)*d]
		if err := text.Encode(ctx, f, prompts, nil); err != nil {
			return nil, fmt.Errorf("oti: concepts: %w", err)
		}
		for k := range n {
			average(c.Features[(at+k)*d:(at+k+1)*d], f[k*len(templates)*d:])
		}
		if progress != nil {
			progress(at + n)
		}
	}
	return c, nil
}

// average writes the mean of the templates' unit features at unit length.
func average(dst, rows []float32) {
	sum := make([]float64, len(dst))
	for t := range templates {
		row := rows[t*len(dst) : (t+1)*len(dst)]
		size := length(row)
		for j, v := range row {
			sum[j] += float64(v) / size
		}
	}
	for j, v := range sum {
		dst[j] = float32(v)
	}
	size := length(dst)
	for j := range dst {
		dst[j] = float32(float64(dst[j]) / size)
	}
}

// length is the Euclidean norm, never zero.
func length(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return max(math.Sqrt(s), 1e-30)
}

// Associate returns for each of n raw image features [n, dim] the names of its top concepts by cosine, best first, equal ones in the
// list's order.
func (c *Concepts) Associate(dev runtime.Device, features []float32, top int) ([][]string, error) {
	n := len(features) / c.dim
	unit := make([]float32, len(features))
	for i := range n {
		row := features[i*c.dim : (i+1)*c.dim]
		size := length(row)
		for j, v := range row {
			unit[i*c.dim+j] = float32(float64(v) / size)
		}
	}
	s, err := dev.NewSearch(c.dim)
	if err != nil {
		return nil, fmt.Errorf("oti: associate: %w", err)
	}
	defer s.Close()
	hits, counts := make([]runtime.Hit, n*top), make([]int, n)
	err = firstError(s.Begin(unit, n, top), s.Feed(0, runtime.Chunk{DType: runtime.F32, Rows: len(c.Names), Data: runtime.Float32Bytes(c.Features)}), s.Finish(hits, counts))
	if err != nil {
		return nil, fmt.Errorf("oti: associate: %w", err)
	}
	out := make([][]string, n)
	for i := range out {
		for _, h := range hits[i*top : i*top+counts[i]] {
			out[i] = append(out[i], c.Names[h.Row])
		}
	}
	return out, nil
}
