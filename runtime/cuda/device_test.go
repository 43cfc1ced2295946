//go:build cuda

package cuda

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unsafe"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// emulated returns the emulated device.
func emulated(t *testing.T, o Options) *Device {
	t.Helper()
	if err := driver.Status(); err != nil {
		t.Skipf("make test-cuda runs this on the emulated driver: %v", err)
	}
	d, err := open(0, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if !strings.HasPrefix(d.name, "emulated") {
		t.Skipf("%s injects no faults", d.name)
	}
	return d
}

// counters are those of kernels/emu/device.h.
type counters struct{ Allocations, Launches, Graphs, Copies, BankConflicts uint64 }

func (d *Device) count(t *testing.T) (c counters) {
	t.Helper()
	err := d.do("count", func() error {
		m, err := cu.LoadData("\x7fELF")
		if err != nil {
			return err
		}
		p, _, err := m.Global("isearle_emu_counters")
		if err != nil {
			return err
		}
		return cu.MemcpyDtoH(unsafe.Pointer(&c), p, int64(unsafe.Sizeof(c)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// free is how much device memory is left.
func (d *Device) free(t *testing.T) (n int64) {
	t.Helper()
	if err := d.do("measure", func() (err error) { n, _, err = cu.MemInfo(); return err }); err != nil {
		t.Fatal(err)
	}
	return n
}

// chain is a Plan of three operations, five kernels, with temporaries between.
func chain(t *testing.T, d *Device) (p *runtime.Plan, x, y runtime.View) {
	t.Helper()
	w, err := d.Pack(runtime.Matrix{DType: runtime.F32, Rows: 8, Cols: 8, Data: make([]byte, 4*64)}, runtime.PackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	p = runtime.NewPlan("chain")
	n := runtime.Norm{Gamma: p.New("gamma", runtime.F32, 1, 8), Beta: p.New("beta", runtime.F32, 1, 8), Eps: 1e-5}
	x, y = p.New("x", runtime.F32, 5, 8), p.New("y", runtime.F32, 5, 8)
	a, b := p.Temp("a", runtime.F32, 5, 8), p.Temp("b", runtime.F32, 5, 8)
	p.Add(runtime.Linear{X: x, Norm: n, W: w, Rows: runtime.Fixed(5), Out: a})
	p.Add(runtime.Linear{X: a, Norm: n, W: w, Rows: runtime.Fixed(5), Out: b})
	p.Add(runtime.CopyRows{Src: b, Dst: y, Rows: runtime.Fixed(5)})
	return p, x, y
}

// A run is one graph launch and allocates nothing, and what follows it neither.
func TestSteadyState(t *testing.T) {
	d := emulated(t, Options{})
	p, x, y := chain(t, d)
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	out := make([]float32, 40)
	before := d.count(t)
	for range 3 {
		for _, err := range []error{prog.Buffer(x.Slot).WriteF32(0, out), prog.Run(context.Background()), prog.Buffer(y.Slot).ReadF32(0, out)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	after := d.count(t)
	if after.Allocations != before.Allocations {
		t.Errorf("%d device allocations in 3 runs", after.Allocations-before.Allocations)
	}
	if n := after.Graphs - before.Graphs; n != 3 {
		t.Errorf("%d graph launches in 3 runs", n)
	}
	if n := after.Launches - before.Launches; n != 3*5 {
		t.Errorf("%d kernels in 3 runs, want 5 each", n)
	}
}

// A profiled run reports every operation once, in order, with its kernels, their live work and times, and gives the same bits.
func TestProfile(t *testing.T) {
	d := emulated(t, Options{})
	p, x, y := chain(t, d)
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	src := make([]float32, 40)
	for i := range src {
		src[i] = float32(i * i % 7)
	}
	var got []runtime.Event
	var out [2][40]float32
	for i := range out {
		if i == 1 {
			d.Profile(func(e runtime.Event) { got = append(got, e) })
		}
		for _, err := range []error{prog.Buffer(x.Slot).WriteF32(0, src), prog.Run(context.Background()), prog.Buffer(y.Slot).ReadF32(0, out[i][:])} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if out[0] != out[1] {
		t.Error("a profiled run gives other bits")
	}
	for i, name := range []string{"linear", "linear", "copyrows"} {
		if len(got) != 3 {
			t.Fatalf("%d events, want 3: %v", len(got), got)
		}
		e := got[i]
		if e.Plan != "chain" || e.Index != i || e.Name != name || e.Time <= 0 || e.Rows != 5 || i > 0 && e.Start < got[i-1].Start+got[i-1].Time {
			t.Errorf("event %d is %+v", i, e)
		}
		if name == "linear" {
			checkLinearKernels(t, e)
		}
	}
	d.Profile(nil)
	before := d.count(t)
	if err := prog.Run(context.Background()); err != nil || len(got) != 3 {
		t.Errorf("error %v, %d events behind the end", err, len(got))
	}
	if after := d.count(t); after.Graphs != before.Graphs+1 {
		t.Error("a run that is not profiled is no graph")
	}
}

// checkLinearKernels checks the kernels of chain's Linears: 5 rows of 8, normalised, times [8, 8].
func checkLinearKernels(t *testing.T, e runtime.Event) {
	t.Helper()
	if len(e.Kernels) != 2 || !e.Graph {
		t.Fatalf("%d kernels, of a graph: %v", len(e.Kernels), e.Graph)
	}
	for i, want := range []runtime.Kernel{
		{Name: "layernorm", Work: runtime.Work{FLOP: 8 * 5 * 8, Bytes: 4 * (2*5*8 + 2*8)}}, // rows in and out, gamma and beta
		{Name: "product", Work: runtime.Work{FLOP: 2 * 5 * 8 * 8, Bytes: 4 * (2*5*8 + 8*8)}},
	} {
		k := e.Kernels[i]
		if k.Name != want.Name || k.FLOP != want.FLOP || k.Bytes != want.Bytes || k.Rows != 5 || k.Time <= 0 {
			t.Errorf("kernel %d is %+v, want %+v", i, k, want)
		}
	}
}

// The roofline is measured without harm to what follows.
func TestRoofline(t *testing.T) {
	d := emulated(t, Options{})
	before := d.free(t)
	for _, dt := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16, runtime.I8} {
		if peak, err := d.Peak(dt, time.Microsecond); err != nil || !(peak > 0) {
			t.Errorf("%s: %v, error %v", dt, peak, err)
		}
	}
	if _, err := d.Peak(runtime.I32, time.Microsecond); !errors.Is(err, runtime.ErrUnsupported) {
		t.Errorf("i32: error %v", err)
	}
	if b, err := d.Bandwidth(time.Microsecond); err != nil || !(b > 0) {
		t.Errorf("bandwidth %v, error %v", b, err)
	}
	if after := d.free(t); after != before {
		t.Errorf("%d bytes are lost", before-after)
	}
}

// Programs of about one size share the memory of their temporaries, and give everything else back.
func TestProgramsLeakNothing(t *testing.T) {
	d := emulated(t, Options{})
	p, _, _ := chain(t, d)
	first, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	before := d.free(t)
	for range 3 {
		prog, err := d.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := prog.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := d.free(t); after != before {
		t.Errorf("%d bytes of device memory are lost", before-after)
	}
	if len(d.arenas) != 1 {
		t.Errorf("%d arenas for programs of one size", len(d.arenas))
	}
}

// Whichever allocation fails, the error says so, nothing is lost and the device goes on.
func TestOutOfMemory(t *testing.T) {
	d := emulated(t, Options{})
	p, _, _ := chain(t, d)
	before := d.free(t)
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		t.Setenv("ISEARLE_EMU_FAIL", "alloc:"+n)
		prog, err := d.Compile(p)
		if !errors.Is(err, runtime.ErrOutOfMemory) {
			t.Fatalf("allocation %s: error %v", n, err)
		}
		if prog != nil {
			t.Fatalf("allocation %s: a program beside the error", n)
		}
		if after := d.free(t); after != before {
			t.Errorf("allocation %s: %d bytes are lost", n, before-after)
		}
	}
	t.Setenv("ISEARLE_EMU_FAIL", "")
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := prog.Run(context.Background()); err != nil {
		t.Error(err)
	}
	if err := prog.Close(); err != nil {
		t.Error(err)
	}
}

// An arena that no program uses is given up before memory is said to be short.
func TestArenasAreGivenUp(t *testing.T) {
	d := emulated(t, Options{})
	p, _, _ := chain(t, d)
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := prog.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ISEARLE_EMU_FAIL", "alloc:1")
	b, err := d.Alloc(runtime.F32, 8)
	if err != nil || len(d.arenas) != 0 {
		t.Fatalf("error %v, %d arenas kept", err, len(d.arenas))
	}
	b.Close()
}

// An error of the chip sticks: every later call has it, closing works, and another device can be opened.
func TestLostDevice(t *testing.T) {
	for _, tt := range []struct{ fail, want string }{{"lost:1", "the device is lost"}, {"launch:2", "kernel product"}} {
		t.Run(tt.fail, func(t *testing.T) {
			d := emulated(t, Options{Sync: true})
			p, x, _ := chain(t, d)
			prog, err := d.Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("ISEARLE_EMU_FAIL", tt.fail)
			first := prog.Run(context.Background())
			var e *driver.Error
			if !errors.As(first, &e) || !e.Sticky() || !strings.Contains(first.Error(), tt.want) {
				t.Fatalf("error %v, want a sticky one with %q", first, tt.want)
			}
			t.Setenv("ISEARLE_EMU_FAIL", "")
			_, alloc := d.Alloc(runtime.F32, 1)
			for _, err := range []error{prog.Run(context.Background()), prog.Buffer(x.Slot).ReadF32(0, make([]float32, 1)), alloc} {
				if err == nil || err.Error() != first.Error() {
					t.Errorf("a later call gives %v, want %v", err, first)
				}
			}
			if err := errors.Join(prog.Close(), d.Close()); err != nil {
				t.Errorf("closing: %v", err)
			}
		})
	}
	if err := emulated(t, Options{}).do("again", func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// Buffers refuse what is not theirs.
func TestBufferRefusals(t *testing.T) {
	d := emulated(t, Options{})
	b, err := d.Alloc(runtime.F16, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for what, err := range map[string]error{
		"past the end":     b.WriteF32(2, make([]float32, 3)),
		"before the start": b.ReadF32(-1, make([]float32, 1)),
		"wrong dtype":      b.ReadI32(0, make([]int32, 1)),
		"half an element":  b.WriteRaw(0, make([]byte, 3)),
	} {
		if err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if _, err := Open(7, Options{}); !errors.Is(err, runtime.ErrNoDevice) {
		t.Errorf("GPU 7 of one: %v", err)
	}
}

// Copies larger than the pinned memory arrive whole, in both directions and every type.
func TestLongCopies(t *testing.T) {
	d := emulated(t, Options{})
	n := 5*stagingSize/8 + 3
	src, dst := make([]float32, n), make([]float32, n)
	for i := range src {
		src[i] = float32(i % 2048) // f16 and bf16 hold multiples of small powers of two
		if i%2048 > 256 {
			src[i] = float32(i % 128)
		}
	}
	for _, dt := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
		b, err := d.Alloc(dt, n)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.WriteF32(0, src), b.ReadF32(0, dst)); err != nil {
			t.Fatal(err)
		}
		for i := range src {
			if src[i] != dst[i] {
				t.Fatalf("%s: element %d is %v, want %v", dt, i, dst[i], src[i])
			}
		}
		b.Close()
	}
}
