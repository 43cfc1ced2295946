package search

import (
	"context"
	"fmt"

	"isearle/oti"
)

// OTI returns an Inverter over the model's text tower. phrases may be nil if the options' LambdaGPT is 0.
func (e *Engine) OTI(phrases *oti.Phrases, o oti.Options) (*oti.Inverter, error) {
	text, err := e.gradient()
	if err != nil {
		return nil, err
	}
	tok, err := e.words()
	if err != nil {
		return nil, err
	}
	return oti.New(e.dev, text, tok, e.opts.Rules, phrases, o)
}

// Associate ranks concepts for n raw image features [n, Dim]: the names of each image's top ones, best first. progress, if not nil, is
// told how many names are encoded.
func (e *Engine) Associate(ctx context.Context, names []string, features []float32, top int, progress func(done int)) ([][]string, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("search: associate: no concepts")
	}
	text, err := e.gradient()
	if err != nil {
		return nil, err
	}
	tok, err := e.words()
	if err != nil {
		return nil, err
	}
	c, err := oti.EncodeConcepts(ctx, text, tok, e.opts.Rules, names, progress)
	if err != nil {
		return nil, err
	}
	return c.Associate(e.dev, features, min(top, len(names)))
}
