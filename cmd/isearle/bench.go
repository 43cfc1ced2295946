package main

import (
	"bufio"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/bench"
	"isearle/weights"
)

const benchHelp = `Measure this machine: images, captions, searches and inversion steps a second.

Usage:
  isearle bench [flags] [embed | text | search | oti]...

Prints Go benchmark lines, which benchstat reads. Without -m the models have the true shapes of --shape and random
weights, made on the fly; speed does not depend on the values. Images are measured from pixels, captions from ids of 5
to 20 tokens, searches as the 50 best of a gallery in memory, oti as gradient steps for 32 images at once with phrases
of 16 tokens (images/s: with 350 steps for each).

Examples:
  isearle bench
  isearle bench embed -j 1 --count 10 | tee old.txt
  isearle bench search --rows 1000000 --dim 768
  benchstat old.txt new.txt
`

type benchCommand struct {
	device     deviceFlags
	checkpoint checkpointFlags
	model      string
	shape      string
	time       time.Duration
	count      int
	rows, dim  int
}

func (c *benchCommand) flags(fs *pflag.FlagSet) {
	fs.StringVarP(&c.model, "model", "m", "", "`MODEL` to measure in place of random weights: a checkpoint's file or directory")
	choose(fs, &c.shape, "shape", "shape of the random model", "vit-b-32", "vit-b-16", "vit-l-14")
	fs.DurationVar(&c.time, "time", time.Second, "measure for at least this `TIME`")
	fs.IntVar(&c.count, "count", 1, "measure `N` times")
	fs.IntVar(&c.rows, "rows", 100_000, "size of the gallery that is searched, in `ROWS`")
	fs.IntVar(&c.dim, "dim", 512, "`ELEMENTS` of the features that are searched")
	c.device.flags(fs)
	c.checkpoint.flags(fs)
}

// benchKinds are what can be measured, in the order in which it is.
var benchKinds = []string{"embed", "text", "search", "oti"}

func (c *benchCommand) run(ctx context.Context, s *session, args []string) error {
	for _, a := range args {
		if !slices.Contains(benchKinds, a) {
			return usagef("no benchmark %q; there are %s", a, strings.Join(benchKinds, ", "))
		}
	}
	if c.count < 1 || c.time <= 0 || c.rows < 1 || c.dim < 1 {
		return usagef("--count, --time, --rows and --dim are positive")
	}
	dev, err := c.device.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	b := bench.Bench{Device: dev, Threads: c.device.count(), W: flushed{s.out}, Time: c.time, Count: c.count, JSON: s.common.json}
	if err := b.Header(); err != nil {
		return err
	}
	chosen := func(kind string) bool { return len(args) == 0 || slices.Contains(args, kind) }
	if chosen("embed") || chosen("text") || chosen("oti") {
		if err := c.models(ctx, b, chosen); err != nil {
			return err
		}
	}
	if chosen("search") {
		return b.Search(ctx, c.rows, c.dim)
	}
	return nil
}

// models measures the towers of one model.
func (c *benchCommand) models(ctx context.Context, b bench.Bench, chosen func(string) bool) error {
	opts, err := c.checkpoint.options()
	if err != nil {
		return err
	}
	m, name, err := c.open(opts)
	if err != nil {
		return err
	}
	defer m.Close()
	if chosen("embed") {
		if err := b.Images(ctx, m, name); err != nil {
			return err
		}
	}
	if chosen("text") {
		if err := b.Captions(ctx, m, name); err != nil {
			return err
		}
	}
	if chosen("oti") {
		return b.OTI(ctx, m, name)
	}
	return nil
}

func (c *benchCommand) open(opts weights.Options) (*weights.CLIP, string, error) {
	if c.model != "" {
		m, err := weights.Open(c.model, opts)
		return m, filepath.Base(c.model), err
	}
	config, _ := bench.Shapes(c.shape)
	m, err := bench.Random(config)
	return m, c.shape, err
}

// flushed shows every line at once: the next may be long in coming.
type flushed struct{ *bufio.Writer }

func (w flushed) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		return n, err
	}
	return n, w.Flush()
}
