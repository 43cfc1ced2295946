package runtime

import (
	"errors"
	"fmt"
)

// Kind says who owns a slot's memory and how long it lives.
type Kind uint8

const (
	// Temporary memory belongs to the arena: its content is undefined before its first write in a run.
	Temporary Kind = iota + 1
	// Persistent memory is allocated when the Plan is compiled, zeroed, and keeps its content between runs: inputs,
	// tables, outputs, state. A Program gives access to it.
	Persistent
	// Bound memory is a Buffer that existed before: parameters, pools shared by several Plans.
	Bound
)

// SlotInfo describes a buffer of a Plan.
type SlotInfo struct {
	Name  string
	Kind  Kind
	DType DType
	Len   int    // elements
	Bound Buffer // of Kind Bound
}

// Plan is a recorded list of operations over slots. Recording never fails half-way: the first error is kept, further
// operations are ignored, and Err and a device's Compile return it. A Plan is not safe for concurrent recording.
type Plan struct {
	name  string
	slots []SlotInfo // slot s is slots[s-1]
	ops   []Op
	err   error
}

// NewPlan returns an empty Plan; the name appears in errors and profiles.
func NewPlan(name string) *Plan { return &Plan{name: name} }

// Name is the name given to NewPlan.
func (p *Plan) Name() string { return p.name }

// Err is the first error of recording.
func (p *Plan) Err() error { return p.err }

// Ops are the recorded operations in order. They must not be changed.
func (p *Plan) Ops() []Op { return p.ops }

// Slots describes the Plan's buffers: slot s is at index s-1. They must not be changed.
func (p *Plan) Slots() []SlotInfo { return p.slots }

// Info describes one slot.
func (p *Plan) Info(s Slot) SlotInfo { return p.slots[s-1] }

func (p *Plan) slot(info SlotInfo, rows, cols int) View {
	if rows < 0 || cols < 0 || (cols > 0 && rows > (1<<62)/cols) {
		p.fail(fmt.Errorf("buffer %q: shape [%d, %d]", info.Name, rows, cols))
		rows, cols = 0, 0
	}
	if info.Kind != Bound {
		info.Len = rows * cols
	}
	p.slots = append(p.slots, info)
	return View{Slot: Slot(len(p.slots)), Rows: rows, Cols: cols, Stride: cols}
}

// Temp records a matrix that lives in the arena from its first to its last use within a run.
func (p *Plan) Temp(name string, dt DType, rows, cols int) View {
	return p.slot(SlotInfo{Name: name, Kind: Temporary, DType: dt}, rows, cols)
}

// New records a matrix with memory of its own, zero after Compile, which keeps its content between runs.
func (p *Plan) New(name string, dt DType, rows, cols int) View {
	return p.slot(SlotInfo{Name: name, Kind: Persistent, DType: dt}, rows, cols)
}

// Use records an existing buffer, of at least rows x cols elements, as a matrix.
func (p *Plan) Use(name string, b Buffer, rows, cols int) View {
	if b == nil {
		p.fail(fmt.Errorf("buffer %q: nil", name))
		return p.slot(SlotInfo{Name: name, Kind: Persistent, DType: F32}, rows, cols)
	}
	if b.Len() < rows*cols {
		p.fail(fmt.Errorf("buffer %q: %d elements for shape [%d, %d]", name, b.Len(), rows, cols))
	}
	return p.slot(SlotInfo{Name: name, Kind: Bound, DType: b.DType(), Len: b.Len(), Bound: b}, rows, cols)
}

// Add checks an operation's shapes and dtypes and records it.
func (p *Plan) Add(op Op) {
	if p.err != nil {
		return
	}
	c := checker{plan: p}
	for v := range op.operands {
		c.inside(v)
	}
	if c.err == nil {
		op.check(&c)
	}
	if c.err != nil {
		p.fail(fmt.Errorf("operation %d, %s: %w", len(p.ops), op.Name(), c.err))
		return
	}
	p.ops = append(p.ops, op)
}

func (p *Plan) fail(err error) {
	if p.err == nil {
		p.err = fmt.Errorf("runtime: plan %q: %w", p.name, err)
	}
}

// ErrPlan is wrapped by the errors of a device that is given a Plan it cannot hold.
var ErrPlan = errors.New("plan cannot be compiled")
