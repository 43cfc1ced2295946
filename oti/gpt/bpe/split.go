package bpe

import (
	"unicode"
	"unicode/utf8"

	"github.com/sugarme/tokenizer"
	"github.com/sugarme/tokenizer/normalizer"
)

// splitter implements tokenizer.PreTokenizer: it cuts text into the pieces of GPT-2's pattern
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// which leaves the last of several white spaces to the word behind it, if it is a space. Go's regular expressions have no
// look-ahead.
type splitter struct{}

func (splitter) PreTokenize(text *tokenizer.PreTokenizedString) (*tokenizer.PreTokenizedString, error) {
	return text.Split(func(_ int, n *normalizer.NormalizedString) []tokenizer.SplitIdx {
		var cuts []tokenizer.SplitIdx
		s := n.GetNormalized()
		for at := 0; at < len(s); {
			end := at + pieceLen(s[at:])
			cuts = append(cuts, tokenizer.SplitIdx{Normalized: slice(n, at, end)})
			at = end
		}
		return cuts
	}), nil
}

// slice is n.Slice for a text that no normaliser has changed, at a cost that depends on the slice's length only.
func slice(n *normalizer.NormalizedString, from, to int) *normalizer.NormalizedString {
	align := func(all [][]int) [][]int {
		part := make([][]int, 0, to-from)
		for _, a := range all[from:to] {
			part = append(part, []int{a[0] - from, a[1] - from})
		}
		return part
	}
	s := n.GetNormalized()[from:to]
	return normalizer.NewNormalizedString(s, s, align(n.Alignments()), align(n.AlignmentsOriginal()), n.Shift()+from)
}

type kind uint8

const (
	other kind = iota
	letter
	number
	space
)

func kindAt(s string) (kind, int) {
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case unicode.IsLetter(r), unicode.Is(newerLetters, r):
		return letter, n
	case unicode.IsNumber(r), unicode.Is(newerNumbers, r):
		return number, n
	case unicode.IsSpace(r):
		return space, n
	}
	return other, n
}

// pieceLen is the length of the piece that s, which is not empty, begins with.
func pieceLen(s string) int {
	if n := contraction(s); n > 0 {
		return n
	}
	k, n := kindAt(s)
	if k == space {
		if s[0] != ' ' || len(s) == 1 {
			return spaces(s)
		}
		next, size := kindAt(s[1:])
		if next == space {
			return spaces(s)
		}
		k, n = next, 1+size
	}
	for n < len(s) {
		next, size := kindAt(s[n:])
		if next != k {
			break
		}
		n += size
	}
	return n
}

// spaces is the length of the white space that s begins with, less the last one where something follows several.
func spaces(s string) int {
	n, last := 0, 0
	for n < len(s) {
		k, size := kindAt(s[n:])
		if k != space {
			if n > last {
				return n - last
			}
			return n
		}
		n, last = n+size, size
	}
	return n
}

// contraction is the length of the 's, 't, 're, 've, 'm, 'll or 'd that s begins with, 0 if there is none.
func contraction(s string) int {
	if s[0] != '\'' || len(s) < 2 {
		return 0
	}
	switch s[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) > 2 {
		switch s[1:3] {
		case "re", "ve", "ll":
			return 3
		}
	}
	return 0
}
