package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/bench"
	"isearle/cmd/isearle/internal/images"
	"isearle/cmd/isearle/internal/lines"
	"isearle/weights"
)

const benchHelp = `Measure this machine: images, captions, searches and inversion steps a second.

Usage:
  isearle bench [flags] [embed | text | search | preprocess | oti | phi | ops | startup]...
  isearle bench compare A B
  isearle bench scaling [flags] -o DIR

Prints Go benchmark lines, which benchstat reads, or objects with --json. Without -m the models have the true shapes of
--shape and random weights, made on the fly; speed does not depend on the values.

  embed       images, from pixels to features
  text        captions of 5 to 20 tokens, or those of --captions, to features
  search      the --top best of a gallery in memory, for batches of queries; --passes 2 by an int8 copy too
  preprocess  image files to pixels: --images, or JPEGs and PNGs of 500 x 400 made for it
  oti         gradient steps of textual inversion, 32 images at once, phrases of 16 tokens
  phi         image features to pseudo-words, and steps of phi's training, 256 images at once
  ops         every operation at every shape that the models use, each where they use it
  startup     a process of its own, from its start to the first image's feature (not measured unless asked for)

Beside the time of a call, a line has the rate; GFLOP/s and GB/s with their share of what the machine can do, which is
measured before and behind (multiply-adds in registers, and reading memory, on as many threads); percentiles of the
calls' times; allocations; and the process's largest resident set.

compare prints the medians of two files of such lines, their spread, their ratio, and whether the difference is more
than chance (Mann-Whitney U test). scaling measures time and memory against the sizes of batches and galleries, the
number of results and the length of prompts, and writes a report with plots.

The CPU's kernels are the fastest set that it runs, or the one that ISEARLE_CPU names in the environment:
amx, avx512bf16, avx512, avx2, neon or generic.

Examples:
  isearle bench
  isearle bench embed -j 1 --count 10 --dtype bf16 | tee new.txt
  isearle bench search --rows 1000000 --dim 768 --batch 1,32 --passes 1,2
  isearle bench compare old.txt new.txt
  isearle bench embed --batch 8 --profile
  isearle bench scaling -o report/
`

type benchCommand struct {
	device     deviceFlags
	checkpoint checkpointFlags
	profile    profileFlags
	model      string
	shape      string
	precision  string
	time       time.Duration
	count      int
	batches    []int
	turns      bool
	captions   string
	images     []string
	output     string
	search     struct {
		rows, dims []int
		types      []string
		gallery    string
		passes     []int
		k          int
	}
}

func (c *benchCommand) flags(fs *pflag.FlagSet) {
	fs.StringVarP(&c.model, "model", "m", "", "`MODEL` to measure in place of random weights: a checkpoint's file or directory")
	choose(fs, &c.shape, "shape", "shape of the random model", "vit-b-32", "vit-b-16", "vit-l-14")
	precisionFlag(fs, &c.precision, "dtype")
	fs.IntSliceVar(&c.batches, "batch", nil, "measure batches of these `SIZES` (default: a few that suit each benchmark)")
	fs.DurationVar(&c.time, "time", time.Second, "measure for at least this `TIME`")
	fs.IntVar(&c.count, "count", 1, "measure `N` times")
	fs.BoolVar(&c.turns, "turns", false, "before each measurement wait for a line on standard input, so that programs can take turns")
	fs.StringVar(&c.captions, "captions", "", "text: the captions of `FILE`, one a line")
	fs.StringArrayVar(&c.images, "images", nil, "preprocess: the files of this `DIR`, or an image; can be given several times")
	fs.IntSliceVar(&c.search.rows, "rows", []int{100_000}, "search: galleries of so many `ROWS`")
	fs.IntSliceVar(&c.search.dims, "dim", []int{512}, "search: features of so many `ELEMENTS`")
	fs.StringSliceVar(&c.search.types, "row-dtype", []string{"f32"}, "search: `TYPES` of the rows: f32, f16, bf16")
	fs.IntSliceVar(&c.search.passes, "passes", []int{1}, "search: in one pass, in two by an int8 copy of f32 rows, or 1,2 for both; the results are the same")
	fs.StringVar(&c.search.gallery, "rows-from", "", "search: the rows of `FILE` (.npy), in place of random ones")
	fs.IntVar(&c.search.k, "top", 50, "search: find the `K` best")
	fs.StringVarP(&c.output, "output", "o", "", "scaling: write the report into `DIR`")
	c.device.flags(fs)
	c.checkpoint.flags(fs)
	c.profile.flags(fs)
}

// benchKinds are what can be measured, in the order in which it is.
var benchKinds = []string{"embed", "text", "search", "preprocess", "oti", "phi", "ops", "startup"}

func (c *benchCommand) run(ctx context.Context, s *session, args []string) error {
	if len(args) > 0 && args[0] == "compare" {
		if len(args) != 3 {
			return usagef("compare takes two files of benchmark lines")
		}
		return bench.Compare(s.out, args[1], args[2])
	}
	scaling := slices.Equal(args, []string{"scaling"})
	if err := c.check(args, scaling); err != nil {
		return err
	}
	dev, err := c.device.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	b := &bench.Bench{Device: dev, Threads: c.device.count(), W: flushed{s.out}, Time: c.time, Count: c.count, JSON: s.common.json,
		Batches: c.batches, DType: products[c.precision]}
	if c.turns {
		b.Turn = turns(s.stdin)
	}
	chosen := func(kind string) bool { return len(args) == 0 && kind != "startup" || slices.Contains(args, kind) }
	var m *weights.CLIP
	name := ""
	if scaling || slices.ContainsFunc(benchKinds, func(k string) bool { return chosen(k) && k != "search" && k != "preprocess" }) {
		if m, name, err = c.open(); err != nil {
			return err
		}
		defer m.Close()
	}
	if scaling {
		b.W = io.Discard
	}
	if err := b.Header(name); err != nil {
		return err
	}
	if err := c.profile.start(s, dev); err != nil {
		return err
	}
	if scaling {
		return b.Scaling(ctx, m, name, c.output, func(what string) { s.notef("%s", what) })
	}
	for _, kind := range benchKinds {
		if chosen(kind) {
			if err := c.measure(ctx, s, b, kind, m, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// check finds mistakes in the arguments and flags.
func (c *benchCommand) check(args []string, scaling bool) error {
	for _, a := range args {
		if !scaling && !slices.Contains(benchKinds, a) {
			return usagef("no benchmark %q; there are %s", a, strings.Join(benchKinds, ", "))
		}
	}
	if scaling != (c.output != "") {
		return usagef("scaling needs -o DIR, and nothing else has it")
	}
	positive := slices.Concat([]int{c.count, c.search.k}, c.batches, c.search.rows, c.search.dims)
	if c.time <= 0 || slices.Min(positive) < 1 {
		return usagef("--count, --time, --batch, --rows, --dim and --top are positive")
	}
	if len(c.search.passes) == 0 || slices.Min(c.search.passes) < 1 || slices.Max(c.search.passes) > 2 {
		return usagef("--passes: 1 and 2 are possible")
	}
	for _, dt := range c.search.types {
		if !slices.Contains([]string{"f32", "f16", "bf16"}, dt) {
			return usagef("--row-dtype %s: f32, f16 and bf16 are possible", dt)
		}
	}
	return nil
}

// measure runs the benchmarks of a kind; m is nil for those that need none.
func (c *benchCommand) measure(ctx context.Context, s *session, b *bench.Bench, kind string, m *weights.CLIP, name string) error {
	switch kind {
	case "embed":
		return b.Images(ctx, m, name)
	case "text":
		texts, err := c.texts()
		if err != nil {
			return err
		}
		return b.Captions(ctx, m, name, texts)
	case "search":
		return b.Search(ctx, c.searches())
	case "preprocess":
		return c.preprocess(ctx, s, b)
	case "oti":
		return b.OTI(ctx, m, name)
	case "phi":
		if err := b.Phi(ctx, m.Config, name); err != nil {
			return err
		}
		return b.PhiTrain(ctx, m, name)
	case "ops":
		return b.Ops(ctx, m, name, c.searches())
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return b.Startup(ctx, m, name, bench.StartupOptions{Model: c.model,
		Program: []string{program, "embed", "--quiet", "--precision", c.precision, "-j", strconv.Itoa(b.Threads)}})
}

// searches are what a search is measured over.
func (c *benchCommand) searches() bench.SearchOptions {
	o := bench.SearchOptions{Rows: c.search.rows, Dims: c.search.dims, Gallery: c.search.gallery, TwoPass: slices.Contains(c.search.passes, 2), K: c.search.k}
	for _, dt := range c.search.types {
		if slices.Contains(c.search.passes, 1) {
			o.DTypes = append(o.DTypes, products[dt])
		}
	}
	return o
}

// texts are the captions to measure; nil for made ones.
func (c *benchCommand) texts() (list []string, err error) {
	if c.captions == "" {
		return nil, nil
	}
	f, err := os.Open(c.captions)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for line, err := range lines.All(f, c.captions, false) {
		if err != nil {
			return nil, err
		}
		list = append(list, line.Text)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no captions", c.captions)
	}
	return list, nil
}

// preprocess measures the images named, or such as are made for it.
func (c *benchCommand) preprocess(ctx context.Context, s *session, b *bench.Bench) error {
	var files []string
	failed := false
	src := images.Source{Args: c.images, Stdin: s.stdin, Fail: func(err error) {
		failed = true
		s.fail(err)
	}}
	if c.images != nil {
		if files = slices.Collect(src.All()); len(files) == 0 {
			return fmt.Errorf("no images in %s", strings.Join(c.images, ", "))
		}
	}
	if err := b.Preprocess(ctx, files); err != nil {
		return err
	}
	if failed {
		return errInputs
	}
	return nil
}

func (c *benchCommand) open() (*weights.CLIP, string, error) {
	if c.model != "" {
		opts, err := c.checkpoint.options()
		if err != nil {
			return nil, "", err
		}
		m, err := weights.Open(c.model, opts)
		return m, filepath.Base(c.model), err
	}
	config, _ := bench.Shapes(c.shape)
	m, err := bench.Random(config)
	return m, c.shape, err
}

// turns waits for a line of r each time; at its end there are no more turns.
func turns(r io.Reader) func() error {
	in := bufio.NewReader(r)
	return func() error {
		_, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("wait for a turn: %w", err)
		}
		return nil
	}
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
