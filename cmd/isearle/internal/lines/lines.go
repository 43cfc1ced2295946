// Package lines reads the lists that commands take: one entry a line, or NUL-separated as find -print0 and xargs -0
// have them.
package lines

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// MaxLength is the length in bytes above which an entry is refused.
const MaxLength = 16 << 20

// All gives the entries of r with their numbers from 1 on, and at last an error that names the place if there is one.
// A line may end in CR LF. What follows the last separator is an entry unless it is empty.
func All(r io.Reader, name string, null bool) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(nil, MaxLength)
		s.Split(bufio.ScanLines)
		if null {
			s.Split(scanNull)
		}
		n := 0
		for s.Scan() {
			n++
			if !yield(Line{n, s.Text()}, nil) {
				return
			}
		}
		switch err := s.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(Line{}, fmt.Errorf("%s: entry %d is longer than %d bytes", name, n+1, MaxLength))
		case err != nil:
			yield(Line{}, fmt.Errorf("read %s: %w", name, err))
		}
	}
}

// Line is an entry and its number from 1 on.
type Line struct {
	Number int
	Text   string
}

func scanNull(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
