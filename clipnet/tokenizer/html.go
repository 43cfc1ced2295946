package tokenizer

import (
	"bytes"
	"html"
	"strings"
	"unicode/utf8"
)

// unescapeHTML returns text with its character references replaced. decode tells what the reference is whose text
// starts behind an ampersand, and how long it is. With again, an ampersand that comes out may start the next one.
func unescapeHTML(text []byte, decode func(ref []byte) (string, int, bool), again bool) []byte {
	at := bytes.IndexByte(text, '&')
	if at < 0 {
		return text
	}
	out := make([]byte, 0, len(text)+8)
	for ; at >= 0; at = bytes.IndexByte(text, '&') {
		out = append(out, text[:at]...)
		text = text[at+1:]
		chars := "&"
		for {
			decoded, n, ok := decode(text)
			if !ok {
				break
			}
			chars, text = decoded, text[n:]
			if !again || chars != "&" {
				break
			}
		}
		out = append(out, chars...)
	}
	return append(out, text...)
}

// charref decodes the character references that Python's html.unescape does, HTML5's: with or without a semicolon,
// and of an unknown name the longest beginning that is known.
func charref(ref []byte) (string, int, bool) {
	if len(ref) > 0 && ref[0] == '#' {
		return numericRef(ref)
	}
	n := 0
	for range 32 {
		if n == len(ref) || strings.IndexByte("\t\n\f <&#;", ref[n]) >= 0 {
			break
		}
		_, size := utf8.DecodeRune(ref[n:])
		n += size
	}
	if n == 0 {
		return "", 0, false
	}
	if n < len(ref) && ref[n] == ';' {
		n++
	}
	if chars, ok := entity(string(ref[:n])); ok {
		return chars, n, true
	}
	const longest = 6 // of the names that do without a semicolon
	for x := min(n-1, longest); x > 1; x-- {
		if chars, ok := entity(string(ref[:x])); ok {
			return chars, x, true
		}
	}
	return "", 0, false
}

// numericRef decodes #123; and #x7B;.
func numericRef(ref []byte) (string, int, bool) {
	n, base := 1, rune(10)
	if len(ref) > 1 && ref[1]|0x20 == 'x' {
		n, base = 2, 16
	}
	start, char := n, rune(0)
	for ; n < len(ref); n++ {
		d := hexDigit(ref[n])
		if d >= base {
			break
		}
		char = min(char*base+d, utf8.MaxRune+1)
	}
	if n == start {
		return "", 0, false
	}
	if n < len(ref) && ref[n] == ';' {
		n++
	}
	return numericChar(char), n, true
}

// hexDigit returns the value of a hexadecimal digit, 16 for anything else.
func hexDigit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return 16
}

// numericChar returns what a numeric reference to c stands for: Windows-1252's characters for C1's, U+FFFD for what is
// no character, nothing for control characters and noncharacters.
func numericChar(c rune) string {
	switch {
	case 0x80 <= c && c < 0xA0:
		return string(windows1252[c-0x80])
	case c == 0 || c > utf8.MaxRune || 0xD800 <= c && c < 0xE000:
		return string(utf8.RuneError)
	case c < ' ' && c != '\t' && c != '\n' && c != '\f' && c != '\r', c == 0x7F,
		0xFDD0 <= c && c < 0xFDF0, c&0xFFFE == 0xFFFE:
		return ""
	}
	return string(c)
}

// entity returns the characters that HTML5 gives a name, which ends in a semicolon or is one of those that need none.
func entity(name string) (string, bool) {
	switch name { // longer than their names, so that the standard library lacks them
	case "nGt;":
		return "≫\u20D2", true
	case "nLt;":
		return "≪\u20D2", true
	}
	chars := html.UnescapeString("&" + name)
	// The standard library also decodes a known beginning of the name, which leaves the rest behind.
	if strings.HasSuffix(name, ";") {
		return chars, name == "semi;" || !strings.HasSuffix(chars, ";")
	}
	return chars, utf8.RuneCountInString(chars) == 1
}

// ftfyEntity decodes the character references that ftfy does: those that end in a semicolon, and names in capitals
// for the capitals of what they stand for in small letters, where HTML has no such name.
func ftfyEntity(ref []byte) (string, int, bool) {
	start := 0
	if len(ref) > 0 && ref[0] == '#' {
		start = 1
	}
	n := start
	for n < len(ref) && (hexDigit(ref[n]) < 10 || 'a' <= ref[n]|0x20 && ref[n]|0x20 <= 'z') {
		n++
	}
	if n == start || n-start > 24 || n == len(ref) || ref[n] != ';' {
		return "", 0, false
	}
	ref = ref[:n+1]
	if start == 1 {
		chars, n, ok := numericRef(ref)
		return chars, n, ok && n == len(ref) && chars != ";"
	}
	name := string(ref)
	if chars, ok := entity(name); ok {
		return chars, len(ref), true
	}
	small := strings.ToLower(name)
	if name != strings.ToUpper(name) {
		return "", 0, false
	}
	if _, _, ok := charref(ref); ok {
		return "", 0, false // as in &AMPX;, which starts with &AMP
	}
	chars, ok := entity(small)
	return upper(chars), len(ref), ok
}

// upper returns chars in capitals, also where these are more characters.
func upper(chars string) string {
	switch chars {
	case "ß":
		return "SS"
	case "ŉ":
		return "ʼN"
	case "ﬀ", "ﬁ", "ﬂ", "ﬃ", "ﬄ":
		return strings.ToUpper(ligatures[[]rune(chars)[0]])
	}
	return strings.ToUpper(chars)
}
