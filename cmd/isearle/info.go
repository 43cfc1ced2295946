package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"isearle/phi"
	"isearle/search"
	"isearle/weights"
	"isearle/weights/demo"
)

const infoHelp = `Tell what a model, a gallery, a phi or the device is.

Usage:
  isearle info [flags] [FILE...]

FILE is a checkpoint or a model's directory, a gallery (.isx) or a phi. Without FILE: the device, and the model inside
the program. With --card and --licenses: its model card, and the licences of the artwork inside the program.

The CPU's kernels are the fastest set that it runs, or the one that ISEARLE_CPU names in the environment:
amx, avx512bf16, avx512, avx2, neon or generic.

Examples:
  isearle info
  isearle info clip-vit-base-patch32/ gallery.isx
  isearle info --json ViT-L-14.pt | jq .config.vision
`

type infoCommand struct {
	device         deviceFlags
	checkpoint     checkpointFlags
	card, licenses bool
}

func (c *infoCommand) flags(fs *pflag.FlagSet) {
	fs.BoolVar(&c.card, "card", false, "print the model card of the model inside the program")
	fs.BoolVar(&c.licenses, "licenses", false, "print the licences of what is inside the program")
	c.device.flags(fs)
	c.checkpoint.flags(fs)
}

func (c *infoCommand) run(ctx context.Context, s *session, args []string) error {
	switch {
	case c.card:
		_, err := io.WriteString(s.out, demo.Card())
		return err
	case c.licenses:
		return writeLicenses(s.out)
	case len(args) == 0:
		return c.builtIn(s)
	}
	opts, err := c.checkpoint.options()
	if err != nil {
		return err
	}
	failed := false
	for i, path := range args {
		d, err := describe(path, opts)
		if err != nil {
			s.fail(err)
			failed = true
			continue
		}
		if i > 0 && !s.common.json {
			fmt.Fprintln(s.out)
		}
		if err := s.tell(d); err != nil {
			return err
		}
	}
	if failed {
		return errInputs
	}
	return nil
}

// builtIn tells the device and the model inside the program.
func (c *infoCommand) builtIn(s *session) error {
	dev, err := c.device.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	fsys, err := demo.Model()
	if err != nil {
		return err
	}
	m, err := weights.OpenFS(fsys, weights.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	told := map[string]any{"device": dev.Describe(), "model": m.Describe()}
	device := dev.Describe()
	if why := c.device.fallen(); why != nil {
		told["no_gpu"] = why.Error()
		device += fmt.Sprintf("\n%-14s %s", "no GPU", why)
	}
	if s.common.json {
		return json.NewEncoder(s.out).Encode(told)
	}
	_, err = fmt.Fprintf(s.out, "%-14s %s\n\ninside the program:\n%s", "device", device, m.Describe())
	return err
}

// writeLicenses writes the licence files one after the other.
func writeLicenses(w io.Writer) error {
	files := demo.Licenses()
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if err == nil {
			_, err = fmt.Fprintf(w, "==> %s <==\n%s\n", name, text)
		}
		return err
	})
}

// tell writes a description for people or for programs.
func (s *session) tell(d fmt.Stringer) error {
	if s.common.json {
		return json.NewEncoder(s.out).Encode(d)
	}
	_, err := io.WriteString(s.out, d.String())
	return err
}

// describe finds out what a file is from its content.
func describe(path string, opts weights.Options) (fmt.Stringer, error) {
	m, reason := weights.Open(path, opts)
	if reason == nil {
		defer m.Close()
		return m.Describe(), nil
	}
	if n, err := phi.Open(path); err == nil {
		return newPhiInfo(path, n), nil
	}
	g, err := search.OpenGallery(path)
	switch {
	case err == nil:
		defer g.Close()
		return newGalleryInfo(g), nil
	case filepath.Ext(path) == ".isx":
		return nil, err
	case errors.Is(reason, weights.ErrHeads):
		return nil, fmt.Errorf("%w: give --heads", reason)
	}
	return nil, reason
}

// galleryInfo is what can be said about a gallery.
type galleryInfo struct {
	Path       string       `json:"path"`
	Rows       int          `json:"rows"`
	Dim        int          `json:"dim"`
	DType      string       `json:"dtype"`
	Normalised bool         `json:"normalised"`
	Coarse     bool         `json:"coarse"`
	Model      search.Model `json:"model"`
	Size       int          `json:"image_size,omitempty"`
	Pad        string       `json:"pad,omitempty"`
	Order      string       `json:"order,omitempty"`
	Products   string       `json:"products,omitempty"`
	Tool       string       `json:"tool,omitempty"`
}

func newGalleryInfo(g *search.Gallery) galleryInfo {
	m := g.Meta()
	info := galleryInfo{Path: g.Path(), Rows: g.Len(), Dim: m.Dim, DType: m.DType.String(), Normalised: m.Normalised, Coarse: m.Coarse,
		Model: m.Model, Size: m.Size, Pad: m.Pad, Order: m.Order, Tool: m.Tool}
	if m.Products != 0 {
		info.Products = m.Products.String()
	}
	return info
}

func (g galleryInfo) String() string {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", key, fmt.Sprintf(format, args...))
	}
	line("gallery", "%s", g.Path)
	line("features", "%d of %d elements, %s, normalised: %t, int8 copy: %t", g.Rows, g.Dim, g.DType, g.Normalised, g.Coarse)
	line("model", "%v", g.Model)
	if g.Size > 0 {
		line("images", "%d x %d, pad %s, order %s", g.Size, g.Size, g.Pad, g.Order)
	}
	if g.Products != "" {
		line("products", "%s", g.Products)
	}
	line("tool", "%s", g.Tool)
	return b.String()
}
