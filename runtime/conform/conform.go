// Package conform is the conformance table: every operation of package runtime, over odd shapes and each dtype, run on a
// device and compared with the reference device. It is imported by the devices' tests.
package conform

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"isearle/runtime"
	"isearle/runtime/reference"
)

// Case is one row of the table.
type Case struct {
	Op    string // the operation's name
	Name  string // what is special
	Tol   float64
	Cap   int // of the extent that varies: rows, sequences or images
	Build func(b *Builder)
}

// Builder records a Case's Plan for one device. Its data depend on the operands' names only, so that two builds, also for
// different live extents, hold equal numbers.
type Builder struct {
	tb   testing.TB
	dev  runtime.Device
	Plan *runtime.Plan
	// N is the extent that varies.
	N runtime.Dim

	floats  map[runtime.Slot][]float32
	ints    map[runtime.Slot][]int32
	bytes   map[runtime.Slot][]byte
	outputs []runtime.View
}

// random returns n numbers, normally distributed around zero, that depend on the name only.
func random(name string, n int) []float32 {
	h := fnv.New64a()
	h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(h.Sum64(), 7))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// Floats is an F32 operand.
func (b *Builder) Floats(name string, rows, cols int) runtime.View {
	v := b.Plan.New(name, runtime.F32, rows, cols)
	b.floats[v.Slot] = random(name, rows*cols)
	return v
}

// Values is an F32 operand of one row with the given elements.
func (b *Builder) Values(name string, x ...float32) runtime.View {
	v := b.Plan.New(name, runtime.F32, 1, len(x))
	b.floats[v.Slot] = x
	return v
}

// Typed is a floating-point operand of any dtype, in a buffer of its own.
func (b *Builder) Typed(name string, dt runtime.DType, rows, cols int) runtime.View {
	buf, err := b.dev.Alloc(dt, rows*cols)
	if err == nil {
		err = buf.WriteF32(0, random(name, rows*cols))
	}
	if err != nil {
		b.tb.Fatal(err)
	}
	return b.Plan.Use(name, buf, rows, cols)
}

// Ints is an I32 operand.
func (b *Builder) Ints(name string, values ...int32) runtime.View {
	v := b.Plan.New(name, runtime.I32, 1, len(values))
	b.ints[v.Slot] = values
	return v
}

// Bytes is a U8 operand.
func (b *Builder) Bytes(name string, values []byte) runtime.View {
	v := b.Plan.New(name, runtime.U8, 1, len(values))
	b.bytes[v.Slot] = values
	return v
}

// Weight is a packed random matrix, scaled so that products stay near one. A device that makes no products in dt skips the case.
func (b *Builder) Weight(name string, dt runtime.DType, out, in int) runtime.Weight {
	return b.pack(name, out, in, runtime.PackOptions{DType: dt, Grad: dt != runtime.I8})
}

// Tall is a Weight in F32 that is said to be multiplied with many rows, which may choose other products.
func (b *Builder) Tall(name string, out, in int) runtime.Weight {
	return b.pack(name, out, in, runtime.PackOptions{Rows: 1 << 10})
}

func (b *Builder) pack(name string, out, in int, o runtime.PackOptions) runtime.Weight {
	x := random(name, out*in)
	raw := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v/float32(math.Sqrt(float64(in)))))
	}
	w, err := b.dev.Pack(runtime.Matrix{DType: runtime.F32, Rows: out, Cols: in, Data: raw}, o)
	if o.DType != 0 && errors.Is(err, runtime.ErrUnsupported) {
		b.tb.Skip(err)
	}
	if err != nil {
		b.tb.Fatal(err)
	}
	return w
}

// Norm is a layer normalisation over n elements.
func (b *Builder) Norm(n int) runtime.Norm {
	return runtime.Norm{Gamma: b.Floats("gamma", 1, n), Beta: b.Floats("beta", 1, n), Eps: 1e-5}
}

// Out records an output matrix, NaN before the run, whose live rows are compared: perN of them for each unit of N.
func (b *Builder) Out(name string, perN, cols int) runtime.View {
	v := b.Plan.New(name, runtime.F32, b.N.Cap*perN, cols)
	b.Check(v)
	return v
}

// Check compares a view, which starts as NaN where nothing else fills it.
func (b *Builder) Check(v runtime.View) {
	if _, filled := b.floats[v.Slot]; !filled {
		nan := make([]float32, b.Plan.Info(v.Slot).Len)
		for i := range nan {
			nan[i] = float32(math.NaN())
		}
		b.floats[v.Slot] = nan
	}
	b.outputs = append(b.outputs, v)
}

// newBuilder starts a Plan for an extent of which so much is live.
func newBuilder(tb testing.TB, dev runtime.Device, name string, extent, live int) *Builder {
	b := &Builder{tb: tb, dev: dev, Plan: runtime.NewPlan(name), floats: map[runtime.Slot][]float32{}, ints: map[runtime.Slot][]int32{}, bytes: map[runtime.Slot][]byte{}}
	b.N = runtime.Dim{Cap: extent, Live: b.Ints("live", int32(live))}
	return b
}

// compile compiles the Plan and fills its operands.
func (b *Builder) compile() runtime.Program {
	b.tb.Helper()
	prog, err := b.dev.Compile(b.Plan)
	if err != nil {
		b.tb.Fatal(err)
	}
	b.fill(prog)
	return prog
}

// fill writes the operands, and NaN into the outputs.
func (b *Builder) fill(prog runtime.Program) {
	b.tb.Helper()
	for s, x := range b.floats {
		if err := prog.Buffer(s).WriteF32(0, x); err != nil {
			b.tb.Fatal(err)
		}
	}
	for s, x := range b.bytes {
		if err := prog.Buffer(s).WriteRaw(0, x); err != nil {
			b.tb.Fatal(err)
		}
	}
	for s, x := range b.ints {
		if err := prog.Buffer(s).WriteI32(0, x); err != nil {
			b.tb.Fatal(err)
		}
	}
}

// run builds a case on a device, runs it with a live extent, and returns its outputs' whole memory. With replay the Program has
// run with the full extent before.
func run(tb testing.TB, dev runtime.Device, c Case, live int, replay bool) [][]float32 {
	tb.Helper()
	b := newBuilder(tb, dev, c.Op+"/"+c.Name, c.Cap, live)
	c.Build(b)
	prog := b.compile()
	defer prog.Close()
	if replay {
		if err := prog.Buffer(b.N.Live.Slot).WriteI32(0, []int32{int32(c.Cap)}); err != nil {
			tb.Fatal(err)
		}
		if err := prog.Run(context.Background()); err != nil {
			tb.Fatal(err)
		}
		b.fill(prog)
	}
	if err := prog.Run(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return b.read(prog)
}

// read returns the whole memory of the outputs.
func (b *Builder) read(prog runtime.Program) [][]float32 {
	var out [][]float32
	for _, v := range b.outputs {
		x := make([]float32, b.Plan.Info(v.Slot).Len)
		if err := prog.Buffer(v.Slot).ReadF32(0, x); err != nil {
			b.tb.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

// Run runs a case once, at full extent, and compares nothing.
func Run(tb testing.TB, dev runtime.Device, c Case) { run(tb, dev, c, c.Cap, false) }

// Ops runs the table: each case against the reference at full and partial extent, then for equal bits with other thread
// counts, with fewer live rows and from a Program that has run before. open returns a device with so many threads.
func Ops(t *testing.T, open func(threads int) runtime.Device) {
	ops(t, []runtime.Device{open(1), open(2), open(3)}, Table())
}

func ops(t *testing.T, devs []runtime.Device, table []Case) {
	for _, d := range devs {
		defer d.Close()
	}
	for _, c := range table {
		t.Run(c.Op+"/"+c.Name, func(t *testing.T) {
			full, wantFull := run(t, devs[0], c, c.Cap, false), run(t, reference.Device{}, c, c.Cap, false)
			for _, live := range []int{0, 1, c.Cap / 2, c.Cap} {
				want := run(t, reference.Device{}, c, live, false)
				for i, d := range devs {
					got := run(t, d, c, live, i == 1)
					near(t, fmt.Sprintf("live %d, %d threads", live, i+1), got, want, c.Tol)
					same(t, fmt.Sprintf("live %d, %d threads", live, i+1), got, full, want, wantFull)
				}
			}
		})
	}
}

// near compares with the reference; where that has NaN (rows that are not live, ids out of range) so must the device.
func near(t *testing.T, what string, got, want [][]float32, tol float64) {
	t.Helper()
	for o := range want {
		for i, w := range want[o] {
			g := got[o][i]
			if (g != g) != (w != w) || math.Abs(float64(g)-float64(w)) > tol*max(1, math.Abs(float64(w))) {
				t.Fatalf("%s: output %d, element %d is %v, want %v", what, o, i, g, w)
			}
		}
	}
}

// same compares bits with the full run, where the reference says that both runs computed the same element.
func same(t *testing.T, what string, got, full, want, wantFull [][]float32) {
	t.Helper()
	for o := range got {
		for i, g := range got[o] {
			if want[o][i] == wantFull[o][i] && math.Float32bits(g) != math.Float32bits(full[o][i]) {
				t.Fatalf("%s: output %d, element %d is %v, %v in the full run: the bits depend on the batch or the threads", what, o, i, g, full[o][i])
			}
		}
	}
}
