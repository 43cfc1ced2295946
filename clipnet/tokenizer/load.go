package tokenizer

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds a file's size, unpacked. CLIP's tokenizer.json has 4 MB.
const maxFile = 64 << 20

// Load reads a tokeniser from a directory, or from one file of it. A directory has, and these are looked for in this
// order, a tokenizer.json; a vocab.json with its merges.txt; a merges.txt alone, or OpenAI's bpe_simple_vocab_16e6.txt,
// either also with .gz. A merge list alone stands for the vocabulary that CLIP derives from it.
//
// A directory without any of them gives an error that is fs.ErrNotExist. Any other error names the file, the line or
// the offset, and the reason. A tokenizer.json must ask for CLIP's normaliser and pattern.
func Load(path string) (*Tokenizer, error) {
	dir, name := path, ""
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	} else if !info.IsDir() {
		dir, name = filepath.Split(path)
	}
	return load(os.DirFS(filepath.Clean(dir)), dir, name)
}

// LoadFS is Load for the root of a file system, such as an embedded one.
func LoadFS(fsys fs.FS) (*Tokenizer, error) { return load(fsys, "", "") }

// files reads the files of a tokeniser's directory.
type files struct {
	fs.FS
	dir string // for errors
}

func load(fsys fs.FS, dir, name string) (*Tokenizer, error) {
	f := files{fsys, dir}
	names := []string{"tokenizer.json", "vocab.json", "merges.txt", "merges.txt.gz", "bpe_simple_vocab_16e6.txt", "bpe_simple_vocab_16e6.txt.gz"}
	if name != "" {
		names = []string{name}
	}
	for _, name := range names {
		t, err := f.load(name)
		if errors.Is(err, errAbsent) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("tokenizer: %w", err)
		}
		return t, nil
	}
	return nil, fmt.Errorf("tokenizer: %s: no %s: %w", dir, strings.Join(names, ", "), fs.ErrNotExist)
}

// errAbsent is a file that is not there though it may be.
var errAbsent = errors.New("absent")

func (f files) load(name string) (*Tokenizer, error) {
	data, err := f.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, err
	}
	switch {
	case name == "vocab.json":
		return f.loadPair(name, data)
	case strings.HasSuffix(name, ".json"):
		v, err := parseTokenizerJSON(data)
		return f.make(name, v, err, nil)
	}
	merges, err := parseMerges(data)
	if err != nil {
		return nil, f.errorf(name, err)
	}
	// OpenAI's file goes on behind the merges that CLIP uses.
	return f.make(name, vocabOfMerges(merges[:min(len(merges), clipMergeCount)]), nil, data)
}

// clipMergeCount is how many lines of its merge list OpenAI's tokeniser reads: 49152 - 256 - 2.
const clipMergeCount = 48894

// loadPair reads merges.txt, which belongs to vocab.json.
func (f files) loadPair(name string, data []byte) (*Tokenizer, error) {
	r := jsonReader{text: string(data)}
	tokens := r.vocab()
	if err := r.end(); err != nil {
		return nil, f.errorf(name, err)
	}
	const list = "merges.txt"
	data, err := f.read(list)
	if err != nil {
		return nil, err
	}
	merges, err := parseMerges(data)
	if err != nil {
		return nil, f.errorf(list, err)
	}
	t, err := newFromVocab(Vocab{Tokens: tokens, Merges: merges})
	if m := (*mergeError)(nil); errors.As(err, &m) {
		name = list
	}
	return t, f.locate(name, err, data)
}

func (f files) make(name string, v Vocab, err error, list []byte) (*Tokenizer, error) {
	if err != nil {
		return nil, f.errorf(name, err)
	}
	t, err := newFromVocab(v)
	return t, f.locate(name, err, list)
}

// locate names the file in err, and the line of a merge that list has it on.
func (f files) locate(name string, err error, list []byte) error {
	var m *mergeError
	if errors.As(err, &m) && list != nil {
		line := m.index + 1
		if hasHeader(list) {
			line++
		}
		return f.errorf(fmt.Sprintf("%s:%d", name, line), errors.New(m.reason))
	}
	if err == nil {
		return nil
	}
	return f.errorf(name, err)
}

func (f files) errorf(name string, err error) error {
	var l *lineError
	if errors.As(err, &l) {
		return fmt.Errorf("%s:%d: %s", filepath.Join(f.dir, name), l.line, l.reason)
	}
	return fmt.Errorf("%s: %w", filepath.Join(f.dir, name), err)
}

// read returns the content of a file, unpacked when its name ends in .gz.
func (f files) read(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r := io.Reader(file)
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(file); err != nil {
			return nil, f.errorf(name, err)
		}
	}
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, f.errorf(name, err)
	}
	if len(data) > maxFile {
		return nil, f.errorf(name, fmt.Errorf("more than %d MiB", maxFile>>20))
	}
	return data, nil
}

// lineError is a line of a merge list that is none.
type lineError struct {
	line   int
	reason string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.reason) }

// hasHeader reports whether the first line of a merge list only tells its version.
func hasHeader(list []byte) bool {
	first, _, _ := bytes.Cut(list, []byte("\n"))
	return bytes.Contains(first, []byte("#version"))
}

// parseMerges reads a merge list: two tokens a line, the first line perhaps the version.
func parseMerges(list []byte) ([][2]string, error) {
	header := hasHeader(list)
	lines := strings.Split(strings.TrimRight(string(list), "\r\n"), "\n")
	merges := make([][2]string, 0, len(lines))
	for i, line := range lines {
		if i == 0 && header {
			continue
		}
		line = strings.TrimSuffix(line, "\r")
		left, right, ok := strings.Cut(line, " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return nil, &lineError{i + 1, fmt.Sprintf("%.40q: want two tokens with a space between", line)}
		}
		merges = append(merges, [2]string{left, right})
	}
	if len(merges) == 0 {
		return nil, errors.New("no merges")
	}
	return merges, nil
}
