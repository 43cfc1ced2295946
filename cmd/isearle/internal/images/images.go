// Package images finds the image files that a command's arguments name.
package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isearle/cmd/isearle/internal/lines"
)

// Source names image files: each argument is a file, a directory that is searched, or "-" for a list on standard input.
type Source struct {
	Args  []string
	Stdin io.Reader
	Null  bool        // the list's entries end in NUL
	Fail  func(error) // is told what cannot be read; the rest goes on
}

// endings are those of the formats that are decoded.
var endings = []string{".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"}

// Streams says whether standard input is read.
func (s Source) Streams() bool { return slices.Contains(s.Args, "-") }

// All gives the paths in the order of the arguments. A directory gives its image files, told by the endings of their
// names, in the order of their names, its own directories likewise; what is hidden by a dot is left out, and links to
// directories are not followed.
func (s Source) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, arg := range s.Args {
			if arg == "-" {
				if !s.list(yield) {
					return
				}
				continue
			}
			if !s.expand(arg, yield) {
				return
			}
		}
	}
}

func (s Source) list(yield func(string) bool) bool {
	for line, err := range lines.All(s.Stdin, "standard input", s.Null) {
		if err != nil {
			s.Fail(err)
			return true
		}
		if line.Text != "" && !s.expand(line.Text, yield) {
			return false
		}
	}
	return true
}

// errStop ends a walk that the consumer has left.
var errStop = errors.New("stop")

// expand gives a file, or the files of a directory.
func (s Source) expand(path string, yield func(string) bool) bool {
	info, err := os.Stat(path)
	if err != nil {
		s.Fail(err)
		return true
	}
	if !info.IsDir() {
		return yield(path)
	}
	found := false
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			found = true // perhaps: what is wrong has been said
			s.Fail(err)
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case p != path && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || !slices.Contains(endings, strings.ToLower(filepath.Ext(p))):
			return nil
		}
		found = true
		if !yield(p) {
			return errStop
		}
		return nil
	})
	if err == nil && !found {
		s.Fail(fmt.Errorf("directory %q: no images in it", path))
	}
	return err == nil
}
