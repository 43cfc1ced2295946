package tokenizer

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"isearle/weights/golden"
)

// row is a string with the ids that the references give it.
type row struct {
	Text     string
	HF       []int32
	OpenAI   []int32 // only where it differs from HF
	Mojibake bool    // OpenAI's ids are those of a repaired encoding
}

func readRows(tb testing.TB, path string) []row {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var rows []row
	for d := json.NewDecoder(z); d.More(); {
		var r row
		if err := d.Decode(&r); err != nil {
			tb.Fatal(err)
		}
		if r.OpenAI == nil {
			r.OpenAI = r.HF
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		tb.Fatalf("%s: no rows", path)
	}
	return rows
}

// checkRows compares the ids under both rules, and the first few differences in words.
func checkRows(t *testing.T, tok *Tokenizer, rows []row) {
	t.Helper()
	wrong := 0
	for _, r := range rows {
		for _, c := range []struct {
			rules Rules
			want  []int32
		}{{HF, r.HF}, {OpenAI, r.OpenAI}} {
			got := tok.Encode(r.Text, c.rules)
			if slices.Equal(got, c.want) || c.rules == OpenAI && r.Mojibake {
				continue
			}
			if wrong++; wrong <= 10 {
				t.Errorf("%v: %+q\n got %v %q\nwant %v %q", c.rules, r.Text, got, tok.Decode(got), c.want, tok.Decode(c.want))
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d differ", wrong, 2*len(rows))
	}
}

func mustLoad(tb testing.TB, path ...string) *Tokenizer {
	tb.Helper()
	tok, err := Load(filepath.Join(path...))
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

func TestGoldenStrings(t *testing.T) {
	dir := golden.Dir(t, "tokenizer")
	checkRows(t, mustLoad(t, dir, "merges_full.txt.gz"), readRows(t, filepath.Join(dir, "strings.jsonl.gz")))
}

// The embedded merges are CLIP's, the ones that made testdata/strings.jsonl.gz, which gen/strings.py put together to
// trip tokenisers up.
func TestHardStrings(t *testing.T) {
	checkRows(t, CLIP(), readRows(t, "testdata/strings.jsonl.gz"))
}

// caption is an entry of golden/clip/captions.json.
type caption struct {
	Text     string
	IDsFull  []int32 `json:"ids_full"`
	IDsSmall []int32 `json:"ids_small"`
	HFSame   bool    `json:"hf_small_same"`
}

func TestGoldenCaptions(t *testing.T) {
	dir := golden.Dir(t, "clip")
	var captions []caption
	golden.JSON(t, filepath.Join(dir, "captions.json"), &captions)
	padded := golden.NPY(t, filepath.Join(dir, "text_ids_small_pad0.npy"))
	context := padded.Shape[1]
	small := mustLoad(t, dir, "tokenizer_small")
	for i, c := range captions {
		if got, _ := CLIP().EncodeContext(nil, c.Text, OpenAI, context); !slices.Equal(got, c.IDsFull) {
			t.Errorf("%q: full\n got %v\nwant %v", c.Text, got, c.IDsFull)
		}
		got, truncated := small.EncodeContext(nil, c.Text, OpenAI, context)
		if !slices.Equal(got, c.IDsSmall) || truncated != (len(small.Encode(c.Text, OpenAI)) > context) {
			t.Errorf("%q: small, truncated %v\n got %v\nwant %v", c.Text, truncated, got, c.IDsSmall)
		}
		if want := padded.Ints(i); !slices.Equal(append(got, make([]int32, context-len(got))...), want) {
			t.Errorf("%q: small\n got %v\nwant %v", c.Text, got, want)
		}
		if hf, _ := small.EncodeContext(nil, c.Text, HF, context); slices.Equal(hf, got) != c.HFSame {
			t.Errorf("%q: hf %v, openai %v, want the same: %v", c.Text, hf, got, c.HFSame)
		}
	}
}

func TestGoldenPrompts(t *testing.T) {
	dir := golden.Dir(t, "clip")
	var prompts []struct {
		Text    string
		Pos     int32
		IDsFull []int32 `json:"ids_full"`
	}
	golden.JSON(t, filepath.Join(dir, "inject_prompts.json"), &prompts)
	padded := golden.NPY(t, filepath.Join(dir, "inject_ids_small_pad0.npy"))
	pos := golden.NPY(t, filepath.Join(dir, "inject_pos.npy"))
	small := mustLoad(t, dir, "tokenizer_small")
	for i, p := range prompts {
		template, err := ParseTemplate(p.Text)
		if err != nil {
			t.Fatal(err)
		}
		ids, rows, _, err := CLIP().AppendPrompt(nil, nil, template.Fill(""), OpenAI, padded.Shape[1])
		if err != nil || !slices.Equal(ids, p.IDsFull) || int(rows[0]) != slices.Index(p.IDsFull, CLIP().Placeholder()) {
			t.Errorf("%q: full, rows %v, %v\n got %v\nwant %v", p.Text, rows, err, ids, p.IDsFull)
		}
		ids, rows, _, err = small.AppendPrompt(nil, nil, template.Fill(""), OpenAI, padded.Shape[1])
		if want := padded.Ints(i); err != nil || !slices.Equal(ids, want[:len(ids)]) || rows[0] != pos.I32[i] || rows[0] != p.Pos {
			t.Errorf("%q: small, rows %v, %v\n got %v\nwant %v", p.Text, rows, err, ids, want)
		}
	}
}
