package gpt

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Sampling says how the next token is drawn. The steps and their order are those of Hugging Face's generate: repeated
// n-grams are banned, logits divided by the temperature, all but the best k left out.
type Sampling struct {
	Temperature float64 // 0 takes the best token, the lower id of equals
	TopK        int     // 0 is all
	NoRepeat    int     // no n-gram of this length comes twice in prompt and continuation; 0 is no ban
	MaxLength   int     // most tokens, the prompt's included
}

// DefaultSampling is how SEARLE's phrases were drawn: temperature .5, no repeated bigram, 35 tokens; 50 is the number of
// best tokens that Hugging Face's generate keeps unless told otherwise.
var DefaultSampling = Sampling{Temperature: .5, TopK: 50, NoRepeat: 2, MaxLength: 35}

// ErrLogits is wrapped by the error for logits that no token can be drawn from: they are not numbers, or all are banned.
var ErrLogits = errors.New("gpt: no token can be drawn")

func (o Sampling) check(c Config) error {
	if !(o.Temperature >= 0) || math.IsInf(o.Temperature, 0) || o.TopK < 0 || o.NoRepeat < 0 {
		return fmt.Errorf("gpt: sampling with temperature %v, top-k %d, no repeated %d-gram", o.Temperature, o.TopK, o.NoRepeat)
	}
	if o.MaxLength < 2 || o.MaxLength > c.Context {
		return fmt.Errorf("gpt: at most %d tokens are asked for, 2 to %d are possible", o.MaxLength, c.Context)
	}
	return nil
}

// sampler has the working memory of draws.
type sampler struct {
	banned []int32
	best   []float32 // a heap, the least on top
}

// next draws the token that follows history. logits stay as they are: sequences may share them.
func (s *sampler) next(logits []float32, history []int32, o Sampling, r *rand.Rand) (int32, error) {
	s.ban(history, o.NoRepeat)
	top, at := float32(math.Inf(-1)), int32(-1)
	for i, v := range logits {
		if v != v {
			return 0, fmt.Errorf("%w: the logit of token %d is NaN", ErrLogits, i)
		}
		if v > top && !s.isBanned(int32(i)) {
			top, at = v, int32(i)
		}
	}
	if at < 0 || math.IsInf(float64(top), 0) {
		return 0, fmt.Errorf("%w: of %d tokens, %d banned, the best has the logit %v", ErrLogits, len(logits), len(s.banned), top)
	}
	if o.Temperature == 0 {
		return at, nil
	}
	least := s.threshold(logits, o.TopK)
	return s.draw(logits, least, top, o.Temperature, r), nil
}

// negligible is the exponent below which a token is left out: 50,000 tokens of e^-50 are less than a draw's 2^-53.
const negligible = -50

// draw inverts the distribution of softmax(logits/temperature) over the tokens from least on.
func (s *sampler) draw(logits []float32, least, top float32, temperature float64, r *rand.Rand) int32 {
	weight := func(i int, v float32) float64 {
		x := (float64(v) - float64(top)) / temperature
		if v < least || x < negligible || s.isBanned(int32(i)) {
			return 0
		}
		return math.Exp(x)
	}
	total := 0.0
	for i, v := range logits {
		total += weight(i, v)
	}
	u, sum, last := r.Float64()*total, 0.0, int32(0)
	for i, v := range logits {
		if w := weight(i, v); w > 0 {
			sum += w
			last = int32(i)
			if sum > u {
				break
			}
		}
	}
	return last
}

// ban lists the tokens that would complete an n-gram of the history a second time, in order.
func (s *sampler) ban(history []int32, n int) {
	s.banned = s.banned[:0]
	if n == 0 || len(history)+1 < n {
		return
	}
	tail := history[len(history)-n+1:]
	for i := 0; i+n <= len(history); i++ {
		if slices.Equal(history[i:i+n-1], tail) {
			s.banned = append(s.banned, history[i+n-1])
		}
	}
	slices.Sort(s.banned)
	s.banned = slices.Compact(s.banned)
}

func (s *sampler) isBanned(id int32) bool {
	if len(s.banned) == 0 {
		return false
	}
	_, found := slices.BinarySearch(s.banned, id)
	return found
}

// threshold is the k-th largest logit that is not banned; all equal to it are kept.
func (s *sampler) threshold(logits []float32, k int) float32 {
	least := float32(math.Inf(-1))
	if k == 0 || k >= len(logits)-len(s.banned) {
		return least
	}
	s.best = s.best[:0]
	for i, v := range logits {
		if len(s.best) == k && v <= s.best[0] || s.isBanned(int32(i)) {
			continue
		}
		if len(s.best) < k {
			s.best = append(s.best, v)
			if len(s.best) == k {
				slices.Sort(s.best) // a sorted slice is a heap
			}
			continue
		}
		s.best[0] = v
		s.sink()
	}
	return s.best[0]
}

// sink restores the heap below its top.
func (s *sampler) sink() {
	h := s.best
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c] < h[least] {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
