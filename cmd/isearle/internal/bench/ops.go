package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"isearle/runtime"
	"isearle/weights"
)

// Ops measures every operation at every shape that the models use, where they use it: within the image tower, the text tower, phi,
// steps of OTI and of phi's training, and searches, with what these leave in the caches. A line is the median of an operation's executions in one Plan.
func (b *Bench) Ops(ctx context.Context, m *weights.CLIP, name string, o SearchOptions) error {
	device, ok := b.Device.(runtime.Profiler)
	if !ok {
		return fmt.Errorf("benchmark Op: times of operations: %w", runtime.ErrUnsupported)
	}
	whole := *b // its own lines are those of other benchmarks
	whole.Count, whole.Turn, whole.sink = 1, nil, func(*Result) {}
	kinds := []func() error{
		func() error { return whole.Images(ctx, m, name) },
		func() error { return whole.Captions(ctx, m, name, nil) },
		func() error { return whole.Phi(ctx, m.Config, name) },
		func() error { return whole.OTI(ctx, m, name) },
		func() error { return whole.PhiTrain(ctx, m, name) },
		func() error { return whole.Search(ctx, o) },
	}
	for range b.Count {
		for _, kind := range kinds {
			var all samples
			device.Profile(all.add)
			err := kind()
			device.Profile(nil)
			if err == nil {
				err = all.write(b, name)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// samples are the executions of operations, in the order in which each came first.
type samples struct {
	list  []*sample
	index map[sampleKey]*sample
}

type sampleKey struct{ plan, name, shape string }

type sample struct {
	sampleKey
	runtime.Work // of all executions
	times        []time.Duration
}

func (s *samples) add(e runtime.Event) {
	k := sampleKey{e.Plan, e.Name, e.Shape}
	o := s.index[k]
	if o == nil {
		o = &sample{sampleKey: k, Work: runtime.Work{Shape: e.Shape, DType: e.DType}}
		if s.index == nil {
			s.index = map[sampleKey]*sample{}
		}
		s.index[k] = o
		s.list = append(s.list, o)
	}
	o.times = append(o.times, e.Time)
	o.Rows, o.FLOP, o.Bytes = o.Rows+e.Rows, o.FLOP+e.FLOP, o.Bytes+e.Bytes
}

// write writes a line for each operation and shape.
func (s *samples) write(b *Bench, model string) error {
	roof, err := MeasureRoofline(b.Device, b.roof.each)
	if err != nil {
		return err
	}
	for _, o := range s.list {
		n := len(o.times)
		slices.Sort(o.times)
		median := o.times[n/2]
		w := runtime.Work{FLOP: o.FLOP / float64(n), Bytes: o.Bytes / float64(n), DType: o.DType}
		r := &Result{Iterations: n, Nanoseconds: float64(median), Name: fmt.Sprintf("Op/model=%s/plan=%s/op=%s/shape=%s/products=%s/rows=%d-%d",
			model, word(o.plan), o.name, word(o.shape), o.DType, o.Rows/n, b.Threads)}
		r.rates(task{flop: w.FLOP, bytes: w.Bytes}, roofs{})
		if share := roof.Share(w, median.Seconds()); share > 0 {
			r.add(100*share, "%roof")
		}
		if err := b.emit(r); err != nil {
			return err
		}
	}
	return nil
}

// word makes a text part of a benchmark's name, which has no spaces and keeps slashes for itself.
func word(s string) string {
	return strings.NewReplacer(" x ", "x", ", ", "_", " + ", "_", " ", "_", "/", "_").Replace(s)
}
