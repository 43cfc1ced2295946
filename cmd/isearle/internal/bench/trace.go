package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"isearle/runtime"
)

// Trace writes a device's operations and kernels in Chrome's trace event format, which chrome://tracing and ui.perfetto.dev show. Events are
// written as they come.
type Trace struct {
	f   io.WriteCloser
	w   *bufio.Writer
	n   int
	err error
}

// CreateTrace creates a trace's file.
func CreateTrace(path string) (*Trace, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return newTrace(f), nil
}

func newTrace(f io.WriteCloser) *Trace { return &Trace{f: f, w: bufio.NewWriter(f)} }

// traceEvent is a complete event ("X") of the format; times are in microseconds.
type traceEvent struct {
	Name  string    `json:"name"`
	Plan  string    `json:"cat"`
	Phase string    `json:"ph"`
	Start float64   `json:"ts"`
	Time  float64   `json:"dur"`
	PID   int       `json:"pid"`
	TID   int       `json:"tid"`
	Args  traceArgs `json:"args"`
}

type traceArgs struct {
	Index    int     `json:"operation"`
	Shape    string  `json:"shape"`
	Rows     int     `json:"rows"`
	Products string  `json:"products"`
	FLOP     float64 `json:"FLOP"`
	Bytes    float64 `json:"bytes"`
	GFLOPS   float64 `json:"GFLOP/s"`
	GBS      float64 `json:"GB/s"`
}

// Add writes an execution and, within it, its kernels. The first error is kept for Close.
func (t *Trace) Add(e runtime.Event) {
	t.write(e, e.Name, e.Start, e.Time, e.Work)
	for _, k := range e.Kernels {
		t.write(e, k.Name, k.Start, k.Time, k.Work)
	}
}

// write writes a span of time that belongs to e.
func (t *Trace) write(e runtime.Event, name string, start, took time.Duration, w runtime.Work) {
	if t.err != nil {
		return
	}
	seconds := max(1e-9, took.Seconds())
	data, err := json.Marshal(traceEvent{name, e.Plan, "X", float64(start.Nanoseconds()) / 1e3, float64(took.Nanoseconds()) / 1e3, 1, 1,
		traceArgs{e.Index, w.Shape, w.Rows, w.DType.String(), w.FLOP, w.Bytes, w.FLOP / seconds / 1e9, w.Bytes / seconds / 1e9}})
	if err != nil {
		t.err = err
		return
	}
	separator := ",\n"
	if t.n == 0 {
		separator = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
	}
	t.n++
	_, t.err = t.w.WriteString(separator + string(data))
}

// Close ends the trace.
func (t *Trace) Close() error {
	end := "\n]}\n"
	if t.n == 0 {
		end = "{\"traceEvents\":[]}\n"
	}
	if t.err == nil {
		_, t.err = t.w.WriteString(end)
	}
	if err := t.w.Flush(); t.err == nil {
		t.err = err
	}
	if err := t.f.Close(); t.err == nil {
		t.err = err
	}
	if t.err != nil {
		return fmt.Errorf("trace: %w", t.err)
	}
	return nil
}
