// Package cirmodel builds the tiny CLIP of the golden set "cir", whose token table is given by a formula. It is imported by
// tests only.
package cirmodel

import (
	"path/filepath"
	"testing"

	"isearle/weights"
	"isearle/weights/golden"
	"isearle/weights/safetensors"
)

// Open returns the model; it is closed with the test.
func Open(tb testing.TB) *weights.CLIP {
	tb.Helper()
	dir := filepath.Join(golden.Dir(tb, "cir"), "clip")
	var cfg struct {
		Vocab       int    `json:"vocab_size"`
		Width       int    `json:"transformer_width"`
		TextHeads   int    `json:"transformer_heads"`
		VisionHeads int    `json:"vision_heads"`
		Seed        uint64 `json:"token_table_seed"`
	}
	golden.JSON(tb, filepath.Join(dir, "config.json"), &cfg)
	f, err := safetensors.Open(filepath.Join(dir, "weights.safetensors"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	table := make([]float32, cfg.Vocab*cfg.Width)
	for i := range table {
		table[i] = tokenValue(cfg.Seed, i)
	}
	tensors := []safetensors.Tensor{safetensors.FromFloat32s("token_embedding.weight", table, cfg.Vocab, cfg.Width)}
	for t := range f.All() {
		tensors = append(tensors, t)
	}
	path := filepath.Join(tb.TempDir(), "cir.safetensors")
	if err := safetensors.WriteFile(path, tensors, nil); err != nil {
		tb.Fatal(err)
	}
	m, err := weights.Open(path, weights.Options{VisionHeads: cfg.VisionHeads, TextHeads: cfg.TextHeads, Activation: weights.QuickGELU})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { m.Close() })
	return m
}

// tokenValue is element i of the token table: the set's README gives the formula, SplitMix64 in [-0.035, 0.035).
func tokenValue(seed uint64, i int) float32 {
	z := seed + uint64(i+1)*0x9E3779B97F4A7C15
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB
	z ^= z >> 31
	return float32((float64(z>>40)/16777216 - 0.5) * 0.07)
}
