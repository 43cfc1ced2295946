package gpt

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"

	"isearle/oti/gpt/bpe"
	"isearle/oti/gpt/prompt"
	"isearle/runtime"
)

// Options of a generator of phrases.
type Options struct {
	Sampling Sampling
	N        int    // phrases of a concept; SEARLE made 256
	Seed     uint64 // of all random numbers
	Batch    int    // sequences that share a step, 0 for as many as are useful; never changes a result
}

// Generator lets a language model write phrases.
type Generator struct {
	model *Model
	tok   *bpe.Tokenizer
	o     Options
}

// OpenGenerator reads a model and its tokeniser from a Hugging Face directory.
func OpenGenerator(dev runtime.Device, dir string, o Options) (*Generator, error) {
	if o.N < 1 || o.Batch < 0 {
		return nil, fmt.Errorf("gpt: %d phrases in batches of %d", o.N, o.Batch)
	}
	tok, err := bpe.Load(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("gpt: tokeniser of %s: %w", dir, err)
	}
	m, err := open(dev, dir, o.Batch)
	if err != nil {
		return nil, err
	}
	if err = o.Sampling.check(m.cfg); err == nil && tok.Len() > m.cfg.Vocab {
		err = fmt.Errorf("gpt: %s: the tokeniser has %d tokens, the model %d", dir, tok.Len(), m.cfg.Vocab)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if end, ok := tok.ID(bpe.EndOfText); ok && len(m.cfg.EOS) == 0 {
		m.cfg.EOS = []int32{end}
	}
	return &Generator{model: m, tok: tok, o: o}, nil
}

// Phrases continues "a photo of {concept} that". A concept's phrases depend on the model, the seed, the concept and the
// phrase's place only.
func (g *Generator) Phrases(ctx context.Context, concept string) ([]string, error) {
	ids, err := g.tok.Encode(prompt.Of(concept))
	if err != nil {
		return nil, fmt.Errorf("concept %q: %w", concept, err)
	}
	seqs := make([]Sequence, g.o.N)
	for i := range seqs {
		seqs[i] = Sequence{ids, stream(g.o.Seed, concept, i)}
	}
	done, err := g.model.Generate(ctx, seqs, g.o.Sampling)
	if err != nil {
		return nil, fmt.Errorf("concept %q: %w", concept, err)
	}
	phrases := make([]string, len(done))
	for i, ids := range done {
		phrases[i] = prompt.Clean(g.tok.Decode(ids, false))
	}
	return phrases, nil
}

// stream is the random numbers of one phrase. PCG's output is part of Go's compatibility promise.
func stream(seed uint64, concept string, i int) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(concept))
	return rand.New(rand.NewPCG(seed^h.Sum64(), uint64(i)))
}

// Close releases the model.
func (g *Generator) Close() error { return g.model.Close() }
