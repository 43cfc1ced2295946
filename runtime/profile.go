package runtime

import "time"

// Profiler is implemented by a Device that can tell what each operation took.
type Profiler interface {
	// Profile calls observe for every execution of an operation from now on, until it is called again; nil ends it. observe is
	// called by one goroutine at a time, in the order in which operations began, at the latest before the Run, Feed or Finish
	// that they belong to returns; it must not call the device. Profiling may slow down what is profiled (a GPU runs operations
	// one by one in place of a graph) but changes no result. Without it there is no cost.
	Profile(observe func(Event))
}

// Event is one execution of an operation.
type Event struct {
	Plan  string        // the Plan's name; "search" for a Search
	Index int           // of the operation in the Plan; of a Search 0 for Feed, 1 for Finish
	Name  string        // Op.Name; of a Search "search" and "searchmerge"
	Start time.Duration // since the call of Profile
	Time  time.Duration
	Work
	Kernels []Kernel // what was launched for it, in order; nil on a device that launches nothing
	Graph   bool     // it belongs to a graph: a run that is not profiled is one launch, whatever the number of kernels
}

// Kernel is one launch of a device's kernel, a part of an operation's execution.
type Kernel struct {
	Name  string        // of the function: operation, type, tile
	Start time.Duration // since the call of Profile
	Time  time.Duration
	// Work is the kernel's own: what it has to read and write itself, matrices between two kernels of the operation included, so
	// that the Bytes of several kernels may be more than the operation's. Shape is the operation's. It is zero where it depends
	// on values.
	Work
}

// Roofline is implemented by a Device that can measure what it does at most (Williams, Waterman and Patterson, Roofline, CACM 2009).
type Roofline interface {
	// Peak measures for a while how many operations a second the device does in products of a type, without memory. It wraps
	// ErrUnsupported where the device has no instruction for the type.
	Peak(dt DType, during time.Duration) (operations float64, err error)
	// Bandwidth measures how many bytes a second the device reads from memory.
	Bandwidth(during time.Duration) (bytes float64, err error)
}
