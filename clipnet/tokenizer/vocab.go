package tokenizer

import (
	"errors"
	"fmt"
	"strings"
)

// wordEnd marks the last symbol of a word.
const wordEnd = "</w>"

// A Vocab is a byte-pair vocabulary as its files spell it.
type Vocab struct {
	// Tokens are the tokens by id: a symbol for each byte inside a word and, with </w>, at a word's end; what the
	// merges make; and the added tokens.
	Tokens []string
	// Merges are the pairs of tokens that are merged, the first one first.
	Merges [][2]string
	// Added are tokens outside the merges, looked for in the text under Hugging Face's rules. <|startoftext|> and
	// <|endoftext|> are added when the list lacks them.
	Added []AddedToken
}

// An AddedToken is looked for in the raw text, or in the normalised text.
type AddedToken struct {
	Content    string
	Normalized bool
}

// mergeError is a merge that does not fit its vocabulary.
type mergeError struct {
	index  int // in Vocab.Merges
	reason string
}

func (e *mergeError) Error() string { return fmt.Sprintf("merge %d: %s", e.index, e.reason) }

// New makes a tokeniser of a vocabulary. Every byte needs its two symbols, every other token a merge that makes it or
// a place among the added ones; a pair is merged once. The error names the first token or merge that does not fit.
func New(v Vocab) (*Tokenizer, error) {
	t, err := newFromVocab(v)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

func newFromVocab(v Vocab) (*Tokenizer, error) {
	if len(v.Tokens) > maxIDs || len(v.Merges) > maxIDs {
		return nil, fmt.Errorf("%d tokens and %d merges, at most %d are supported", len(v.Tokens), len(v.Merges), maxIDs)
	}
	ids := make(map[string]int32, len(v.Tokens))
	for id, token := range v.Tokens {
		if first, double := ids[token]; double {
			return nil, fmt.Errorf("token %d is %q, as is token %d", id, token, first)
		}
		ids[token] = int32(id)
	}
	t := newTokenizer(len(v.Tokens), len(v.Merges))
	for b := range 256 {
		symbol := string(byteSymbol(byte(b)))
		inner, ok := ids[symbol]
		last, okLast := ids[symbol+wordEnd]
		if !ok || !okLast {
			return nil, fmt.Errorf("byte %#02x needs the tokens %q and %q", b, symbol, symbol+wordEnd)
		}
		t.setByte(byte(b), inner, last)
	}
	if err := t.addMerges(v.Merges, v.Tokens, ids); err != nil {
		return nil, err
	}
	if err := t.addTokens(v.Added, ids); err != nil {
		return nil, err
	}
	for id, p := range t.parts {
		if p[0] == leafUnknown {
			return nil, fmt.Errorf("token %d, %q, stands for no byte, no merge makes it and it is no added token", id, v.Tokens[id])
		}
	}
	return t, nil
}

// What Tokenizer.parts has in the first place for tokens that no merge makes; the second place is the byte.
const (
	leafUnknown = -1 - iota
	leafInner
	leafLast
	leafAdded
)

func newTokenizer(tokens, merges int) *Tokenizer {
	t := &Tokenizer{merges: newMergeTable(merges), parts: make([][2]int32, tokens)}
	for i := range t.parts {
		t.parts[i][0] = leafUnknown
	}
	return t
}

func (t *Tokenizer) setByte(b byte, inner, last int32) {
	t.inner[b], t.last[b] = inner, last
	t.parts[inner] = [2]int32{leafInner, int32(b)}
	t.parts[last] = [2]int32{leafLast, int32(b)}
}

func (t *Tokenizer) addMerges(merges [][2]string, tokens []string, ids map[string]int32) error {
	product := int32(0)
	for i, m := range merges {
		if m[0] == "" || m[1] == "" {
			return &mergeError{i, "one side is empty"}
		}
		left, ok := ids[m[0]]
		if !ok {
			return &mergeError{i, fmt.Sprintf("%q is not in the vocabulary", m[0])}
		}
		right, ok := ids[m[1]]
		if !ok {
			return &mergeError{i, fmt.Sprintf("%q is not in the vocabulary", m[1])}
		}
		// The products mostly follow each other.
		if product++; int(product) >= len(tokens) || !isJoin(tokens[product], m) {
			product, ok = ids[m[0]+m[1]]
		}
		if !ok {
			return &mergeError{i, fmt.Sprintf("%q and %q make %q, which is not in the vocabulary", m[0], m[1], m[0]+m[1])}
		}
		if !t.merges.add(left, right, product) {
			return &mergeError{i, fmt.Sprintf("%q and %q are merged before", m[0], m[1])}
		}
		if t.parts[product][0] == leafUnknown {
			t.parts[product] = [2]int32{left, right}
		}
	}
	return nil
}

// isJoin reports whether token is the two of m in a row.
func isJoin(token string, m [2]string) bool {
	n := len(m[0])
	return len(token) == n+len(m[1]) && token[:n] == m[0] && token[n:] == m[1]
}

func (t *Tokenizer) addTokens(added []AddedToken, ids map[string]int32) error {
	t.bos, t.eot = -1, -1
	for _, a := range added {
		id, ok := ids[a.Content]
		switch {
		case a.Content == "":
			return errors.New("an added token is empty")
		case !ok:
			return fmt.Errorf("added token %q is not in the vocabulary", a.Content)
		}
		t.addToken(a, id)
	}
	for _, special := range []string{startOfText, endOfText} {
		id, ok := ids[special]
		if !ok {
			return fmt.Errorf("the vocabulary lacks %s", special)
		}
		if special == startOfText && t.bos < 0 || special == endOfText && t.eot < 0 {
			t.addToken(AddedToken{Content: special}, id)
		}
	}
	return nil
}

func (t *Tokenizer) addToken(a AddedToken, id int32) {
	switch a.Content {
	case startOfText:
		t.bos = id
	case endOfText:
		t.eot = id
	}
	if t.parts[id][0] == leafUnknown {
		t.parts[id][0] = leafAdded
	}
	if a.Normalized {
		// The normaliser also goes over the token. Its white space is not kept apart here, so that such a token is
		// found only where the text has the same.
		s := new(scratch)
		t.normalized.add(addedToken{string(s.cleanHF(nil, a.Content)), id})
		return
	}
	t.raw.add(addedToken{a.Content, id})
}

// vocabOfMerges returns the vocabulary that CLIP derives from its merge list: the symbols of the bytes, the same at
// the end of a word, the merges' products in order, the two special tokens.
func vocabOfMerges(merges [][2]string) Vocab {
	tokens := make([]string, 0, 512+len(merges)+2)
	order := byteOrder()
	for _, end := range []string{"", wordEnd} {
		for _, b := range order {
			tokens = append(tokens, string(byteSymbol(b))+end)
		}
	}
	for _, m := range merges {
		tokens = append(tokens, strings.Join(m[:], ""))
	}
	return Vocab{Tokens: append(tokens, startOfText, endOfText), Merges: merges}
}
