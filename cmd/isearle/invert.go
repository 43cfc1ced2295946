package main

import (
	"context"
	"encoding/json"
	"path/filepath"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/images"
	"isearle/oti"
	"isearle/search"
)

const invertHelp = `Turn images into pseudo-words.

Usage:
  isearle invert [-o FILE] [flags] PATH... | -

A pseudo-word is what takes the place of a token's embedding in a text: "a photo of $". PATH is an image, or a
directory that is searched for images; - reads a list of them from standard input. Without -o they are written as one
object a line, with the keys id and pseudo_word; to a file (.safetensors) as the tensor pseudo_words [n, width], with
the ids one after the other in the tensor ids, and where each ends there in id_ends.

phi makes pseudo-words in one pass. OTI finds each by gradient steps through the text tower; with -o, a run that was
interrupted goes on where it stopped.

Examples:
  isearle invert chair.jpg
  isearle invert -m ViT-B-32.pt --phi SEARLE_ViT-B32.pt -o words.safetensors images/
  isearle invert --method oti --phrases phrases.jsonl --gamma 0.1 -o words.safetensors images/
`

type invertCommand struct {
	engine engineFlags
	oti    otiFlags
	output string
	null   bool
}

func (c *invertCommand) flags(fs *pflag.FlagSet) {
	fs.StringVarP(&c.output, "output", "o", "", "write to `FILE`: .safetensors")
	fs.BoolVarP(&c.null, "null", "0", false, "paths that are read end with NUL instead of a new line")
	c.engine.modelFlags(fs)
	c.engine.phiFlags(fs, "phi", "oti")
	c.engine.imageFlags(fs)
	c.oti.flags(fs)
}

// invertBatch is how many features are inverted together.
const invertBatch = 64

func (c *invertCommand) run(ctx context.Context, s *session, args []string) error {
	switch {
	case len(args) == 0:
		return usagef("no images: name files or directories, or - for a list on standard input")
	case c.output != "" && filepath.Ext(c.output) != ".safetensors":
		return usagef("-o %s: pseudo-words are written to .safetensors, or to standard output", c.output)
	}
	eng, err := c.engine.open(s)
	if err != nil {
		return err
	}
	defer eng.Close()
	failed := false
	fail := func(err error) {
		failed = true
		s.fail(err)
	}
	src := images.Source{Args: args, Stdin: s.stdin, Null: c.null, Fail: fail}
	if c.engine.method == "oti" {
		ids, features, err := c.features(ctx, s, eng, src.All(), fail)
		if err == nil {
			err = c.oti.run(ctx, s, eng, ids, features, c.output)
		}
		if err == nil && failed {
			err = errInputs
		}
		return err
	}
	w := wordWriter{s: s, engine: eng, keep: c.output != ""}
	progress := s.console.Start("images", 0)
	err = eng.EmbedImages(ctx, src.All(), eng.threads, func(m search.Embedded) error {
		progress.Add(1)
		if m.Err != nil {
			fail(m.Err)
			return nil
		}
		return w.add(ctx, m.Path, m.Feature)
	})
	progress.Stop()
	if err == nil {
		err = w.flush(ctx)
	}
	if err == nil && len(w.allIDs) > 0 {
		err = w.save(c.output)
	}
	if err == nil && failed {
		return errInputs
	}
	return err
}

// wordWriter inverts features batch by batch, and writes the pseudo-words or keeps them for a file.
type wordWriter struct {
	s        *session
	engine   *engine
	keep     bool
	ids      []string // of the batch
	features []float32
	allIDs   []string
	allWords []float32
}

func (w *wordWriter) add(ctx context.Context, id string, feature []float32) error {
	w.ids, w.features = append(w.ids, id), append(w.features, feature...)
	if len(w.ids) < invertBatch {
		return nil
	}
	return w.flush(ctx)
}

func (w *wordWriter) flush(ctx context.Context) error {
	width := w.engine.Width()
	words := make([]float32, len(w.ids)*width)
	if len(w.ids) > 0 {
		if err := w.engine.Invert(ctx, words, w.features, len(w.ids)); err != nil {
			return err
		}
	}
	if w.keep {
		w.allIDs, w.allWords = append(w.allIDs, w.ids...), append(w.allWords, words...)
	} else {
		for i, id := range w.ids {
			if err := json.NewEncoder(w.s.out).Encode(word{id, words[i*width : (i+1)*width]}); err != nil {
				return err
			}
		}
	}
	w.ids, w.features = w.ids[:0], w.features[:0]
	return w.s.out.Flush()
}

// word is a line of the output.
type word struct {
	ID         string    `json:"id"`
	PseudoWord []float32 `json:"pseudo_word"`
}

// save writes all pseudo-words to a file.
func (w *wordWriter) save(path string) error {
	model := w.engine.Model()
	return oti.Words{IDs: w.allIDs, Width: w.engine.Width(), Tokens: w.allWords,
		Meta: map[string]string{"model": model.Name, "model_hash": model.Hash, "method": "phi"}}.Write(path)
}
