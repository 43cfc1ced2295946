//go:build cuda

package cuda

import (
	"fmt"

	"isearle/runtime"
)

// The structures of kernels/operand.cuh, byte for byte: every field is of fixed size and padding is spelled out.
type (
	view struct {
		Data                      uint64
		Rows, Cols, Stride, DType int32
	}
	table uint64
	dim   struct {
		Live      uint64
		Cap, Each int32
	}
	norm struct {
		Gamma, Beta uint64
		Eps         float32
		_           int32
	}
)

// pointer is the address of a view's first element, 0 where it is absent.
func (c *compiler) pointer(v runtime.View) uint64 {
	if v.Absent() {
		return 0
	}
	b := c.prog.buffers[v.Slot-1]
	return uint64(b.at(v.Offset))
}

// view resolves a floating-point matrix.
func (c *compiler) view(v runtime.View) view {
	if v.Absent() {
		return view{}
	}
	dt := c.prog.buffers[v.Slot-1].dt
	if !dt.Float() {
		c.fail(fmt.Errorf("a matrix of %s: %w", dt, runtime.ErrUnsupported))
	}
	return view{c.pointer(v), c.i32(v.Rows), c.i32(v.Cols), c.i32(v.Stride), int32(dt)}
}

// f32 resolves a matrix for a kernel that takes f32 only.
func (c *compiler) f32(v runtime.View) view {
	x := c.view(v)
	if !v.Absent() && x.DType != int32(runtime.F32) {
		c.fail(fmt.Errorf("a matrix of %s: %w", runtime.DType(x.DType), runtime.ErrUnsupported))
	}
	return x
}

func (c *compiler) table(v runtime.View) table { return table(c.pointer(v)) }

// dim resolves an extent, times each.
func (c *compiler) dim(d runtime.Dim, each int) dim {
	c.i32(d.Cap * each)
	return dim{c.pointer(d.Live), c.i32(d.Cap), c.i32(each)}
}

func fixed(n int) dim { return dim{Cap: int32(n), Each: 1} }

func (c *compiler) norm(n runtime.Norm) norm {
	return norm{Gamma: c.pointer(n.Gamma), Beta: c.pointer(n.Beta), Eps: n.Eps}
}

// i32 checks that a number fits a kernel's argument.
func (c *compiler) i32(n int) int32 {
	if n != int(int32(n)) {
		c.fail(fmt.Errorf("extent %d: %w", n, runtime.ErrUnsupported))
	}
	return int32(n)
}

// scratch is an f32 matrix for one operation's own use within a run; all operations share the memory.
func (c *compiler) scratch(rows, cols int) view { return c.scratchOf(runtime.F32, rows, cols) }

// scratchOf is scratch of any type. Rows of half types are aligned to 16 bytes, as the tensor units' kernels take them.
func (c *compiler) scratchOf(dt runtime.DType, rows, cols int) view {
	stride := cols
	if dt != runtime.F32 {
		stride = aligned(cols)
	}
	at := c.used
	c.used += (dt.Size()*rows*stride + arenaAlign - 1) / arenaAlign * arenaAlign
	c.need = max(c.need, c.used)
	return view{uint64(c.scratchAt) + uint64(at), c.i32(rows), c.i32(cols), c.i32(stride), int32(dt)}
}

// align is the elements of a half type in 16 bytes.
const align = 8

func aligned(n int) int { return (n + align - 1) / align * align }

// ready says whether a matrix is of a half type and its rows are aligned to 16 bytes.
func (v view) ready(dt runtime.DType) bool {
	return v.DType == int32(dt) && v.Data%16 == 0 && v.Stride%align == 0
}

// weight resolves a packed weight.
func (c *compiler) weight(w runtime.Weight) *weight {
	x, ok := w.(*weight)
	if !ok || x.dev != c.dev || x.ptr == 0 {
		c.fail(fmt.Errorf("weight is closed or of another device: %w", runtime.ErrPlan))
		return &weight{dt: runtime.F32}
	}
	return x
}
