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
	out := must(t, "", "isearle", "bench", "-m", smallModel(t), "--time", "1ns", "--count", "2", "--rows", "100", "--dim", "16", "-j", "1")
	header := regexp.MustCompile(`(?m)^goos: \S+\ngoarch: \S+\npkg: isearle\n`)
	if !header.MatchString(out) {
		t.Errorf("no header in\n%s", out)
	}
	line := regexp.MustCompile(`^Benchmark([A-Z]\w*)(/\w+=[^\s/]+)+-1\s+\d+\s+\d+ ns/op(\s+[\d.e+]+ \S+/s){2}$`)
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
	if kinds["Embed"] != 6 || kinds["Text"] != 6 || kinds["Search"] != 4 {
		t.Errorf("benchmarks %v", kinds)
	}
	var o map[string]any
	text := must(t, "", "isearle", "bench", "search", "--time", "1ns", "--rows", "10", "--dim", "8", "--json")
	first, _, _ := strings.Cut(text, "\n")
	if err := json.Unmarshal([]byte(first), &o); err != nil || o["ns/op"] == nil || o["queries/s"] == nil {
		t.Errorf("--json gives %s (%v)", text, err)
	}
	fails(t, call(t, "", "isearle", "bench", "speed"), exitUsage, "speed")
	fails(t, call(t, "", "isearle", "bench", "--count", "0"), exitUsage, "--count")
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
	fails(t, call(t, "", "isearle", "convert", "--dtype", "f16", "phi.safetensors", "x.safetensors"), exitUsage, "--dtype")
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
