package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isearle/oti"
	"isearle/weights/demo"
)

// trainingArgs train on images without phrases, in seconds.
func trainingArgs(model, output, dir string, more ...string) []string {
	return append([]string{"isearle", "phi", "train", "-m", model, "-o", output, "--lambda-gpt", "0", "--batch", "8", "--epochs", "24", "--save-every", "1",
		"--oti-steps", "40", "--parallel", "4", dir}, more...)
}

// A run that is killed while it makes pseudo-words, and again while it trains, ends in the bytes of one that nobody disturbed.
func TestKilledPhiTrainGoesOn(t *testing.T) {
	model := smallModel(t)
	dir, _ := pictures(t, 64)
	whole, killed := filepath.Join(t.TempDir(), "phi.safetensors"), filepath.Join(t.TempDir(), "phi.safetensors")
	must(t, "", trainingArgs(model, whole, dir, "--quiet")...)

	words := strings.TrimSuffix(killed, ".safetensors") + ".words.safetensors"
	size := int64(64) // more than the journal's head
	for _, growing := range []string{words + oti.JournalSuffix, words + oti.JournalSuffix, killed + ".checkpoint"} {
		p := start(t, trainingArgs(model, killed, dir)...)
		if strings.HasSuffix(growing, ".checkpoint") {
			size = 0
		}
		size = grown(t, growing, size) + 512
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.Wait()
		if _, err := os.Stat(killed); err == nil {
			t.Fatal("a killed run left a network")
		}
	}
	write(t, words+oti.JournalSuffix, []byte("left by a kill between the last two steps"))
	r := call(t, "", trainingArgs(model, killed, dir)...)
	if r.code != exitDone || !strings.Contains(r.stderr, "going on after epoch") || !strings.Contains(r.stderr, "are taken") {
		t.Fatalf("exit code %d, standard error %q", r.code, r.stderr)
	}
	for _, ending := range []string{".safetensors", ".words.safetensors", ".loss.csv", ".loss.png"} {
		a, b := strings.TrimSuffix(whole, ".safetensors")+ending, strings.TrimSuffix(killed, ".safetensors")+ending
		if !bytes.Equal(read(t, a), read(t, b)) {
			t.Errorf("NAME%s differs", ending)
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(killed), "phi*")); err != nil || len(left) != 4 {
		t.Errorf("%q are left, %v", left, err)
	}
	fails(t, call(t, "", trainingArgs(model, killed, dir, "--gamma", "0.37", "--quiet")...), exitFailed, "words.safetensors", "--words")
}

// The trained network must be one for the model, of the architecture that was asked for, better with every epoch.
func TestPhiTrain(t *testing.T) {
	model := smallModel(t)
	dir, paths := pictures(t, 40)
	write(t, filepath.Join(dir, "broken.png"), []byte("no picture"))
	output := filepath.Join(t.TempDir(), "phi.safetensors")
	r := call(t, "", trainingArgs(model, output, dir, "--arch", "residual", "--hidden", "32", "--lr", "0.01", "--quiet")...)
	fails(t, r, exitFailed, "broken.png")
	var info phiInfo
	if err := json.Unmarshal([]byte(must(t, "", "isearle", "phi", "info", "--json", output)), &info); err != nil {
		t.Fatal(err)
	}
	if info.Arch != "residual" || info.Hidden != 32 || info.In != smallDim || info.Meta["examples"] != "40" || info.Meta["words_method"] != "oti" {
		t.Errorf("%+v", info)
	}
	if out := must(t, "", "isearle-phi", "info", output); !strings.Contains(out, "residual of 7 layers") {
		t.Errorf("phi info: %s", out)
	}
	must(t, "", "isearle", "invert", "-m", model, "--phi", output, paths[0])
	fails(t, call(t, "", "isearle", "invert", "--phi", output, paths[0]), exitFailed, "phi")
	curve := columns(t, strings.TrimSuffix(output, ".safetensors")+".loss.csv")
	if n := len(curve["total"]); n != 24 || curve["total"][n-1] >= curve["total"][0] || curve["gpt"][0] != "0" || curve["map_at_10"][0] != "" {
		t.Errorf("curve %v", curve)
	}

	words, half := strings.TrimSuffix(output, ".safetensors")+".words.safetensors", filepath.Join(t.TempDir(), "half.safetensors")
	must(t, "", "isearle", "phi", "train", "-m", model, "-o", half, "--lambda-gpt", "0", "--words", words, "--batch", "8", "--epochs", "1", "--fraction", "0.5", "--quiet")
	if out := must(t, "", "isearle", "phi", "info", half); !strings.Contains(out, "examples       20\n") || !strings.Contains(out, "mlp of 3 layers") {
		t.Errorf("half of the images: %s", out)
	}
}

// columns reads a CSV file.
func columns(t *testing.T, path string) map[string][]string {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(read(t, path))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, row := range rows[1:] {
		for k, name := range rows[0] {
			out[name] = append(out[name], row[k])
		}
	}
	return out
}

// demoWords writes made-up pseudo-words of pictures inside the program.
func demoWords(t *testing.T, ids ...string) string {
	t.Helper()
	const width = 160 // of the model inside the program, checked below by training
	w := oti.Words{IDs: ids, Width: width}
	r := rand.New(rand.NewPCG(1, 1))
	for range len(ids) * width {
		w.Tokens = append(w.Tokens, float32(r.NormFloat64()))
	}
	path := filepath.Join(t.TempDir(), "words.safetensors")
	if err := w.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// With the model inside the program ids name pictures of its gallery, phrases regularise, and retrieval is watched.
func TestPhiTrainOnTheWorldInside(t *testing.T) {
	gallery, err := demo.Gallery()
	if err != nil {
		t.Fatal(err)
	}
	words := demoWords(t, gallery[0].ID, gallery[500].ID, gallery[900].ID, gallery[1300].ID)
	var phrases strings.Builder
	concepts := demo.Concepts()[:3]
	for _, c := range concepts {
		json.NewEncoder(&phrases).Encode(map[string]any{"concept": c, "phrases": []string{"a photo of " + c + " that is red"}})
	}
	dir := t.TempDir()
	list, names, output := filepath.Join(dir, "phrases.jsonl"), filepath.Join(dir, "names.txt"), filepath.Join(dir, "phi.safetensors")
	write(t, list, []byte(phrases.String()))
	write(t, names, []byte(strings.Join(concepts, "\n")+"\n"))
	args := []string{"isearle", "phi", "train", "-o", output, "--phrases", list, "--concepts", names, "--batch", "2", "--epochs", "2", "--validate", "2", "--words"}
	r := call(t, "", append(args, words)...)
	fails(t, r, exitDone, "epoch 2 of 2", "phrases", "mAP@10")
	curve := columns(t, filepath.Join(filepath.Dir(output), "phi.loss.csv"))
	if m := curve["map_at_10"]; len(m) != 2 || m[0] != "" || m[1] == "" || curve["gpt"][0] == "0" {
		t.Errorf("curve %v", curve)
	}
	fails(t, call(t, "", append(args, demoWords(t, gallery[0].ID, "lost/id"))...), exitFailed, "lost/id")
	r = call(t, "", append(args, demoWords(t, "lost.png", "away.png"))...)
	if r.code != exitFailed || !strings.Contains(r.stderr, "lost.png") || !strings.Contains(r.stderr, "no image is left") {
		t.Errorf("lost images: %d, %q", r.code, r.stderr)
	}
}

func TestPhiTrainRefuses(t *testing.T) {
	dir, _ := pictures(t, 3)
	out := filepath.Join(t.TempDir(), "phi.safetensors")
	for _, c := range []struct {
		args string
		code int
		word string
	}{
		{dir, exitUsage, "-o is needed"},
		{"-o x.pt " + dir, exitUsage, "x.pt"},
		{"-o " + out, exitUsage, "no images"},
		{"-o " + out + " --words w " + dir, exitUsage, "--words"},
		{"-o " + out + " " + dir, exitUsage, "--phrases"},
		{"-o " + out + " --lambda-gpt 0 --fraction 0 " + dir, exitUsage, "--fraction"},
		{"-o " + out + " --lambda-gpt 0 --dropout 1 " + dir, exitUsage, "dropout"},
		{"-o " + out + " --lambda-gpt 0 --lr NaN " + dir, exitUsage, "learning rate"},
		{"-o " + out + " --lambda-gpt 0 --arch conv " + dir, exitUsage, "conv"},
		{"-o " + out + " --lambda-gpt 0 --save-every 0 " + dir, exitUsage, "--save-every"},
		{"-o " + out + " --lambda-gpt 0 --validate 1 -m x " + dir, exitUsage, "--validate"},
		{"-o " + out + " --lambda-gpt 0 " + dir, exitFailed, "--batch"},
		{"-o " + out + " --lambda-gpt 0 --words lost.safetensors", exitFailed, "lost.safetensors"},
		{"-o " + out + " --phrases lost.jsonl --batch 2 " + dir, exitFailed, "lost.jsonl"},
	} {
		r := call(t, "", append([]string{"isearle", "phi", "train"}, strings.Fields(c.args)...)...)
		fails(t, r, c.code, "isearle phi train: ", c.word)
	}
	fails(t, call(t, "", "isearle", "phi", "info"), exitUsage, "no files")
	fails(t, call(t, "", "isearle", "phi", "info", "lost.safetensors"), exitFailed, "lost.safetensors")
}

func TestInvertTracePicture(t *testing.T) {
	dir, _ := pictures(t, 2)
	trace := filepath.Join(t.TempDir(), "trace.csv")
	must(t, "", "isearle", "invert", "-m", smallModel(t), "--method", "oti", "--lambda-gpt", "0", "--steps", "5", "--trace", trace, dir)
	if c := columns(t, trace); len(c["step"]) != 5 || c["cosine"][4] == "" {
		t.Errorf("trace %v", c)
	}
	if _, err := png.Decode(bytes.NewReader(read(t, strings.TrimSuffix(trace, ".csv")+".png"))); err != nil {
		t.Error(err)
	}
}
