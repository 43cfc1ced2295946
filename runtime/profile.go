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
}

// Roofline is implemented by a Device that can measure what it does at most (Williams, Waterman and Patterson, Roofline, CACM 2009).
type Roofline interface {
	// Peak measures for a while how many operations a second the device does in products of a type, without memory. It wraps
	// ErrUnsupported where the device has no instruction for the type.
	Peak(dt DType, during time.Duration) (operations float64, err error)
	// Bandwidth measures how many bytes a second the device reads from memory.
	Bandwidth(during time.Duration) (bytes float64, err error)
}
