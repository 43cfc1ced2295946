package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"isearle/runtime"
)

// Profile adds up what the operations of a device took. Its Add is what runtime.Profiler reports to.
type Profile struct {
	rows map[profileKey]*profileRow
}

type profileKey struct {
	name, shape string
	dtype       runtime.DType
}

// profileRow is the sum over executions of one operation at one shape.
type profileRow struct {
	profileKey
	calls, rows int
	time        time.Duration
	flop, bytes float64
}

// Add adds an execution.
func (p *Profile) Add(e runtime.Event) {
	if p.rows == nil {
		p.rows = map[profileKey]*profileRow{}
	}
	k := profileKey{e.Name, e.Shape, e.DType}
	r := p.rows[k]
	if r == nil {
		r = &profileRow{profileKey: k}
		p.rows[k] = r
	}
	r.calls++
	r.rows += e.Rows
	r.time += e.Time
	r.flop += e.FLOP
	r.bytes += e.Bytes
}

// Write writes a table, what took longest first: how often each operation ran, over how many rows, and which share of the whole
// time and of the roofline that was.
func (p *Profile) Write(w io.Writer, roof Roofline) error {
	rows := slices.Collect(maps.Values(p.rows))
	slices.SortFunc(rows, func(a, b *profileRow) int {
		if a.time != b.time {
			return int(b.time - a.time)
		}
		return strings.Compare(a.name+a.shape, b.name+b.shape)
	})
	all := profileRow{profileKey: profileKey{name: "all"}}
	for _, r := range rows {
		all.calls, all.time, all.flop, all.bytes = all.calls+r.calls, all.time+r.time, all.flop+r.flop, all.bytes+r.bytes
	}
	cells := [][]string{{"operation", "shape", "products", "calls", "rows", "ms", "%time", "GFLOP", "GFLOP/s", "MB", "GB/s", "%roof"}}
	for _, r := range rows {
		share := "-"
		if s := roof.Share(runtime.Work{FLOP: r.flop, Bytes: r.bytes, DType: r.dtype}, r.time.Seconds()); s > 0 {
			share = fmt.Sprintf("%.0f", 100*s)
		}
		cells = append(cells, slices.Concat([]string{r.name, r.shape, r.dtype.String(), fmt.Sprint(r.calls), fmt.Sprint(r.rows / r.calls)},
			r.figures(all.time), []string{share}))
	}
	cells = append(cells, slices.Concat([]string{"all", "", "", fmt.Sprint(all.calls), ""}, all.figures(all.time), []string{""}))
	if err := writeCells(w, cells, 3); err != nil {
		return err
	}
	if roof.Bandwidth == 0 {
		return nil
	}
	var peaks []string
	for _, dt := range slices.Sorted(maps.Keys(roof.Peaks)) {
		peaks = append(peaks, fmt.Sprintf("%.0f GFLOP/s in %s", roof.Peaks[dt]/1e9, dt))
	}
	_, err := fmt.Fprintf(w, "roof: %s, %.1f GB/s\n", strings.Join(peaks, ", "), roof.Bandwidth/1e9)
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
