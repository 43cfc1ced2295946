package search

import (
	"context"
	"fmt"

	"isearle/oti"
)

// OTI returns an Inverter over the model's text tower. phrases may be nil if the options' LambdaGPT is 0.
func (e *Engine) OTI(phrases *oti.Phrases, o oti.Options) (*oti.Inverter, error) {
	text, tok, err := e.forGradients()
	if err != nil {
		return nil, err
	}
	return oti.New(e.dev, text, tok, e.opts.Rules, phrases, o)
}

// EncodeConcepts computes the features of concepts' names, for Associate. progress, if not nil, is told how many names are done.
func (e *Engine) EncodeConcepts(ctx context.Context, names []string, progress func(done int)) (*oti.Concepts, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("search: encode concepts: there are none")
	}
	text, tok, err := e.forGradients()
	if err != nil {
		return nil, err
	}
	return oti.EncodeConcepts(ctx, text, tok, e.opts.Rules, names, progress)
}

// Associate ranks concepts for n raw image features [n, Dim]: the names of each image's top ones, best first.
func (e *Engine) Associate(c *oti.Concepts, features []float32, top int) ([][]string, error) {
	return c.Associate(e.dev, features, min(top, len(c.Names)))
}
