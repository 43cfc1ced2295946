package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"isearle/search"
	"isearle/weights/demo"
)

const searchHelp = `Find the images of a gallery that a query asks for.

Usage:
  isearle search [-g GALLERY.isx] [flags] --image REF [TEXT]
  isearle search [-g GALLERY.isx] [flags] TEXT
  isearle search [-g GALLERY.isx] [flags] < QUERIES

A query is a reference image with a change, an image, or a text. QUERIES are lines of a path and a caption with a tab
between, either of which may be empty, or JSON objects with the keys image and text, and perhaps id; they are answered
as they come. The answer is exact: the cosines of the query with all images, the highest first, equal ones in the order
of the gallery. The gallery must have been made by the same model; --pad and --order are the gallery's unless given.

Each line of the output has the query's id or number, the rank, the score and the image's id, with tabs between, or is
an object with --json.

Without -g the gallery inside the program is searched, of whose pictures REF may be the id.

The reference becomes a pseudo-word by phi, in one pass, or with --method oti by gradient steps, which take seconds
and need no phi, with the flags of isearle invert.

Examples:
  isearle search 'a red heart'
  isearle search --image noto/red-heart@white 'is blue' -k 5
  isearle search --method oti --image noto/red-heart@white 'is blue'
  isearle search -g photos.isx --image chair.jpg 'is made of wood'
  printf 'chair.jpg\tis made of wood\n' | isearle search -g photos.isx --json
  isearle search -g photos.isx --prefix 2024/ --exclude-reference --image chair.jpg
`

type searchCommand struct {
	engine           engineFlags
	oti              otiFlags
	gallery          string
	image            string
	k                int
	prefix           string
	exclude          []string
	excludeReference bool
	exact, trust     bool
	given            *pflag.FlagSet
}

func (c *searchCommand) flags(fs *pflag.FlagSet) {
	fs.StringVarP(&c.gallery, "gallery", "g", "", "search `GALLERY`, an .isx file that embed made")
	fs.StringVar(&c.image, "image", "", "the reference `IMAGE`")
	fs.IntVarP(&c.k, "top", "k", 10, "find the `K` best")
	fs.StringVar(&c.prefix, "prefix", "", "search only among the ids that begin with `TEXT`")
	fs.StringArrayVar(&c.exclude, "exclude", nil, "leave out the image with this `ID`; can be given several times")
	fs.BoolVar(&c.excludeReference, "exclude-reference", false, "leave out the reference image itself, found by its path or its content")
	fs.BoolVar(&c.exact, "full", false, "read all features, also where an int8 copy could spare it; the result is the same")
	fs.BoolVar(&c.trust, "trust", false, "do not check a large gallery for broken features before")
	c.engine.modelFlags(fs)
	c.engine.composeFlags(fs)
	c.engine.imageFlags(fs)
	c.engine.text.flags(fs)
	c.oti.queryFlags(fs)
	c.given = fs
}

func (c *searchCommand) run(ctx context.Context, s *session, args []string) error {
	asked, err := askedFor(s, c.image, args)
	if err != nil {
		return err
	}
	if c.k < 1 {
		return usagef("-k %d: at least 1 is needed", c.k)
	}
	if c.gallery == "" && c.engine.model != "" {
		return usagef("-m without -g: the gallery inside the program is of the model inside the program")
	}
	g, err := openGallery(c.gallery)
	if err != nil {
		return err
	}
	defer g.Close()
	eng, err := c.engine.openFor(s, g, c.given)
	if err != nil {
		return err
	}
	defer eng.Close()
	index, err := search.OpenIndex(ctx, g, eng.device, search.IndexOptions{Trust: c.trust})
	if err != nil {
		return err
	}
	defer index.Close()
	if c.k > g.Len() {
		s.notef("the gallery has %d images, fewer than the %d asked for", g.Len(), c.k)
	}
	a := answerer{s: s, engine: eng, oti: &c.oti}
	if c.gallery == "" {
		a.pictures = demoPicture
	}
	err = a.each(ctx, asked, func(answers []answer) error { return c.answer(ctx, s, g, index, answers) })
	if err == nil && a.failed {
		return errInputs
	}
	return err
}

// openGallery opens a gallery, without a path the one inside the program.
func openGallery(path string) (*search.Gallery, error) {
	if path == "" {
		return search.DemoGallery()
	}
	return search.OpenGallery(path)
}

// demoPicture finds a picture inside the program.
func demoPicture(id string) (demo.Picture, bool) {
	pictures, err := demo.Gallery()
	if err != nil {
		return demo.Picture{}, false
	}
	i := slices.IndexFunc(pictures, func(p demo.Picture) bool { return p.ID == id })
	if i < 0 {
		return demo.Picture{}, false
	}
	return pictures[i], true
}

// answer searches for a batch and writes the results.
func (c *searchCommand) answer(ctx context.Context, s *session, g *search.Gallery, index *search.Index, answers []answer) error {
	q := search.Query{K: c.k, Prefix: c.prefix, Exact: c.exact}
	for _, a := range answers {
		q.Features = append(q.Features, a.feature)
	}
	if len(c.exclude) > 0 || c.excludeReference {
		q.Exclude = c.excluded(g, answers)
	}
	results, err := index.Search(ctx, q)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(s.out)
	enc.SetEscapeHTML(false)
	for i, list := range results {
		for _, r := range list {
			if s.common.json {
				err = enc.Encode(found{answers[i].ID, r.Rank, r.Score, r.ID})
			} else {
				_, err = fmt.Fprintf(s.out, "%s\t%d\t%.6f\t%s\n", answers[i].ID, r.Rank, r.Score, strings.ReplaceAll(r.ID, "\n", `\n`))
			}
			if err != nil {
				return err
			}
		}
	}
	return s.out.Flush()
}

// found is a line of the output with --json.
type found struct {
	Query string  `json:"query"`
	Rank  int     `json:"rank"`
	Score float32 `json:"score"`
	ID    string  `json:"id"`
}

// excluded lists for each query the ids that are left out. A reference is known by its path, and by its content wherever
// the gallery recorded what its rows were made from.
func (c *searchCommand) excluded(g *search.Gallery, answers []answer) [][]string {
	lists := make([][]string, len(answers))
	byDigest := map[search.Digest][]int{}
	for i, a := range answers {
		lists[i] = slices.Clone(c.exclude)
		if !c.excludeReference || a.Image == "" {
			continue
		}
		lists[i] = append(lists[i], a.Image, filepath.Clean(a.Image))
		// A reference inside the program is no file; its path is its id.
		if d, err := digestFile(a.Image); err == nil && d != (search.Digest{}) {
			byDigest[d] = append(byDigest[d], i)
		}
	}
	if len(byDigest) == 0 {
		return lists
	}
	for row := range g.Len() {
		for _, i := range byDigest[g.Digest(row)] {
			lists[i] = append(lists[i], g.ID(row))
		}
	}
	return lists
}
