// Package tokenizer turns captions into the ids that CLIP's text tower reads: byte-level byte-pair encoding behind one
// of two sets of rules, each reproduced id for id.
//
// [HF] are the rules of Hugging Face's tokenisers; [OpenAI] are those of the tokeniser that OpenAI published with CLIP
// (Radford et al., 2021), which first repairs the text and decodes HTML entities. The two agree on plain English and
// differ on curly quotes, full-width letters, control characters, entities and the like.
//
// The references do not agree on the edition of Unicode, so each rule set classifies, maps and normalises characters
// as its reference does: tokenizers 0.23.3 for HF; regex 2026.11.15, ftfy 6.3.1 and CPython 3.11 for OpenAI. Not
// reproduced: ftfy's repair of text that was decoded with the wrong encoding.
//
// Text that is not valid UTF-8 is read with U+FFFD in the place of each offending byte.
package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Rules chooses the reference that the ids must equal.
type Rules uint8

const (
	// HF are Hugging Face's rules: special tokens are cut out of the raw text where they stand in exactly their own
	// spelling; NFC; lower case by character; the pieces of CLIP's pattern.
	HF Rules = iota
	// OpenAI are the rules of OpenAI's simple_tokenizer.py: ftfy.fix_text, html.unescape twice, lower case by Python's
	// str.lower with its final sigma, the pieces of CLIP's pattern without regard to case. A special token's
	// spelling gives that token when it stands at the start of a piece.
	OpenAI
)

// String returns "hf" or "openai".
func (r Rules) String() string {
	if r == OpenAI {
		return "openai"
	}
	return "hf"
}

// ParseRules is the inverse of String.
func ParseRules(s string) (Rules, error) {
	switch s {
	case "hf":
		return HF, nil
	case "openai":
		return OpenAI, nil
	}
	return 0, fmt.Errorf("tokenizer: rules %q: want hf or openai", s)
}

// A Tokenizer holds a vocabulary and its merges. It does not change once made and may be used from many goroutines.
type Tokenizer struct {
	merges      mergeTable
	inner, last [256]int32 // the symbol of a byte inside a word, and at its end
	parts       [][2]int32 // by id: the two tokens that it merges, or see leaf
	// Tokens that Hugging Face's rules cut out of the raw text, and out of the normalised text.
	raw, normalized tokenSet
	bos, eot        int32
	pool            sync.Pool // of *scratch
}

// BOS returns the id of <|startoftext|>.
func (t *Tokenizer) BOS() int32 { return t.bos }

// EOT returns the id of <|endoftext|>.
func (t *Tokenizer) EOT() int32 { return t.eot }

// Placeholder returns the id of "$" as a word, which [Tokenizer.AppendPrompt] writes where a pseudo-word goes.
func (t *Tokenizer) Placeholder() int32 { return t.last['$'] }

// VocabSize returns the number of ids: those of any text are below it.
func (t *Tokenizer) VocabSize() int { return len(t.parts) }

// Append appends the ids of text to dst, without BOS and EOT, and returns the extended slice.
func (t *Tokenizer) Append(dst []int32, text string, rules Rules) []int32 {
	return t.appendText(dst, text, rules, unlimited)
}

// Encode returns the ids of text between BOS and EOT, however many they are.
func (t *Tokenizer) Encode(text string, rules Rules) []int32 {
	ids := make([]int32, 0, 16)
	return append(t.Append(append(ids, t.bos), text, rules), t.eot)
}

// EncodeContext appends BOS, the ids of text and EOT to dst, at most context ids (CLIP's is 77, and at least 2 are
// needed). Of a longer text the ids that do not fit are left out, EOT stands last as ever, and truncated is true.
func (t *Tokenizer) EncodeContext(dst []int32, text string, rules Rules, context int) (ids []int32, truncated bool) {
	start := len(dst)
	dst = t.appendText(append(dst, t.bos), text, rules, context)
	return t.finish(dst, start, context)
}

// finish puts EOT behind dst[start:], or in the place of the last of the ids that fit into context.
func (t *Tokenizer) finish(dst []int32, start, context int) ([]int32, bool) {
	if len(dst)-start < context {
		return append(dst, t.eot), false
	}
	dst = dst[:start+max(context, 1)]
	dst[len(dst)-1] = t.eot
	return dst, true
}

// unlimited is a limit that no text reaches.
const unlimited = int(^uint(0) >> 1)

// appendText appends the ids of text. It may stop as soon as it has appended limit of them.
func (t *Tokenizer) appendText(dst []int32, text string, rules Rules, limit int) []int32 {
	s := t.scratch()
	defer t.release(s)
	if rules == OpenAI {
		s.text = s.cleanOpenAI(s.text[:0], text)
		return t.appendPieces(dst, s.text, rules, limit, s)
	}
	end := len(dst) + min(limit, unlimited-len(dst))
	for len(dst) < end {
		i, token := findToken(&t.raw, text)
		dst = t.appendHF(dst, text[:i], end-len(dst), s)
		if token == nil {
			break
		}
		dst = append(dst, token.id)
		text = text[i+len(token.content):]
	}
	return dst
}

// appendHF appends the ids of text without the special tokens that are cut out of raw text.
func (t *Tokenizer) appendHF(dst []int32, text string, limit int, s *scratch) []int32 {
	s.text = s.cleanHF(s.text[:0], text)
	rest := s.text
	for len(t.normalized.tokens) > 0 {
		i, token := findToken(&t.normalized, rest)
		if token == nil {
			break
		}
		dst = append(t.appendPieces(dst, rest[:i], HF, limit, s), token.id)
		rest = rest[i+len(token.content):]
	}
	return t.appendPieces(dst, rest, HF, limit, s)
}

// Decode returns the text that ids stand for, words separated by single spaces: lower case, and with spaces around
// punctuation, since CLIP's ids do not tell more. BOS and EOT are left out. A sequence that is not valid UTF-8, and
// an id outside the vocabulary, becomes U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string {
	var b []byte
	for _, id := range ids {
		switch {
		case id == t.bos || id == t.eot:
		case id < 0 || int(id) >= len(t.parts):
			b = utf8.AppendRune(b, utf8.RuneError)
		default:
			b = t.appendToken(b, id)
		}
	}
	return strings.ToValidUTF8(strings.TrimSuffix(string(b), " "), string(utf8.RuneError))
}

func (t *Tokenizer) appendToken(b []byte, id int32) []byte {
	p := t.parts[id]
	switch {
	case p[0] >= 0:
		return t.appendToken(t.appendToken(b, p[0]), p[1])
	case p[0] == leafInner:
		return append(b, byte(p[1]))
	case p[0] == leafLast:
		return append(b, byte(p[1]), ' ')
	}
	for _, a := range slices.Concat(t.raw.tokens, t.normalized.tokens) {
		if a.id == id {
			b = append(append(b, a.content...), ' ')
		}
	}
	return b
}
