package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/pflag"

	"isearle/clipnet/tokenizer"
	"isearle/cmd/isearle/internal/lines"
)

const tokenizeHelp = `Turn captions into the ids that CLIP reads.

Usage:
  isearle tokenize [flags] [FILE | -]

One caption a line, from FILE or standard input; one JSON array of ids a line, from the id that begins a text to the
one that ends it. An empty line is an empty caption. The vocabulary is CLIP's own 49,408 tokens unless -m or
--tokenizer names a model that comes with another.

Examples:
  echo 'a photo of a cat' | isearle tokenize
  isearle tokenize --rules openai --context 77 captions.txt
  isearle tokenize --tokenizer models/clip-vit-base-patch32 captions.txt
`

type tokenizeCommand struct {
	text    textFlags
	model   string
	null    bool
	context int
}

func (c *tokenizeCommand) flags(fs *pflag.FlagSet) {
	fs.StringVarP(&c.model, "model", "m", "", "`MODEL` whose vocabulary is used: its directory or a file in it")
	c.text.flags(fs)
	fs.BoolVarP(&c.null, "null", "0", false, "captions end with NUL instead of a new line")
	fs.IntVar(&c.context, "context", 0, "at most `N` ids, the last of them the end of text (0: however many there are)")
}

// textFlags say how captions become ids.
type textFlags struct {
	tokenizer string
	rules     tokenizer.Rules
}

func (f *textFlags) flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.tokenizer, "tokenizer", "", "`DIR` or file with the vocabulary: tokenizer.json, vocab.json and merges.txt")
	fs.Var(parsed[tokenizer.Rules]{&f.rules, tokenizer.ParseRules, []string{"hf", "openai"}}, "rules",
		"whose rules: Hugging Face's or OpenAI's; they differ in how text is cleaned")
}

func (c *tokenizeCommand) run(ctx context.Context, s *session, args []string) error {
	if c.context != 0 && c.context < 2 {
		return usagef("--context %d: a text has at least the 2 ids that begin and end it", c.context)
	}
	in, name, err := s.input(args)
	if err != nil {
		return err
	}
	defer in.Close()
	t, err := c.vocabulary()
	if err != nil {
		return err
	}
	for batch, err := range lines.Batches(ctx, lines.All(in, name, c.null), tokenizeBatch) {
		if err != nil {
			return err
		}
		if err := c.write(s, t, name, batch); err != nil {
			return err
		}
	}
	return nil
}

// tokenizeBatch is how many captions are read ahead at most.
const tokenizeBatch = 1024

// write writes the ids of a batch.
func (c *tokenizeCommand) write(s *session, t *tokenizer.Tokenizer, name string, batch []lines.Line) error {
	var ids []int32
	var row []byte
	for _, line := range batch {
		if c.context == 0 {
			ids = append(t.Append(append(ids[:0], t.BOS()), line.Text, c.text.rules), t.EOT())
		} else {
			var cut bool
			if ids, cut = t.EncodeContext(ids[:0], line.Text, c.text.rules, c.context); cut {
				s.notef("%s:%d: caption cut to %d ids", name, line.Number, c.context)
			}
		}
		row = appendIDs(row[:0], ids)
		if _, err := s.out.Write(row); err != nil {
			return err
		}
	}
	return s.out.Flush()
}

// vocabulary finds the tokeniser as an engine does for a model.
func (c *tokenizeCommand) vocabulary() (*tokenizer.Tokenizer, error) {
	if c.text.tokenizer != "" {
		return tokenizer.Load(c.text.tokenizer)
	}
	if c.model == "" {
		return tokenizer.CLIP(), nil
	}
	info, err := os.Stat(c.model)
	if err != nil {
		return nil, err
	}
	dir := c.model
	if !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	t, err := tokenizer.Load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return tokenizer.CLIP(), nil
	}
	return t, err
}

// appendIDs appends a JSON array and a new line.
func appendIDs(dst []byte, ids []int32) []byte {
	dst = append(dst, '[')
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(id), 10)
	}
	return append(dst, "]\n"...)
}

// input opens the one file that the arguments may name, else standard input.
func (s *session) input(args []string) (r io.ReadCloser, name string, err error) {
	switch {
	case len(args) > 1:
		return nil, "", usagef("one file at most, not %q too", args[1])
	case len(args) == 0 || args[0] == "-":
		return io.NopCloser(s.stdin), "standard input", nil
	}
	f, err := os.Open(args[0])
	return f, args[0], err
}
