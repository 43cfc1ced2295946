package tokenizer

import (
	"bytes"
	"unicode/utf8"
)

// appendPieces splits text, which is clean and in lower case, into the pieces of CLIP's pattern
//
//	<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
//
// and appends their ids to dst. It may stop as soon as it has appended limit of them.
func (t *Tokenizer) appendPieces(dst []int32, text []byte, rules Rules, limit int, s *scratch) []int32 {
	end := len(dst) + min(limit, unlimited-len(dst))
	for len(text) > 0 && len(dst) < end {
		kind, n := kindAt(text, rules)
		switch kind {
		case gap:
			text = text[n:]
			continue
		case other:
			if text[0] == '<' {
				if n := t.appendSpecial(&dst, text, rules, s); n > 0 {
					text = text[n:]
					continue
				}
			}
			if c := contraction(text, rules); c > 0 {
				n = c
				break
			}
			fallthrough
		case letter:
			for n < len(text) {
				k, size := kindAt(text[n:], rules)
				if k != kind {
					break
				}
				n += size
			}
		}
		dst = t.appendWord(dst, text[:n], s)
		text = text[n:]
	}
	return dst
}

// appendWord appends the ids of one piece.
func (t *Tokenizer) appendWord(dst []int32, word []byte, s *scratch) []int32 {
	end := len(word) - 1
	if end == 0 {
		return append(dst, t.last[word[0]])
	}
	symbols := s.symbols[:0]
	for _, b := range word[:end] {
		symbols = append(symbols, t.inner[b])
	}
	s.symbols = append(symbols, t.last[word[end]])
	return t.merges.merge(dst, s.symbols, &s.queue)
}

const (
	startOfText = "<|startoftext|>"
	endOfText   = "<|endoftext|>"
	// longSText is matched by the pattern without regard to case, for U+017F is a variant of s, but is no token.
	longSText = "<|\u017Ftartoftext|>"
)

// appendSpecial appends the ids of the special token's spelling that text starts with and returns its length, 0 when
// there is none.
func (t *Tokenizer) appendSpecial(dst *[]int32, text []byte, rules Rules, s *scratch) int {
	for _, special := range []struct {
		spelling string
		id       int32
	}{{startOfText, t.bos}, {endOfText, t.eot}} {
		n := len(special.spelling)
		if len(text) < n || string(text[:n]) != special.spelling {
			continue
		}
		if rules == OpenAI {
			*dst = append(*dst, special.id)
			return n
		}
		// Hugging Face has cut out the tokens before, and splits such a piece once more by GPT-2's pattern.
		*dst = t.appendWord(*dst, text[:2], s)
		*dst = t.appendWord(*dst, text[2:n-2], s)
		*dst = t.appendWord(*dst, text[n-2:n], s)
		return n
	}
	if rules == OpenAI && bytes.HasPrefix(text, []byte(longSText)) {
		*dst = t.appendWord(*dst, text[:len(longSText)], s)
		return len(longSText)
	}
	return 0
}

// contraction returns the length of the 's, 't, 're, 've, 'm, 'll or 'd that text starts with, 0 when there is none.
func contraction(text []byte, rules Rules) int {
	if text[0] != '\'' || len(text) < 2 {
		return 0
	}
	switch text[1] {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if len(text) > 2 && text[2] == 'e' {
			return 3
		}
	case 'l':
		if len(text) > 2 && text[2] == 'l' {
			return 3
		}
	case "\u017F"[0]:
		if rules == OpenAI && len(text) > 2 && text[2] == "\u017F"[1] {
			return 3
		}
	}
	return 0
}

// kind is what CLIP's pattern takes a character for.
type kind uint8

const (
	other kind = iota
	letter
	number
	gap // white space, which no alternative of the pattern takes
)

// asciiKinds holds for both rules.
var asciiKinds = [utf8.RuneSelf]kind{
	'\t': gap, '\n': gap, '\v': gap, '\f': gap, '\r': gap, ' ': gap,
	'0': number, '1': number, '2': number, '3': number, '4': number,
	'5': number, '6': number, '7': number, '8': number, '9': number,
	'A': letter, 'B': letter, 'C': letter, 'D': letter, 'E': letter, 'F': letter, 'G': letter, 'H': letter, 'I': letter,
	'J': letter, 'K': letter, 'L': letter, 'M': letter, 'N': letter, 'O': letter, 'P': letter, 'Q': letter, 'R': letter,
	'S': letter, 'T': letter, 'U': letter, 'V': letter, 'W': letter, 'X': letter, 'Y': letter, 'Z': letter,
	'a': letter, 'b': letter, 'c': letter, 'd': letter, 'e': letter, 'f': letter, 'g': letter, 'h': letter, 'i': letter,
	'j': letter, 'k': letter, 'l': letter, 'm': letter, 'n': letter, 'o': letter, 'p': letter, 'q': letter, 'r': letter,
	's': letter, 't': letter, 'u': letter, 'v': letter, 'w': letter, 'x': letter, 'y': letter, 'z': letter,
}

// kindAt returns the kind and the length of the character that text starts with.
func kindAt(text []byte, rules Rules) (kind, int) {
	if c := text[0]; c < utf8.RuneSelf {
		return asciiKinds[c], 1
	}
	r, n := utf8.DecodeRune(text)
	return classOf(r).kind(rules), n
}
