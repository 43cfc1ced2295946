package bench

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"isearle/clipnet"
	"isearle/cmd/isearle/internal/plot"
	"isearle/runtime"
	"isearle/weights"
	"isearle/weights/atomicfile"
)

// curve is how time and memory grow with one thing.
type curve struct {
	file, title, axis string
	must              string // how time has to grow
	points            []point
}

// point is a measurement: seconds of a call, and the largest resident set in bytes, at a size.
type point struct{ x, seconds, bytes float64 }

// scaled is what is measured against what: run measures at a size.
type scaled struct {
	curve
	sizes []int
	run   func(b *Bench, size int) error
}

// Scaling measures time and memory against the sizes of batches and galleries, the number of results and the length of prompts, and
// writes a report, report.md with plots beside it, into a directory. tell is told what is measured.
func (b *Bench) Scaling(ctx context.Context, m *weights.CLIP, name, dir string, tell func(string)) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("scaling: %w", err)
	}
	var curves []curve
	for _, s := range b.scales(ctx, m) {
		tell(s.title)
		if err := b.scale(s, dir); err != nil {
			return fmt.Errorf("scaling: %s: %w", s.title, err)
		}
		curves = append(curves, s.curve)
	}
	title := fmt.Sprintf("Growth on %s, %s", b.Device.Describe(), name)
	err := atomicfile.Write(filepath.Join(dir, "report.md"), func(w io.Writer) error { return writeReport(w, title, curves) })
	if err != nil {
		return fmt.Errorf("scaling: %w", err)
	}
	return nil
}

// scale measures at every size and plots.
func (b *Bench) scale(s *scaled, dir string) error {
	one := *b
	one.Count = 1
	for _, size := range s.sizes {
		one.sink = func(r *Result) { s.points = append(s.points, r.point(float64(size))) }
		if err := s.run(&one, size); err != nil {
			return err
		}
	}
	return s.figure().Write(filepath.Join(dir, s.file))
}

// scales is the list of what is measured.
func (b *Bench) scales(ctx context.Context, m *weights.CLIP) []*scaled {
	search := func(b *Bench, rows, batch, k int) error {
		b.Batches = []int{batch}
		return b.Search(ctx, SearchOptions{Rows: []int{rows}, Dims: []int{m.Config.EmbedDim}, DTypes: []runtime.DType{runtime.F32}, K: k})
	}
	const rows, k = 100_000, 50
	return []*scaled{
		{curve: curve{"images.png", "Images of one call", "images", "linear", nil}, sizes: []int{1, 2, 4, 8, 16, 32, 64},
			run: func(b *Bench, n int) error { b.Batches = []int{n}; return b.Images(ctx, m, "scaling") }},
		{curve: curve{"captions.png", "Captions of 16 tokens of one call", "captions", "linear", nil}, sizes: []int{1, 2, 4, 8, 16, 32, 64, 128},
			run: func(b *Bench, n int) error { return b.lengths(ctx, m, n, 16) }},
		{curve: curve{"tokens.png", "Tokens of 32 captions", "tokens of each", "linear, with attention's square", nil}, sizes: []int{4, 8, 16, 24, 32, 48, 64, 77},
			run: func(b *Bench, n int) error { return b.lengths(ctx, m, 32, n) }},
		{curve: curve{"rows.png", "Rows of a gallery, one query", "rows", "linear", nil}, sizes: []int{10_000, 30_000, 100_000, 300_000, 1_000_000},
			run: func(b *Bench, n int) error { return search(b, n, 1, k) }},
		{curve: curve{"queries.png", "Queries to a gallery of 100,000", "queries", "linear", nil}, sizes: []int{1, 4, 16, 64, 256},
			run: func(b *Bench, n int) error { return search(b, rows, n, k) }},
		{curve: curve{"results.png", "Results of a query to a gallery of 100,000", "results (k)", "constant, and k log k beside", nil}, sizes: []int{1, 10, 100, 1000, 5000, 10_000},
			run: func(b *Bench, n int) error { return search(b, rows, 1, n) }},
	}
}

// lengths measures n captions of so many tokens each.
func (b *Bench) lengths(ctx context.Context, m *weights.CLIP, n, tokens int) error {
	dt, _ := b.dtype()
	enc, err := clipnet.NewTextEncoder(b.Device, m, clipnet.Options{DType: dt})
	if err != nil {
		return err
	}
	defer enc.Close()
	rng := rand.New(rand.NewPCG(7, 7))
	var list []clipnet.Prompt
	for range n {
		list = append(list, prompt(rng, m.Config, tokens))
	}
	return b.captions(ctx, enc, m.Config, list, n, "Text")
}

// point is where a result lies in a curve: the median of the calls' times.
func (r *Result) point(x float64) point {
	p := point{x: x, seconds: r.Nanoseconds / 1e9, bytes: math.NaN()}
	for _, m := range r.Metrics {
		switch m.Unit {
		case "p50-ns":
			p.seconds = m.Value / 1e9
		case "peak-RSS-bytes":
			p.bytes = m.Value
		}
	}
	return p
}

// figure plots a curve's time and memory.
func (c *curve) figure() plot.Figure {
	var x, ms, mib []float64
	for _, p := range c.points {
		x, ms, mib = append(x, p.x), append(ms, 1e3*p.seconds), append(mib, p.bytes/(1<<20))
	}
	return plot.Figure{Title: c.title, XLabel: c.axis, Panels: []plot.Panel{
		{Label: "ms a call", Curves: []plot.Curve{{Name: "median", X: x, Y: ms}}},
		{Label: "largest resident set, MiB", Curves: []plot.Curve{{Name: "whole process", X: x, Y: mib}}},
	}}
}

// exponent is that of the power of x by which time grows over the larger half of the sizes, by least squares of the logarithms.
func (c *curve) exponent() float64 {
	half := c.points[len(c.points)/2-1:]
	var sx, sy, sxx, sxy float64
	for _, p := range half {
		x, y := math.Log(p.x), math.Log(p.seconds)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	n := float64(len(half))
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

func writeReport(w io.Writer, title string, curves []curve) error {
	var text strings.Builder
	fmt.Fprintf(&text, `# %s

Each point is the median time of a call, and the largest resident set of the whole process (model, packed weights and gallery
included) while it was measured. The exponent is that of the power by which time grows over the larger half of the sizes.
`, title)
	for _, c := range curves {
		fmt.Fprintf(&text, "\n## %s\n\n![%s](%s)\n\nTime must grow: %s. It grows by the power %.2f.\n\n| %s | ms | MiB |\n|---:|---:|---:|\n",
			c.title, c.title, c.file, c.must, c.exponent(), c.axis)
		for _, p := range c.points {
			fmt.Fprintf(&text, "| %.0f | %.3f | %.0f |\n", p.x, 1e3*p.seconds, p.bytes/(1<<20))
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}
