package oti

import (
	"errors"
	"fmt"
)

// Options of the optimisation. The zero value is not usable; start from Defaults.
type Options struct {
	Steps         int     // gradient steps
	LR            float64 // AdamW's learning rate
	Beta1, Beta2  float64
	Eps           float64
	WeightDecay   float64 // decoupled
	EMA           float64 // share of the past in the average that is kept
	InitStd       float64 // standard deviation of a pseudo-word's first entries
	LambdaContent float64
	LambdaGPT     float64
	TopK          int // concepts of an image whose phrases regularise it
	// Batch is the size of the official batches: a loss is a mean over its batch, and AdamW's eps sees the difference.
	Batch int
	// Gamma is the standard deviation of the noise on the text feature (iSEARLE); 0 is SEARLE. With NoiseUnit the noise is
	// added to the feature at unit length, else to the raw feature. The paper's value is not public.
	Gamma     float64
	NoiseUnit bool
	// Tokens is the number of copies of the pseudo-word in a prompt.
	Tokens int
	Seed   uint64
	// Parallel is how many images are optimised side by side; it changes nothing but time and memory. 0 is what suits the device; where
	// that exceeds its memory, half as many are tried.
	Parallel int
}

// Defaults are those of SEARLE's code, and for the noise what did best in a sweep on the embedded world: 0.1 on features of unit
// length gave 62.6 mAP@10, none 62.3 (means of four seeds, 150 steps, no phrases; ahead with every seed).
func Defaults() Options {
	return Options{Steps: 350, LR: 2e-2, Beta1: .9, Beta2: .999, Eps: 1e-8, WeightDecay: .01, EMA: .99, InitStd: .02,
		LambdaContent: 1, LambdaGPT: .5, TopK: 15, Batch: 32, Gamma: .1, NoiseUnit: true, Tokens: 1}
}

func (o Options) check() error {
	between := func(x, lo, hi float64) bool { return x >= lo && x < hi }
	switch {
	case o.Steps < 1 || o.Batch < 1 || o.Tokens < 1 || o.Parallel < 0 || o.TopK < 0:
		return fmt.Errorf("oti: steps %d, batch %d, tokens %d, parallel %d, top-k %d", o.Steps, o.Batch, o.Tokens, o.Parallel, o.TopK)
	case !(o.LR > 0) || !between(o.Beta1, 0, 1) || !between(o.Beta2, 0, 1) || !(o.Eps > 0) || !between(o.WeightDecay, 0, 1e6) || !between(o.EMA, 0, 1+1e-9):
		return fmt.Errorf("oti: learning rate %g, betas %g and %g, eps %g, weight decay %g, EMA %g", o.LR, o.Beta1, o.Beta2, o.Eps, o.WeightDecay, o.EMA)
	case !between(o.LambdaContent, 0, 1e9) || !between(o.LambdaGPT, 0, 1e9) || !(o.LambdaContent+o.LambdaGPT > 0):
		return fmt.Errorf("oti: lambdas %g and %g", o.LambdaContent, o.LambdaGPT)
	case !between(o.Gamma, 0, 1e9) || !between(o.InitStd, 0, 1e9):
		return fmt.Errorf("oti: gamma %g, initial deviation %g", o.Gamma, o.InitStd)
	}
	return nil
}

// Templates are SEARLE's, in its order, spelling included; {} is the place of the pseudo-word, with a space on either side.
var templates = [...]string{
	"This is a photo of a {}", "This photo contains a {}", "A photo of a {}",
	"This is an illustration of a {}", "This illustration contains a {}", "An illustrations of a {}",
	"This is a sketch of a {}", "This sketch contains a {}", "A sketch of a {}",
	"This is a diagram of a {}", "This diagram contains a {}", "A diagram of a {}",
	"A {}", "We see a {}", "{}",
	"We see a {} in this photo", "We see a {} in this image", "We see a {} in this illustration",
	"We see a {} photo", "We see a {} image", "We see a {} illustration",
	"{} photo", "{} image", "{} illustration",
}

// Templates returns the templates' texts, {} standing for the pseudo-word or a concept.
func Templates() []string { return append([]string(nil), templates[:]...) }

// ErrNotFinite is wrapped by the error for a loss or a pseudo-word that became NaN or infinite.
var ErrNotFinite = errors.New("oti: not finite")
