// Package bench measures functions and writes the results as Go benchmark lines (go.dev/design/14313-benchmark-format),
// which benchstat compares. It also makes models of true shapes and random weights to measure.
package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"strings"
	"time"

	"isearle/runtime"
)

// Bench measures on a device and writes the results.
type Bench struct {
	Device  runtime.Device
	Threads int // of the device, to be told
	W       io.Writer
	Time    time.Duration // each measurement goes on for at least this long
	Count   int           // measurements of each benchmark
	JSON    bool          // objects in place of benchmark lines
}

// rate is an amount of work that one call does, to be reported per second.
type rate struct {
	amount float64
	unit   string // "images/s"
}

// Header writes the lines that say where the benchmarks run.
func (b Bench) Header() error {
	if b.JSON {
		return nil
	}
	lines := []string{"goos: " + goruntime.GOOS, "goarch: " + goruntime.GOARCH, "pkg: isearle", "device: " + b.Device.Describe()}
	if cpu := cpuName(); cpu != "" {
		lines = append(lines, "cpu: "+cpu)
	}
	_, err := fmt.Fprintln(b.W, strings.Join(lines, "\n"))
	return err
}

// run calls f once to warm it up, and then measures it. The name has the form Name/key=value/...; the number of threads
// stands behind it as in the lines of Go's own benchmarks.
func (b Bench) run(ctx context.Context, name string, f func() error, rates ...rate) error {
	if err := f(); err != nil {
		return fmt.Errorf("benchmark %s: %w", name, err)
	}
	for range b.Count {
		n, start := 0, time.Now()
		for n == 0 || time.Since(start) < b.Time {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(); err != nil {
				return fmt.Errorf("benchmark %s: %w", name, err)
			}
			n++
		}
		if err := b.write(fmt.Sprintf("%s-%d", name, b.Threads), n, time.Since(start), rates); err != nil {
			return err
		}
	}
	return nil
}

// write writes the result of n calls.
func (b Bench) write(name string, n int, d time.Duration, rates []rate) error {
	each := d.Seconds() / float64(n)
	if b.JSON {
		o := map[string]any{"name": name, "iterations": n, "ns/op": each * 1e9}
		for _, r := range rates {
			o[r.unit] = r.amount / each
		}
		return json.NewEncoder(b.W).Encode(o)
	}
	line := fmt.Sprintf("Benchmark%s\t%8d\t%.0f ns/op", name, n, each*1e9)
	for _, r := range rates {
		line += fmt.Sprintf("\t%.4g %s", r.amount/each, r.unit)
	}
	_, err := fmt.Fprintln(b.W, line)
	return err
}

// cpuName is the processor's name where Linux tells it.
func cpuName() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return ""
}
