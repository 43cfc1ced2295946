package eval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// readJSON decodes a file that holds one JSON value; errors name the file, the line and the reason.
func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("eval: %w", err)
	}
	return parseJSON(path, data, v)
}

func parseJSON(path string, data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	offset := int64(-1)
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &wrong):
		offset = wrong.Offset
	}
	entry := ""
	if offset >= 0 {
		offset = min(offset, int64(len(data)))
		entry = fmt.Sprintf("line %d (offset %d)", 1+bytes.Count(data[:offset], []byte("\n")), offset)
	}
	return &DataError{File: path, Entry: entry, Err: err}
}

// keyText is a key of an object with its value.
type keyText struct{ key, value string }

// orderedMap decodes an object of texts in the order of its keys, which in image splits is the gallery's.
type orderedMap []keyText

// UnmarshalJSON implements json.Unmarshaler.
func (m *orderedMap) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return fmt.Errorf("want an object of name to path, not %.20q", data)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var value string
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		*m = append(*m, keyText{key.(string), value})
	}
	_, err = dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// idText is an id that is written as a number or as text.
func idText(raw json.RawMessage) (string, error) {
	var s string
	if json.Unmarshal(raw, &s) == nil && s != "" {
		return s, nil
	}
	var n int64
	if json.Unmarshal(raw, &n) == nil && string(raw) != "null" {
		return strconv.FormatInt(n, 10), nil
	}
	return "", fmt.Errorf("%.40q is no id", raw)
}

// index maps ids to their places and refuses one that occurs twice.
func index(file string, images []Image) (map[string]int, error) {
	at := make(map[string]int, len(images))
	for i, m := range images {
		if j, twice := at[m.ID]; twice {
			return nil, dataError(file, fmt.Sprintf("entry %d", i), "image %q is entry %d already", m.ID, j)
		}
		at[m.ID] = i
	}
	return at, nil
}

// inside joins a path that a data set names to its root; it must not lead out of it.
func inside(file, entry, root, name string) (string, error) {
	clean := strings.TrimPrefix(filepath.ToSlash(name), "./")
	if local := filepath.FromSlash(clean); !filepath.IsLocal(local) || filepath.Clean(local) == "." {
		return "", dataError(file, entry, "the path %q is no file within the data set", name)
	}
	return filepath.Join(root, filepath.FromSlash(clean)), nil
}

// need looks a name up among a gallery's.
func need(at map[string]int, file, entry, role, name string) (int, error) {
	i, ok := at[name]
	if !ok {
		return 0, dataError(file, entry, "%s %q is not in the gallery", role, name)
	}
	return i, nil
}
