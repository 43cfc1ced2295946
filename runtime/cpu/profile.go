package cpu

import (
	"time"

	"isearle/runtime"
)

// profile is where a device reports what operations took. The device's lock guards it.
type profile struct {
	observe func(runtime.Event)
	start   time.Time
}

// Profile implements runtime.Profiler. An operation's time is from its first phase's beginning to its last one's end.
func (d *Device) Profile(observe func(runtime.Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.profile = profile{observe, time.Now()}
}

func (p *profile) on() bool { return p.observe != nil }

// now is the time if it is needed.
func (p *profile) now() time.Time {
	if !p.on() {
		return time.Time{}
	}
	return time.Now()
}

// report reports what began at start and ends now.
func (p *profile) report(e runtime.Event, start time.Time) {
	e.Start, e.Time = start.Sub(p.start), time.Since(start)
	p.observe(e)
}

// profiled reports operation op of a run, which began at start and ends now. Counting its work is not part of its time.
func (p *program) profiled(op int, start time.Time) {
	took := time.Since(start)
	work := p.plan.Work(op, func(v runtime.View) []int32 { return as[int32](p.buffers[v.Slot-1].mem)[v.Offset:] })
	p.dev.profile.observe(runtime.Event{Plan: p.plan.Name(), Index: op, Name: p.plan.Ops()[op].Name(),
		Start: start.Sub(p.dev.profile.start), Time: took, Work: work})
}
