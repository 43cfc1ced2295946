package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A jsonReader reads the large parts of a tokeniser's files, a hundred thousand short strings, at ten times the speed
// of encoding/json. What it does not read itself it hands on to that. The first error stays, and ends every loop.
type jsonReader struct {
	text string
	pos  int
	err  error
}

func (r *jsonReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("offset %d: %w", r.pos, fmt.Errorf(format, args...))
	}
}

// peek returns the next byte that is no white space, 0 at the end or after an error.
func (r *jsonReader) peek() byte {
	for r.err == nil && r.pos < len(r.text) {
		switch c := r.text[r.pos]; c {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return c
		}
	}
	return 0
}

func (r *jsonReader) expect(c byte) {
	if got := r.peek(); got != c {
		if r.pos == len(r.text) {
			r.fail("unexpected end, want %q", c)
		}
		r.fail("unexpected %q, want %q", got, c)
		return
	}
	r.pos++
}

// more reads what stands before the next item of an object or array that ends with end. first is true at the start.
func (r *jsonReader) more(end byte, first bool) bool {
	if r.peek() == end {
		r.pos++
		return false
	}
	if !first {
		r.expect(',')
	}
	return r.err == nil
}

// object calls member with each key of an object; member reads the value.
func (r *jsonReader) object(member func(key string)) {
	r.expect('{')
	for first := true; r.more('}', first); first = false {
		key := r.string()
		r.expect(':')
		if r.err == nil {
			member(key)
		}
	}
}

// array calls item for each item of an array; item reads it.
func (r *jsonReader) array(item func()) {
	r.expect('[')
	for first := true; r.more(']', first); first = false {
		item()
	}
}

func (r *jsonReader) string() string {
	r.expect('"')
	start, escaped := r.pos, false
	for ; r.err == nil && r.pos < len(r.text); r.pos++ {
		switch c := r.text[r.pos]; {
		case c == '"':
			s := r.text[start:r.pos]
			r.pos++
			if escaped {
				if err := json.Unmarshal([]byte(r.text[start-1:r.pos]), &s); err != nil {
					r.fail("%w", err)
				}
			}
			return s
		case c == '\\':
			escaped = true
			r.pos++ // over the next one, which may be a quote
		case c < ' ':
			r.fail("control character %#02x in a string", c)
		}
	}
	r.fail("unexpected end of a string")
	return ""
}

// id reads a whole number from 0 to maxIDs-1.
func (r *jsonReader) id() int32 {
	c, n := r.peek(), int32(0)
	if c < '0' || c > '9' {
		r.fail("want an id")
		return 0
	}
	for ; r.pos < len(r.text) && '0' <= r.text[r.pos] && r.text[r.pos] <= '9'; r.pos++ {
		if n = n*10 + int32(r.text[r.pos]-'0'); n >= maxIDs {
			r.fail("id %d or more, at most %d is supported", n, maxIDs-1)
			return 0
		}
	}
	return n
}

// value decodes any value into v as encoding/json does, or skips it when v is nil.
func (r *jsonReader) value(v any) {
	if r.err != nil {
		return
	}
	var raw json.RawMessage
	d := json.NewDecoder(strings.NewReader(r.text[r.pos:]))
	err := d.Decode(&raw)
	if err == nil && v != nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		if s := (*json.SyntaxError)(nil); errors.As(err, &s) {
			r.pos += int(s.Offset)
		}
		r.fail("%w", err)
		return
	}
	r.pos += int(d.InputOffset())
}

// end fails unless everything has been read.
func (r *jsonReader) end() error {
	if r.peek(); r.err == nil && r.pos < len(r.text) {
		r.fail("more after the end")
	}
	return r.err
}

// vocab reads an object of tokens and ids, which are 0, 1, ... in any order.
func (r *jsonReader) vocab() []string {
	type entry struct {
		token string
		id    int32
	}
	var entries []entry
	r.object(func(token string) { entries = append(entries, entry{token, r.id()}) })
	tokens := make([]string, len(entries))
	have := make([]bool, len(entries))
	for _, e := range entries {
		if int(e.id) >= len(entries) {
			r.fail("the id of %q is %d, but the vocabulary has %d tokens", e.token, e.id, len(entries))
		} else if have[e.id] {
			r.fail("%q and %q have the same id %d", tokens[e.id], e.token, e.id)
		} else {
			tokens[e.id], have[e.id] = e.token, true
		}
	}
	return tokens
}

// merges reads a list of pairs of tokens, which are spelt "a b" or ["a", "b"].
func (r *jsonReader) merges() [][2]string {
	var merges [][2]string
	r.array(func() {
		var pair [2]string
		n := 0
		if r.peek() == '"' {
			left, right, ok := strings.Cut(r.string(), " ")
			if pair = [2]string{left, right}; ok {
				n = 2
			}
		} else {
			r.array(func() {
				s := r.string()
				if n < 2 {
					pair[n] = s
				}
				n++
			})
		}
		if n != 2 {
			r.fail("merge %d is not of two tokens", len(merges))
		}
		merges = append(merges, pair)
	})
	return merges
}
