package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isearle/oti"
)

var lines = []Line{{"a cat", []string{"a photo of a cat that <sits>", "é\u2028"}}, {"none", []string{}}, {"dog", []string{"a photo of dog that runs"}}}

func write(t *testing.T, path string, list []Line) {
	t.Helper()
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, l := range list {
		if _, ok := j.Phrases(l.Concept); ok {
			continue
		}
		if err := j.Add(l); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResume cuts the file at every byte, as a killed run may leave it, and wants the same bytes after another run.
func TestResume(t *testing.T) {
	path := filepath.Join(t.TempDir(), "phrases.jsonl")
	write(t, path, lines)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(want) + 1 {
		if err := os.WriteFile(path, want[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		write(t, path, lines)
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("cut at %d: %q, want %q; %v", n, got, want, err)
		}
	}
	p, err := oti.ReadPhrases(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if got := p.Of(l.Concept); strings.Join(got, "|") != strings.Join(l.Phrases, "|") {
			t.Errorf("%s: OTI reads %q, want %q", l.Concept, got, l.Phrases)
		}
	}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := Open(path); err == nil {
		t.Error("two runs write one file")
	}
}

func TestOpenErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	for _, c := range []struct{ content, word string }{
		{"{\"concept\":\"a\",\"phrases\":[]}\n{\"phrases\":[]}\n", "x.jsonl:2: no concept"},
		{"hello\n", "x.jsonl:1"},
		{"\n", "x.jsonl:1"},
		{"hello", "x.jsonl:1"},
		{"{\"concept\":7}\n", "x.jsonl:1"},
		{strings.Repeat("x", maxLine+1), "x.jsonl:1"},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%.40q: error %v does not say %q", c.content, err, c.word)
		}
		if got, _ := os.ReadFile(path); string(got) != c.content {
			t.Errorf("%.40q: the file was changed", c.content)
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a directory: no error")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("{\"concept\":\"a\",\"phrases\":[\"x\"]}\n{\"con"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(path)
		if err != nil {
			return
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		left, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(data, left) || bytes.Count(left, []byte("\n")) != bytes.Count(data, []byte("\n")) {
			t.Errorf("%q became %q, %v", data, left, err)
		}
	})
}
