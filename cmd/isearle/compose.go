package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"isearle/runtime"
	"isearle/search"
)

const composeHelp = `Compute the features of composed queries, for any other engine.

Usage:
  isearle compose [-o FILE] [flags] --image REF [TEXT]
  isearle compose [-o FILE] [flags] TEXT
  isearle compose [-o FILE] [flags] < QUERIES

A query is a reference image with a change, an image, or a text. QUERIES are lines of a path and a caption with a tab
between, either of which may be empty, or JSON objects with the keys image and text, and perhaps id. The features have
unit length. They are written as one object a line, or to an array (.npy), a file of lines (.jsonl) or a gallery
(.isx). With the model inside the program REF may be the id of a picture inside the program.

The reference becomes a pseudo-word by phi, in one pass, or with --method oti by gradient steps, with the flags of
isearle invert.

Examples:
  isearle compose --image chair.jpg 'is made of wood'
  isearle compose -m ViT-B-32.pt --phi SEARLE_ViT-B32.pt -o queries.npy < queries.tsv
  isearle compose -m ViT-B-32.pt --method oti --phrases phrases.jsonl --image chair.jpg 'is made of wood'
`

type composeCommand struct {
	engine engineFlags
	oti    otiFlags
	image  string
	output string
}

func (c *composeCommand) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.image, "image", "", "the reference `IMAGE`")
	fs.StringVarP(&c.output, "output", "o", "", "write to `FILE`: .npy, .jsonl or .isx")
	c.engine.modelFlags(fs)
	c.engine.composeFlags(fs)
	c.engine.imageFlags(fs)
	c.engine.text.flags(fs)
	c.oti.queryFlags(fs)
}

func (c *composeCommand) run(ctx context.Context, s *session, args []string) (err error) {
	asked, err := askedFor(s, c.image, args)
	if err != nil {
		return err
	}
	eng, err := c.engine.open(s)
	if err != nil {
		return err
	}
	defer eng.Close()
	out, err := c.open(s, eng)
	if err != nil {
		return err
	}
	a := answerer{s: s, engine: eng, oti: &c.oti}
	if eng.Embedded() {
		a.pictures = demoPicture
	}
	placed := 0
	err = a.each(ctx, asked, func(answers []answer) error {
		for _, q := range answers {
			if err := out.add(q.ID, search.Digest{}, q.feature); err != nil {
				return err
			}
			placed++
		}
		return s.out.Flush()
	})
	switch {
	case err != nil:
		out.leave()
		return err
	case placed == 0 && !a.failed:
		err = errors.New("no queries: nothing is written")
	}
	if err = errors.Join(err, out.commit()); err == nil && a.failed {
		return errInputs
	}
	return err
}

func (c *composeCommand) open(s *session, eng *engine) (sink, error) {
	if c.output == "" || c.output == "-" {
		return &lineSink{w: s.out}, nil
	}
	meta := search.Meta{Model: eng.Model(), Dim: eng.Dim(), Normalised: true, DType: runtime.F32, Products: eng.Meta().Products, Tool: "isearle " + programVersion()}
	w, err := search.Create(c.output, meta, search.WriterOptions{Restart: true})
	if err != nil {
		return nil, err
	}
	return &fileSink{w: w, every: time.Minute, saved: time.Now()}, nil
}
