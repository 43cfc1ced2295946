package search

import (
	"context"
	"fmt"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
)

// Composition is what a query asks for: an image, a text, or an image with a change.
type Composition struct {
	// Image is the raw feature of the reference image (see Engine.EmbedImages); nil for a query by text alone.
	Image []float32
	// Text is the relative caption, or with no Image a text of its own; "" for a query by image alone.
	Text string
}

// Compose writes the features of composed queries to dst [len(q), Dim], at unit length. A query with both parts is the text
// feature of the template with the image's pseudo-word and the caption in their places. Texts longer than the context are cut as CLIP cuts
// them; the indices of those queries are returned.
func (e *Engine) Compose(ctx context.Context, dst []float32, q []Composition) (truncated []int, err error) {
	if len(dst) != len(q)*e.Dim() {
		return nil, fmt.Errorf("search: compose %d queries: room for %d values, want %d", len(q), len(dst), len(q)*e.Dim())
	}
	var images []float32
	for i, c := range q {
		if c.Image != nil && len(c.Image) != e.Dim() {
			return nil, fmt.Errorf("search: query %d: image feature of %d elements, the model's have %d", i, len(c.Image), e.Dim())
		}
		if c.Image != nil && c.Text != "" {
			images = append(images, c.Image...)
		}
	}
	words := make([]float32, len(images)/e.Dim()*e.Width())
	if len(images) > 0 {
		if err := e.Invert(ctx, words, images, len(images)/e.Dim()); err != nil {
			return nil, err
		}
	}
	return e.ComposeWords(ctx, dst, q, words)
}

// ComposeWords is Compose with pseudo-words already made, one [Width] for each query that has both parts, in order.
func (e *Engine) ComposeWords(ctx context.Context, dst []float32, q []Composition, words []float32) (truncated []int, err error) {
	var prompts []clipnet.Prompt
	var rows []int // of q
	word := 0
	for i, c := range q {
		if c.Text == "" && c.Image != nil {
			copy(dst[i*e.Dim():(i+1)*e.Dim()], c.Image)
			continue
		}
		p := tokenizer.Prompt{Pieces: []string{c.Text}}
		if c.Image != nil {
			p = e.template.Fill(c.Text)
		}
		prompt, cut, err := e.prompt(p, word)
		if err != nil {
			return nil, fmt.Errorf("search: query %d: %w", i, err)
		}
		if cut {
			truncated = append(truncated, i)
		}
		if c.Image != nil {
			word++
		}
		prompts, rows = append(prompts, prompt), append(rows, i)
	}
	if err := e.encodeInto(ctx, dst, rows, prompts, words); err != nil {
		return nil, err
	}
	for i := range q {
		Unit(dst[i*e.Dim() : (i+1)*e.Dim()])
	}
	return truncated, nil
}

// encodeInto encodes prompts to rows of dst.
func (e *Engine) encodeInto(ctx context.Context, dst []float32, rows []int, prompts []clipnet.Prompt, words []float32) error {
	if len(prompts) == 0 {
		return nil
	}
	enc, err := e.text()
	if err != nil {
		return err
	}
	features := make([]float32, len(prompts)*e.Dim())
	if err := enc.Encode(ctx, features, prompts, words); err != nil {
		return err
	}
	for k, row := range rows {
		copy(dst[row*e.Dim():(row+1)*e.Dim()], features[k*e.Dim():])
	}
	return nil
}

// prompt tokenises a prompt whose pseudo-words are all row word of the pseudo-words.
func (e *Engine) prompt(p tokenizer.Prompt, word int) (clipnet.Prompt, bool, error) {
	tok, err := e.words()
	if err != nil {
		return clipnet.Prompt{}, false, err
	}
	ids, places, cut, err := tok.AppendPrompt(nil, nil, p, e.opts.Rules, e.ckpt.Config.Text.Context)
	if err != nil {
		return clipnet.Prompt{}, false, err
	}
	out := clipnet.Prompt{IDs: ids}
	for _, place := range places {
		out.Pseudo = append(out.Pseudo, clipnet.Pseudo{Place: int(place), Word: word})
	}
	return out, cut, nil
}

// EmbedTexts writes the raw features, not normalised, of texts to dst [len(texts), Dim]. An empty text is BOS and EOT. The indices of
// texts that were cut to the context are returned.
func (e *Engine) EmbedTexts(ctx context.Context, dst []float32, texts []string) (truncated []int, err error) {
	if len(dst) != len(texts)*e.Dim() {
		return nil, fmt.Errorf("search: embed %d texts: room for %d values, want %d", len(texts), len(dst), len(texts)*e.Dim())
	}
	rows := make([]int, len(texts))
	prompts := make([]clipnet.Prompt, len(texts))
	for i, text := range texts {
		p, cut, err := e.prompt(tokenizer.Prompt{Pieces: []string{text}}, 0)
		if err != nil {
			return nil, fmt.Errorf("search: text %d: %w", i, err)
		}
		if cut {
			truncated = append(truncated, i)
		}
		prompts[i], rows[i] = p, i
	}
	return truncated, e.encodeInto(ctx, dst, rows, prompts, nil)
}
