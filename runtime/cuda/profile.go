//go:build cuda

package cuda

import (
	"encoding/binary"
	"time"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// profile is where a device reports what operations took. The device's lock guards it.
type profile struct {
	observe func(runtime.Event)
	start   time.Time
	events  []cu.Event // pairs around operations, made when they are first needed
}

// Profile implements runtime.Profiler. While it is on, a run starts its kernels one by one, not as a graph, with an event before
// and behind those of each operation; times are the device's.
func (d *Device) Profile(observe func(runtime.Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.profile.observe, d.profile.start = observe, time.Now()
}

func (p *profile) on() bool { return p.observe != nil }

// reserve makes events for n operations.
func (p *profile) reserve(n int) error {
	for len(p.events) < 2*n {
		e, err := cu.MakeEvent(cu.DefaultEvent)
		if err != nil {
			return driver.Check("make event", err)
		}
		p.events = append(p.events, e)
	}
	return nil
}

// timed runs f between the two events of operation i.
func (d *Device) timed(i int, f func() error) error {
	if err := driver.Check("record event", d.profile.events[2*i].Record(d.stream)); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return driver.Check("record event", d.profile.events[2*i+1].Record(d.stream))
}

// elapsed is the time between two events that have happened.
func (d *Device) elapsed(from, to int) (time.Duration, error) {
	ms, err := d.profile.events[from].Elapsed(d.profile.events[to])
	return time.Duration(ms * float64(time.Millisecond)), driver.Check("read events", err)
}

// profiled is a run that is reported operation by operation.
func (prog *program) profiled() error {
	d := prog.dev
	if err := d.profile.reserve(len(prog.groups)); err != nil {
		return err
	}
	began := time.Since(d.profile.start)
	for i, g := range prog.groups {
		if err := d.timed(i, func() error { return prog.start(prog.launches[g.lo:g.hi]) }); err != nil {
			return err
		}
	}
	if err := d.wait(); err != nil {
		return err
	}
	tables := map[runtime.Slot][]int32{}
	for i, g := range prog.groups {
		start, err := d.elapsed(0, 2*i)
		if err != nil {
			return err
		}
		took, err := d.elapsed(2*i, 2*i+1)
		if err != nil {
			return err
		}
		work := prog.plan.Work(g.op, func(v runtime.View) []int32 {
			x, ok := tables[v.Slot]
			if !ok && err == nil {
				x, err = prog.table(v.Slot)
				tables[v.Slot] = x
			}
			return x[v.Offset:]
		})
		if err != nil {
			return err
		}
		d.profile.observe(runtime.Event{Plan: prog.name, Index: g.op, Name: prog.plan.Ops()[g.op].Name(), Start: began + start, Time: took, Work: work})
	}
	return nil
}

// table reads a slot's integers; where it fails they are zeros.
func (prog *program) table(s runtime.Slot) ([]int32, error) {
	b := prog.buffers[s-1]
	x := make([]int32, b.n)
	return x, prog.dev.download(b.ptr, 4*b.n, func(piece []byte, off int) {
		for i := range len(piece) / 4 {
			x[off/4+i] = int32(binary.LittleEndian.Uint32(piece[4*i:]))
		}
	})
}

// observed runs a part of a search and reports it.
func (d *Device) observed(e runtime.Event, f func() error) error {
	if !d.profile.on() {
		return f()
	}
	if err := d.profile.reserve(1); err != nil {
		return err
	}
	e.Plan, e.Start = "search", time.Since(d.profile.start)
	if err := d.timed(0, f); err != nil {
		return err
	}
	if err := d.wait(); err != nil {
		return err
	}
	var err error
	if e.Time, err = d.elapsed(0, 1); err == nil {
		d.profile.observe(e)
	}
	return err
}
