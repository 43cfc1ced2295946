package tokenizer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"isearle/weights/golden"
)

// The forms in which a vocabulary comes give one tokeniser.
func TestGoldenForms(t *testing.T) {
	dir := filepath.Join(golden.Dir(t, "clip"), "tokenizer_small")
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	merges := read("merges.txt")
	// A list that is longer than CLIP's is cut, as OpenAI's own file is.
	clip, err := os.ReadFile(filepath.Join(golden.Dir(t, "tokenizer"), "merges_full.txt.gz"))
	if err != nil {
		t.Fatal(err)
	}
	long := append(gunzip(t, clip), "never used\n"...)
	want := mustLoad(t, dir)
	texts := captions(t)
	for _, c := range []struct {
		name  string
		want  *Tokenizer
		files fstest.MapFS
	}{
		{"tokenizer.json", want, fstest.MapFS{"tokenizer.json": {Data: read("tokenizer.json")}, "vocab.json": {Data: []byte("{}")}}},
		{"vocab.json", want, fstest.MapFS{"vocab.json": {Data: read("vocab.json")}, "merges.txt": {Data: merges}}},
		{"merges.txt", want, fstest.MapFS{"merges.txt": {Data: merges}}},
		{"CRLF", want, fstest.MapFS{"merges.txt": {Data: bytes.ReplaceAll(merges, []byte("\n"), []byte("\r\n"))}}},
		{"no header", want, fstest.MapFS{"merges.txt": {Data: merges[bytes.IndexByte(merges, '\n')+1:]}}},
		{"gz", CLIP(), fstest.MapFS{"merges.txt.gz": {Data: clip}}},
		{"OpenAI", CLIP(), fstest.MapFS{"bpe_simple_vocab_16e6.txt.gz": {Data: gzipped(t, long)}}},
		{"OpenAI, unpacked", CLIP(), fstest.MapFS{"bpe_simple_vocab_16e6.txt": {Data: long}}},
	} {
		got, err := LoadFS(c.files)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.VocabSize() != c.want.VocabSize() || got.BOS() != c.want.BOS() || got.EOT() != c.want.EOT() || got.Placeholder() != c.want.Placeholder() {
			t.Errorf("%s: %d ids, BOS %d, EOT %d, $ %d", c.name, got.VocabSize(), got.BOS(), got.EOT(), got.Placeholder())
		}
		for _, text := range texts {
			if a, b := got.Encode(text, HF), c.want.Encode(text, HF); !slices.Equal(a, b) {
				t.Errorf("%s: %q: %v, want %v", c.name, text, a, b)
			}
		}
	}
}

func gzipped(tb testing.TB, data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func gunzip(tb testing.TB, data []byte) []byte {
	data, err := files{FS: fstest.MapFS{"x.gz": {Data: data}}}.read("x.gz")
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// testdata/added has tokens of every kind that is supported, and the ids that Hugging Face's library gives.
func TestAddedTokens(t *testing.T) {
	tok := mustLoad(t, "testdata/added")
	f, err := os.Open("testdata/added/strings.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if got := tok.Encode(r.Text, HF); !slices.Equal(got, r.HF) {
			t.Errorf("%q: %v, want %v", r.Text, got, r.HF)
		}
	}
}

func TestLoadPath(t *testing.T) {
	for _, name := range []string{"", "vocab.json", "merges.txt", "tokenizer.json"} {
		mustLoad(t, golden.Dir(t, "clip"), "tokenizer_small", name)
	}
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "absent")} {
		if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// edit returns the small tokenizer.json with one piece of it replaced.
func edit(tb testing.TB, old, new string) fstest.MapFS {
	data, err := os.ReadFile("testdata/added/tokenizer.json")
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Contains(data, []byte(old)) {
		tb.Fatalf("no %s in tokenizer.json", old)
	}
	return fstest.MapFS{"tokenizer.json": {Data: bytes.Replace(data, []byte(old), []byte(new), 1)}}
}

func TestLoadErrors(t *testing.T) {
	list := func(name, text string) fstest.MapFS { return fstest.MapFS{name: {Data: []byte(text)}} }
	pair := func(vocab, merges string) fstest.MapFS {
		return fstest.MapFS{"vocab.json": {Data: []byte(vocab)}, "merges.txt": {Data: []byte(merges)}}
	}
	tokens := map[string]int{}
	for id, token := range vocabOfMerges(nil).Tokens {
		tokens[token] = id
	}
	base, err := json.Marshal(tokens)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		files fstest.MapFS
		want  string
	}{
		{list("merges.txt", "#version: 0.2\na b\nab  c\n"), "merges.txt:3: "},
		{list("merges.txt", "a b\nabc\n"), "merges.txt:2: "},
		{list("merges.txt", "a b\n\nab c\n"), "merges.txt:2: "},
		{list("merges.txt", "#version: 0.2\n"), "merges.txt: no merges"},
		{list("merges.txt", "#version: 0.2\na b\nab q!\n"), `merges.txt:3: "q!" is not in the vocabulary`},
		{list("merges.txt", "a b\na b\n"), `token 513 is "ab", as is token 512`},
		{list("merges.txt.gz", "plain text"), "merges.txt.gz: gzip: invalid header"},
		{fstest.MapFS{"merges.txt.gz": {Data: gzipped(t, make([]byte, maxFile+1))}}, "merges.txt.gz: more than 64 MiB"},
		{pair(string(base), "a b\n"), `merges.txt:1: "a" and "b" make "ab", which is not in the vocabulary`},
		{pair(string(base), "#version\n! !\n"), "merges.txt:2: "},
		{list("vocab.json", string(base)), "merges.txt: file does not exist"},
		{pair(`{"a": 0, "b": 2}`, "a b"), `vocab.json: offset 16: the id of "b" is 2, but the vocabulary has 2 tokens`},
		{pair(`{"a": 0, "b": 0}`, "a b"), `"a" and "b" have the same id 0`},
		{pair(`{"a": 0, "a": 1}`, "a b"), `token 1 is "a", as is token 0`},
		{pair(`{"a": 0}`, "a b"), "vocab.json: byte 0x00 needs the tokens"},
		{pair(`{"a": -1}`, "a b"), "offset 6: want an id"},
		{pair(`{"a": 99999999}`, "a b"), "at most 2097151 is supported"},
		{pair(`{"a": 0,}`, "a b"), `offset 8: unexpected '}', want '"'`},
		{pair(`{"a": 0} x`, "a b"), "offset 9: more after the end"},
		{pair(`{"a`, "a b"), "offset 3: unexpected end of a string"},
		{pair(`{"a": 0`, "a b"), "offset 7: unexpected end"},
		{list("tokenizer.json", ""), "tokenizer.json: offset 0: unexpected end"},
		{list("tokenizer.json", "[]"), "tokenizer.json: offset 0: unexpected '['"},
		{edit(t, `"BPE"`, `"Unigram"`), `model: type "Unigram"`},
		{edit(t, `"</w>"`, `""`), "end_of_word_suffix"},
		{edit(t, `"dropout":null`, `"dropout":0.1`), "dropout"},
		{edit(t, `"Lowercase"`, `"Strip"`), "normalizer"},
		{edit(t, `"Removed"`, `"Isolated"`), "pre_tokenizer"},
		{edit(t, `[\\p{N}]`, `[\\p{N}]+`), "pre_tokenizer: pattern"},
		{edit(t, `"single_word":false`, `"single_word":true`), "single_word"},
		{edit(t, `"id":604`, `"id":9999`), `added token "<Cat>s": its id 605 is not the vocabulary's`},
		{edit(t, `"id":604`, `"id":1`), `added token "<Cat>": its id 1 is not the vocabulary's`},
		{edit(t, `"cls":["<|startoftext|>"`, `"cls":["<s>"`), "post_processor"},
		{edit(t, `["i","n"]`, `["i"]`), "merge 0 is not of two tokens"},
		{edit(t, `["i","n"]`, `["i","n","g"]`), "merge 0 is not of two tokens"},
		{edit(t, `["i","n"]`, `["i","n!"]`), `merge 0: "n!" is not in the vocabulary`},
		{edit(t, `["i","n"]`, `["a","n"]`), `merge 2: "a" and "n" are merged before`},
		{edit(t, `"in":512`, `"<z>":512`), `"in", which is not in the vocabulary`},
		{edit(t, `["i","n"],`, ``), `token 512, "in", stands for no byte`},
		{edit(t, `"model":{`, `"model":{"cut":[`), "offset"},
	} {
		if _, err := LoadFS(c.files); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "tokenizer: ") {
			t.Errorf("want %q, got: %v", c.want, err)
		}
	}
}

// Both spellings of merges, and escapes.
func TestTokenizerJSON(t *testing.T) {
	want := mustLoad(t, "testdata/added")
	for _, files := range []fstest.MapFS{
		edit(t, `["i","n"]`, `"i n"`),
		edit(t, `["i","n"]`, `["\u0069", "n"]`),
		edit(t, `"dropout":null`, `"dropout":0`),
		edit(t, `"version":"1.0"`, `"version":{"a":[1,2,{"b":null}]}`),
		edit(t, `<\\|startoftext\\|>|<\\|endoftext\\|>|`, ``),
	} {
		got, err := LoadFS(files)
		if err != nil {
			t.Error(err)
			continue
		}
		const text = "in the <Cat>s beginning"
		if a, b := got.Encode(text, HF), want.Encode(text, HF); !slices.Equal(a, b) {
			t.Errorf("%v, want %v", a, b)
		}
	}
}

func TestNewErrors(t *testing.T) {
	v := vocabOfMerges([][2]string{{"a", "b"}})
	with := func(f func(v *Vocab)) Vocab {
		c := Vocab{slices.Clone(v.Tokens), slices.Clone(v.Merges), nil}
		f(&c)
		return c
	}
	for _, c := range []struct {
		vocab Vocab
		want  string
	}{
		{Vocab{}, "byte 0x00"},
		{with(func(v *Vocab) { v.Merges[0] = [2]string{"", "ab"} }), "one side is empty"},
		{with(func(v *Vocab) { v.Added = []AddedToken{{}} }), "empty"},
		{with(func(v *Vocab) { v.Added = []AddedToken{{Content: "<x>"}} }), `added token "<x>" is not in the vocabulary`},
		{with(func(v *Vocab) { v.Tokens = v.Tokens[:len(v.Tokens)-1] }), "lacks <|endoftext|>"},
		{with(func(v *Vocab) { v.Tokens = append(v.Tokens, "cd") }), `token 515, "cd"`},
		{with(func(v *Vocab) { v.Tokens = make([]string, maxIDs+1) }), "at most"},
	} {
		if _, err := New(c.vocab); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got: %v", c.want, err)
		}
	}
	if _, err := New(v); err != nil {
		t.Error(err)
	}
}
