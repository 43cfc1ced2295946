package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"isearle/clipnet"
	"isearle/runtime"
	"isearle/search"
	"isearle/weights"
)

// Images measures a model's image tower, from pixels.
func (b Bench) Images(ctx context.Context, m *weights.CLIP, name string) error {
	enc, err := clipnet.NewImageEncoder(b.Device, m, clipnet.Options{})
	if err != nil {
		return err
	}
	defer enc.Close()
	for _, n := range []int{1, 8, 32} {
		pixels := normal(rand.New(rand.NewPCG(1, 1)), n*3*enc.Size()*enc.Size())
		features := make([]float32, n*enc.Dim())
		err := b.run(ctx, fmt.Sprintf("Embed/model=%s/batch=%d", name, n),
			func() error { return enc.Encode(ctx, features, pixels, n) },
			rate{float64(n), "images/s"}, rate{float64(n) * ImageFLOP(m.Config) / 1e9, "GFLOP/s"})
		if err != nil {
			return err
		}
	}
	return nil
}

// Captions measures a model's text tower, from ids.
func (b Bench) Captions(ctx context.Context, m *weights.CLIP, name string) error {
	enc, err := clipnet.NewTextEncoder(b.Device, m, clipnet.Options{})
	if err != nil {
		return err
	}
	defer enc.Close()
	for _, n := range []int{1, 8, 64} {
		prompts, flop := prompts(m.Config, n)
		features := make([]float32, n*enc.Dim())
		err := b.run(ctx, fmt.Sprintf("Text/model=%s/batch=%d", name, n),
			func() error { return enc.Encode(ctx, features, prompts, nil) },
			rate{float64(n), "captions/s"}, rate{flop / 1e9, "GFLOP/s"})
		if err != nil {
			return err
		}
	}
	return nil
}

// prompts are texts of 5 to 20 tokens, as captions and composed queries have, in all lengths equally often; and what it
// takes to compute them.
func prompts(c weights.Config, n int) (list []clipnet.Prompt, flop float64) {
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range n {
		ids := make([]int32, min(5+(7+11*i)%16, c.Text.Context)) // 11 and 16 share no divisor: every length comes
		for j := range ids {
			ids[j] = int32(1 + rng.IntN(max(1, min(c.Text.BOS, c.Text.EOT)-1)))
		}
		ids[0], ids[len(ids)-1] = int32(c.Text.BOS), int32(c.Text.EOT)
		list = append(list, clipnet.Prompt{IDs: ids})
		flop += TextFLOP(c, len(ids))
	}
	return list, flop
}

// best is how many rows a search returns: what the protocols of composed retrieval look at.
const best = 50

// Search measures the search of a gallery in memory.
func (b Bench) Search(ctx context.Context, rows, dim int) error {
	rng := rand.New(rand.NewPCG(3, 3))
	gallery := make([]byte, 0, 4*rows*dim)
	for range rows {
		for _, x := range unit(rng, dim) {
			gallery = binary.LittleEndian.AppendUint32(gallery, math.Float32bits(x))
		}
	}
	s, err := b.Device.NewSearch(dim)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, n := range []int{1, 32} {
		var queries []float32
		for range n {
			queries = append(queries, unit(rng, dim)...)
		}
		hits, counts := make([]runtime.Hit, n*best), make([]int, n)
		err := b.run(ctx, fmt.Sprintf("Search/rows=%d/dim=%d/dtype=f32/batch=%d", rows, dim, n), func() error {
			if err := s.Begin(queries, n, best); err != nil {
				return err
			}
			if err := s.Feed(0, runtime.Chunk{DType: runtime.F32, Rows: rows, Data: gallery}); err != nil {
				return err
			}
			return s.Finish(hits, counts)
		}, rate{float64(n), "queries/s"}, rate{float64(len(gallery)) / 1e9, "GB/s"})
		if err != nil {
			return err
		}
	}
	return nil
}

// unit is a random direction.
func unit(rng *rand.Rand, dim int) []float32 {
	x := normal(rng, dim)
	search.Unit(x)
	return x
}

func normal(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}
