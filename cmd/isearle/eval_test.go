package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// evalWorld exports the world inside the program.
func evalWorld(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, "", "isearle", "demo", "--export", dir)
	return dir
}

func TestEval(t *testing.T) {
	dir := evalWorld(t)
	cache, report, submission := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "s.json")
	data := filepath.Join(dir, "objects")
	args := []string{"isearle", "eval", "objects", "--data", data, "--cache", cache, "--resamples", "20"}
	list := filepath.Join(t.TempDir(), "boxes.csv")
	table := must(t, "", append(args, "--report", report, "--seed", "5", "--write-list", list)...)
	for _, want := range []string{"# Object composition", "| phi |", "| image |", "emoji world", "boxes.csv"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	for _, name := range []string{"report.html", "metrics.json", "metrics.csv", "metrics.md", "metrics.svg", "recall.svg", "rankings.jsonl"} {
		if info, err := os.Stat(filepath.Join(report, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	var again struct {
		Computed int `json:"images_computed"`
		Methods  []struct{ Method string }
	}
	out := must(t, "", append(args, "--json", "--method", "text,phi", "--list", list)...)
	if err := json.Unmarshal([]byte(out), &again); err != nil {
		t.Fatal(err)
	}
	if again.Computed != 0 || len(again.Methods) != 2 || again.Methods[0].Method != "text" {
		t.Errorf("the second run gives %+v", again)
	}
	if err := os.Remove(filepath.Join(data, "val2017", "000000000003.png")); err != nil {
		t.Fatal(err)
	}
	r := call(t, "", append(args, "--method", "image", "--quiet")...)
	if r.code != exitFailed || !strings.Contains(r.stdout, "149 of 150") || !strings.Contains(r.stderr, "000000000003.png") {
		t.Errorf("a missing image: exit code %d, %q", r.code, r.stderr)
	}
	fails(t, call(t, "", append(args, "--method", "image", "--strict")...), exitFailed, "strict", "000000000003.png")
	r = call(t, "", "isearle", "eval", "circo", "--data", filepath.Join(dir, "circo"), "--split", "test", "--method", "text",
		"--cache", cache, "--submission", submission)
	if r.code != exitDone {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	references := must(t, "", "isearle", "eval", "circo", "--data", filepath.Join(dir, "circo"), "--references")
	words := filepath.Join(t.TempDir(), "words.safetensors")
	if r := call(t, references, "isearle", "invert", "-o", words, "-"); r.code != exitDone {
		t.Fatalf("invert: exit code %d, %s", r.code, r.stderr)
	}
	both := must(t, "", "isearle", "eval", "circo", "--data", filepath.Join(dir, "circo"), "--words", words, "--method", "phi", "--cache", cache, "--resamples", "20")
	if !strings.Contains(both, "words.safetensors - phi | +0.00 (p 1) |") {
		t.Errorf("phi's pseudo-words from a file give:\n%s", both)
	}
	judged := must(t, "", "isearle", "eval", "circo", "--data", filepath.Join(dir, "circo"), "--predictions", submission, "--resamples", "0")
	if !strings.Contains(judged, "| predictions |") {
		t.Errorf("predictions are judged as:\n%s", judged)
	}
	var lists map[string][]string
	if data, err := os.ReadFile(submission); err != nil || json.Unmarshal(data, &lists) != nil || len(lists) == 0 || len(lists["0"]) != 50 {
		t.Errorf("the submission has %d queries: %v", len(lists), err)
	}
}

func TestEvalUsage(t *testing.T) {
	for _, c := range []struct {
		args, word string
		code       int
	}{
		{"", "fashioniq", exitUsage},
		{"imagenet --data x", "imagenet", exitUsage},
		{"cirr", "--data", exitUsage},
		{"cirr --data x --method magic", "magic", exitUsage},
		{"cirr --data x --method phi,phi", "twice", exitUsage},
		{"cirr --data x --predictions y", "--predictions", exitUsage},
		{"cirr --data x --list y", "--list", exitUsage},
		{"domain --data x --submission y", "no test server", exitUsage},
		{"cirr --data x --method phi --submission y --submission z", "2 --submission", exitUsage},
		{"cirr --data x --template {caption}", "no $", exitUsage},
		{"cirr --data no-such-folder", "no-such-folder", exitFailed},
	} {
		fails(t, call(t, "", append([]string{"isearle", "eval"}, strings.Fields(c.args)...)...), c.code, c.word)
	}
}
