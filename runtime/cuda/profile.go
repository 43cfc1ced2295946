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
	events  []cu.Event // pairs around kernels, made when they are first needed
	// kernels are those of a part of a search so far: kernel i is between the events of pair 1 + i, the part between those of pair 0.
	kernels []runtime.Kernel
}

// Profile implements runtime.Profiler. While it is on, a run starts its kernels one by one, not as a graph, with an event before
// and behind each; times are the device's.
func (d *Device) Profile(observe func(runtime.Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.profile.observe, d.profile.start = observe, time.Now()
}

func (p *profile) on() bool { return p.observe != nil }

// reserve makes events for n kernels.
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

// timed runs f between the two events of pair i.
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

// when sets when the kernel between the events of pair i began and what it took; the first event is at began.
func (d *Device) when(k *runtime.Kernel, i int, began time.Duration) error {
	since, err := d.elapsed(0, 2*i)
	if err != nil {
		return err
	}
	k.Start = began + since
	k.Time, err = d.elapsed(2*i, 2*i+1)
	return err
}

// profiled is a run that is reported operation by operation, kernel by kernel.
func (prog *program) profiled() error {
	d := prog.dev
	if err := d.profile.reserve(len(prog.launches)); err != nil {
		return err
	}
	began := time.Since(d.profile.start)
	for i, l := range prog.launches {
		if err := d.timed(i, func() error { return l.Run(d.stream) }); err != nil {
			return err
		}
	}
	if err := d.wait(); err != nil {
		return err
	}
	tables := tables{prog: prog, read: map[runtime.Slot][]int32{}}
	for _, g := range prog.groups {
		e := runtime.Event{Plan: prog.name, Index: g.op, Name: prog.plan.Ops()[g.op].Name(), Work: prog.plan.Work(g.op, tables.of), Graph: !d.sync}
		for i := g.lo; i < g.hi; i++ {
			k := runtime.Kernel{Name: prog.launches[i].Name(), Work: prog.works[i](e.Work, tables.of)}
			if err := d.when(&k, i, began); err != nil {
				return err
			}
			e.Kernels = append(e.Kernels, k)
		}
		if tables.err != nil {
			return tables.err
		}
		last := e.Kernels[len(e.Kernels)-1]
		e.Start = e.Kernels[0].Start
		e.Time = last.Start + last.Time - e.Start
		d.profile.observe(e)
	}
	return nil
}

// tables reads a program's integers, each slot's once. The first error is kept; what could not be read is zeros.
type tables struct {
	prog *program
	read map[runtime.Slot][]int32
	err  error
}

func (t *tables) of(v runtime.View) []int32 {
	x, ok := t.read[v.Slot]
	if !ok {
		var err error
		if x, err = t.prog.table(v.Slot); t.err == nil {
			t.err = err
		}
		t.read[v.Slot] = x
	}
	return x[v.Offset:]
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
	p := &d.profile
	if !p.on() {
		return f()
	}
	if err := p.reserve(1); err != nil {
		return err
	}
	p.kernels = nil
	e.Plan, e.Start = "search", time.Since(p.start)
	if err := d.timed(0, f); err != nil {
		return err
	}
	if err := d.wait(); err != nil {
		return err
	}
	var err error
	if e.Time, err = d.elapsed(0, 1); err != nil {
		return err
	}
	for i := range p.kernels {
		if err := d.when(&p.kernels[i], 1+i, e.Start); err != nil {
			return err
		}
	}
	e.Kernels = p.kernels
	p.observe(e)
	return nil
}

// observedKernel starts a kernel of a part of a search.
func (d *Device) observedKernel(l *driver.Launch, w runtime.Work) error {
	p := &d.profile
	if !p.on() {
		return l.Run(d.stream)
	}
	i := 1 + len(p.kernels)
	if err := p.reserve(i + 1); err != nil {
		return err
	}
	p.kernels = append(p.kernels, runtime.Kernel{Name: l.Name(), Work: w})
	return d.timed(i, func() error { return l.Run(d.stream) })
}
