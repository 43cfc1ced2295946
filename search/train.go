package search

import (
	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/oti"
	"isearle/phi"
)

// TrainPhi prepares the training of a textual inversion network for the model from examples of its features and pseudo-words.
// phrases may be nil if the options' LambdaGPT is 0.
func (e *Engine) TrainPhi(phrases *oti.Phrases, examples []phi.Example, o phi.TrainOptions) (*phi.Trainer, error) {
	var text *clipnet.TextEncoder
	var tok *tokenizer.Tokenizer
	if o.LambdaGPT > 0 {
		var err error
		if text, tok, err = e.forGradients(); err != nil {
			return nil, err
		}
	}
	return phi.NewTrainer(e.dev, text, tok, e.opts.Rules, phrases, examples, o)
}

// TunePhi prepares the training of a textual inversion network on triplets, beginning with n, which stays as it is.
func (e *Engine) TunePhi(n *phi.Network, triplets []phi.Triplet, o phi.TuneOptions) (*phi.Tuner, error) {
	text, tok, err := e.forGradients()
	if err != nil {
		return nil, err
	}
	return phi.NewTuner(e.dev, text, tok, e.opts.Rules, n, triplets, o)
}
