package search

import (
	"context"
	"flag"
	"math"
	"slices"
	"strings"
	"testing"

	"isearle/clipnet/preprocess"
	"isearle/clipnet/tokenizer"
	"isearle/runtime/cpu"
	"isearle/weights/demo"
	"isearle/weights/golden"
)

var update = flag.Bool("update", false, "rewrite the embedded gallery's features with those that the embedded model gives now")

// demoEngine is the embedded model on all cores.
func demoEngine(t testing.TB) *Engine {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := OpenEngine(dev, EngineOptions{Pad: preprocess.TargetPad})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); dev.Close() })
	return e
}

// The embedded gallery's features must be those of the embedded model and pictures. With -update all are computed and written
// to ../weights/demo/features.isx, otherwise every 40th is compared.
func TestDemoFeatures(t *testing.T) {
	e, ctx := demoEngine(t), context.Background()
	pictures, err := demo.Gallery()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		meta := e.Meta()
		meta.Tool = "isearle"
		w, err := Create("../weights/demo/features.isx", meta, WriterOptions{Restart: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pictures {
			f, err := e.EmbedImage(ctx, p.ID, p.Data)
			if err != nil {
				t.Fatal(err)
			}
			Unit(f)
			if err := w.Add(p.ID, DigestOf(p.Data), f); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		return
	}
	g, err := DemoGallery()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.CheckModel(e.Model()); err != nil {
		t.Fatalf("%v; go test ./search -run TestDemoFeatures -update makes them anew", err)
	}
	if g.Len() != len(pictures) {
		t.Fatalf("%d rows for %d pictures", g.Len(), len(pictures))
	}
	for i, p := range pictures {
		if g.ID(i) != p.ID || g.Digest(i) != DigestOf(p.Data) {
			t.Fatalf("row %d is %q, the picture %q or another content", i, g.ID(i), p.ID)
		}
		if i%40 != 0 {
			continue
		}
		want, err := e.EmbedImage(ctx, p.ID, p.Data)
		if err != nil {
			t.Fatal(err)
		}
		Unit(want)
		for j, v := range g.Feature(i, nil) {
			if math.Abs(float64(v-want[j])) > 1e-5 {
				t.Fatalf("%s: element %d is %v, want %v", p.ID, j, v, want[j])
			}
		}
	}
}

// The whole path from a picture or a text to features must give what PyTorch gives for the embedded model (see the recipe's export).
func TestDemoAgreesWithPyTorch(t *testing.T) {
	var ref struct {
		Images []struct {
			ID      string
			Feature []float32
		}
		Texts []struct {
			Text    string
			IDs     []int32
			Feature []float32
		}
		Composed []struct {
			ID, Prompt string
			IDs        []int32
			Feature    []float32
		}
	}
	golden.JSON(t, "../weights/demo/testdata/reference.json", &ref)
	e, ctx := demoEngine(t), context.Background()
	pictures, err := demo.Gallery()
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want []float32) {
		t.Helper()
		a, b := append([]float32(nil), got...), append([]float32(nil), want...)
		Unit(a)
		Unit(b)
		for j := range b {
			if d := math.Abs(float64(a[j] - b[j])); !(d <= 1e-5) {
				t.Fatalf("%s: element %d is %v, want %v", what, j, a[j], b[j])
			}
		}
	}
	raw := map[string][]float32{}
	for _, m := range ref.Images {
		i := slices.IndexFunc(pictures, func(p demo.Picture) bool { return p.ID == m.ID })
		f, err := e.EmbedImage(ctx, m.ID, pictures[i].Data)
		if err != nil {
			t.Fatal(err)
		}
		near(m.ID, f, m.Feature)
		raw[m.ID] = f
	}
	tok, err := e.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, e.Dim())
	for _, m := range ref.Texts {
		if ids := tok.Encode(m.Text, tokenizer.HF); !slices.Equal(ids, m.IDs) {
			t.Errorf("%q has ids %v, want %v", m.Text, ids, m.IDs)
		}
		if _, err := e.EmbedTexts(ctx, got, []string{m.Text}); err != nil {
			t.Fatal(err)
		}
		near(m.Text, got, m.Feature)
	}
	for _, m := range ref.Composed {
		caption, ok := strings.CutPrefix(m.Prompt, "a photo of $ that ")
		if !ok {
			t.Fatalf("prompt %q", m.Prompt)
		}
		if _, err := e.Compose(ctx, got, []Composition{{Image: raw[m.ID], Text: caption}}); err != nil {
			t.Fatal(err)
		}
		near(m.ID+": "+m.Prompt, got, m.Feature)
	}
}
