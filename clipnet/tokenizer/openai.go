package tokenizer

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// cleanOpenAI appends text as OpenAI's basic_clean, whitespace_clean and lower leave it, white space apart, which
// only separates.
func (s *scratch) cleanOpenAI(dst []byte, text string) []byte {
	if isPlain(text) {
		dst = append(dst, text...)
		for i, c := range dst {
			dst[i] = lowerASCII(c)
		}
		return dst
	}
	s.fixed = s.appendFixed(s.fixed[:0], text)
	clean := s.fixed
	for range 2 {
		clean = unescapeHTML(clean, charref, false)
	}
	return appendLower(dst, clean, OpenAI)
}

// isPlain reports whether text is ASCII in which there is nothing to repair or decode.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c >= 0x7F || c == '&' || c < ' ' && asciiKinds[c] != gap || c == '\v' {
			return false
		}
	}
	return true
}

// maxSegment is ftfy's max_decode_length, in characters.
const maxSegment = 1_000_000

// appendFixed appends what ftfy.fix_text makes of text with its default settings, its repair of wrong encodings left
// out. Each line is repaired by itself, and no entity is decoded from the first line on that has a "<".
func (s *scratch) appendFixed(dst []byte, text string) []byte {
	unescape := true
	for len(text) > 0 {
		segment := firstSegment(text)
		text = text[len(segment):]
		unescape = unescape && !strings.Contains(segment, "<")
		dst = append(dst, s.fix(segment, unescape)...)
	}
	return dst
}

// firstSegment returns the first line of text with its line feed, cut to maxSegment characters.
func firstSegment(text string) string {
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i+1]
	}
	if len(text) <= maxSegment {
		return text
	}
	n := 0
	for i := range text {
		if n++; n > maxSegment {
			return text[:i]
		}
	}
	return text
}

// fix repeats ftfy's repairs of one segment until they change nothing.
func (s *scratch) fix(segment string, unescape bool) []byte {
	s.line = appendValid(s.line[:0], segment)
	// All levels of &amp;amp; are decoded at once, or many would take as many rounds. What a round removes could only
	// have come between them at an escape.
	again := !strings.Contains(segment, "\x1B")
	for {
		fixed := s.line
		if unescape {
			fixed = unescapeHTML(fixed, ftfyEntity, again)
		}
		s.spare = appendReplaced(s.spare[:0], fixed)
		s.spare = s.nfc(removeControls(s.spare), OpenAI)
		if bytes.Equal(s.line, s.spare) {
			return s.line
		}
		s.line, s.spare = s.spare, s.line
	}
}

// appendReplaced appends text with the characters replaced that ftfy replaces one by one: C1 control characters by
// what Windows-1252 has in their place, Latin ligatures by their letters, half and full width forms by the usual
// ones, curly quotes by straight ones, line breaks by line feeds.
func appendReplaced(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		switch {
		case r == '\r':
			dst = append(dst, '\n')
			if i < len(text) && text[i] == '\n' {
				i++
			}
		case r < 0x80:
			dst = append(dst, byte(r))
		case r < 0xA0:
			dst = appendStraight(dst, windows1252[r-0x80])
		case r == 0x3000:
			dst = append(dst, ' ')
		case 0xFF01 <= r && r < 0xFFF0:
			dst = appendUsualWidth(dst, text[i-n:i])
		case r == 0x2028 || r == 0x2029:
			dst = append(dst, '\n')
		default:
			if s, ok := ligatures[r]; ok {
				dst = append(dst, s...)
			} else {
				dst = appendStraight(dst, r)
			}
		}
	}
	return dst
}

// appendUsualWidth appends the compatibility form of a half or full width character.
func appendUsualWidth(dst, char []byte) []byte {
	form := norm.NFKD.Properties(char).Decomposition() // none of them composes again
	if form == nil {
		form = char
	}
	for len(form) > 0 {
		r, n := utf8.DecodeRune(form)
		dst, form = appendStraight(dst, r), form[n:]
	}
	return dst
}

func appendStraight(dst []byte, r rune) []byte {
	switch {
	case r == 0x2BC || 0x2018 <= r && r <= 0x201B:
		return append(dst, '\'')
	case 0x201C <= r && r <= 0x201F:
		return append(dst, '"')
	}
	return utf8.AppendRune(dst, r)
}

// windows1252 has the characters of bytes 0x80 to 0x9F; the five that it leaves undefined stay what they are.
var windows1252 = [32]rune{
	0x20AC, 0x81, 0x201A, 0x192, 0x201E, 0x2026, 0x2020, 0x2021, 0x2C6, 0x2030, 0x160, 0x2039, 0x152, 0x8D, 0x17D, 0x8F,
	0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x2DC, 0x2122, 0x161, 0x203A, 0x153, 0x9D, 0x17E, 0x178,
}

// ligatures are those of Latin letters, with the digraphs that Unicode has for the sake of older encodings.
var ligatures = map[rune]string{
	0x132: "IJ", 0x133: "ij", 0x149: "'n", // its apostrophe, U+02BC, is made straight after
	0x1C4: "D\u017D", 0x1C5: "D\u017E", 0x1C6: "d\u017E", 0x1C7: "LJ", 0x1C8: "Lj", 0x1C9: "lj",
	0x1CA: "NJ", 0x1CB: "Nj", 0x1CC: "nj", 0x1F1: "DZ", 0x1F2: "Dz", 0x1F3: "dz",
	0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "\u017Ft", 0xFB06: "st",
}

// removeControls removes, in place, escape sequences of terminals and then the control characters that ftfy takes
// for unintended.
func removeControls(text []byte) []byte {
	out := text[:0]
	for i := 0; i < len(text); {
		if n := terminalEscape(text[i:]); n > 0 {
			i += n
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r < ' ' && r != '\t' && r != '\n' && r != '\f' && r != '\r', r == 0x7F, 0x206A <= r && r <= 0x206F,
			r == 0xFEFF, 0xFFF9 <= r && r <= 0xFFFC:
		default:
			out = append(out, text[i:i+n]...)
		}
		i += n
	}
	return out
}

// terminalEscape returns the length of the sequence ESC [ digits and semicolons, letter that text starts with, 0 when
// there is none. A digit is one of any script, as in Python's \d.
func terminalEscape(text []byte) int {
	if len(text) < 3 || text[0] != 0x1B || text[1] != '[' {
		return 0
	}
	for i := 2; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		switch {
		case 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z':
			return i
		case r != ';' && !unicode.IsDigit(r):
			return 0
		}
	}
	return 0
}
