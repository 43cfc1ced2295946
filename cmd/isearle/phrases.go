package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/lines"
	"isearle/oti/gpt"
	"isearle/oti/gpt/endpoint"
	"isearle/oti/gpt/grammar"
	"isearle/oti/gpt/journal"
	"isearle/runtime"
	"isearle/weights/demo"
)

const phrasesHelp = `Write the phrases that regularise textual inversion.

Usage:
  isearle phrases [--model DIR | --endpoint URL | --grammar] [-o FILE] [flags]

For each concept of a list, one a line, continuations of "a photo of {concept} that": by a language model, a GPT-2 or
GPT-Neo in a directory of Hugging Face's layout; by a server with OpenAI's completion interface; or by the grammar of
the emoji world inside the program, which needs neither and is the default. One object a line is written, with the keys
concept and phrases, as isearle invert --phrases reads it. Where FILE has a concept it is skipped: a run that was
stopped goes on, and ends in the same file. The same seed gives the same phrases, however many are written together.

Examples:
  isearle phrases -o phrases.jsonl
  isearle phrases --concepts oidv7-classes.txt --model gpt-neo-2.7B -o phrases.jsonl
  ISEARLE_API_KEY=... isearle phrases --concepts names.txt --endpoint https://host/v1 --endpoint-model davinci-002
`

type phrasesCommand struct {
	concepts, model, endpoint string
	grammar                   bool
	server, keyName           string
	timeout                   time.Duration
	o                         gpt.Options
	output                    string
	device                    deviceFlags
}

func (c *phrasesCommand) flags(fs *pflag.FlagSet) {
	o := &c.o
	o.Sampling = gpt.DefaultSampling
	fs.StringVar(&c.concepts, "concepts", "", "read the concepts from `FILE`, - for standard input; without it the emoji world's")
	fs.StringVarP(&c.model, "model", "m", "", "the language model, a `DIR`: config.json, model.safetensors, tokenizer.json or vocab.json and merges.txt")
	fs.StringVar(&c.endpoint, "endpoint", "", "the server, a `URL`")
	fs.BoolVar(&c.grammar, "grammar", false, "the grammar of the emoji world")
	fs.StringVarP(&c.output, "output", "o", "", "write to `FILE`, and go on with what it has; without it to standard output")
	fs.IntVarP(&o.N, "number", "n", 256, "phrases of a concept")
	fs.Float64Var(&o.Sampling.Temperature, "temperature", o.Sampling.Temperature, "of the draws; 0 takes the best token")
	fs.IntVar(&o.Sampling.MaxLength, "max-length", o.Sampling.MaxLength, "most tokens of a phrase, the beginning's included")
	fs.IntVar(&o.Sampling.TopK, "top-k", o.Sampling.TopK, "draw among the best `K` tokens (0: all), as Hugging Face's generate does")
	fs.IntVar(&o.Sampling.NoRepeat, "no-repeat", o.Sampling.NoRepeat, "no `N` tokens come twice in a row (0: they may)")
	fs.Uint64Var(&o.Seed, "seed", 0, "of all draws")
	fs.IntVar(&o.Batch, "batch", 0, "continue `N` phrases together (0: as many as are useful)")
	fs.StringVar(&c.server, "endpoint-model", "", "the model's `NAME` at the server")
	fs.StringVar(&c.keyName, "api-key-env", "ISEARLE_API_KEY", "the environment variable, its `NAME`, that has the server's key")
	fs.DurationVar(&c.timeout, "timeout", endpoint.DefaultTimeout, "the longest that one answer of the server may take")
	c.device.flags(fs)
}

// phraseWriter writes the phrases of a concept.
type phraseWriter interface {
	Phrases(ctx context.Context, concept string) ([]string, error)
}

func (c *phrasesCommand) run(ctx context.Context, s *session, args []string) error {
	if err := c.check(args); err != nil {
		return err
	}
	concepts, err := c.list(s)
	if err != nil {
		return err
	}
	w, closer, err := c.writer(s)
	if err != nil {
		return err
	}
	return errors.Join(c.write(ctx, s, w, concepts), closer())
}

func (c *phrasesCommand) check(args []string) error {
	kinds := 0
	for _, given := range []bool{c.model != "", c.endpoint != "", c.grammar} {
		if given {
			kinds++
		}
	}
	switch {
	case len(args) > 0:
		return usagef("%q: concepts are named by --concepts FILE", args[0])
	case kinds > 1:
		return usagef("one of --model, --endpoint and --grammar")
	case c.o.N < 1:
		return usagef("-n %d: at least one phrase", c.o.N)
	case c.o.Batch < 0:
		return usagef("--batch %d", c.o.Batch)
	}
	return nil
}

// list is the concepts, stripped, each once, in the order of the list.
func (c *phrasesCommand) list(s *session) ([]string, error) {
	if c.concepts == "" {
		return demo.Concepts(), nil
	}
	in, name := io.Reader(s.stdin), "standard input"
	if c.concepts != "-" {
		f, err := os.Open(c.concepts)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in, name = f, c.concepts
	}
	var list []string
	seen := map[string]bool{"": true}
	for line, err := range lines.All(in, name, false) {
		if err != nil {
			return nil, err
		}
		if concept := strings.TrimSpace(line.Text); !seen[concept] {
			seen[concept] = true
			list = append(list, concept)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no concepts", name)
	}
	return list, nil
}

// writer opens what writes the phrases, and tells how to close it.
func (c *phrasesCommand) writer(s *session) (w phraseWriter, closer func() error, err error) {
	none := func() error { return nil }
	switch {
	case c.model != "":
		var dev runtime.Device
		if dev, err = c.device.open(); err != nil {
			return nil, nil, err
		}
		g, err := gpt.OpenGenerator(dev, c.model, c.o)
		if err != nil {
			return nil, nil, errors.Join(err, dev.Close())
		}
		return g, func() error { return errors.Join(g.Close(), dev.Close()) }, nil
	case c.endpoint != "":
		w, err = endpoint.New(endpoint.Options{URL: c.endpoint, Model: c.server, Key: s.getenv(c.keyName), N: c.o.N,
			Temperature: c.o.Sampling.Temperature, MaxLength: c.o.Sampling.MaxLength, Seed: c.o.Seed, Timeout: c.timeout})
	default:
		w, err = grammar.New(demo.Concepts(), c.o.N, c.o.Seed)
	}
	return w, none, err
}

// write writes the concepts that the output lacks. One that cannot be continued is told, and the others go on.
func (c *phrasesCommand) write(ctx context.Context, s *session, w phraseWriter, concepts []string) error {
	out, err := c.open(s)
	if err != nil {
		return err
	}
	progress := s.console.Start("concepts", len(concepts))
	defer progress.Stop()
	failed := false
	for _, concept := range concepts {
		err = c.one(ctx, s, w, out, concept)
		if errors.Is(err, gpt.ErrPrompt) {
			s.fail(err)
			failed, err = true, nil
		}
		if err != nil {
			break
		}
		progress.Add(1)
	}
	if err == nil && failed {
		err = errInputs
	}
	return errors.Join(err, out.close())
}

// one writes the phrases of a concept, unless the output has it.
func (c *phrasesCommand) one(ctx context.Context, s *session, w phraseWriter, out phraseOutput, concept string) error {
	if n, ok := out.has(concept); ok {
		if n != c.o.N {
			s.notef("%s has %d phrases of %q, not %d; they stay", c.output, n, concept, c.o.N)
		}
		return nil
	}
	phrases, err := w.Phrases(ctx, concept)
	if err != nil {
		return err
	}
	return out.add(journal.Line{Concept: concept, Phrases: phrases})
}

// phraseOutput is where lines go.
type phraseOutput struct {
	has   func(concept string) (n int, ok bool)
	add   func(journal.Line) error
	close func() error
}

func (c *phrasesCommand) open(s *session) (phraseOutput, error) {
	if c.output != "" {
		f, err := journal.Open(c.output)
		if err != nil {
			return phraseOutput{}, err
		}
		return phraseOutput{f.Phrases, f.Add, f.Close}, nil
	}
	return phraseOutput{
		has: func(string) (int, bool) { return 0, false },
		add: func(l journal.Line) error {
			line, err := l.Append(nil)
			if err == nil {
				_, err = s.out.Write(line)
			}
			return errors.Join(err, s.out.Flush())
		},
		close: s.out.Flush,
	}, nil
}
