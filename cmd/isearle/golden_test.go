package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/weights/golden"
)

// The tolerances of unit-norm features, from the set's README and the issue: captions are exact ids through an f32
// engine; images come through a decoder and a resize, and a JPEG decoder has some freedom.
const (
	textTolerance = 5e-6
	pngTolerance  = 1e-4
	jpegTolerance = 5e-3
)

// goldenModels are what -m can be given for each model of the set, by its folder: the folder, and every checkpoint in it.
func goldenModels(t *testing.T) map[string][]string {
	t.Helper()
	features, err := filepath.Glob(filepath.Join(golden.Dir(t, "clip"), "*", "feat_text.npy"))
	if err != nil || len(features) == 0 {
		t.Fatalf("the set has no models (%v)", err)
	}
	models := map[string][]string{}
	for _, f := range features {
		dir := filepath.Dir(f)
		models[dir] = []string{dir}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if slices.Contains([]string{".safetensors", ".pt"}, filepath.Ext(e.Name())) {
				models[dir] = append(models[dir], filepath.Join(dir, e.Name()))
			}
		}
	}
	return models
}

// forModels runs a test for every way to name a model.
func forModels(t *testing.T, test func(t *testing.T, dir, model string)) {
	for dir, models := range goldenModels(t) {
		for _, m := range models {
			name, err := filepath.Rel(filepath.Dir(dir), m)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(name, func(t *testing.T) { test(t, dir, m) })
		}
	}
}

func TestGoldenEmbedText(t *testing.T) {
	set := golden.Dir(t, "clip")
	var captions []struct{ Text string }
	golden.JSON(t, filepath.Join(set, "captions.json"), &captions)
	end, null := "\n", []string(nil)
	var list strings.Builder
	for _, c := range captions {
		if strings.Contains(c.Text, "\n") {
			end, null = "\x00", []string{"-0"}
		}
	}
	for _, c := range captions {
		list.WriteString(c.Text + end)
	}
	file := filepath.Join(t.TempDir(), "captions.txt")
	write(t, file, []byte(list.String()))
	forModels(t, func(t *testing.T, dir, model string) {
		out := filepath.Join(t.TempDir(), "t.npy")
		args := append([]string{"isearle", "embed", "-m", model, "--tokenizer", filepath.Join(dir, "..", "tokenizer_small"),
			"--rules", "openai", "--text", "--raw", "--quiet", "-o", out}, null...)
		must(t, "", append(args, file)...)
		for _, f := range []struct {
			name string
			raw  bool
		}{{"feat_text.npy", true}, {"feat_text_norm.npy", false}} {
			near(t, golden.NPY(t, out), golden.NPY(t, filepath.Join(dir, f.name)), f.raw, func(int) float64 { return textTolerance })
		}
	})
}

func TestGoldenEmbedImages(t *testing.T) {
	images := filepath.Join(golden.Dir(t, "clip"), "images")
	entries, err := os.ReadDir(images)
	if err != nil {
		t.Fatal(err)
	}
	tolerance := func(row int) float64 {
		if ext := filepath.Ext(entries[row].Name()); ext == ".jpg" || ext == ".jpeg" {
			return jpegTolerance
		}
		return pngTolerance
	}
	for pad, name := range map[string]string{"none": "feat_img_std.npy", "targetpad": "feat_img_targetpad.npy"} {
		forModels(t, func(t *testing.T, dir, model string) {
			out := filepath.Join(t.TempDir(), "i.npy")
			must(t, "", "isearle", "embed", "-m", model, "--order", "openai", "--pad", pad, "--raw", "-o", out, images)
			near(t, golden.NPY(t, out), golden.NPY(t, filepath.Join(dir, name)), true, tolerance)
		})
	}
}

// near compares rows at unit length; with raw, their lengths too.
func near(t *testing.T, got, want golden.Array, raw bool, tolerance func(row int) float64) {
	t.Helper()
	if !slices.Equal(got.Shape, want.Shape) {
		t.Fatalf("shape %v, want %v", got.Shape, want.Shape)
	}
	for i := range want.Shape[0] {
		a, b := got.Row(i), want.Row(i)
		la, lb := length(a), length(b)
		if raw && !(math.Abs(la/lb-1) <= 4*tolerance(i)) {
			t.Errorf("row %d has length %v, want %v", i, la, lb)
		}
		for j := range b {
			if d := math.Abs(float64(a[j])/la - float64(b[j])/lb); !(d <= tolerance(i)) {
				t.Errorf("row %d: element %d is %v off", i, j, d)
				break
			}
		}
	}
}

func length(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}

// The ids of the tokenize command are the set's, line by line.
func TestGoldenTokenize(t *testing.T) {
	set := golden.Dir(t, "clip")
	var captions []struct {
		Text  string
		Small []int32 `json:"ids_small"`
	}
	golden.JSON(t, filepath.Join(set, "captions.json"), &captions)
	var in, want strings.Builder
	for _, c := range captions {
		in.WriteString(c.Text + "\x00")
		want.Write(appendIDs(nil, c.Small))
	}
	context := golden.NPY(t, filepath.Join(set, "text_ids_small_pad0.npy")).Shape[1]
	got := must(t, in.String(), "isearle", "tokenize", "-0", "--quiet", "--rules", "openai",
		"--tokenizer", filepath.Join(set, "tokenizer_small"), "--context", fmt.Sprint(context))
	if got != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got, want.String())
	}
}
