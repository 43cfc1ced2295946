// Package journal is a file of phrases that grows by whole lines: {"concept": .., "phrases": [..]}, one concept a line. A run
// that was killed goes on where it was; a line that was not written to its end is cut off.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"isearle/weights/atomicfile"
)

// Line is a concept with its phrases.
type Line struct {
	Concept string   `json:"concept"`
	Phrases []string `json:"phrases"`
}

// Append appends a line as the file has it, with its end.
func (l Line) Append(dst []byte) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(l); err != nil {
		return dst, fmt.Errorf("journal: concept %q: %w", l.Concept, err)
	}
	return b.Bytes(), nil
}

// maxLine bounds a line: 256 phrases of a few hundred bytes fit a hundred times.
const maxLine = 16 << 20

// File is an open journal.
type File struct {
	f    *os.File
	done map[string]int // phrases by concept
	end  int64          // of the whole lines
	buf  []byte
}

// Open opens or creates the file at path and reads the concepts that it has. A whole line that is none of a journal's is an
// error, for then the file is something else.
func Open(path string) (*File, error) {
	f, err := atomicfile.OpenLocked(path)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &File{f: f, done: map[string]int{}}
	if err := j.read(f); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: %s:%w", path, err), f.Close())
	}
	if err := f.Truncate(j.end); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: cut off the last line, which is not whole: %w", err), f.Close())
	}
	return j, nil
}

// read reads whole lines; its errors begin with the line's number.
func (j *File) read(r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	s.Split(wholeLines)
	n := 1
	for ; s.Scan(); n++ {
		var l struct {
			Concept *string  `json:"concept"`
			Phrases []string `json:"phrases"`
		}
		line := s.Bytes()
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("%d: %w", n, err)
		}
		if l.Concept == nil {
			return fmt.Errorf("%d: no concept", n)
		}
		j.done[*l.Concept] = len(l.Phrases)
		j.end += int64(len(line))
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%d: %w", n, err)
	}
	return j.checkRest(n)
}

// lineStart is what every line that this package writes begins with.
const lineStart = `{"concept":"`

// checkRest makes sure that what is to be cut off, the rest behind the whole lines, is a line that was begun.
func (j *File) checkRest(n int) error {
	rest := make([]byte, len(lineStart))
	m, err := j.f.ReadAt(rest, j.end)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%d: %w", n, err)
	}
	if string(rest[:m]) != lineStart[:m] {
		return fmt.Errorf("%d: the file is no list of phrases", n)
	}
	return nil
}

// wholeLines splits into lines with their ends, and leaves out a last one without.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

// Phrases is how many phrases of a concept the file has, and whether it has the concept.
func (j *File) Phrases(concept string) (n int, ok bool) {
	n, ok = j.done[concept]
	return n, ok
}

// Add appends a line with a single write and makes it last.
func (j *File) Add(l Line) error {
	var err error
	if j.buf, err = l.Append(j.buf[:0]); err != nil {
		return err
	}
	if _, err := j.f.WriteAt(j.buf, j.end); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.end += int64(len(j.buf))
	j.done[l.Concept] = len(l.Phrases)
	return nil
}

// Close closes the file.
func (j *File) Close() error { return j.f.Close() }
