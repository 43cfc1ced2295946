package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isearle/weights/demo"
)

// demoTriplets writes the first queries inside the program as a list of triplets, every other as JSON.
func demoTriplets(t *testing.T, n int) string {
	t.Helper()
	queries, err := demo.Queries()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i, q := range queries[:n] {
		if i%2 == 1 {
			json.NewEncoder(&b).Encode(map[string]any{"reference": q.Reference, "caption": q.Caption, "targets": q.Targets})
			continue
		}
		for _, target := range q.Targets {
			fmt.Fprintf(&b, "%s\t%s\t%s\n", q.Reference, q.Caption, target)
		}
	}
	path := filepath.Join(t.TempDir(), "triplets")
	write(t, path, []byte(b.String()))
	return path
}

// A run that is killed ends in the bytes of one that nobody disturbed; the network is one for the model, and its curves are told.
func TestKilledPhiFinetuneGoesOn(t *testing.T) {
	list := demoTriplets(t, 24)
	whole, killed := filepath.Join(t.TempDir(), "phi.safetensors"), filepath.Join(t.TempDir(), "phi.safetensors")
	args := func(output string, more ...string) []string {
		return append([]string{"isearle", "phi", "finetune", "-o", output, "--batch", "8", "--epochs", "20", "--save-every", "1", "--validate", "4", "--holdout", "0.2", "--tokens", "2", list}, more...)
	}
	must(t, "", args(whole, "--quiet")...)
	p := start(t, args(killed)...)
	grown(t, killed+".checkpoint", 0)
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait()
	if _, err := os.Stat(killed); err == nil {
		t.Fatal("a killed run left a network")
	}
	if r := call(t, "", args(killed)...); r.code != exitDone || !strings.Contains(r.stderr, "going on after") || !strings.Contains(r.stderr, "mAP@10") {
		t.Fatalf("exit code %d, standard error %q", r.code, r.stderr)
	}
	for _, ending := range []string{".safetensors", ".loss.csv", ".loss.png"} {
		a, b := strings.TrimSuffix(whole, ".safetensors")+ending, strings.TrimSuffix(killed, ".safetensors")+ending
		if !bytes.Equal(read(t, a), read(t, b)) {
			t.Errorf("NAME%s differs", ending)
		}
	}
	curve := columns(t, strings.TrimSuffix(whole, ".safetensors")+".loss.csv")
	if n := len(curve["loss"]); n != 20 || curve["loss"][n-1] >= curve["loss"][0] || curve["map_at_10"][3] == "" || curve["map_at_10"][0] != "" {
		t.Errorf("curve %v", curve)
	}
	var info phiInfo
	if err := json.Unmarshal([]byte(must(t, "", "isearle", "phi", "info", "--json", whole)), &info); err != nil {
		t.Fatal(err)
	}
	if info.Meta["method"] != "triplets" || info.Meta["examples"] != "19" {
		t.Errorf("%+v", info.Meta)
	}
	must(t, "", "isearle", "search", "--phi", whole, "--image", "noto/red-apple@white", "is green")
}

func TestPhiFinetuneOnImages(t *testing.T) {
	model := smallModel(t)
	_, paths := pictures(t, 4)
	list := fmt.Sprintf("%s\tis red\t%s\n%s\tis blue\t%s\n%s\tis lost\tlost.png\nonly one field\n", paths[0], paths[1], paths[2], paths[3], paths[0])
	out := filepath.Join(t.TempDir(), "phi.safetensors")
	args := []string{"isearle", "phi", "finetune", "-m", model, "-o", out, "--batch", "2", "--holdout", "0", "--epochs", "1", "--quiet", "-"}
	r := call(t, list, append(args, "--scratch", "--arch", "residual", "--hidden", "9")...)
	if r.code != exitFailed || !strings.Contains(r.stderr, "lost.png") || !strings.Contains(r.stderr, "standard input:4") {
		t.Fatalf("exit code %d, %q", r.code, r.stderr)
	}
	if info := must(t, "", "isearle", "phi", "info", out); !strings.Contains(info, "residual of 7 layers, hidden 9") {
		t.Errorf("phi info: %s", info)
	}
	fails(t, call(t, strings.Join(strings.Split(list, "\n")[:2], "\n"), args...), exitFailed, "--phi", "--scratch")
}

func TestPhiFinetuneRefuses(t *testing.T) {
	out := " -o " + filepath.Join(t.TempDir(), "phi.safetensors")
	for _, c := range []struct {
		args string
		code int
		word string
	}{
		{"x", exitUsage, "-o is needed"},
		{"-o x.pt x", exitUsage, "x.pt"},
		{out, exitUsage, "one file"},
		{"x --data y" + out, exitUsage, "--data y"},
		{"x --scratch --phi y" + out, exitUsage, "--scratch"},
		{"x --holdout 1" + out, exitUsage, "--holdout"},
		{"x --validate 0" + out, exitUsage, "--validate"},
		{"x --tau 0" + out, exitUsage, "temperature"},
		{"x --tokens 0" + out, exitUsage, "--tokens"},
		{"--layout domain --data x" + out, exitUsage, "domain"},
		{"no-such-file" + out, exitFailed, "no-such-file"},
		{"--data no-such-folder" + out, exitFailed, "no-such-folder"},
		{os.DevNull + out, exitFailed, "0 triplets"},
	} {
		fails(t, call(t, "", append([]string{"isearle", "phi", "finetune"}, strings.Fields(c.args)...)...), c.code, "isearle phi finetune: ", c.word)
	}
}

// OTI answers queries by itself: the same for a query alone and among others, and with several copies of the word differently.
func TestSearchByOTI(t *testing.T) {
	_, picture := pictures(t, 1)
	queries := "noto/red-apple@white\tis green\nnoto/oyster@white\tis on a blue background\nnoto/red-apple@white\tis blue\nnoto/oyster@white\t\n\tan apple\n"
	args := []string{"isearle", "search", "--method", "oti", "--steps", "8", "--lambda-gpt", "0", "-k", "3", "--quiet"}
	together := must(t, queries, args...)
	alone := must(t, "", append(args, "--image", "noto/red-apple@white", "is green")...)
	if !strings.HasPrefix(together, alone) || strings.Count(together, "\n") != 15 {
		t.Errorf("alone:\n%stogether:\n%s", alone, together)
	}
	for _, more := range []string{"--tokens=2", "--seed=3", "--gamma=0"} {
		if other := must(t, "", append(args, "--image", "noto/red-apple@white", "is green", more)...); other == alone {
			t.Errorf("%s changes nothing", more)
		}
	}
	if phi := must(t, queries, "isearle", "search", "-k", "3", "--quiet"); phi == together {
		t.Error("phi answers the same")
	}
	if two := must(t, "", "isearle", "compose", "--image", "noto/red-apple@white", "is green", "--tokens", "2"); two == must(t, "", "isearle", "compose", "--image", "noto/red-apple@white", "is green") {
		t.Error("--tokens changes nothing for phi")
	}
	fails(t, call(t, "", "isearle", "compose", "--tokens", "40", "--image", "noto/red-apple@white", "x"), exitFailed, "pseudo-word")
	fails(t, call(t, "", "isearle", "search", "--tokens", "0", "x"), exitUsage, "--tokens")
	fails(t, call(t, "", "isearle", "compose", "-m", smallModel(t), "--method", "oti", "--image", picture[0], "y"), exitUsage, "--phrases")
}

func FuzzParseTriplet(f *testing.F) {
	f.Add("a.png\tis red\tb.png")
	f.Add(`{"reference": "a", "caption": "is red", "target": "b", "targets": ["c"]}`)
	f.Add(`{"reference": 1}`)
	f.Add("\t\t")
	f.Fuzz(func(t *testing.T, line string) {
		reference, caption, targets, err := parseTriplet(line)
		if err == nil && (reference == "" || caption == "" || len(targets) == 0 || targets[0] == "") {
			t.Errorf("%q is taken as %q, %q, %q", line, reference, caption, targets)
		}
	})
}
