// Package reference is a device for tests: every operation of package runtime as naive loops over float64, written from the
// operations' documentation and from nothing else. Other devices are compared with it, and gradients are checked on it by
// finite differences, since its floating-point buffers hold float64 whatever their dtype.
package reference

import (
	"context"
	"errors"
	"fmt"

	"isearle/runtime"
	"isearle/weights/half"
)

// Device implements runtime.Device.
type Device struct{}

func (Device) Name() string     { return "reference" }
func (Device) Describe() string { return "naive float64 loops" }
func (Device) Close() error     { return nil }

// Activations are as the CPU device has them: the table's cases name the dtypes of their operands themselves.
func (Device) Activations(runtime.DType) runtime.DType { return runtime.F32 }

func (Device) Alloc(dt runtime.DType, n int) (runtime.Buffer, error) { return newBuffer(dt, n), nil }

// Buffer is host memory: floats for every floating-point type, ints for the others.
type Buffer struct {
	dt runtime.DType
	F  []float64
	I  []int32
}

func newBuffer(dt runtime.DType, n int) *Buffer {
	b := &Buffer{dt: dt}
	if dt.Float() {
		b.F = make([]float64, n)
	} else {
		b.I = make([]int32, n)
	}
	return b
}

func (b *Buffer) DType() runtime.DType { return b.dt }
func (b *Buffer) Len() int             { return len(b.F) + len(b.I) }
func (b *Buffer) Close() error         { return nil }

func (b *Buffer) check(off, n int, floats bool) error {
	if b.dt.Float() != floats || off < 0 || off+n > b.Len() {
		return fmt.Errorf("reference: elements %d to %d of a %s buffer of %d", off, off+n, b.dt, b.Len())
	}
	return nil
}

func (b *Buffer) WriteF32(off int, src []float32) error {
	if err := b.check(off, len(src), true); err != nil {
		return err
	}
	for i, v := range src {
		b.F[off+i] = float64(round(b.dt, v))
	}
	return nil
}

func round(dt runtime.DType, v float32) float32 {
	switch dt {
	case runtime.F16:
		return half.F16ToF32(half.F32ToF16(v))
	case runtime.BF16:
		return half.BF16ToF32(half.F32ToBF16(v))
	}
	return v
}

func (b *Buffer) ReadF32(off int, dst []float32) error {
	if err := b.check(off, len(dst), true); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = float32(b.F[off+i])
	}
	return nil
}

func (b *Buffer) WriteI32(off int, src []int32) error {
	if err := b.check(off, len(src), false); err != nil {
		return err
	}
	copy(b.I[off:], src)
	return nil
}

func (b *Buffer) ReadI32(off int, dst []int32) error {
	if err := b.check(off, len(dst), false); err != nil {
		return err
	}
	copy(dst, b.I[off:])
	return nil
}

func (b *Buffer) WriteRaw(off int, src []byte) error {
	if b.dt == runtime.U8 {
		if err := b.check(off, len(src), false); err != nil {
			return err
		}
		for i, v := range src {
			b.I[off+i] = int32(v)
		}
		return nil
	}
	v := make([]float32, len(src)/b.dt.Size())
	if err := decode(v, b.dt, src); err != nil {
		return err
	}
	return b.WriteF32(off, v)
}

// Weight keeps the matrix as float64, rounded to the type that products are made in.
type Weight struct {
	dt      runtime.DType
	out, in int
	w       []float64
}

func (w *Weight) Shape() (int, int)    { return w.out, w.in }
func (w *Weight) DType() runtime.DType { return w.dt }
func (w *Weight) Close() error         { return nil }

func (Device) Pack(m runtime.Matrix, o runtime.PackOptions) (runtime.Weight, error) {
	if o.Source != nil {
		defer o.Source.Release()
	}
	m = m.Whole()
	dt := o.DType
	if dt == 0 {
		dt = runtime.F32
	}
	if !dt.Float() && dt != runtime.I8 || dt == runtime.I8 && o.Grad {
		return nil, fmt.Errorf("reference: pack: products in %s, backward %t: %w", dt, o.Grad, runtime.ErrUnsupported)
	}
	v := make([]float32, m.Rows*m.Cols)
	if err := decode(v, m.DType, m.Data); err != nil {
		return nil, err
	}
	w := &Weight{dt, m.Rows, m.Cols, make([]float64, len(v))}
	for i, x := range v {
		w.w[i] = float64(x)
	}
	for j := range m.Rows {
		factors(dt, w.w[j*m.Cols:(j+1)*m.Cols], true)
	}
	return w, nil
}

type program struct {
	name    string
	buffers []*Buffer
	steps   []func()
}

func (Device) Compile(p *runtime.Plan) (runtime.Program, error) {
	if err := p.Err(); err != nil {
		return nil, err
	}
	prog := &program{name: p.Name()}
	for _, s := range p.Slots() {
		b := newBuffer(s.DType, s.Len)
		if s.Kind == runtime.Bound {
			b = s.Bound.(*Buffer)
		}
		prog.buffers = append(prog.buffers, b)
	}
	for _, op := range p.Ops() {
		step := prog.step(op)
		if step == nil {
			return nil, fmt.Errorf("reference: compile %q: %s: %w", p.Name(), op.Name(), runtime.ErrUnsupported)
		}
		prog.steps = append(prog.steps, step)
	}
	return prog, nil
}

func (p *program) Run(ctx context.Context) error {
	for _, s := range p.steps {
		s()
	}
	return ctx.Err()
}

func (p *program) Buffer(s runtime.Slot) runtime.Buffer { return p.buffers[s-1] }
func (p *program) Close() error                         { return nil }

var errLength = errors.New("reference: length of raw data")
