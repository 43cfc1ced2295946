package search

import (
	"context"
	"fmt"

	"isearle/clipnet"
	"isearle/clipnet/preprocess"
	"isearle/clipnet/tokenizer"
)

// EncodePrompts writes the raw features, not normalised, of prompts to dst [len(prompts), Dim]. Every pseudo-word of prompt i is
// words[i*Width:(i+1)*Width]; words may be nil if no prompt has one. The indices of prompts that were cut to the context are
// returned; a pseudo-word that would be cut is a *tokenizer.CutError.
func (e *Engine) EncodePrompts(ctx context.Context, dst []float32, prompts []tokenizer.Prompt, words []float32) (truncated []int, err error) {
	if len(dst) != len(prompts)*e.Dim() {
		return nil, fmt.Errorf("search: encode %d prompts: room for %d values, want %d", len(prompts), len(dst), len(prompts)*e.Dim())
	}
	if words != nil && len(words) != len(prompts)*e.Width() {
		return nil, fmt.Errorf("search: encode %d prompts: %d values of pseudo-words, want %d", len(prompts), len(words), len(prompts)*e.Width())
	}
	rows := make([]int, len(prompts))
	list := make([]clipnet.Prompt, len(prompts))
	for i, p := range prompts {
		prompt, cut, err := e.prompt(p, i)
		if err != nil {
			return nil, fmt.Errorf("search: prompt %d: %w", i, err)
		}
		if cut {
			truncated = append(truncated, i)
		}
		list[i], rows[i] = prompt, i
	}
	return truncated, e.encodeInto(ctx, dst, rows, list, words)
}

// Preprocessing says how the engine prepares images.
func (e *Engine) Preprocessing() preprocess.Options { return e.pre.Options() }
