package bench

import (
	"math"
	"testing"

	"isearle/weights"
)

func TestRandom(t *testing.T) {
	for _, name := range []string{"vit-b-32", "vit-b-16", "vit-l-14"} {
		c, ok := Shapes(name)
		if !ok {
			t.Fatalf("no shape %s", name)
		}
		// Fewer layers and words of the same shapes, to save time.
		c.Vision.Layers, c.Text.Layers, c.Text.Vocab, c.Text.BOS, c.Text.EOT = 1, 1, 64, 62, 63
		m, err := Random(c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(m.Ignored) > 0 {
			t.Errorf("%s: tensors %v are not the model's", name, m.Ignored)
		}
		m.Close()
	}
	if _, ok := Shapes("vit-z-1"); ok {
		t.Error("there is a shape of an unknown name")
	}
}

// The counts must be those that OpenAI's and open_clip's tables have, in multiply-adds: 4.41 G for an image of ViT-B/32,
// 17.58 G for B/16, 81.08 G for L/14, 2.98 G for the 77 tokens of B/32's texts, there without leaving out what a causal
// mask hides.
func TestFLOP(t *testing.T) {
	near := func(what string, flop, gmac, tolerance float64) {
		t.Helper()
		if got := flop / 2e9; math.Abs(got-gmac) > tolerance*gmac {
			t.Errorf("%s: %.2f G multiply-adds, want %.2f", what, got, gmac)
		}
	}
	shape := func(name string) weights.Config {
		c, _ := Shapes(name)
		return c
	}
	near("image, B/32", ImageFLOP(shape("vit-b-32")), 4.41, 0.02)
	near("image, B/16", ImageFLOP(shape("vit-b-16")), 17.58, 0.02)
	near("image, L/14", ImageFLOP(shape("vit-l-14")), 81.08, 0.02)
	near("text, B/32", TextFLOP(shape("vit-b-32"), 77), 2.98, 0.04)
}
