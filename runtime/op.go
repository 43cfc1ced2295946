package runtime

import (
	"fmt"
	"iter"
)

// Op is one of this package's operation types; the set is closed. A device switches over the types.
type Op interface {
	// Name is the operation's name in every layer: kernels, devices, conformance table, profiles.
	Name() string
	// Writes are the views that the operation writes.
	Writes() iter.Seq[View]
	// operands yields every view, absent ones included.
	operands(yield func(View) bool)
	check(c *checker)
	// work adds up what one execution takes.
	work(c *cost)
}

// writes is the Writes of an operation with the given outputs.
func writes(vs ...View) iter.Seq[View] {
	return func(yield func(View) bool) {
		for _, v := range vs {
			if !v.Absent() && !yield(v) {
				return
			}
		}
	}
}

// each yields views until the consumer stops, and reports whether it did not.
func each(yield func(View) bool, vs ...View) bool {
	for _, v := range vs {
		if !yield(v) {
			return false
		}
	}
	return true
}

// checker collects the first thing wrong with an operation.
type checker struct {
	plan *Plan
	err  error
}

func (c *checker) failf(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// inside checks that a view stays within its slot.
func (c *checker) inside(v View) {
	if v.Absent() {
		return
	}
	if v.Slot < 0 || int(v.Slot) > len(c.plan.slots) {
		c.failf("no slot %d", v.Slot)
		return
	}
	info := c.plan.Info(v.Slot)
	if v.Offset < 0 || v.Rows < 0 || v.Cols < 0 || v.Stride < v.Cols || v.end() > info.Len {
		c.failf("%s reaches outside %q of %d elements", v, info.Name, info.Len)
	}
}

// matrix checks a required operand's dtype and that it holds at least rows x cols; cols must be equal.
func (c *checker) matrix(name string, v View, rows, cols int, dts ...DType) {
	if v.Absent() {
		c.failf("%s is missing", name)
		return
	}
	if v.Rows < rows || v.Cols != cols {
		c.failf("%s is [%d, %d], want [%d, %d]", name, v.Rows, v.Cols, rows, cols)
	}
	if !c.dtype(v, dts...) {
		c.failf("%s is %s, want %v", name, c.plan.Info(v.Slot).DType, dts)
	}
}

func (c *checker) dtype(v View, dts ...DType) bool {
	have := c.plan.Info(v.Slot).DType
	for _, d := range dts {
		if d == have {
			return true
		}
	}
	return false
}

// maybe is matrix for an operand that may be absent.
func (c *checker) maybe(name string, v View, rows, cols int, dts ...DType) {
	if !v.Absent() {
		c.matrix(name, v, rows, cols, dts...)
	}
}

// table checks an I32 operand of at least n consecutive elements.
func (c *checker) table(name string, v View, n int) {
	if v.Absent() {
		c.failf("%s is missing", name)
		return
	}
	if v.Rows*v.Cols < n || (v.Rows > 1 && v.Stride != v.Cols) {
		c.failf("%s is [%d, %d] stride %d, want %d consecutive elements", name, v.Rows, v.Cols, v.Stride, n)
	}
	if !c.dtype(v, I32) {
		c.failf("%s is %s, want i32", name, c.plan.Info(v.Slot).DType)
	}
}

// dim checks an extent and that its live count is one I32 element.
func (c *checker) dim(name string, d Dim) {
	if d.Cap < 0 {
		c.failf("%s has capacity %d", name, d.Cap)
	}
	if !d.Live.Absent() {
		c.table(name+"'s live count", d.Live, 1)
	}
}

// overlap reports whether two views may share an element.
func overlap(a, b View) bool {
	return !a.Absent() && !b.Absent() && a.Slot == b.Slot && a.Offset < b.end() && b.Offset < a.end() &&
		!interleaved(a, b)
}

// interleaved reports whether two views of one slot lie in different columns of the same rows.
func interleaved(a, b View) bool {
	if a.Stride != b.Stride || a.Stride == 0 {
		return false
	}
	ca, cb := a.Offset%a.Stride, b.Offset%b.Stride
	return (ca+a.Cols <= cb || cb+b.Cols <= ca) && ca+a.Cols <= a.Stride && cb+b.Cols <= b.Stride
}

// apart checks that an output shares no element with inputs.
func (c *checker) apart(name string, out View, ins ...View) {
	for _, in := range ins {
		if overlap(out, in) {
			c.failf("%s (%s) overlaps an input (%s)", name, out, in)
		}
	}
}
