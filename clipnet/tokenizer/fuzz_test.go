package tokenizer

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

func FuzzEncode(f *testing.F) {
	for _, r := range readRows(f, "testdata/strings.jsonl.gz")[:200] {
		f.Add(r.Text)
	}
	f.Add("a\xffb&amp;amp;\x1b[1m")
	tok := CLIP()
	f.Fuzz(func(t *testing.T, text string) {
		for _, rules := range []Rules{HF, OpenAI} {
			ids := tok.Encode(text, rules)
			if slices.Min(ids) < 0 || int(slices.Max(ids)) >= tok.VocabSize() {
				t.Fatalf("%v: ids %v", rules, ids)
			}
			cut, truncated := tok.EncodeContext(nil, text, rules, 9)
			if n := min(len(ids), 9) - 1; truncated != (len(ids) > 9) || !slices.Equal(cut[:n], ids[:n]) || cut[n] != tok.EOT() {
				t.Fatalf("%v: %v, truncated %v; of %v", rules, cut, truncated, ids)
			}
			if words := tok.Decode(ids); !utf8.ValidString(words) {
				t.Fatalf("%v: decoded %q", rules, words)
			} else if isWords(text) && words != strings.Join(strings.Fields(text), " ") {
				t.Fatalf("%v: decoded %q", rules, words)
			}
		}
	})
}

// isWords reports whether decoding gives text back but for its spaces.
func isWords(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r != ' ' && (r < 'a' || r > 'z') })
}

func FuzzTokenizerJSON(f *testing.F) {
	data, err := os.ReadFile("testdata/added/tokenizer.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"added_tokens":[],"model":{"vocab":{"a":0,"b\u0020":1},"merges":["a b",["a","b"]]}}`))
	f.Fuzz(func(t *testing.T, data []byte) { tryLoad(t, fstest.MapFS{"tokenizer.json": {Data: data}}) })
}

func FuzzMergeList(f *testing.F) {
	f.Add([]byte("#version: 0.2\na b\nab c</w>\n"), []byte(`{"a": 0, "b": 1, "ab": 2}`))
	f.Fuzz(func(t *testing.T, list, vocab []byte) {
		tryLoad(t, fstest.MapFS{"merges.txt": {Data: list}})
		tryLoad(t, fstest.MapFS{"merges.txt.gz": {Data: list}})
		tryLoad(t, fstest.MapFS{"merges.txt": {Data: list}, "vocab.json": {Data: vocab}})
	})
}

// tryLoad uses what loads, and wants an error that names a file of what does not.
func tryLoad(t *testing.T, files fstest.MapFS) {
	tok, err := LoadFS(files)
	if err != nil {
		if !strings.HasPrefix(err.Error(), "tokenizer: ") {
			t.Fatal(err)
		}
		return
	}
	ids := tok.Encode("<|startoftext|> a cat, ab abc", HF)
	if slices.Min(ids) < 0 || int(slices.Max(ids)) >= tok.VocabSize() {
		t.Fatalf("ids %v", ids)
	}
	tok.Decode(ids)
}
