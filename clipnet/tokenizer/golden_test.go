package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"isearle/weights/golden"
)

// goldenRow is a line of golden/tokenizer/strings.jsonl.gz.
type goldenRow struct {
	Text     string
	Class    string
	HF       []int32
	OpenAI   []int32 // only where it differs from HF
	Mojibake bool
}

func goldenRows(tb testing.TB) []goldenRow {
	tb.Helper()
	f, err := os.Open(filepath.Join(golden.Dir(tb, "tokenizer"), "strings.jsonl.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var rows []goldenRow
	for d := json.NewDecoder(bufio.NewReader(z)); d.More(); {
		var r goldenRow
		if err := d.Decode(&r); err != nil {
			tb.Fatal(err)
		}
		if r.OpenAI == nil {
			r.OpenAI = r.HF
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		tb.Fatal("no rows")
	}
	return rows
}

func TestGoldenStrings(t *testing.T) {
	vocab, err := Load(filepath.Join(golden.Dir(t, "tokenizer"), "merges_full.txt.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range goldenRows(t) {
		if got := vocab.Encode(r.Text, HF); !slices.Equal(got, r.HF) {
			t.Errorf("hf: %s: %+q\n got %v\nwant %v", r.Class, r.Text, got, r.HF)
		}
		if got := vocab.Encode(r.Text, OpenAI); !slices.Equal(got, r.OpenAI) && !r.Mojibake {
			t.Errorf("openai: %s: %+q\n got %v\nwant %v", r.Class, r.Text, got, r.OpenAI)
		}
	}
}
