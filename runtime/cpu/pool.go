package cpu

import (
	"runtime"
	"sync/atomic"
	"time"
)

// spin is how long an idle worker looks for work before it parks: longer than the gap between two operations of a Plan,
// short enough not to take a core from others.
const spin = 30 * time.Microsecond

// worker is one thread of execution with scratch memory of its own.
type worker struct {
	id      int
	scratch []float32
	parked  atomic.Bool
	wake    chan struct{}
}

// floats returns n elements of undefined content, valid until the worker's next call.
func (w *worker) floats(n int) []float32 {
	if len(w.scratch) < n {
		w.scratch = alignedFloats(n)
	}
	return w.scratch[:n]
}

// pool runs tasks on a fixed set of workers; the caller is worker 0. Tasks are claimed one by one from a counter, so a slow
// virtual core does not set the pace, and no task's result may depend on which worker runs it.
type pool struct {
	workers []*worker
	// ticket is generation<<48 | tasks<<24 | next: one atomic addition claims a task and says whether it exists.
	ticket atomic.Uint64
	done   atomic.Int64
	fn     func(*worker, int)
	closed atomic.Bool
}

const (
	ticketBits = 24
	ticketMask = 1<<ticketBits - 1
	maxTasks   = ticketMask / 2 // leaves room for the claims that fail
)

func newPool(threads int) *pool {
	p := &pool{}
	for i := range threads {
		p.workers = append(p.workers, &worker{id: i, wake: make(chan struct{}, 1)})
	}
	for _, w := range p.workers[1:] {
		go p.loop(w)
	}
	return p
}

// run calls fn for every task below n, and returns when all are done. Only one run may be in progress.
func (p *pool) run(n int, fn func(*worker, int)) {
	if n > maxTasks {
		panic("cpu: too many tasks in one phase")
	}
	if n <= 1 || len(p.workers) == 1 {
		for i := range n {
			fn(p.workers[0], i)
		}
		return
	}
	p.fn = fn
	p.done.Store(0)
	gen := p.ticket.Load()>>(2*ticketBits) + 1
	p.ticket.Store(gen<<(2*ticketBits) | uint64(n)<<ticketBits)
	for _, w := range p.workers[1:min(n, len(p.workers))] {
		if w.parked.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
		}
	}
	p.work(p.workers[0])
	for i := 0; p.done.Load() < int64(n); i++ {
		if i > 1000 {
			runtime.Gosched()
		}
	}
}

// work claims tasks until none is left.
func (p *pool) work(w *worker) {
	for {
		t := p.ticket.Add(1)
		if t&ticketMask > t>>ticketBits&ticketMask {
			return
		}
		// A valid claim keeps run from returning, so fn is that of this generation.
		p.fn(w, int(t&ticketMask)-1)
		p.done.Add(1)
	}
}

func (p *pool) loop(w *worker) {
	seen := uint64(0)
	for {
		gen := p.await(w, seen)
		if p.closed.Load() {
			return
		}
		seen = gen
		p.work(w)
	}
}

// await returns when the generation is no longer seen.
func (p *pool) await(w *worker, seen uint64) uint64 {
	for {
		start := time.Now()
		for i := 0; ; i++ {
			if gen := p.ticket.Load() >> (2 * ticketBits); gen != seen {
				return gen
			}
			if i%64 == 63 && time.Since(start) > spin {
				break
			}
		}
		w.parked.Store(true)
		if p.ticket.Load()>>(2*ticketBits) != seen {
			// New work came before anyone could see the flag; if run saw it, take its wake-up back.
			if !w.parked.CompareAndSwap(true, false) {
				<-w.wake
			}
			continue
		}
		<-w.wake
	}
}

// close ends the workers; no run may be in progress.
func (p *pool) close() {
	if p.closed.Swap(true) {
		return
	}
	gen := p.ticket.Load()>>(2*ticketBits) + 1
	p.ticket.Store(gen << (2 * ticketBits))
	for _, w := range p.workers[1:] {
		if w.parked.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
		}
	}
}
