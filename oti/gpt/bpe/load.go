package bpe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// maxFile bounds a file's size. GPT-2's tokenizer.json has 2 MB.
const maxFile = 64 << 20

// Load reads a tokeniser from the root of a file system, usually os.DirFS(dir): a tokenizer.json; or a vocab.json with its
// merges.txt; or OpenAI's names for the same two, encoder.json and vocab.bpe. Where none of them is, the error is
// fs.ErrNotExist; any other error names the file, the line of a merge, and the reason. A tokenizer.json must ask for GPT-2's
// pipeline.
func Load(fsys fs.FS) (*Tokenizer, error) {
	t, err := load(fsys)
	if err != nil {
		return nil, fmt.Errorf("bpe: %w", err)
	}
	return t, nil
}

func load(fsys fs.FS) (*Tokenizer, error) {
	const whole = "tokenizer.json"
	data, err := read(fsys, whole)
	if err == nil {
		t, err := loadWhole(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", whole, err)
		}
		return t, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, pair := range [][2]string{{"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}} {
		data, err := read(fsys, pair[0])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		list, err := read(fsys, pair[1])
		if err != nil {
			return nil, err
		}
		return loadPair(pair, data, list)
	}
	return nil, fmt.Errorf("no tokenizer.json, vocab.json or encoder.json: %w", fs.ErrNotExist)
}

func loadPair(names [2]string, vocab, list []byte) (*Tokenizer, error) {
	tokens, err := parseTokens(vocab)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", names[0], err)
	}
	merges, first, err := parseMerges(list)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", names[1], err)
	}
	t, err := newFromVocab(Vocab{Tokens: tokens, Merges: merges})
	var m *mergeError
	if errors.As(err, &m) {
		return nil, fmt.Errorf("%s:%d: %w", names[1], first+m.index, m.err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", names[0], err)
	}
	return t, nil
}

func loadWhole(data []byte) (*Tokenizer, error) {
	v, err := parseTokenizerJSON(data)
	if err != nil {
		return nil, err
	}
	return newFromVocab(v)
}

func read(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: more than %d MiB", name, maxFile>>20)
	}
	return data, nil
}

// parseTokens reads a vocabulary, an object of tokens with their ids, which must be 0, 1, 2 ... in any order.
func parseTokens(data []byte) ([]string, error) {
	var ids map[string]int
	if err := json.Unmarshal(data, &ids); err != nil {
		return nil, jsonError(err)
	}
	return order(ids)
}

func order(ids map[string]int) ([]string, error) {
	tokens := make([]string, len(ids))
	taken := make([]bool, len(ids))
	for t, id := range ids {
		switch {
		case id < 0 || id >= len(ids):
			return nil, fmt.Errorf("token %q has id %d; %d tokens need the ids 0 to %d", t, id, len(ids), len(ids)-1)
		case taken[id]:
			return nil, fmt.Errorf("tokens %q and %q have id %d", min(t, tokens[id]), max(t, tokens[id]), id)
		}
		tokens[id], taken[id] = t, true
	}
	return tokens, nil
}

// jsonError adds the offset to an error that knows it.
func jsonError(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("offset %d: %w", syntax.Offset, err)
	case errors.As(err, &kind):
		return fmt.Errorf("offset %d: %w", kind.Offset, err)
	}
	return err
}

// parseMerges reads a merge list: two tokens a line, the first line perhaps the version. It returns the number of the
// first merge's line too. Its errors begin with a line.
func parseMerges(list []byte) (merges [][2]string, first int, err error) {
	first = 1
	if bytes.HasPrefix(list, []byte("#version")) {
		_, list, _ = bytes.Cut(list, []byte("\n"))
		first = 2
	}
	n := first
	for line := range strings.Lines(string(bytes.TrimRight(list, "\r\n"))) {
		left, right, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return nil, 0, fmt.Errorf("%d: %.40q: want two tokens with a space between", n, line)
		}
		merges = append(merges, [2]string{left, right})
		n++
	}
	return merges, first, nil
}

// pair is a merge in either of the spellings of tokenizer.json: "a b" or ["a", "b"].
type pair [2]string

func (p *pair) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var list []string
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		if len(list) != 2 {
			return fmt.Errorf("a merge of %d tokens", len(list))
		}
		*p = pair(list)
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	left, right, ok := strings.Cut(s, " ")
	if !ok || strings.Contains(right, " ") {
		return fmt.Errorf("merge %.40q: want two tokens with a space between", s)
	}
	*p = pair{left, right}
	return nil
}

type addedJSON struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
}

// tokenizerJSON is what matters in Hugging Face's tokenizer.json.
type tokenizerJSON struct {
	Added        []addedJSON     `json:"added_tokens"`
	Normalizer   json.RawMessage `json:"normalizer"`
	PreTokenizer struct {
		Type           string
		AddPrefixSpace bool  `json:"add_prefix_space"`
		UseRegex       *bool `json:"use_regex"`
	} `json:"pre_tokenizer"`
	Model struct {
		Type         string
		Dropout      float64
		Prefix       string `json:"continuing_subword_prefix"`
		Suffix       string `json:"end_of_word_suffix"`
		ByteFallback bool   `json:"byte_fallback"`
		IgnoreMerges bool   `json:"ignore_merges"`
		Vocab        map[string]int
		Merges       []pair
	}
}

func parseTokenizerJSON(data []byte) (Vocab, error) {
	var j tokenizerJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return Vocab{}, jsonError(err)
	}
	if err := j.check(); err != nil {
		return Vocab{}, err
	}
	v := Vocab{Merges: make([][2]string, len(j.Model.Merges))}
	for i, p := range j.Model.Merges {
		v.Merges[i] = p
	}
	ids := j.Model.Vocab
	if ids == nil {
		ids = map[string]int{}
	}
	slices.SortFunc(j.Added, func(a, b addedJSON) int { return a.ID - b.ID })
	for _, a := range j.Added {
		if id, ok := ids[a.Content]; ok && id != a.ID {
			return v, fmt.Errorf("added token %q has id %d, in the vocabulary %d", a.Content, a.ID, id)
		}
		if a.SingleWord || a.LStrip || a.RStrip {
			return v, fmt.Errorf("added token %q: single_word, lstrip and rstrip are not supported", a.Content)
		}
		ids[a.Content] = a.ID
		v.Added = append(v.Added, a.Content)
	}
	var err error
	v.Tokens, err = order(ids)
	return v, err
}

// check refuses a pipeline that is not GPT-2's.
func (j *tokenizerJSON) check() error {
	m, p := &j.Model, &j.PreTokenizer
	switch {
	case m.Type != "BPE" && m.Type != "":
		return fmt.Errorf("model: type %q, want BPE", m.Type)
	case m.Prefix != "" || m.Suffix != "":
		return fmt.Errorf("model: continuing_subword_prefix %q and end_of_word_suffix %q are not supported", m.Prefix, m.Suffix)
	case m.Dropout != 0 || m.ByteFallback || m.IgnoreMerges:
		return errors.New("model: dropout, byte_fallback and ignore_merges are not supported")
	case len(j.Normalizer) > 0 && string(j.Normalizer) != "null":
		return errors.New("normalizer: want none")
	case p.Type != "ByteLevel" || p.AddPrefixSpace || p.UseRegex != nil && !*p.UseRegex:
		return errors.New("pre_tokenizer: want ByteLevel with its own pattern and without prefix space")
	}
	return nil
}
