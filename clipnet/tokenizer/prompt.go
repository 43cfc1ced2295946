package tokenizer

import (
	"fmt"
	"strings"
)

// A Prompt is text with pseudo-words in it: the texts before, between and behind them, so that there is one
// pseudo-word less than there are pieces. Each piece is tokenised by itself. A "$" inside of a piece is text.
type Prompt struct {
	Pieces []string
}

// A Template is a prompt that lacks its relative caption.
type Template struct {
	pieces [][]string // each a list of texts between which the caption goes
}

// captionField stands for the relative caption in the text of a template.
const captionField = "{caption}"

// ParseTemplate reads a template such as "a photo of $ that {caption}": each "$" is the place of a pseudo-word, also
// in front of punctuation, as in "$, but {caption}"; "$$" is the character; {caption} may stand anywhere, or nowhere.
// Any other brace is an error.
func ParseTemplate(text string) (Template, error) {
	var t Template
	var piece strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], "$$"):
			piece.WriteByte('$')
			i++
		case text[i] == '$':
			t.pieces = append(t.pieces, strings.Split(piece.String(), captionField))
			piece.Reset()
		case strings.HasPrefix(text[i:], captionField):
			piece.WriteString(captionField)
			i += len(captionField) - 1
		case text[i] == '{' || text[i] == '}':
			return Template{}, fmt.Errorf("tokenizer: template %q: unexpected %q at offset %d, only %s is known", text, text[i], i, captionField)
		default:
			piece.WriteByte(text[i])
		}
	}
	t.pieces = append(t.pieces, strings.Split(piece.String(), captionField))
	return t, nil
}

// PseudoWords returns the number of pseudo-words in the template.
func (t Template) PseudoWords() int { return max(len(t.pieces)-1, 0) }

// Fill returns the prompt with caption in its place.
func (t Template) Fill(caption string) Prompt {
	p := Prompt{Pieces: make([]string, len(t.pieces))}
	for i, texts := range t.pieces {
		p.Pieces[i] = strings.Join(texts, caption)
	}
	return p
}

// Repeat returns the template with n pseudo-words, spaces between them, in the place of each.
func (t Template) Repeat(n int) Template {
	return Template{pieces: repeated(t.pieces, n, []string{" "})}
}

// Repeat is [Template.Repeat] of a prompt.
func (p Prompt) Repeat(n int) Prompt { return Prompt{Pieces: repeated(p.Pieces, n, " ")} }

// repeated puts n-1 times space between two pieces.
func repeated[T any](pieces []T, n int, space T) []T {
	var out []T
	for i, p := range pieces {
		for j := 1; i > 0 && j < n; j++ {
			out = append(out, space)
		}
		out = append(out, p)
	}
	return out
}

// A CutError is a pseudo-word that does not fit into the text tower's context.
type CutError struct {
	Word    int // the first that does not fit, counted from 0
	Context int
}

func (e *CutError) Error() string {
	return fmt.Sprintf("tokenizer: pseudo-word %d of the prompt does not fit into a context of %d ids", e.Word+1, e.Context)
}

// AppendPrompt appends the sequence of a prompt, at most context ids, to ids, and to rows the positions in it of the
// pseudo-words, BOS being at 0. There the sequence has [Tokenizer.Placeholder], whose embedding is to be replaced.
// truncated is as in [Tokenizer.EncodeContext]. When a pseudo-word is among what would be left out the error is a
// *[CutError], and ids and rows come back as they were.
func (t *Tokenizer) AppendPrompt(ids, rows []int32, p Prompt, rules Rules, context int) (_, _ []int32, truncated bool, err error) {
	start, firstRow := len(ids), len(rows)
	ids = append(ids, t.bos)
	for i, piece := range p.Pieces {
		if i > 0 {
			rows = append(rows, int32(len(ids)-start))
			ids = append(ids, t.Placeholder())
		}
		ids = t.appendText(ids, piece, rules, context)
	}
	ids, truncated = t.finish(ids, start, context)
	for i, row := range rows[firstRow:] {
		if truncated && int(row) >= context-1 {
			return ids[:start], rows[:firstRow], true, &CutError{i, context}
		}
	}
	return ids, rows, truncated, nil
}
