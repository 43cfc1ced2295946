package tokenizer

import (
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// scratch is the working memory of one call.
type scratch struct {
	text, spare, line, fixed []byte
	runes                    []ranked
	symbols                  []int32
	queue                    mergeQueue
	pair                     norm.Iter
	pairText                 [2 * utf8.UTFMax]byte
}

// ranked is a character with its canonical combining class.
type ranked struct {
	r   rune
	ccc uint8
}

// keepScratch is the size of text up to which its working memory is kept for the next call.
const keepScratch = 1 << 16

func (t *Tokenizer) scratch() *scratch {
	if s, ok := t.pool.Get().(*scratch); ok {
		return s
	}
	return new(scratch)
}

func (t *Tokenizer) release(s *scratch) {
	if cap(s.text) <= keepScratch {
		t.pool.Put(s)
	}
}

// cleanHF appends text as Hugging Face's normaliser leaves it, white space apart, which only separates.
func (s *scratch) cleanHF(dst []byte, text string) []byte {
	if isASCII(text) {
		dst = append(dst, text...)
		for i, c := range dst {
			dst[i] = lowerASCII(c)
		}
		return dst
	}
	s.spare = appendValid(s.spare[:0], text)
	return appendLower(dst, s.nfc(s.spare, HF), HF)
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendValid appends text with U+FFFD for each byte that is not part of valid UTF-8.
func appendValid(dst []byte, text string) []byte {
	if utf8.ValidString(text) {
		return append(dst, text...)
	}
	for _, r := range text {
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// nfc returns text, which is valid UTF-8, in normalisation form C, in its own place if it fits.
//
// It takes the characters' properties from x/text, but not the algorithm: norm.Form keeps text stream-safe, breaking
// runs of more than 30 marks, and knows marks that the references' older normalisers leave alone.
func (s *scratch) nfc(text []byte, rules Rules) []byte {
	if norm.NFC.QuickSpan(text) == len(text) {
		return text
	}
	s.runes = appendDecomposed(s.runes[:0], text, rules)
	reorder(s.runes)
	out := text[:0]
	for _, c := range s.compose(s.runes, rules) {
		out = utf8.AppendRune(out, c.r)
	}
	return out
}

func appendDecomposed(dst []ranked, text []byte, rules Rules) []ranked {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		p := norm.NFD.Properties(text[i:])
		i += n
		switch d := p.Decomposition(); {
		case r >= utf8.RuneSelf && classOf(r).inert(rules):
			dst = append(dst, ranked{r, 0})
		case len(d) == 0:
			dst = append(dst, ranked{r, p.CCC()})
		default:
			for len(d) > 0 {
				r, n := utf8.DecodeRune(d)
				dst = append(dst, ranked{r, norm.NFD.Properties(d).CCC()})
				d = d[n:]
			}
		}
	}
	return dst
}

// reorder sorts each run of marks by combining class (Unicode 3.11, D109).
func reorder(text []ranked) {
	for i := 0; i < len(text); {
		if text[i].ccc == 0 {
			i++
			continue
		}
		start := i
		for i < len(text) && text[i].ccc != 0 {
			i++
		}
		slices.SortStableFunc(text[start:i], func(a, b ranked) int { return int(a.ccc) - int(b.ccc) })
	}
}

// compose composes text in place (Unicode 3.11, D117).
func (s *scratch) compose(text []ranked, rules Rules) []ranked {
	out := text[:0]
	starter := -1
	for _, c := range text {
		// c is blocked when something of its own or a higher class, or a starter, stands between.
		if starter >= 0 && (len(out)-1 == starter || out[len(out)-1].ccc < c.ccc) {
			if r, ok := s.composite(out[starter].r, c.r, rules); ok {
				out[starter].r = r
				continue
			}
		}
		if c.ccc == 0 {
			starter = len(out)
		}
		out = append(out, c)
	}
	return out
}

// composite returns the primary composite of a and b.
func (s *scratch) composite(a, b rune, rules Rules) (rune, bool) {
	if b < utf8.RuneSelf || classOf(b).inert(rules) {
		return 0, false
	}
	in := utf8.AppendRune(s.pairText[:0], a)
	n := len(in)
	in = utf8.AppendRune(in, b)
	if norm.NFC.Properties(in[n:]).BoundaryBefore() {
		return 0, false // b combines with nothing before it
	}
	s.pair.Init(norm.NFC, in)
	c := s.pair.Next()
	r, n := utf8.DecodeRune(c)
	return r, n == len(c) && s.pair.Done() && !classOf(r).inert(rules)
}
