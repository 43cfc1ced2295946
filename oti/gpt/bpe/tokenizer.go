package bpe

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/sugarme/tokenizer"
)

// EndOfText is the token that ends a text in GPT-2's vocabulary.
const EndOfText = "<|endoftext|>"

// Vocab is a byte-level vocabulary as its files spell it.
type Vocab struct {
	Tokens []string    // by id; the symbols of all bytes, the products of the merges, the added tokens
	Merges [][2]string // the pairs of tokens that are merged, the first one first
	Added  []string    // tokens that are cut out of the text as they are; EndOfText is one wherever it is in Tokens
}

// Tokenizer turns text into ids and back. It is safe for concurrent use.
type Tokenizer struct {
	pipeline *tokenizer.Tokenizer
	model    *model
}

// ErrText is wrapped by the error for a text that cannot be tokenised.
var ErrText = errors.New("bpe: the text is not UTF-8")

// New makes a tokeniser of a vocabulary. The error names the first token or merge that does not fit.
func New(v Vocab) (*Tokenizer, error) {
	t, err := newFromVocab(v)
	if err != nil {
		return nil, fmt.Errorf("bpe: %w", err)
	}
	return t, nil
}

func newFromVocab(v Vocab) (*Tokenizer, error) {
	m, err := newModel(v.Tokens, v.Merges)
	if err != nil {
		return nil, err
	}
	p := tokenizer.NewTokenizer(m)
	p.WithPreTokenizer(splitter{})
	p.WithDecoder(decoder{newAlphabet()})
	added := v.Added
	if _, ok := m.ids[EndOfText]; ok {
		added = append([]string{EndOfText}, added...)
	}
	special := make([]tokenizer.AddedToken, 0, len(added))
	for _, a := range added {
		if _, ok := m.ids[a]; !ok || a == "" {
			return nil, fmt.Errorf("added token %q is not in the vocabulary", a)
		}
		special = append(special, tokenizer.NewAddedToken(a, true))
	}
	p.AddSpecialTokens(special)
	return &Tokenizer{pipeline: p, model: m}, nil
}

// Len is the number of ids.
func (t *Tokenizer) Len() int { return len(t.model.tokens) }

// ID is the id of a token in the vocabulary's spelling.
func (t *Tokenizer) ID(token string) (int32, bool) {
	id, ok := t.model.ids[token]
	return int32(id), ok
}

// Encode returns the ids of a text, without any added at its ends.
func (t *Tokenizer) Encode(text string) ([]int32, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%w: %.40q", ErrText, text)
	}
	e, err := t.pipeline.Encode(tokenizer.NewSingleEncodeInput(tokenizer.NewInputSequence(text)), false)
	if err != nil {
		return nil, fmt.Errorf("bpe: %.40q: %w", text, err)
	}
	ids := make([]int32, len(e.Ids))
	for i, id := range e.Ids {
		ids[i] = int32(id)
	}
	return ids, nil
}

// Decode returns the text of ids; without special, added tokens are left out. An id outside the vocabulary, as a model
// with a padded one may give, stands for nothing. Bytes that are no UTF-8 become U+FFFD.
func (t *Tokenizer) Decode(ids []int32, special bool) string {
	in := make([]int, len(ids))
	for i, id := range ids {
		in[i] = int(id)
	}
	return t.pipeline.Decode(in, !special)
}
