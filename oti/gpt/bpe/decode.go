package bpe

import (
	"strings"
	"unicode/utf8"
)

// decoder implements tokenizer.Decoder.
type decoder struct{ letters alphabet }

// Decode joins tokens to a text. Bytes that are no UTF-8 become U+FFFD, one for each maximal part of a character
// (The Unicode Standard, 3.9, U+FFFD Substitution of Maximal Subparts), as in Hugging Face's tokenizers.
func (d decoder) Decode(tokens []string) string {
	var b []byte
	for _, t := range tokens {
		b = d.append(b, t)
	}
	return validUTF8(b)
}

// DecodeChain decodes each token on its own.
func (d decoder) DecodeChain(tokens []string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = validUTF8(d.append(nil, t))
	}
	return out
}

// append appends the bytes of a token; one with characters outside the alphabet, an added token, stands for itself.
func (d decoder) append(dst []byte, token string) []byte {
	start := len(dst)
	for _, r := range token {
		b, ok := d.letters[r]
		if !ok {
			return append(dst[:start], token...)
		}
		dst = append(dst, b)
	}
	return dst
}

func validUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = brokenLen(b)
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}

// brokenLen is the length of the longest beginning of a character that b, which begins with no whole one, begins with.
func brokenLen(b []byte) int {
	for n := min(len(b), utf8.UTFMax-1); n > 1; n-- {
		// A beginning becomes a whole character by further continuation bytes; 0x80 and 0xBF are the extremes.
		for _, tail := range [...]byte{0x80, 0xBF} {
			c := append([]byte(nil), b[:n]...)
			for len(c) < utf8.UTFMax {
				c = append(c, tail)
				if utf8.Valid(c) {
					return n
				}
			}
		}
	}
	return 1
}
