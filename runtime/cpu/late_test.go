package cpu_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"isearle/runtime"
	"isearle/weights/half"
)

// kept counts what a device says of a matrix, whose memory it spoils at the end.
type kept struct {
	data              [][]byte
	dropped, released atomic.Int32
}

func (k *kept) Drop() { k.dropped.Add(1) }

func (k *kept) Release() {
	k.released.Add(1)
	for _, d := range k.data {
		for i := range d {
			d[i] = 0xff
		}
	}
}

// elements are x in a type, as bytes at an address that is a multiple of the elements' size, or is not.
func elements(dt runtime.DType, x []float32, aligned bool) []byte {
	n := 1
	if aligned {
		n = 0
	}
	out := runtime.Float32Bytes(make([]float32, len(x)+1))[:n]
	for _, v := range x {
		switch dt {
		case runtime.F32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		case runtime.F16:
			out = binary.LittleEndian.AppendUint16(out, half.F32ToF16(v))
		case runtime.BF16:
			out = binary.LittleEndian.AppendUint16(out, half.F32ToBF16(v))
		}
	}
	return out[n:]
}

// TestLate checks that a weight which is packed when it is used gives the bits of one that is packed before, at every use, that its
// source is dropped after the first one and released once, after the second.
func TestLate(t *testing.T) {
	const in, out, most = 75, 150, 300
	rng := rand.New(rand.NewPCG(1, 2))
	x, w := make([]float32, most*in), make([]float32, out*in)
	for _, v := range [][]float32{x, w} {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
	}
	everySet(t, func(t *testing.T, open func(threads int) runtime.Device) {
		d := open(2)
		defer d.Close()
		for _, from := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
			for _, dt := range []runtime.DType{runtime.F32, runtime.BF16, runtime.I8} {
				for _, parts := range [][]int{{out}, {64, 86}, {64, 32, 54}, {50, 100}} {
					for _, least := range []int{0, 1000} {
						for _, aligned := range []bool{true, false} {
							name := fmt.Sprintf("%s from %s in %v, rows %d, aligned %v", dt, from, parts, least, aligned)
							testLate(t, d, name, from, dt, parts, least, aligned, x, w, in, out)
						}
					}
				}
			}
		}
	})
}

func testLate(t *testing.T, d runtime.Device, name string, from, dt runtime.DType, parts []int, least int, aligned bool, x, w []float32, in, out int) {
	t.Helper()
	m := runtime.Matrix{DType: from, Rows: out, Cols: in}
	k, row := &kept{}, 0
	for _, n := range parts {
		part := elements(from, w[row*in:(row+n)*in], aligned)
		if row += n; m.Data == nil {
			m.Data = part
		} else {
			m.More = append(m.More, part)
		}
		k.data = append(k.data, part)
	}
	eager, err := d.Pack(m, runtime.PackOptions{DType: dt, Rows: least})
	if err != nil {
		t.Fatal(err)
	}
	defer eager.Close()
	late, err := d.Pack(m, runtime.PackOptions{DType: dt, Rows: least, Source: k})
	if err != nil {
		t.Fatal(err)
	}
	atOnce := k.released.Load() == 1 // because rows of a panel lie in two parts, or unaligned
	for use, rows := range []int{3, 40, 300, 300} {
		want, got := product(t, d, eager, x, rows, in, out), product(t, d, late, x, rows, in, out)
		if !slices.Equal(got, want) {
			t.Fatalf("%s: use %d differs", name, use)
		}
		if use == 0 && !atOnce && (k.dropped.Load() != 1 || k.released.Load() != 0) {
			t.Fatalf("%s: after a use the source was dropped %d times and released %d times", name, k.dropped.Load(), k.released.Load())
		}
	}
	late.Close()
	if n := k.released.Load(); n != 1 {
		t.Fatalf("%s: the source was released %d times", name, n)
	}
}

// product is x w^T in a Program of its own.
func product(t *testing.T, d runtime.Device, w runtime.Weight, x []float32, rows, in, out int) []float32 {
	t.Helper()
	p := runtime.NewPlan("product")
	left, result := p.New("x", runtime.F32, rows, in), p.New("y", runtime.F32, rows, out)
	p.Add(runtime.Linear{X: left, W: w, Rows: runtime.Fixed(rows), Out: result})
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	y := make([]float32, rows*out)
	if err := errors.Join(prog.Buffer(left.Slot).WriteF32(0, x[:rows*in]), prog.Run(t.Context()), prog.Buffer(result.Slot).ReadF32(0, y)); err != nil {
		t.Fatal(err)
	}
	return y
}

// TestLateClosed checks that the source of a weight that is not used, or once, is released with it, but not before what uses it, and that
// Pack releases what it does not keep.
func TestLateClosed(t *testing.T) {
	const n = 256
	x := make([]float32, n*n)
	for i := range n {
		x[i*n+i] = float32(i)
	}
	everySet(t, func(t *testing.T, open func(threads int) runtime.Device) {
		d := open(1)
		defer d.Close()
		pack := func(k *kept, o runtime.PackOptions) (runtime.Weight, error) {
			data := elements(runtime.F32, x, true)
			k.data, o.Source = [][]byte{data}, k
			return d.Pack(runtime.Matrix{DType: runtime.F32, Rows: n, Cols: n, Data: data}, o)
		}
		var grad, bad, unread, used kept
		if w, err := pack(&grad, runtime.PackOptions{Grad: true}); err != nil || grad.released.Load() != 1 {
			t.Fatalf("with a backward pass: %v, released %d times", err, grad.released.Load())
		} else {
			w.Close()
		}
		if _, err := pack(&bad, runtime.PackOptions{DType: runtime.F16}); err == nil || bad.released.Load() != 1 {
			t.Fatalf("refused: %v, released %d times", err, bad.released.Load())
		}
		w, err := pack(&unread, runtime.PackOptions{})
		if err != nil || unread.released.Load() != 0 {
			t.Fatalf("%v, released %d times", err, unread.released.Load())
		}
		if w.Close(); unread.released.Load() != 1 {
			t.Fatalf("a weight that was not used: released %d times", unread.released.Load())
		}

		if w, err = pack(&used, runtime.PackOptions{}); err != nil {
			t.Fatal(err)
		}
		p := runtime.NewPlan("closed")
		left, y := p.New("x", runtime.F32, 1, n), p.New("y", runtime.F32, 1, n)
		p.Add(runtime.Linear{X: left, W: w, Rows: runtime.Fixed(1), Out: y})
		prog, err := d.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		got := make([]float32, n)
		if err := errors.Join(prog.Buffer(left.Slot).WriteF32(0, slices.Repeat([]float32{1}, n)), prog.Run(t.Context()), prog.Buffer(y.Slot).ReadF32(0, got)); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if v != float32(i) {
				t.Fatalf("column %d is %g", i, v)
			}
		}
		if used.released.Load() != 0 {
			t.Fatal("released while a Program could use it")
		}
		if prog.Close(); used.released.Load() != 1 {
			t.Fatalf("released %d times", used.released.Load())
		}
	})
}

// TestBorrow checks that borrowed memory is read where it is, is not written to, and is released when nothing uses it any more.
func TestBorrow(t *testing.T) {
	everySet(t, func(t *testing.T, open func(threads int) runtime.Device) {
		d := open(1)
		defer d.Close()
		lender := d.(runtime.Borrower)
		x := []float32{1, 2, 3, 4, 5, 6}
		k := &kept{data: [][]byte{runtime.Float32Bytes(x)}}
		b, err := lender.Borrow(runtime.F32, k.data[0], k)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 3)
		if err := b.ReadF32(2, got); err != nil || !slices.Equal(got, x[2:5]) {
			t.Fatalf("%v, %v", got, err)
		}
		if b.WriteF32(0, got) == nil || b.WriteRaw(0, make([]byte, 4)) == nil || x[0] != 1 {
			t.Fatal("borrowed memory was written to")
		}
		p := runtime.NewPlan("borrowed")
		table := p.Use("table", b, 3, 2)
		out := p.New("y", runtime.F32, 1, 2)
		ids := p.New("ids", runtime.I32, 1, 1)
		p.Add(runtime.TokenEmbed{IDs: ids, Pos: p.New("pos", runtime.I32, 1, 1), Table: table,
			PosTable: p.New("positions", runtime.F32, 1, 2), Rows: runtime.Fixed(1), Out: out})
		prog, err := d.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		if err := errors.Join(prog.Buffer(ids.Slot).WriteI32(0, []int32{2}), prog.Run(t.Context()), prog.Buffer(out.Slot).ReadF32(0, got[:2])); err != nil {
			t.Fatal(err)
		}
		if got[0] != 5 || got[1] != 6 {
			t.Fatalf("row 2 is %v", got[:2])
		}
		if k.released.Load() != 0 {
			t.Fatal("released while a Program could use it")
		}
		if prog.Close(); k.released.Load() != 1 {
			t.Fatalf("released %d times", k.released.Load())
		}
		odd := &kept{}
		if _, err := lender.Borrow(runtime.F32, elements(runtime.F32, x[:2], false), odd); err == nil || odd.released.Load() != 1 {
			t.Fatalf("memory that is not aligned: %v, released %d times", err, odd.released.Load())
		}
	})
}
