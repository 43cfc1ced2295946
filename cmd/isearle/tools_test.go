package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"isearle/weights/demo"
	"isearle/weights/safetensors"
)

// widePicture is a PNG three times as wide as high, with a pattern that a crop changes.
func widePicture(t *testing.T) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, 90, 30))
	for x := range 90 {
		for y := range 30 {
			m.SetGray(x, y, color.Gray{uint8(3*x ^ 5*y)})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readWords reads a file of pseudo-words.
func readWords(t *testing.T, path string) (ids []string, words [][]float32) {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tensor := func(name string) safetensors.Tensor {
		x, ok := f.Tensor(name)
		if !ok {
			t.Fatalf("no tensor %s", name)
		}
		return x
	}
	w := tensor("pseudo_words")
	values, err := w.Float32s(nil)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := tensor("id_ends").Int64s(nil)
	if err != nil {
		t.Fatal(err)
	}
	start := int64(0)
	for i, end := range ends {
		ids = append(ids, string(tensor("ids").Data[start:end]))
		words = append(words, values[i*w.Shape[1]:(i+1)*w.Shape[1]])
		start = end
	}
	return ids, words
}

// The lines must be what benchstat reads: https://go.dev/design/14313-benchmark-format.
func TestBench(t *testing.T) {
	out := must(t, "", "isearle", "bench", "-m", smallModel(t), "--time", "1ns", "--count", "2", "--rows", "100", "--dim", "16", "-j", "1",
		"--row-dtype", "f32,f16", "--passes", "1,2")
	header := regexp.MustCompile(`(?m)^goos: \S+\ngoarch: \S+\npkg: isearle\ndevice: .*\n(.+: .*\n)*model: small.safetensors\npeak-f32-GFLOP/s: [\d.e+]+\n`)
	if !header.MatchString(out) {
		t.Errorf("no header in\n%s", out)
	}
	line := regexp.MustCompile(`^Benchmark([A-Z]\w*)(/[\w-]+=[^\s/]+)+-1\s+\d+\s+\d+ ns/op(\s+[\d.e+-]+ [\w%/-]+)*$`)
	kinds := map[string]int{}
	for l := range strings.Lines(out) {
		if strings.HasPrefix(l, "Benchmark") {
			m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
			if m == nil {
				t.Errorf("line %q", l)
				continue
			}
			kinds[m[1]]++
		}
	}
	if kinds["Embed"] != 6 || kinds["Text"] != 6 || kinds["Search"] != 3*3*2 || kinds["Preprocess"] != 4 || kinds["OTI"] != 2 || kinds["Phi"] != 4 || kinds["PhiTrain"] != 2 || kinds["Op"] < 40 {
		t.Errorf("benchmarks %v", kinds)
	}
	for _, op := range []string{"patchembed", "tokenembed", "layernorm", "linear", "attention", "project", "copyrows", "lineargrad", "layernormgrad",
		"attentiongrad", "weightgrad", "gathersum", "cosineloss", "infonce", "adamw", "multiply", "search", "searchmerge"} {
		if !strings.Contains(out, "/op="+op+"/") {
			t.Errorf("operation %s is not measured", op)
		}
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"speed", []string{"speed"}}, {"--count", []string{"--count", "0"}}, {"--batch", []string{"--batch", "4,0"}},
		{"--row-dtype", []string{"--row-dtype", "i7"}}, {"--passes", []string{"--passes", "3"}}, {"compare", []string{"compare", "a"}}, {"-o", []string{"scaling"}}, {"-o", []string{"embed", "-o", "x"}},
	} {
		fails(t, call(t, "", append([]string{"isearle", "bench"}, c.args...)...), exitUsage, c.says)
	}
	fails(t, call(t, "", "isearle", "bench", "compare", "lost.txt", "lost.txt"), exitFailed, "lost.txt")
	fails(t, call(t, "", "isearle", "bench", "search", "--time", "1ns", "--rows-from", "lost.npy"), exitFailed, "lost.npy")
	fails(t, call(t, "", "isearle", "bench", "text", "--time", "1ns", "-m", smallModel(t), "--captions", "lost.txt"), exitFailed, "lost.txt")
}

// With --json every line is an object; with --turns each but the first waits for a line, and there are no more than lines.
func TestBenchTurns(t *testing.T) {
	bench := []string{"isearle", "bench", "search", "--time", "1ns", "--rows", "10", "--dim", "8", "--batch", "2", "--json", "--turns", "--count"}
	text := must(t, "\n\n\n", append(bench, "3")...)
	objects := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(objects) != 4 {
		t.Fatalf("%d lines, want the header and 3 measurements:\n%s", len(objects), text)
	}
	for i, line := range objects {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if i == 0 && o["device"] == nil || i > 0 && (o["ns/op"] == nil || o["queries/s"] == nil) {
			t.Errorf("line %d is %s", i, line)
		}
	}
	fails(t, call(t, "\n", append(bench, "2")...), exitFailed, "turn")
}

// A benchmark of the start starts this test's binary as the program.
func TestBenchStartup(t *testing.T) {
	t.Setenv(asProgram, "1")
	out := must(t, "", "isearle", "bench", "startup", "-m", smallModel(t), "--time", "1ns")
	if !regexp.MustCompile(`(?m)^BenchmarkStartup/model=small.safetensors/dtype=f32-\d+\s+1\s+\d+ ns/op`).MatchString(out) {
		t.Errorf("startup gives\n%s", out)
	}
}

// The captions and images that are measured can be given.
func TestBenchGiven(t *testing.T) {
	captions := filepath.Join(t.TempDir(), "captions.txt")
	write(t, captions, []byte("a cat\na dog on a sofa\n\nan apple\n"))
	dir, _ := pictures(t, 3)
	out := must(t, "", "isearle", "bench", "text", "preprocess", "-m", smallModel(t), "--time", "1ns", "--captions", captions, "--images", dir)
	for _, want := range []string{"/batch=4-", "/format=png/files=3/"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// --profile, --cpuprofile and --chrome-trace go with every command that runs a model, and change nothing else.
func TestProfiling(t *testing.T) {
	model := smallModel(t)
	dir, _ := pictures(t, 2)
	trace, profile := filepath.Join(t.TempDir(), "trace.json"), filepath.Join(t.TempDir(), "cpu.pprof")
	want := must(t, "", "isearle", "embed", "-m", model, dir)
	r := call(t, "", "isearle", "embed", "-m", model, "--profile", "--chrome-trace", trace, "--cpuprofile", profile, dir)
	if r.code != exitDone || r.stdout != want {
		t.Errorf("exit code %d, and the features are the same: %t", r.code, r.stdout == want)
	}
	for _, word := range []string{"operation", "patchembed", "attention", "linear", "%roof", "roof:"} {
		if !strings.Contains(r.stderr, word) {
			t.Errorf("the profile lacks %q:\n%s", word, r.stderr)
		}
	}
	var o struct{ TraceEvents []struct{ Name string } }
	if err := json.Unmarshal(read(t, trace), &o); err != nil || len(o.TraceEvents) < 10 {
		t.Errorf("a trace of %d events (%v)", len(o.TraceEvents), err)
	}
	if data := read(t, profile); !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) { // gzip
		t.Errorf("a profile of %d bytes", len(data))
	}
	lost := filepath.Join(t.TempDir(), "no", "such", "place")
	for _, flag := range []string{"--chrome-trace", "--cpuprofile"} {
		fails(t, call(t, "", "isearle", "embed", "-m", model, flag, lost, dir), exitFailed, lost)
	}
}

func TestInfo(t *testing.T) {
	model := smallModel(t)
	dir, _ := pictures(t, 3)
	g := filepath.Join(t.TempDir(), "g.isx")
	must(t, "", "isearle", "embed", "-m", model, "-o", g, dir)
	phi := filepath.Join(t.TempDir(), "phi.safetensors")
	data, err := demo.Phi()
	if err != nil {
		t.Fatal(err)
	}
	write(t, phi, data)
	for _, c := range []struct {
		args []string
		says []string
	}{
		{nil, []string{"device", "CPU", "inside the program", "ViT/8"}},
		{[]string{model}, []string{"ViT/16 at 32 x 32", "openai, safetensors", "hash"}},
		{[]string{g}, []string{"3 of 24 elements", "small.safetensors", "32 x 32"}},
		{[]string{phi}, []string{"3 layers"}},
		{[]string{"--card"}, []string{"# "}},
		{[]string{"--licenses"}, []string{"Apache", "MIT"}},
	} {
		out := must(t, "", append([]string{"isearle", "info"}, c.args...)...)
		for _, w := range c.says {
			if !strings.Contains(out, w) {
				t.Errorf("info %v does not say %q:\n%s", c.args, w, out)
			}
		}
	}
	r := call(t, "", "isearle", "info", "--json", model, "lost.isx", g, phi)
	fails(t, r, exitFailed, "lost.isx")
	for line := range strings.Lines(r.stdout) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if n := strings.Count(r.stdout, "\n"); n != 3 {
		t.Errorf("%d objects", n)
	}
}

// A model converted to every layout and back gives the features it gave.
func TestConvert(t *testing.T) {
	model := smallModel(t)
	dir, _ := pictures(t, 3)
	t.Chdir(t.TempDir())
	features := func(model string) string {
		return must(t, "", "isearle", "embed", "-m", model, dir) + must(t, "a cat\n", "isearle", "embed", "-m", model, "--text")
	}
	want := features(model)
	from := model
	for _, c := range [][]string{{"hf/", "--layout", "hf"}, {"clip.pt", "--layout", "openclip"}, {"text", "--layout", "openclip-text"}, {"back.safetensors", "--layout", "openai", "--dtype", "f32"}} {
		must(t, "", append([]string{"isearle", "convert", from}, c...)...)
		from = c[0]
		if features(from) != want {
			t.Errorf("converted to %v, the model gives other features", c)
		}
	}
	must(t, "", "isearle", "convert", "--dtype", "bf16", model, "small.safetensors")
	if a, b := len(read(t, model)), len(read(t, "small.safetensors")); b > a*6/10 {
		t.Errorf("bf16 takes %d bytes, f32 %d", b, a)
	}
	data, err := demo.Phi()
	if err != nil {
		t.Fatal(err)
	}
	write(t, "phi.safetensors", data)
	must(t, "", "isearle", "convert", "phi.safetensors", "again.safetensors")
	fails(t, call(t, "", "isearle", "convert", "phi.safetensors", "phi.pt"), exitUsage, "phi.pt")
	must(t, "", "isearle", "convert", "--dtype", "f16", "again.safetensors", "f16.safetensors")
	if a, b := len(read(t, "again.safetensors")), len(read(t, "f16.safetensors")); b > a*6/10 {
		t.Errorf("a phi in f16 takes %d bytes, in f32 %d", b, a)
	}
	must(t, "", "isearle", "convert", "f16.safetensors", "widened.safetensors")
	if !bytes.Equal(read(t, "widened.safetensors"), read(t, "again.safetensors")) {
		t.Error("the embedded phi, which is of f16, is another one after f32, f16 and f32 again")
	}
	fails(t, call(t, "", "isearle", "convert", "--layout", "hf", "phi.safetensors", "x.safetensors"), exitUsage, "--layout")
	fails(t, call(t, "", "isearle", "convert", "lost.pt", "x.safetensors"), exitFailed, "lost.pt")
	fails(t, call(t, "", "isearle", "convert", "phi.safetensors"), exitUsage, "IN and OUT")
}

// The script is run as bash runs it when a key is pressed.
func TestBashCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	script := filepath.Join(t.TempDir(), "isearle.bash")
	write(t, script, []byte(must(t, "", "isearle", "completion", "bash")))
	for _, c := range []struct{ words, want string }{
		{"isearle sea", "search"},
		{"isearle embed --ru", "--rules"},
		{"isearle embed --rules o", "openai"},
		{"isearle embed --rules = h", "hf"},
		{"isearle-search --exclude-", "--exclude-reference"},
		{"isearle completion z", "zsh"},
		{"isearle phi t", "train"},
		{"isearle-phi i", "info"},
		{"isearle phi train --arch r", "residual"},
		{"isearle-phi train --tau", "--tau"},
		{"isearle phi info --arc", ""},
		{"isearle embed photo", ""}, // left to the shell
		{"isearle embed -o x", ""},
	} {
		cmd := exec.Command(bash, "-c", `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _isearle; echo "${COMPREPLY[@]}"`, "bash", script)
		cmd.Args = append(cmd.Args, strings.Fields(c.words)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("%s completes to %q (%v), want %q", c.words, got, err, c.want)
		}
	}
}
