package bpe

import (
	"errors"
	"fmt"

	"github.com/sugarme/tokenizer"
)

// symbol returns the character that stands for a byte in byte-level vocabularies: the printable Latin-1 characters stand
// for themselves, the others are U+0100 and up in order.
func symbol(b byte) rune {
	switch {
	case b > ' ' && b < 0x7F, b > 0xA0 && b != 0xAD:
		return rune(b)
	case b <= ' ':
		return 0x100 + rune(b)
	case b <= 0xA0:
		return 0x121 + rune(b-0x7F)
	}
	return 0x143
}

// alphabet finds the byte of a symbol.
type alphabet map[rune]byte

func newAlphabet() alphabet {
	a := make(alphabet, 256)
	for b := range 256 {
		a[symbol(byte(b))] = byte(b)
	}
	return a
}

// merge is what becomes of a pair of adjacent symbols, and when.
type merge struct{ rank, product int32 }

// model implements tokenizer.Model over words of plain text: it maps bytes to symbols itself, so that the library's
// bookkeeping of changed characters is not needed.
type model struct {
	tokens []string // by id
	ids    map[string]int
	leaves [256]int32 // ids of the bytes
	merges map[[2]int32]merge
}

var errModel = errors.New("a vocabulary is read-only")

// newModel checks a vocabulary: every byte needs its symbol, and a merge's sides and product must be tokens.
func newModel(tokens []string, pairs [][2]string) (*model, error) {
	m := &model{tokens: tokens, ids: make(map[string]int, len(tokens)), merges: make(map[[2]int32]merge, len(pairs))}
	for id, t := range tokens {
		if first, double := m.ids[t]; double {
			return nil, fmt.Errorf("token %d is %q, as is token %d", id, t, first)
		}
		m.ids[t] = id
	}
	for b := range 256 {
		id, ok := m.ids[string(symbol(byte(b)))]
		if !ok {
			return nil, fmt.Errorf("byte %#02x needs the token %q", b, string(symbol(byte(b))))
		}
		m.leaves[b] = int32(id)
	}
	for rank, p := range pairs {
		if err := m.addMerge(int32(rank), p); err != nil {
			return nil, &mergeError{rank, err}
		}
	}
	return m, nil
}

// mergeError is a merge that does not fit its vocabulary.
type mergeError struct {
	index int
	err   error
}

func (e *mergeError) Error() string { return fmt.Sprintf("merge %d: %v", e.index, e.err) }
func (e *mergeError) Unwrap() error { return e.err }

func (m *model) addMerge(rank int32, p [2]string) error {
	var ids [3]int32
	for i, s := range []string{p[0], p[1], p[0] + p[1]} {
		id, ok := m.ids[s]
		if !ok {
			return fmt.Errorf("%q is not in the vocabulary", s)
		}
		ids[i] = int32(id)
	}
	pair := [2]int32{ids[0], ids[1]}
	if _, double := m.merges[pair]; double {
		return fmt.Errorf("%q and %q are merged before", p[0], p[1])
	}
	m.merges[pair] = merge{rank, ids[2]}
	return nil
}

// Tokenize implements tokenizer.Model: it merges the bytes of a word until no pair is in the list, the pair of lowest rank
// first and the leftmost of equals (Sennrich et al., arXiv 1508.07909). Offsets are bytes of the word.
func (m *model) Tokenize(word string) ([]tokenizer.Token, error) {
	w := newChain(m, word)
	for w.step() {
	}
	out := make([]tokenizer.Token, 0, w.count)
	at := 0
	for i := 0; i < len(word); i = int(w.next[i]) {
		id := w.ids[i]
		end := int(w.next[i])
		out = append(out, tokenizer.Token{Id: int(id), Value: m.tokens[id], Offsets: []int{at, end}})
		at = end
	}
	return out, nil
}

func (m *model) TokenToId(token string) (int, bool) { id, ok := m.ids[token]; return id, ok }

func (m *model) IdToToken(id int) (string, bool) {
	if id < 0 || id >= len(m.tokens) {
		return "", false
	}
	return m.tokens[id], true
}

func (m *model) GetVocab() map[string]int { return m.ids }
func (m *model) GetVocabSize() int        { return len(m.tokens) }

// Save implements tokenizer.Model; vocabularies are not written.
func (m *model) Save(string, ...string) error { return errModel }
