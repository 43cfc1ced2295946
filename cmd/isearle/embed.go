package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/images"
	"isearle/cmd/isearle/internal/lines"
	"isearle/runtime"
	"isearle/search"
)

const embedHelp = `Turn images or captions into features.

Usage:
  isearle embed -o GALLERY.isx [flags] PATH... | -
  isearle embed --text [-o FILE] [flags] [FILE | -]

PATH is an image, or a directory that is searched for images; - reads a list of them from standard input. FILE has one
caption a line; an empty line is an empty caption. The output is a gallery (.isx, a safetensors file), an array (.npy,
with the ids in a list beside it) or one object a line (.jsonl, and standard output without -o). It appears as a whole
when all is done. Features have unit length unless --raw asks for them as the model gives them.

A run that was interrupted goes on where it stopped when it is started again, and ends in the same bytes; what has not
changed since an existing gallery was made is taken from there. A broken image is named and left out, and the exit
code is 1.

Examples:
  isearle embed -o photos.isx ~/Pictures
  find . -name '*.jpg' -print0 | isearle embed -o photos.isx -0 -
  isearle embed -m ViT-B-32.pt --raw -o features.npy images/
  isearle embed -m ViT-B-32.pt --text -o captions.npy captions.txt
  echo 'a cat on a sofa' | isearle embed --text
`

type embedCommand struct {
	engine                         engineFlags
	output                         string
	text, raw, null, grow, restart bool
	coarse                         bool
	dtype, ids                     string
	saveEvery                      time.Duration
}

func (c *embedCommand) flags(fs *pflag.FlagSet) {
	fs.StringVarP(&c.output, "output", "o", "", "write to `FILE`: .isx, .npy or .jsonl")
	fs.BoolVar(&c.text, "text", false, "embed captions")
	fs.BoolVar(&c.raw, "raw", false, "do not scale features to unit length")
	fs.BoolVarP(&c.null, "null", "0", false, "paths or captions that are read end with NUL instead of a new line")
	fs.Var(choice{&c.ids, []string{"path", "name", "stem", "line", "caption"}}, "ids",
		"ids of images: their path, file name, or that without its ending (default path); of captions: the line's number or the caption (default line)")
	choose(fs, &c.dtype, "dtype", "type of the numbers in a gallery", "f32", "f16", "bf16")
	fs.BoolVar(&c.coarse, "int8", false, "add an int8 copy to a gallery, by which searches read less and find the same")
	fs.BoolVar(&c.grow, "append", false, "add to the gallery that is there")
	fs.BoolVar(&c.restart, "restart", false, "begin anew: use nothing of an interrupted run or an existing gallery")
	fs.DurationVar(&c.saveEvery, "save-every", 2*time.Second, "what a process that is killed loses is at most the work of this `TIME`")
	c.engine.modelFlags(fs)
	c.engine.imageFlags(fs)
	c.engine.text.flags(fs)
}

// galleryBatch is the least number of images that batches of a gallery have, but for the last one.
const galleryBatch = 4

func (c *embedCommand) run(ctx context.Context, s *session, args []string) (err error) {
	if err := c.check(args); err != nil {
		return err
	}
	// Always the same, so that a gallery that is gone on with, or one image, has the same bits.
	c.engine.batch = galleryBatch
	eng, err := c.engine.open(s)
	if err != nil {
		return err
	}
	defer eng.Close()
	out, err := c.open(s, eng)
	if err != nil {
		return err
	}
	job := &embedding{s: s, engine: eng, out: out, raw: c.raw, badID: c.badID}
	if c.text {
		err = c.captions(ctx, s, job, args)
	} else {
		err = c.images(ctx, s, job, args)
	}
	return job.finish(err)
}

// check finds flags that do not go together.
func (c *embedCommand) check(args []string) error {
	gallery := strings.EqualFold(filepath.Ext(c.output), ".isx")
	captions := c.ids == "line" || c.ids == "caption"
	switch {
	case !c.text && len(args) == 0:
		return usagef("no images: name files or directories, or - for a list on standard input")
	case c.ids != "" && captions != c.text:
		return usagef("--ids %s is not for %s", c.ids, map[bool]string{false: "images", true: "captions"}[c.text])
	case !gallery && (c.dtype != "f32" || c.coarse || c.grow):
		return usagef("--dtype, --int8 and --append are for galleries, -o NAME.isx")
	case c.coarse && c.raw:
		return usagef("--int8 needs features of unit length, without --raw")
	}
	return nil
}

// open opens the output.
func (c *embedCommand) open(s *session, eng *engine) (sink, error) {
	if c.output == "" || c.output == "-" {
		return &lineSink{w: s.out}, nil
	}
	meta := eng.Meta()
	meta.Normalised, meta.Coarse, meta.Tool = !c.raw, c.coarse, "isearle "+programVersion()
	meta.DType = map[string]runtime.DType{"f32": runtime.F32, "f16": runtime.F16, "bf16": runtime.BF16}[c.dtype]
	if c.text {
		meta.Size, meta.Pad, meta.Order = 0, "", ""
	}
	opts := search.WriterOptions{Restart: c.restart, Append: c.grow, NoIDs: c.text && c.ids != "caption"}
	w, err := search.Create(c.output, meta, opts)
	if err != nil {
		return nil, err
	}
	if n := w.Resumed(); n > 0 {
		s.notef("going on with the %d rows that an interrupted run has left", n)
	}
	return &fileSink{w: w, every: c.saveEvery, saved: time.Now()}, nil
}

// images embeds the images that args name.
func (c *embedCommand) images(ctx context.Context, s *session, job *embedding, args []string) error {
	src := images.Source{Args: args, Stdin: s.stdin, Null: c.null, Fail: job.fail}
	paths, total := src.All(), 0
	if !src.Streams() {
		list := slices.Collect(paths)
		paths, total = slices.Values(list), len(list)
	}
	job.progress = s.console.Start("images", total)
	return job.images(ctx, paths, c.imageID)
}

// captions embeds the captions of a file.
func (c *embedCommand) captions(ctx context.Context, s *session, job *embedding, args []string) error {
	job.progress = s.console.Start("captions", 0)
	in, name, err := s.input(args)
	if err != nil {
		return err
	}
	defer in.Close()
	return job.captions(ctx, name, lines.All(in, name, c.null), c.captionID)
}

// badID says why the output's format cannot have an id.
func (c *embedCommand) badID(id string) error {
	switch ext := strings.ToLower(filepath.Ext(c.output)); {
	case id == "":
		return errors.New("it has no id")
	case ext == ".npy" && strings.ContainsAny(id, "\r\n"):
		return fmt.Errorf("the id %q has a line break, and a list of ids one id a line", id)
	case (ext == ".jsonl" || c.output == "" || c.output == "-") && !utf8.ValidString(id):
		return fmt.Errorf("the id %q is not UTF-8 and cannot be written as JSON", id)
	}
	return nil
}

func (c *embedCommand) imageID(path string) string {
	switch c.ids {
	case "name":
		return filepath.Base(path)
	case "stem":
		return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	return path
}

func (c *embedCommand) captionID(line lines.Line) string {
	if c.ids == "caption" {
		return line.Text
	}
	return strconv.Itoa(line.Number)
}
