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
	// next is the task that the worker will do after the present one unless another takes it, -1 if it has no more of its own.
	next int

	_ [cacheLine]byte // what others write is on lines of its own
	// tasks is generation<<48 | first<<24 | end of the tasks left: its owner claims from the front, the others from the back.
	tasks atomic.Uint64
	_     [cacheLine]byte
}

// floats returns n elements of undefined content, valid until the worker's next call.
func (w *worker) floats(n int) []float32 {
	if len(w.scratch) < n {
		w.scratch = alignedFloats(n)
	}
	return w.scratch[:n]
}

// pool runs tasks on a fixed set of workers; the caller is worker 0. Every worker begins with an equal run of successive tasks,
// so that one phase's rows are in the cache that the next phase's tasks want them in, and then takes tasks from the others'
// ends, so that a slow virtual core does not set the pace. No task's result may depend on which worker runs it.
type pool struct {
	workers []*worker
	gen     atomic.Uint64 // of the run; workers wait for it to change
	done    atomic.Int64
	fn      func(*worker, int)
	closed  atomic.Bool
}

const (
	taskBits = 24
	maxTasks = 1<<taskBits - 1
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
		w := p.workers[0]
		for i := range n {
			w.next = i + 1
			if w.next == n {
				w.next = -1
			}
			fn(w, i)
		}
		return
	}
	p.fn = fn
	p.done.Store(0)
	gen := p.gen.Load() + 1
	for i, w := range p.workers {
		w.tasks.Store(gen<<(2*taskBits) | uint64(p.first(n, i))<<taskBits | uint64(p.first(n, i+1)))
	}
	p.gen.Store(gen)
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

// first is the first of n tasks that are worker i's own.
func (p *pool) first(n, i int) int { return blocks(n*i, len(p.workers)) }

// work does tasks until none is left, its own ones first.
func (p *pool) work(w *worker) {
	for i := range p.workers {
		victim := p.workers[(w.id+i)%len(p.workers)]
		for {
			task, next, ok := victim.claim(i > 0)
			if !ok {
				break
			}
			// A valid claim keeps run from returning, so fn is that of its generation.
			w.next = next
			p.fn(w, task)
			p.done.Add(1)
		}
	}
}

// claim takes one of the tasks that w has left, the last one for others.
func (w *worker) claim(other bool) (task, next int, ok bool) {
	for {
		t := w.tasks.Load()
		first, end := int(t>>taskBits&maxTasks), int(t&maxTasks)
		if first >= end {
			return 0, -1, false
		}
		if other {
			if w.tasks.CompareAndSwap(t, t-1) {
				return end - 1, -1, true
			}
			continue
		}
		if w.tasks.CompareAndSwap(t, t+1<<taskBits) {
			next = first + 1
			if next == end {
				next = -1
			}
			return first, next, true
		}
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

// await returns the generation when it is no longer seen.
func (p *pool) await(w *worker, seen uint64) uint64 {
	for {
		start := time.Now()
		for i := 0; ; i++ {
			if gen := p.gen.Load(); gen != seen {
				return gen
			}
			if i%64 == 63 && time.Since(start) > spin {
				break
			}
		}
		w.parked.Store(true)
		if p.gen.Load() != seen {
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
	p.gen.Add(1)
	for _, w := range p.workers[1:] {
		if w.parked.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
		}
	}
}
