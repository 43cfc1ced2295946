package bpe

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// gunzip reads a compressed file of testdata.
func gunzip(tb testing.TB, name string) []byte {
	tb.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// gpt2Files are GPT-2's vocabulary as files; the tokens follow from the merges.
func gpt2Files(tb testing.TB) fstest.MapFS {
	list := gunzip(tb, "merges.txt.gz")
	merges, _, err := parseMerges(list)
	if err != nil {
		tb.Fatal(err)
	}
	vocab, err := json.Marshal(vocabOf(merges))
	if err != nil {
		tb.Fatal(err)
	}
	return fstest.MapFS{"vocab.json": {Data: vocab}, "merges.txt": {Data: list}}
}

// vocabOf numbers the printable bytes, the other bytes, the merges' products and the end of text.
func vocabOf(merges [][2]string) map[string]int {
	ids := map[string]int{}
	for _, printable := range []bool{true, false} {
		for b := range 256 {
			if r := symbol(byte(b)); (r < 0x100) == printable {
				ids[string(r)] = len(ids)
			}
		}
	}
	for _, m := range merges {
		ids[m[0]+m[1]] = len(ids)
	}
	ids[EndOfText] = len(ids)
	return ids
}

func loadGPT2(tb testing.TB) *Tokenizer {
	tb.Helper()
	t, err := Load(gpt2Files(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func TestAgainstHuggingFace(t *testing.T) {
	tok := loadGPT2(t)
	if id, ok := tok.ID(EndOfText); !ok || id != 50256 || tok.Len() != 50257 {
		t.Fatalf("end of text has id %d of %d", id, tok.Len())
	}
	s := bufio.NewScanner(bytes.NewReader(gunzip(t, "strings.jsonl.gz")))
	s.Buffer(nil, 1<<20)
	n := 0
	for ; s.Scan(); n++ {
		var want struct {
			Text string
			IDs  []int32
		}
		if err := json.Unmarshal(s.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		got, err := tok.Encode(want.Text)
		if err != nil || !slices.Equal(got, want.IDs) {
			t.Errorf("text %d, %.80q: ids %v, want %v; %v", n, want.Text, got, want.IDs, err)
		}
		if back := tok.Decode(got, true); back != want.Text {
			t.Errorf("text %d, %.80q: decoded as %.80q", n, want.Text, back)
		}
	}
	if n < 20000 {
		t.Errorf("%d texts", n)
	}
}

func TestDecode(t *testing.T) {
	tok := loadGPT2(t)
	data, err := os.ReadFile("testdata/decoded.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		IDs  []int32
		Text string
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	for _, want := range list {
		if got := tok.Decode(want.IDs, true); got != want.Text {
			t.Errorf("%v: %q, want %q", want.IDs, got, want.Text)
		}
	}
	if got := tok.Decode([]int32{64, 50256, 65, 99999}, false); got != "ab" {
		t.Errorf("special tokens and unknown ids leave %q", got)
	}
}

func TestTokenizerJSON(t *testing.T) {
	files := gpt2Files(t)
	merges, _, _ := parseMerges(files["merges.txt"].Data)
	whole := func(merges any) *fstest.MapFile {
		data, err := json.Marshal(map[string]any{
			"added_tokens":  []any{map[string]any{"id": 50256, "content": EndOfText, "special": true}},
			"normalizer":    nil,
			"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
			"model":         map[string]any{"type": "BPE", "vocab": json.RawMessage(files["vocab.json"].Data), "merges": merges},
		})
		if err != nil {
			t.Fatal(err)
		}
		return &fstest.MapFile{Data: data}
	}
	joined := make([]string, len(merges))
	for i, m := range merges {
		joined[i] = m[0] + " " + m[1]
	}
	const text = "A photo of a \n\n hedgehog that's   <|endoftext|>."
	want, err := loadGPT2(t).Encode(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]fstest.MapFS{
		"pairs":   {"tokenizer.json": whole(merges)},
		"strings": {"tokenizer.json": whole(joined)},
		"OpenAI":  {"encoder.json": files["vocab.json"], "vocab.bpe": files["merges.txt"]},
	} {
		tok, err := Load(f)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := tok.Encode(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: ids %v, want %v; %v", name, got, want, err)
		}
	}
}

// tiny is a vocabulary of the bytes and a few merges.
func tiny(extra string) (vocab, merges string) {
	b, _ := json.Marshal(vocabOf([][2]string{{"a", "b"}, {"ab", "a"}}))
	return strings.TrimSuffix(string(b), "}") + extra + "}", "#version: 0.2\na b\nab a\n"
}

func TestLoadErrors(t *testing.T) {
	vocab, merges := tiny("")
	doubled, _ := tiny(`,"zz":3`)
	far, _ := tiny(`,"zz":300000`)
	for _, c := range []struct {
		name, vocab, merges string
		words               []string
	}{
		{"not JSON", `{"a":`, merges, []string{"vocab.json", "offset"}},
		{"a list", `[]`, merges, []string{"vocab.json", "offset"}},
		{"empty", `{}`, merges, []string{"vocab.json", "byte 0x00"}},
		{"one id twice", doubled, merges, []string{"vocab.json", "id 3"}},
		{"an id too far", far, merges, []string{"vocab.json", "300000"}},
		{"three in a line", vocab, "#version: 0.2\na b\na b c\n", []string{"merges.txt:3"}},
		{"a merge of nothing", vocab, "a b\n\nab a\n", []string{"merges.txt:2"}},
		{"unknown side", vocab, "#version: 0.2\na b\na zz\n", []string{"merges.txt:3", "zz"}},
		{"unknown product", vocab, "a b\nb b\n", []string{"merges.txt:2", "bb"}},
		{"twice", vocab, "a b\na b\n", []string{"merges.txt:2", "before"}},
	} {
		_, err := Load(fstest.MapFS{"vocab.json": {Data: []byte(c.vocab)}, "merges.txt": {Data: []byte(c.merges)}})
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", c.name, err, w)
			}
		}
	}
	if _, err := Load(fstest.MapFS{}); err == nil || !strings.Contains(err.Error(), fs.ErrNotExist.Error()) {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := Load(fstest.MapFS{"vocab.json": {Data: []byte(vocab)}}); err == nil || !strings.Contains(err.Error(), "merges.txt") {
		t.Errorf("no merges: %v", err)
	}
}

func TestTokenizerJSONErrors(t *testing.T) {
	for in, word := range map[string]string{
		`{"model":{"type":"Unigram"}}`:                                                          "Unigram",
		`{"model":{"type":"BPE","end_of_word_suffix":"</w>"}}`:                                  "end_of_word_suffix",
		`{"model":{"type":"BPE"},"pre_tokenizer":{"type":"Whitespace"}}`:                        "pre_tokenizer",
		`{"model":{"type":"BPE"},"normalizer":{"type":"NFC"}}`:                                  "normalizer",
		`{"model":{"merges":["a"]},"pre_tokenizer":{"type":"ByteLevel"}}`:                       "two tokens",
		`{"model":{"merges":[["a"]]},"pre_tokenizer":{"type":"ByteLevel"}}`:                     "1 tokens",
		`{"added_tokens":[{"id":9,"content":"x"}],"pre_tokenizer":{"type":"ByteLevel"}}`:        "id 9",
		`{"added_tokens":[{"content":"x","lstrip":true}],"pre_tokenizer":{"type":"ByteLevel"}}`: "lstrip",
	} {
		_, err := Load(fstest.MapFS{"tokenizer.json": {Data: []byte(in)}})
		if err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "tokenizer.json") {
			t.Errorf("%s: error %v does not say %q", in, err, word)
		}
	}
}

func TestInvalidUTF8(t *testing.T) {
	if _, err := loadGPT2(t).Encode("a\xff"); err == nil {
		t.Error("no error")
	}
}

func FuzzLoad(f *testing.F) {
	vocab, merges := tiny("")
	f.Add(vocab, merges, false)
	f.Add(`{"a":0}`, "a b", false)
	f.Add(`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b",["a","b"]]},"pre_tokenizer":{"type":"ByteLevel"}}`, "", true)
	f.Fuzz(func(t *testing.T, vocab, merges string, whole bool) {
		files := fstest.MapFS{"vocab.json": {Data: []byte(vocab)}, "merges.txt": {Data: []byte(merges)}}
		if whole {
			files = fstest.MapFS{"tokenizer.json": {Data: []byte(vocab)}}
		}
		tok, err := Load(files)
		if err != nil {
			return
		}
		ids, err := tok.Encode("abaab a  b")
		if err != nil || tok.Decode(ids, true) != "abaab a  b" {
			t.Errorf("ids %v, %v", ids, err)
		}
	})
}

func FuzzEncode(f *testing.F) {
	tok := loadGPT2(f)
	for _, s := range []string{"a photo of a cat that's", " \n ", "<|endoftext|>é", "\u0085 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ids, err := tok.Encode(s)
		if err == nil && tok.Decode(ids, true) != s {
			t.Errorf("%q does not come back", s)
		}
	})
}
