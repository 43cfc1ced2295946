// Package queries reads lists of composed queries: "reference<TAB>caption" lines, or one JSON object a line.
package queries

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"isearle/cmd/isearle/internal/lines"
)

// Query is a query with its place in the list.
type Query struct {
	ID    string // the number of the line where the list gives none
	Image string // path of the reference image; "" for a query by text
	Text  string // the relative caption, or with no image a text of its own
	// Empty says that a caption was given and is empty.
	Empty bool
	// Err says why the line is no query; only ID holds then.
	Err error
}

// All reads queries. A line that begins with a brace is a JSON object with the keys image and text, or reference and
// caption, and perhaps id; any other is an image, or an image and a caption with a tab between. Either may be empty. An
// error of reading ends the sequence, a bad line does not.
func All(r io.Reader, name string) iter.Seq2[Query, error] {
	return func(yield func(Query, error) bool) {
		for line, err := range lines.All(r, name, false) {
			if err != nil {
				yield(Query{}, err)
				return
			}
			q := Parse(line.Text)
			if q.ID == "" {
				q.ID = strconv.Itoa(line.Number)
			}
			if q.Err != nil {
				q.Err = fmt.Errorf("%s:%d: %w", name, line.Number, q.Err)
			}
			if !yield(q, nil) {
				return
			}
		}
	}
}

// Parse reads one line.
func Parse(line string) Query {
	var q Query
	if strings.HasPrefix(strings.TrimLeft(line, " "), "{") {
		q = parseJSON(line)
	} else {
		var tab bool
		q.Image, q.Text, tab = strings.Cut(line, "\t")
		q.Empty = tab
	}
	q.Empty = q.Empty && strings.TrimSpace(q.Text) == ""
	if q.Empty {
		q.Text = ""
	}
	if q.Err == nil && q.Image == "" && q.Text == "" {
		q.Err = errors.New("neither an image nor a caption")
	}
	return q
}

func parseJSON(line string) (q Query) {
	var o struct {
		ID               json.RawMessage
		Image, Reference *string
		Text, Caption    *string
	}
	if err := json.Unmarshal([]byte(line), &o); err != nil {
		return Query{Err: err}
	}
	if o.Image != nil && o.Reference != nil || o.Text != nil && o.Caption != nil {
		return Query{Err: errors.New("image and reference, or text and caption, are two names for the same thing")}
	}
	for _, s := range []*string{o.Image, o.Reference} {
		if s != nil {
			q.Image = *s
		}
	}
	for _, s := range []*string{o.Text, o.Caption} {
		if s != nil {
			q.Text, q.Empty = *s, true
		}
	}
	q.ID, q.Err = identifier(o.ID)
	return q
}

// identifier reads an id: a string, or a number as it is written.
func identifier(raw json.RawMessage) (id string, err error) {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil
	case raw[0] == '"':
		err = json.Unmarshal(raw, &id)
		return id, err
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		return string(raw), nil
	}
	return "", fmt.Errorf("id is %.20q, not a string or a number", raw)
}
