package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

const (
	// maxHeader is the limit of the reference implementation (safetensors 0.5, MAX_HEADER_SIZE).
	maxHeader   = 100_000_000
	metadataKey = "__metadata__"
	// maxRank bounds what a shape may hold; torch and numpy stop at 64.
	maxRank = 64
)

// entry is one tensor of a header: the half-open range of its bytes counts from the end of the header.
type entry struct {
	name       string
	dtype      DType
	shape      []int
	begin, end int
}

// header is what stands before the data.
type header struct {
	entries  []entry // in the order of their data
	metadata map[string]string
	size     int // bytes before the data
}

// FormatError is what is wrong with a file, and where.
type FormatError struct {
	File   string // as given to Open or Parse
	Tensor string // the tensor concerned, if one is
	Offset int64  // in the file
	Reason string
}

func (e *FormatError) Error() string {
	if e.Tensor != "" {
		return fmt.Sprintf("safetensors: %q: offset %d: tensor %q: %s", e.File, e.Offset, e.Tensor, e.Reason)
	}
	return fmt.Sprintf("safetensors: %q: offset %d: %s", e.File, e.Offset, e.Reason)
}

// parseHeader reads and checks the header of a whole file.
func parseHeader(data []byte, file string) (*header, error) {
	fail := func(offset int, format string, args ...any) error {
		return &FormatError{File: file, Offset: int64(offset), Reason: fmt.Sprintf(format, args...)}
	}
	if len(data) < 8 {
		return nil, fail(0, "the file has %d bytes, the length of a header takes 8", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader {
		return nil, fail(0, "a header of %d bytes is beyond the limit of %d: not a safetensors file, or a damaged one", n, maxHeader)
	}
	if n > uint64(len(data)-8) {
		return nil, fail(0, "a header of %d bytes does not fit in a file of %d: the file is truncated", n, len(data))
	}
	text := data[8 : 8+n]
	if len(text) < 2 || text[0] != '{' {
		return nil, fail(8, "the header does not begin with '{'")
	}
	if !utf8.Valid(text) {
		return nil, fail(8, "the header is not UTF-8")
	}
	p := headerParser{dec: json.NewDecoder(bytes.NewReader(text)), text: text, file: file}
	p.dec.UseNumber()
	h, err := p.header()
	if err != nil {
		return nil, err
	}
	h.size = 8 + int(n)
	if err := h.checkLayout(len(data)-h.size, file); err != nil {
		return nil, err
	}
	return h, nil
}

// checkLayout orders the entries by their data and makes sure that they fill size bytes without gap or overlap.
func (h *header) checkLayout(size int, file string) error {
	slices.SortStableFunc(h.entries, func(a, b entry) int {
		if a.begin != b.begin {
			return a.begin - b.begin
		}
		return a.end - b.end
	})
	at := 0
	for _, e := range h.entries {
		fail := func(format string, args ...any) error {
			return &FormatError{File: file, Tensor: e.name, Offset: int64(h.size) + int64(e.begin), Reason: fmt.Sprintf(format, args...)}
		}
		switch {
		case e.end > size:
			return fail("its data ends at %d, the file's at %d: the file is truncated", e.end, size)
		case e.begin < at:
			return fail("its data begins at %d, before the end (%d) of the tensor before it", e.begin, at)
		case e.begin > at:
			return fail("its data begins at %d, leaving a gap after %d", e.begin, at)
		}
		at = e.end
	}
	if at != size {
		return &FormatError{File: file, Offset: int64(h.size) + int64(at), Reason: fmt.Sprintf("%d bytes behind the last tensor", size-at)}
	}
	return nil
}

// headerParser reads the JSON token by token, because encoding/json would let a duplicate name pass and lose the order.
type headerParser struct {
	dec  *json.Decoder
	text []byte
	file string
}

func (p *headerParser) fail(tensor, format string, args ...any) error {
	return &FormatError{File: p.file, Tensor: tensor, Offset: 8 + p.dec.InputOffset(), Reason: fmt.Sprintf(format, args...)}
}

func (p *headerParser) header() (*header, error) {
	h := &header{}
	seen := make(map[string]bool)
	err := p.object("", func(name string) error {
		if seen[name] {
			return p.fail("", "the name %q occurs twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			var err error
			h.metadata, err = p.metadata()
			return err
		}
		e, err := p.entry(name)
		h.entries = append(h.entries, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	if rest := bytes.TrimLeft(p.text[p.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, p.fail("", "text behind the header's object")
	}
	return h, nil
}

func (p *headerParser) metadata() (map[string]string, error) {
	m := make(map[string]string)
	err := p.object(metadataKey, func(key string) error {
		if _, ok := m[key]; ok {
			return p.fail(metadataKey, "the key %q occurs twice", key)
		}
		t, err := p.token(metadataKey)
		if err != nil {
			return err
		}
		s, ok := t.(string)
		if !ok {
			return p.fail(metadataKey, "the value of %q is not a string", key)
		}
		m[key] = s
		return nil
	})
	return m, err
}

func (p *headerParser) entry(name string) (entry, error) {
	e := entry{name: name}
	var offsets []int
	seen := make(map[string]bool, 3)
	err := p.object(name, func(key string) (err error) {
		if seen[key] {
			return p.fail(name, "the key %q occurs twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			e.dtype, err = p.dtype(name)
		case "shape":
			e.shape, err = p.ints(name, key, maxRank)
		case "data_offsets":
			offsets, err = p.ints(name, key, 2)
		default:
			err = p.fail(name, "unknown key %q", key)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return e, p.fail(name, "%q is missing", key)
		}
	}
	if len(offsets) != 2 || offsets[1] < offsets[0] {
		return e, p.fail(name, "data_offsets %v are not a range", offsets)
	}
	e.begin, e.end = offsets[0], offsets[1]
	size, ok := byteSize(e.dtype, e.shape)
	if !ok {
		return e, p.fail(name, "the size of %v %v overflows", e.dtype, e.shape)
	}
	if size != e.end-e.begin {
		return e, p.fail(name, "%v %v takes %d bytes, data_offsets give it %d", e.dtype, e.shape, size, e.end-e.begin)
	}
	return e, nil
}

// byteSize returns the bytes of a tensor; ok is false when they overflow an int.
func byteSize(d DType, shape []int) (size int, ok bool) {
	if slices.Contains(shape, 0) {
		return 0, true
	}
	size = d.Size()
	for _, n := range shape {
		if n < 0 || size > math.MaxInt/n {
			return 0, false
		}
		size *= n
	}
	return size, true
}

func (p *headerParser) dtype(tensor string) (DType, error) {
	t, err := p.token(tensor)
	if err != nil {
		return Invalid, err
	}
	s, ok := t.(string)
	if !ok {
		return Invalid, p.fail(tensor, "dtype is not a string")
	}
	d, err := ParseDType(s)
	if err != nil {
		return Invalid, p.fail(tensor, "%v", err)
	}
	return d, nil
}

// ints reads an array of at most limit whole numbers that are not negative.
func (p *headerParser) ints(tensor, key string, limit int) ([]int, error) {
	if t, err := p.token(tensor); err != nil {
		return nil, err
	} else if t != json.Delim('[') {
		return nil, p.fail(tensor, "%s is not an array", key)
	}
	out := []int{}
	for {
		t, err := p.token(tensor)
		if err != nil {
			return nil, err
		}
		if t == json.Delim(']') {
			return out, nil
		}
		number, ok := t.(json.Number)
		if !ok {
			return nil, p.fail(tensor, "%s holds something that is not a number", key)
		}
		n, err := strconv.ParseUint(string(number), 10, strconv.IntSize-1)
		if err != nil {
			return nil, p.fail(tensor, "%s holds %s, not a whole number in range", key, number)
		}
		if len(out) == limit {
			return nil, p.fail(tensor, "%s has more than %d numbers", key, limit)
		}
		out = append(out, int(n))
	}
}

// object reads an object and calls value, which must consume one value, for each key.
func (p *headerParser) object(tensor string, value func(key string) error) error {
	if t, err := p.token(tensor); err != nil {
		return err
	} else if t != json.Delim('{') {
		return p.fail(tensor, "not a JSON object")
	}
	for {
		t, err := p.token(tensor)
		if err != nil {
			return err
		}
		if t == json.Delim('}') {
			return nil
		}
		if err := value(t.(string)); err != nil { // encoding/json accepts nothing but strings here
			return err
		}
	}
}

func (p *headerParser) token(tensor string) (json.Token, error) {
	t, err := p.dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, p.fail(tensor, "%v", err)
	}
	return t, nil
}
