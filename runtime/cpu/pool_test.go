package cpu

import (
	"sync/atomic"
	"testing"
	"time"
)

// Every task is done once, for any number of tasks and workers, run after run.
func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 7} {
		p := newPool(threads)
		defer p.close()
		for round := range 200 {
			n := round * round % 53
			counts := make([]atomic.Int32, n)
			p.run(n, func(_ *worker, i int) { counts[i].Add(1) })
			for i := range counts {
				if c := counts[i].Load(); c != 1 {
					t.Fatalf("%d threads, %d tasks: task %d was done %d times", threads, n, i, c)
				}
			}
		}
	}
}

// A worker is told its next task, and others take the tasks of one that is stuck.
func TestPoolSteals(t *testing.T) {
	const n = 100
	p := newPool(2)
	defer p.close()
	by := make([]int, n)
	stuck := make(chan struct{})
	var left atomic.Int32
	left.Store(n - 1)
	p.run(n, func(w *worker, i int) {
		by[i] = w.id
		switch {
		case i == 0:
			if w.id == 0 && w.next != 1 {
				t.Errorf("the first worker's next task is %d", w.next)
			}
			select {
			case <-stuck:
			case <-time.After(time.Minute):
				t.Error("nobody took the other tasks")
			}
			return
		case i == n-1 && w.next != -1:
			t.Errorf("task %d is followed by %d", i, w.next)
		}
		if left.Add(-1) == 0 {
			close(stuck)
		}
	})
	for i := 1; i < n && by[0] == 0; i++ { // the other worker may have taken even that one
		if by[i] == 0 {
			t.Errorf("task %d was left to the worker that was stuck", i)
		}
	}
}
