package tokenizer

import "unicode/utf8"

// class is what the references know of a character. The bits are those that gen/record.py writes.
type class uint16

const (
	letterHF class = 1 << iota
	numberHF
	gapHF
	letterOpenAI
	numberOpenAI
	gapOpenAI
	cased
	caseIgnorable // though it may be cased
	inertHF       // unknown to the normaliser: neither decomposed, composed nor reordered
	inertOpenAI
)

// span is a run of characters of one class.
type span struct {
	first, last rune
	class       class
}

func classOf(r rune) class {
	lo, hi := 0, len(spans)
	for lo < hi {
		if mid := (lo + hi) / 2; spans[mid].last < r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(spans) || r < spans[lo].first {
		return 0
	}
	return spans[lo].class
}

func (c class) kind(rules Rules) kind {
	if rules == OpenAI {
		c >>= 3
	}
	switch {
	case c&letterHF != 0:
		return letter
	case c&numberHF != 0:
		return number
	case c&gapHF != 0:
		return gap
	}
	return other
}

func (c class) inert(rules Rules) bool {
	if rules == OpenAI {
		return c&inertOpenAI != 0
	}
	return c&inertHF != 0
}

// caseRun maps first, first+stride, ..., last to the characters delta further on.
type caseRun struct{ first, last, stride, delta rune }

// lower returns the lower case of r after the mappings in runs.
func lower(r rune, runs []caseRun) rune {
	lo, hi := 0, len(runs)
	for lo < hi {
		if mid := (lo + hi) / 2; runs[mid].last < r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(runs) || r < runs[lo].first || (r-runs[lo].first)%runs[lo].stride != 0 {
		return r
	}
	return r + runs[lo].delta
}

// appendLower appends the lower case of text, which is valid UTF-8, by character under HF and with Greek's final
// sigma under OpenAI.
func appendLower(dst, text []byte, rules Rules) []byte {
	runs := lowerHF[:]
	if rules == OpenAI {
		runs = lowerOpenAI[:]
	}
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			dst = append(dst, lowerASCII(c))
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == 0x130: // the only one that becomes two characters
			dst = append(dst, "i\u0307"...)
		case r == 'Σ' && rules == OpenAI && finalSigma(text, i):
			dst = append(dst, "ς"...)
		default:
			dst = utf8.AppendRune(dst, lower(r, runs))
		}
		i += n
	}
	return dst
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// finalSigma reports whether the sigma at text[i] ends a word (Unicode 3.13, Final_Sigma): a cased character before
// it and none behind it, case-ignorable ones not counted.
func finalSigma(text []byte, i int) bool {
	before, after := text[:i], text[i+len("Σ"):]
	for {
		r, n := utf8.DecodeLastRune(before)
		c := classOf(r)
		if n == 0 || c&(cased|caseIgnorable) == 0 {
			return false
		}
		before = before[:len(before)-n]
		if c&caseIgnorable == 0 {
			break
		}
	}
	for {
		r, n := utf8.DecodeRune(after)
		c := classOf(r)
		if n == 0 || c&(cased|caseIgnorable) == 0 {
			return true
		}
		after = after[n:]
		if c&caseIgnorable == 0 {
			return false
		}
	}
}
