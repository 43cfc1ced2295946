package search

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"unicode/utf8"
)

// Row is an id and its feature.
type Row struct {
	ID      string
	Feature []float32
}

// maxLine bounds a line of JSONL: 64 MiB hold a feature of maxDim numbers of 60 characters.
const maxLine = 64 << 20

// WriteJSONL writes a row as a line {"id":"...","feature":[...]}. Numbers are the shortest that give the same float32 again.
func WriteJSONL(w io.Writer, r Row) error {
	if !utf8.ValidString(r.ID) {
		return fmt.Errorf("the id %q is not UTF-8 and cannot be written as JSON", r.ID)
	}
	var b bytes.Buffer
	b.WriteString(`{"id":`)
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r.ID); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // Encode's line feed
	b.WriteString(`,"feature":[`)
	line := b.AvailableBuffer()
	for i, v := range r.Feature {
		if !finite(float64(v)) {
			return fmt.Errorf("the feature of %q is not finite and cannot be written as JSON", r.ID)
		}
		if i > 0 {
			line = append(line, ',')
		}
		line = strconv.AppendFloat(line, float64(v), 'g', -1, 32)
	}
	b.Write(append(line, "]}\n"...))
	_, err := w.Write(b.Bytes())
	return err
}

// ReadJSONL reads rows as WriteJSONL writes them, with any spacing and further keys; an id may be a number. Empty lines are
// passed over. All features have the dimension of the first. A Row's feature is valid until the next. name stands for the
// input in errors, which name the line; the first error ends the sequence.
func ReadJSONL(r io.Reader, name string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(nil, maxLine)
		var row jsonRow
		line, dim := 0, 0
		for s.Scan() {
			line++
			if len(bytes.TrimSpace(s.Bytes())) == 0 {
				continue
			}
			out, err := row.parse(s.Bytes(), dim)
			if err != nil {
				yield(Row{}, fmt.Errorf("search: %q: line %d: %w", name, line, err))
				return
			}
			dim = len(out.Feature)
			if !yield(out, nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield(Row{}, fmt.Errorf("search: %q: line %d: %w", name, line+1, err))
		}
	}
}

// jsonRow is a line as it stands.
type jsonRow struct {
	ID      json.RawMessage `json:"id"`
	Feature json.RawMessage `json:"feature"`

	values []float32
}

// parse reads a line whose feature has dimension dim, any if dim is 0.
func (r *jsonRow) parse(line []byte, dim int) (Row, error) {
	r.ID, r.Feature = r.ID[:0], r.Feature[:0]
	if err := json.Unmarshal(line, r); err != nil {
		return Row{}, err
	}
	id, err := jsonID(r.ID)
	if err != nil {
		return Row{}, err
	}
	if err := r.numbers(); err != nil {
		return Row{}, err
	}
	switch n := len(r.values); {
	case n > maxDim:
		return Row{}, fmt.Errorf("a feature of dimension %d; 1 to %d are possible", n, maxDim)
	case dim > 0 && n != dim:
		return Row{}, fmt.Errorf("a feature of dimension %d, the ones before have %d", n, dim)
	}
	return Row{ID: id, Feature: r.values}, nil
}

// numbers reads the feature, which is valid JSON: so what is no list of numbers shows as something that is no number.
func (r *jsonRow) numbers() error {
	list, isList := bytes.CutPrefix(r.Feature, []byte("["))
	list, _ = bytes.CutSuffix(list, []byte("]"))
	if !isList || len(bytes.TrimSpace(list)) == 0 {
		return errors.New(`no "feature", or not a list of numbers`)
	}
	r.values = r.values[:0]
	for part := range bytes.SplitSeq(list, []byte(",")) {
		v, err := strconv.ParseFloat(string(bytes.TrimSpace(part)), 32)
		if err != nil {
			return fmt.Errorf("number %d of the feature: %w", len(r.values), err)
		}
		r.values = append(r.values, float32(v))
	}
	return nil
}

// jsonID reads an id: a string, or a number as it is written.
func jsonID(raw json.RawMessage) (id string, err error) {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", errors.New(`no "id"`)
	case raw[0] == '"':
		err = json.Unmarshal(raw, &id)
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		id = string(raw)
	default:
		return "", fmt.Errorf(`"id" is %.20q, not a string`, raw)
	}
	if err == nil && (id == "" || len(id) > maxID) {
		err = fmt.Errorf("an id of %d bytes; 1 to %d are possible", len(id), maxID)
	}
	return id, err
}
