package bench

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"isearle/runtime"
)

// Profile adds up what the operations and kernels of a device took. Its Add is what runtime.Profiler reports to.
type Profile struct {
	operations, kernels sums
	plans               map[string]*planRuns // those that are started as graphs
}

// sums are what executions took, by what was executed.
type sums map[profileKey]*profileRow

// profileKey is an operation, or a kernel within one, at one shape.
type profileKey struct {
	kernel, name, shape string
	dtype               runtime.DType
}

// profileRow is the sum over executions.
type profileRow struct {
	profileKey
	calls, rows int
	time        time.Duration
	flop, bytes float64
}

// planRuns are the runs of a Plan and the kernels in them; last is the operation that was reported last.
type planRuns struct{ runs, kernels, last int }

// Add adds an execution.
func (p *Profile) Add(e runtime.Event) {
	if p.operations == nil {
		p.operations, p.kernels, p.plans = sums{}, sums{}, map[string]*planRuns{}
	}
	p.operations.add(profileKey{"", e.Name, e.Shape, e.DType}, e.Time, e.Work)
	for _, k := range e.Kernels {
		p.kernels.add(profileKey{k.Name, e.Name, k.Shape, k.DType}, k.Time, k.Work)
	}
	if !e.Graph {
		return
	}
	r := p.plans[e.Plan]
	if r == nil {
		r = &planRuns{}
		p.plans[e.Plan] = r
	}
	if r.runs == 0 || e.Index <= r.last {
		r.runs++
	}
	r.kernels, r.last = r.kernels+len(e.Kernels), e.Index
}

func (s sums) add(k profileKey, took time.Duration, w runtime.Work) {
	r := s[k]
	if r == nil {
		r = &profileRow{profileKey: k}
		s[k] = r
	}
	r.calls++
	r.rows += w.Rows
	r.time += took
	r.flop += w.FLOP
	r.bytes += w.Bytes
}

// Write writes a table of operations and, where the device has kernels, one of those, what took longest first: how often each ran, over
// how many rows, and which share of the whole time and of the roofline that was. A line for each Plan that is run as a graph
// follows.
func (p *Profile) Write(w io.Writer, roof Roofline) error {
	if err := p.operations.write(w, roof, "operation"); err != nil {
		return err
	}
	if len(p.kernels) > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := p.kernels.write(w, roof, "kernel", "operation"); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.plans)) {
		r := p.plans[name]
		if _, err := fmt.Fprintf(w, "%s: %d runs of %d kernels; without a profile each is one launch of a graph\n", name, r.runs, r.kernels/r.runs); err != nil {
			return err
		}
	}
	return roof.write(w)
}

// write writes a table; head names the columns that say what was executed.
func (s sums) write(w io.Writer, roof Roofline, head ...string) error {
	rows := slices.SortedFunc(maps.Values(s), func(a, b *profileRow) int {
		return cmp.Or(cmp.Compare(b.time, a.time), strings.Compare(a.kernel+a.name+a.shape, b.kernel+b.name+b.shape))
	})
	var all profileRow
	for _, r := range rows {
		all.calls, all.time, all.flop, all.bytes = all.calls+r.calls, all.time+r.time, all.flop+r.flop, all.bytes+r.bytes
	}
	left := len(head) + 2 // columns of text
	cells := [][]string{slices.Concat(head, []string{"shape", "products", "calls", "rows", "ms", "%time", "GFLOP", "GFLOP/s", "MB", "GB/s", "%roof"})}
	for _, r := range rows {
		share := "-"
		if s := roof.Share(runtime.Work{FLOP: r.flop, Bytes: r.bytes, DType: r.dtype}, r.time.Seconds()); s > 0 {
			share = fmt.Sprintf("%.0f", 100*s)
		}
		names := []string{r.kernel, r.name, r.shape, r.dtype.String()}
		cells = append(cells, slices.Concat(names[len(names)-left:], []string{fmt.Sprint(r.calls), fmt.Sprint(r.rows / r.calls)}, r.figures(all.time), []string{share}))
	}
	last := make([]string, left)
	last[0] = "all"
	cells = append(cells, slices.Concat(last, []string{fmt.Sprint(all.calls), ""}, all.figures(all.time), []string{""}))
	return writeCells(w, cells, left)
}

// write writes what a device does at most, if that is known.
func (r Roofline) write(w io.Writer) error {
	if r.Bandwidth == 0 {
		return nil
	}
	var peaks []string
	for _, dt := range slices.Sorted(maps.Keys(r.Peaks)) {
		peaks = append(peaks, fmt.Sprintf("%.0f GFLOP/s in %s", r.Peaks[dt]/1e9, dt))
	}
	_, err := fmt.Fprintf(w, "roof: %s, %.1f GB/s\n", strings.Join(peaks, ", "), r.Bandwidth/1e9)
	return err
}

// figures are the row's time, its share of the whole, and its rates.
func (r *profileRow) figures(all time.Duration) []string {
	const tiny = 1e-12 // for nothing in no time
	seconds := r.time.Seconds()
	return []string{fmt.Sprintf("%.2f", 1e3*seconds), fmt.Sprintf("%.1f", 100*seconds/max(tiny, all.Seconds())),
		fmt.Sprintf("%.3f", r.flop/1e9), fmt.Sprintf("%.1f", r.flop/1e9/max(tiny, seconds)),
		fmt.Sprintf("%.1f", r.bytes/1e6), fmt.Sprintf("%.2f", r.bytes/1e9/max(tiny, seconds))}
}

// writeCells writes rows in columns, the first few to the left and the others, numbers, to the right.
func writeCells(w io.Writer, rows [][]string, left int) error {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			widths[i] = max(widths[i], len(c))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, c := range r {
			width := widths[i]
			if i < left {
				width = -width
			}
			fmt.Fprintf(&line, "%*s  ", width, c)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}
