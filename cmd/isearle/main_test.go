package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata")

// result is what a run of the program gave.
type result struct {
	stdout, stderr string
	code           int
}

// call runs the program as a shell would: args begin with its name.
func call(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	env := func(string) string { return "" }
	code := run(t.Context(), args, streams{strings.NewReader(stdin), &out, &errs, env})
	return result{out.String(), errs.String(), code}
}

// must is call for what has to succeed without a word on standard error; it returns standard output.
func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := call(t, stdin, args...)
	if r.code != exitDone || r.stderr != "" {
		t.Fatalf("%s: exit code %d, standard error %q", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// fails checks that a run ends with a code and exactly one line on standard error that holds all of words.
func fails(t *testing.T, r result, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d; standard error %q", r.code, code, r.stderr)
	}
	if strings.Count(r.stderr, "\n") != 1 || !strings.HasSuffix(r.stderr, "\n") {
		t.Errorf("standard error is not one line: %q", r.stderr)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("standard error %q does not say %q", r.stderr, w)
		}
	}
}

func TestHelp(t *testing.T) {
	texts := map[string]string{"isearle": must(t, "", "isearle", "--help")}
	for _, e := range commands() {
		words, file := strings.Fields(e.name), strings.ReplaceAll(e.name, " ", "-")
		texts[file] = must(t, "", append(strings.Fields("isearle-"+e.name), "--help")...)
		if got := must(t, "", append([]string{"isearle", "help"}, words...)...); got != texts[file] {
			t.Errorf("help %s differs from %s --help", e.name, e.name)
		}
		if !strings.Contains(texts[file], "\nExamples:\n") {
			t.Errorf("%s --help has no examples", e.name)
		}
	}
	texts["phi"] = must(t, "", "isearle", "phi", "--help")
	for _, args := range [][]string{{"isearle", "help", "phi"}, {"isearle-phi", "--help"}} {
		if got := must(t, "", args...); got != texts["phi"] {
			t.Errorf("%q differs from isearle phi --help", args)
		}
	}
	for name, got := range texts {
		unchanged(t, filepath.Join("testdata", "help", name+".txt"), got)
		for line := range strings.Lines(got) {
			if len([]rune(line)) > helpColumns+10 {
				t.Errorf("help of %s: long line %q", name, line)
			}
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		unchanged(t, filepath.Join("testdata", "completion", shell+".txt"), must(t, "", "isearle", "completion", shell))
	}
}

// unchanged compares text with a file, or rewrites the file.
func unchanged(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is out of date (go test -update rewrites it); got:\n%s", path, got)
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		word string
	}{
		{[]string{"isearle"}, exitUsage, "no command"},
		{[]string{"isearle", "frobnicate"}, exitUsage, `"frobnicate"`},
		{[]string{"isearle-linux-amd64", "frobnicate"}, exitUsage, `"frobnicate"`},
		{[]string{"isearle", "help", "frobnicate"}, exitUsage, `"frobnicate"`},
		{[]string{"isearle", "phi"}, exitUsage, "train, finetune, info"},
		{[]string{"isearle-phi"}, exitUsage, "train, finetune, info"},
		{[]string{"isearle", "phi", "frobnicate"}, exitUsage, `"phi frobnicate"`},
		{[]string{"isearle", "help", "phi", "frobnicate"}, exitUsage, `"phi frobnicate"`},
		{[]string{"isearle", "tokenize", "--frobnicate"}, exitUsage, "--frobnicate"},
		{[]string{"isearle", "tokenize", "--rules", "clip"}, exitUsage, "clip"},
		{[]string{"isearle", "tokenize", "--context", "1"}, exitUsage, "--context 1"},
		{[]string{"isearle", "tokenize", "a", "b"}, exitUsage, `"b"`},
		{[]string{"isearle", "tokenize", "no-such-file"}, exitFailed, "no-such-file"},
		{[]string{"isearle", "tokenize", "--tokenizer", "no-such-dir"}, exitFailed, "no-such-dir"},
		{[]string{"isearle", "completion", "ksh"}, exitUsage, "bash, zsh, fish"},
		{[]string{"isearle", "version", "1"}, exitUsage, "no arguments"},
	} {
		r := call(t, "", c.args...)
		fails(t, r, c.code, "isearle", c.word)
		if r.stdout != "" {
			t.Errorf("%v wrote %q to standard output", c.args, r.stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	v := must(t, "", "isearle", "version")
	for _, args := range [][]string{{"isearle", "--version"}, {"isearle-tokenize", "--version"}, {"/usr/bin/isearle-version"}, {"./isearle-linux-amd64", "version"}} {
		if got := must(t, "", args...); got != v {
			t.Errorf("%v gives %q, want %q", args, got, v)
		}
	}
	if !strings.HasPrefix(v, "isearle ") {
		t.Errorf("version is %q", v)
	}
}

func TestTokenize(t *testing.T) {
	// The ids of OpenAI's tokeniser, from its README's example and the vocabulary's first rows.
	const want = "[49406,320,1125,539,320,2368,49407]\n[49406,49407]\n"
	for _, stdin := range []string{"a photo of a cat\n\n", "A  photo of a CAT\r\n\r\n"} {
		if got := must(t, stdin, "isearle", "tokenize"); got != want {
			t.Errorf("%q gives %q, want %q", stdin, got, want)
		}
	}
	if got := must(t, "a photo\nof a cat\x00\x00", "isearle-tokenize", "-0", "-"); got != want {
		t.Errorf("NUL-separated: %q", got)
	}
	r := call(t, "a cat\na\n", "isearle", "tokenize", "--context", "3")
	if r.stdout != "[49406,320,49407]\n[49406,320,49407]\n" {
		t.Errorf("--context 3 gives %q", r.stdout)
	}
	fails(t, r, exitDone, "standard input:1", "cut to 3")
	if got := must(t, "a cat\n", "isearle", "tokenize", "--context", "3", "--quiet"); got != "[49406,320,49407]\n" {
		t.Errorf("--quiet: %q", got)
	}
}

// write makes a file.
func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// read returns a file's content.
func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
