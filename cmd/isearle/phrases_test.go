package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isearle/oti/gpt/journal"
	"isearle/weights/demo"
)

func TestPhrasesGrammar(t *testing.T) {
	dir := t.TempDir()
	list, path := filepath.Join(dir, "concepts.txt"), filepath.Join(dir, "phrases.jsonl")
	if err := os.WriteFile(list, []byte(" robot \n\nred heart\r\nrobot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"isearle", "phrases", "--concepts", list, "-n", "3", "--seed", "4"}
	want := must(t, "", args...)
	if strings.Count(want, "\n") != 2 || !strings.HasPrefix(want, `{"concept":"robot","phrases":["a photo of robot that `) {
		t.Errorf("%s", want)
	}
	for n := range len(want) { // what a killed run leaves
		if err := os.WriteFile(path, []byte(want[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		must(t, "", append(args, "--grammar", "-o", path)...)
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Fatalf("resumed at %d: %q, want %q; %v", n, got, want, err)
		}
	}
	all := must(t, "", "isearle", "phrases", "-n", "1")
	if n := strings.Count(all, "\n"); n != len(demo.Concepts()) {
		t.Errorf("%d concepts of the world, want %d", n, len(demo.Concepts()))
	}
	if got := must(t, "robot\nred heart\n", "isearle", "phrases", "--concepts", "-", "-n", "3", "--seed", "4"); got != want {
		t.Errorf("from standard input: %s", got)
	}
}

func TestPhrasesEndpoint(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"choices":[{"index":0,"text":" sits"},{"index":1,"text":" runs"}]}`)
	}))
	defer s.Close()
	out := must(t, "cat\n", "isearle", "phrases", "--concepts", "-", "--endpoint", s.URL, "-n", "2")
	if want := `{"concept":"cat","phrases":["a photo of cat that sits","a photo of cat that runs"]}` + "\n"; out != want {
		t.Errorf("%s, want %s", out, want)
	}
	var errs bytes.Buffer
	env := func(name string) string { return map[string]string{"KEY": "secret"}[name] }
	code := run(t.Context(), []string{"isearle", "phrases", "--endpoint", s.URL, "--api-key-env", "KEY"}, streams{strings.NewReader(""), &errs, &errs, env})
	if code != exitFailed || !strings.Contains(errs.String(), "401") || strings.Contains(errs.String(), "secret") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

func TestPhrasesModelErrors(t *testing.T) {
	dir := t.TempDir()
	fails(t, call(t, "", "isearle", "phrases", "--model", dir), exitFailed, "tokenizer.json", dir)
	fails(t, call(t, "", "isearle", "phrases", "--model", dir, "--grammar"), exitUsage, "one of")
	fails(t, call(t, "", "isearle", "phrases", "concepts.txt"), exitUsage, "--concepts")
	fails(t, call(t, "", "isearle", "phrases", "-n", "0"), exitUsage, "-n 0")
	fails(t, call(t, "", "isearle", "phrases", "--concepts", filepath.Join(dir, "none.txt")), exitFailed, "none.txt")
	fails(t, call(t, "", "isearle", "phrases", "--endpoint", "host"), exitFailed, "host")
	fails(t, call(t, " \n", "isearle", "phrases", "--concepts", "-"), exitFailed, "no concepts")
	path := filepath.Join(dir, "x.jsonl")
	if err := os.WriteFile(path, []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, call(t, "", "isearle", "phrases", "-o", path), exitFailed, "x.jsonl:1")
	line, err := journal.Line{Concept: "robot", Phrases: []string{"x"}}.Append(nil)
	if err != nil || !json.Valid(line) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, line, 0o600); err != nil {
		t.Fatal(err)
	}
	r := call(t, "robot\n", "isearle", "phrases", "-o", path, "--concepts", "-", "-n", "2")
	if r.code != exitDone || !strings.Contains(r.stderr, "1 phrases") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
}
