package oti

import (
	"hash/fnv"
	"math/rand/v2"
)

// draws are the random choices of an optimisation. There are two kinds: seeded, and those recorded from the official code, in tests.
type draws interface {
	// init writes the pseudo-word that image i starts from.
	init(i int, v []float32)
	// template and phrase choose one of n for a step.
	template(i, step, n int) int
	phrase(i, step, n int) int
	// noise writes the standard normal vector of a step, to be scaled by gamma.
	noise(i, step int, dst []float32)
}

// seeded draws depend on the seed, the image's name and the step only, so that a run that is resumed, or split another way,
// draws the same.
type seeded struct {
	seed uint64
	std  float64
	keys []uint64 // of the images
}

func newSeeded(seed uint64, std float64, images []Image) *seeded {
	s := &seeded{seed: seed, std: std}
	for _, m := range images {
		h := fnv.New64a()
		h.Write([]byte(m.Name))
		s.keys = append(s.keys, h.Sum64())
	}
	return s
}

// The streams of an image's random numbers: 0 is its start, the others are one for each step.
const (
	streamChoice = 1
	streamNoise  = 2
)

// rng is the generator of a stream. PCG's output is part of Go's compatibility promise.
func (s *seeded) rng(i, step int, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(s.seed^s.keys[i], uint64(step+1)<<2|stream))
}

func (s *seeded) init(i int, v []float32) {
	r := s.rng(i, -1, 0)
	for j := range v {
		v[j] = float32(r.NormFloat64() * s.std)
	}
}

func (s *seeded) template(i, step, n int) int { return s.rng(i, step, streamChoice).IntN(n) }

func (s *seeded) phrase(i, step, n int) int {
	r := s.rng(i, step, streamChoice)
	r.Uint64() // the template's
	return r.IntN(n)
}

func (s *seeded) noise(i, step int, dst []float32) {
	r := s.rng(i, step, streamNoise)
	for j := range dst {
		dst[j] = float32(r.NormFloat64())
	}
}
