package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Result is one measurement of a benchmark.
type Result struct {
	Name        string // without "Benchmark", with the threads behind a dash
	Iterations  int
	Nanoseconds float64 // of a call
	Metrics     []Metric
}

// Metric is a further figure.
type Metric struct {
	Value float64
	Unit  string
}

func (r *Result) add(v float64, unit string) { r.Metrics = append(r.Metrics, Metric{v, unit}) }

// rates adds what a task does in a second, and the share of the roof that this is.
func (r *Result) rates(t task, p roofs) {
	seconds := r.Nanoseconds / 1e9
	if t.items > 0 {
		r.add(t.items/seconds, t.unit+"/s")
	}
	if t.flop > 0 {
		r.add(t.flop/seconds/1e9, "GFLOP/s")
		if p.flops > 0 {
			r.add(100*t.flop/seconds/p.flops, "%peak")
		}
	}
	if t.bytes > 0 {
		r.add(t.bytes/seconds/1e9, "GB/s")
		if p.bytes > 0 {
			r.add(100*t.bytes/seconds/p.bytes, "%bandwidth")
		}
	}
}

// higher are the units of which more is better; of all others less is.
func higher(unit string) bool { return strings.HasSuffix(unit, "/s") || strings.HasPrefix(unit, "%") }

// write writes the result as a line of Go's benchmark format or as an object.
func (r *Result) write(w io.Writer, asJSON bool) error {
	if asJSON {
		o := map[string]any{"name": r.Name, "iterations": r.Iterations, "ns/op": r.Nanoseconds}
		for _, m := range r.Metrics {
			o[m.Unit] = m.Value
		}
		return json.NewEncoder(w).Encode(o)
	}
	var line strings.Builder
	fmt.Fprintf(&line, "Benchmark%s\t%8d\t%.0f ns/op", r.Name, r.Iterations, r.Nanoseconds)
	for _, m := range r.Metrics {
		format := "\t%.4g %s"
		if m.Value >= 1e4 {
			format = "\t%.0f %s"
		}
		fmt.Fprintf(&line, format, m.Value, m.Unit)
	}
	_, err := fmt.Fprintln(w, line.String())
	return err
}
