package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/console"
	"isearle/cmd/isearle/internal/sheet"
	"isearle/search"
	"isearle/search/eval"
	"isearle/weights/atomicfile"
	"isearle/weights/demo"
)

const demoHelp = `Show composed retrieval on the model and the gallery inside the program.

Usage:
  isearle demo [flags]
  isearle demo --export DIR

Answers eight queries, the first of each kind of edit in the test list: the reference, the change, and the five best of
the gallery without the reference, their scores, and a mark at the right answers. A contact sheet of them is written,
the right answers framed.

With --export the pictures and all queries are written instead, in the layouts of five benchmarks, as isearle eval
reads them; DIR/README.md says what stands for what.

Examples:
  isearle demo
  isearle demo -o sheet.png
  isearle demo --json | jq .
  isearle demo --export world && isearle eval circo --data world/circo
`

type demoCommand struct {
	engine engineFlags
	output string
	export string
	k      int
}

func (c *demoCommand) flags(fs *pflag.FlagSet) {
	fs.StringVarP(&c.output, "output", "o", "isearle-demo.png", "write the contact sheet to `FILE`; empty for none")
	fs.StringVar(&c.export, "export", "", "write the world as data sets to `DIR`, and nothing else")
	fs.IntVarP(&c.k, "top", "k", 5, "show the `K` best")
	c.engine.device.flags(fs)
}

func (c *demoCommand) run(ctx context.Context, s *session, args []string) error {
	if len(args) > 0 {
		return usagef("demo takes no arguments")
	}
	if c.export != "" {
		return eval.ExportDemo(c.export)
	}
	if c.k < 1 {
		return usagef("-k %d: at least 1 is needed", c.k)
	}
	shown, err := c.answer(ctx, s)
	if err != nil {
		return err
	}
	if err := s.show(shown); err != nil || c.output == "" {
		return err
	}
	rows, err := sheetRows(shown)
	if err != nil {
		return err
	}
	picture, err := sheet.Draw(rows)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(c.output, func(w io.Writer) error { return png.Encode(w, picture) }); err != nil {
		return err
	}
	s.notef("the contact sheet is %s", c.output)
	return nil
}

// shown is a query of the demonstration and its answers.
type shown struct {
	Kind      string        `json:"kind"`
	Reference demo.Picture  `json:"reference"`
	Caption   string        `json:"caption"`
	Answers   []shownAnswer `json:"answers"`
}

type shownAnswer struct {
	Score   float32      `json:"score"`
	Right   bool         `json:"right"`
	Picture demo.Picture `json:"picture"`
}

// answer answers the queries of the showcase.
func (c *demoCommand) answer(ctx context.Context, s *session) ([]shown, error) {
	list, err := demo.Showcase()
	if err != nil {
		return nil, err
	}
	pictures, err := demo.Gallery()
	if err != nil {
		return nil, err
	}
	named := make(map[string]demo.Picture, len(pictures))
	for _, p := range pictures {
		named[p.ID] = p
	}
	results, err := c.search(ctx, s, list, named)
	if err != nil {
		return nil, err
	}
	out := make([]shown, len(list))
	for i, q := range list {
		out[i] = shown{Kind: q.Kind, Reference: named[q.Reference], Caption: q.Caption}
		for _, r := range results[i] {
			out[i].Answers = append(out[i].Answers, shownAnswer{r.Score, slices.Contains(q.Targets, r.ID), named[r.ID]})
		}
	}
	return out, nil
}

// search searches the embedded gallery, for each query without its reference.
func (c *demoCommand) search(ctx context.Context, s *session, list []demo.Query, named map[string]demo.Picture) ([][]search.Result, error) {
	g, err := openGallery("")
	if err != nil {
		return nil, err
	}
	defer g.Close()
	eng, err := c.engine.openFor(s, g, newFlagSet("demo"))
	if err != nil {
		return nil, err
	}
	defer eng.Close()
	index, err := search.OpenIndex(ctx, g, eng.device, search.IndexOptions{})
	if err != nil {
		return nil, err
	}
	defer index.Close()
	q := search.Query{K: c.k}
	asked := make([]search.Composition, len(list))
	for i, query := range list {
		asked[i].Text = query.Caption
		if asked[i].Image, err = eng.EmbedImage(ctx, query.Reference, named[query.Reference].Data); err != nil {
			return nil, err
		}
		q.Exclude = append(q.Exclude, []string{query.Reference})
	}
	features := make([]float32, len(list)*eng.Dim())
	if _, err := eng.Compose(ctx, features, asked); err != nil {
		return nil, err
	}
	q.Features = slices.Collect(slices.Chunk(features, eng.Dim()))
	return index.Search(ctx, q)
}

// show writes the queries and answers for people or for programs.
func (s *session) show(list []shown) error {
	if s.common.json {
		enc := json.NewEncoder(s.out)
		for _, q := range list {
			if err := enc.Encode(q); err != nil {
				return err
			}
		}
		return nil
	}
	st := style{emoji: console.UTF8(s.getenv)}
	right := 0
	for _, q := range list {
		st.write(s.out, q)
		if slices.ContainsFunc(q.Answers, func(a shownAnswer) bool { return a.Right }) {
			right++
		}
	}
	_, err := fmt.Fprintf(s.out, "%s marks right answers: %d of %d queries have one above\n", st.mark(true), right, len(list))
	return err
}

// style is how a terminal shows answers: with the emoji themselves where it can.
type style struct{ emoji bool }

func (st style) write(w io.Writer, q shown) {
	fmt.Fprintf(w, "%s: %s\n  that %s\n", q.Kind, st.label(q.Reference), q.Caption)
	for i, a := range q.Answers {
		fmt.Fprintf(w, "  %s %d  %.3f  %s\n", st.mark(a.Right), i+1, a.Score, st.label(a.Picture))
	}
	fmt.Fprintln(w)
}

func (st style) mark(right bool) string {
	switch {
	case !right:
		return " "
	case st.emoji:
		return "✓"
	}
	return "*"
}

func (st style) label(p demo.Picture) string {
	name := p.Name
	if b := p.Attributes["background"]; b != "" && b != "white" {
		name += " on " + b
	}
	if st.emoji && p.Emoji != "" {
		name = p.Emoji + " " + name
	}
	return fmt.Sprintf("%s (%s)", name, p.Vendor)
}

// sheetRows makes the rows of the contact sheet.
func sheetRows(list []shown) ([]sheet.Row, error) {
	var rows []sheet.Row
	for _, q := range list {
		ref, err := sheetPicture(q.Reference, "")
		if err != nil {
			return nil, err
		}
		row := sheet.Row{Reference: ref, Change: "that " + q.Caption}
		for _, a := range q.Answers {
			p, err := sheetPicture(a.Picture, fmt.Sprintf("%.3f ", a.Score))
			if err != nil {
				return nil, err
			}
			p.Right = a.Right
			row.Answers = append(row.Answers, p)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func sheetPicture(p demo.Picture, score string) (sheet.Picture, error) {
	m, _, err := image.Decode(bytes.NewReader(p.Data))
	if err != nil {
		return sheet.Picture{}, fmt.Errorf("picture %q: %w", p.ID, err)
	}
	return sheet.Picture{Image: m, Text: strings.TrimSpace(score + p.Name)}, nil
}
