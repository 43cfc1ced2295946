// Package bench measures what the engine does and writes the results as Go benchmark lines (go.dev/design/14313-benchmark-format),
// which benchstat compares, as Compare does. It also makes models of true shapes and random weights to measure, measures the
// machine's roofline, and adds up profiles.
package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
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
	Batches []int         // sizes of batches; nil for each benchmark's own
	DType   runtime.DType // of the models' products; 0 means F32
	// Turn, if not nil, is called before each measurement and may take its time: so two programs can take turns.
	Turn func() error

	roof roof
	sink func(*Result) // takes results in place of W
}

// task is what can be measured.
type task struct {
	name string // Name/key=value/..., of which Name begins with a capital letter
	call func() error
	// What a call does: so many items, called unit ("images"), operations in dtype, and bytes read from memory; 0 where it says nothing.
	items float64
	unit  string
	flop  float64
	bytes float64
	dtype runtime.DType
	// took, if not nil, is the time of the latest call in place of the whole call's.
	took func() time.Duration
}

// batches are the sizes to measure.
func (b *Bench) batches(own ...int) []int {
	if b.Batches != nil {
		return b.Batches
	}
	return own
}

// dtype is the type of products, by its name as users know it.
func (b *Bench) dtype() (dt runtime.DType, name string) {
	switch b.DType {
	case 0, runtime.F32:
		return runtime.F32, "f32"
	case runtime.I8:
		return runtime.I8, "int8"
	}
	return b.DType, b.DType.String()
}

// run calls a task once to warm it up, and then measures it.
func (b *Bench) run(ctx context.Context, t task) error {
	start := time.Now()
	if err := t.call(); err != nil {
		return fmt.Errorf("benchmark %s: %w", t.name, err)
	}
	expect := time.Since(start)
	for range b.Count {
		if b.Turn != nil {
			if err := b.Turn(); err != nil {
				return fmt.Errorf("benchmark %s: %w", t.name, err)
			}
		}
		r, err := b.measure(ctx, t, expect)
		if err != nil {
			return fmt.Errorf("benchmark %s: %w", t.name, err)
		}
		if err := b.emit(r); err != nil {
			return err
		}
	}
	return nil
}

// emit writes a result, or hands it on.
func (b *Bench) emit(r *Result) error {
	if b.sink != nil {
		b.sink(r)
		return nil
	}
	return r.write(b.W, b.JSON)
}

// maxCalls bounds the calls whose times are kept.
const maxCalls = 1 << 20

// measure calls a task for a while; a call is expected to take some time. The roof is measured before and behind, since a
// processor's clock drifts, by more than what is to be told apart.
func (b *Bench) measure(ctx context.Context, t task, expect time.Duration) (*Result, error) {
	before := b.roof.at(t)
	resetPeak()
	times := make([]time.Duration, 0, min(maxCalls, 16+2*int(b.Time/max(1, expect))))
	var total time.Duration
	allocs := allocations()
	for start := time.Now(); len(times) == 0 || time.Since(start) < b.Time && len(times) < maxCalls; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := t.call(); err != nil {
			return nil, err
		}
		d := time.Since(begin)
		if t.took != nil {
			d = t.took()
		}
		times, total = append(times, d), total+d
	}
	used, rss := allocations().since(allocs, len(times)), peakRSS()
	r := &Result{Name: fmt.Sprintf("%s-%d", t.name, b.Threads), Iterations: len(times), Nanoseconds: float64(total) / float64(len(times))}
	r.rates(t, before.mean(b.roof.at(t)))
	slices.Sort(times)
	for _, p := range []int{50, 90, 99} {
		r.add(float64(percentile(times, p)), fmt.Sprintf("p%d-ns", p))
	}
	r.add(used.bytes, "B/op")
	r.add(used.count, "allocs/op")
	if rss > 0 {
		r.add(rss, "peak-RSS-bytes")
	}
	return r, nil
}

// percentile is the smallest of sorted times that at least p percent of them do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[max(0, (p*len(sorted)+99)/100-1)]
}
