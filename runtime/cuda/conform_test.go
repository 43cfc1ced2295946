//go:build cuda

package cuda_test

import (
	"testing"

	"isearle/runtime"
	"isearle/runtime/conform"
	"isearle/runtime/cuda"
	"isearle/runtime/cuda/driver"
)

// open returns the first GPU: under make test-cuda, the emulated one.
func open(t *testing.T, o cuda.Options) runtime.Device {
	t.Helper()
	if err := driver.Status(); err != nil {
		t.Skipf("make test-cuda runs this on the emulated driver: %v", err)
	}
	d, err := cuda.Open(0, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestConformance runs the table.
func TestConformance(t *testing.T) {
	conform.Ops(t, func(int) runtime.Device { return open(t, cuda.Options{}) })
}

// The kernels of an operation lie within it, do no less than it together, and a kernel that is the only one does just that.
func TestKernelsAddUp(t *testing.T) {
	d := open(t, cuda.Options{})
	defer d.Close()
	seen := map[string]bool{}
	d.(runtime.Profiler).Profile(func(e runtime.Event) {
		var sum runtime.Work
		end := e.Start
		for _, k := range e.Kernels {
			if k.Start < end || k.Time <= 0 || k.Start+k.Time > e.Start+e.Time {
				t.Errorf("%s %s: %s from %v for %v, the operation from %v for %v", e.Plan, e.Name, k.Name, k.Start, k.Time, e.Start, e.Time)
			}
			end = k.Start + k.Time
			sum.FLOP, sum.Bytes = sum.FLOP+k.FLOP, sum.Bytes+k.Bytes
			seen[k.Name] = true
		}
		if sum.FLOP < e.FLOP || sum.Bytes < e.Bytes {
			t.Errorf("%s %s: kernels of %v FLOP and %v bytes, the operation has %v and %v", e.Plan, e.Name, sum.FLOP, sum.Bytes, e.FLOP, e.Bytes)
		}
		if len(e.Kernels) == 1 && (sum.FLOP != e.FLOP || sum.Bytes != e.Bytes) {
			t.Errorf("%s %s: the only kernel does %v FLOP and %v bytes, the operation %v and %v", e.Plan, e.Name, sum.FLOP, sum.Bytes, e.FLOP, e.Bytes)
		}
	})
	for _, c := range conform.Table() {
		t.Run(c.Op+"/"+c.Name, func(t *testing.T) { conform.Run(t, d, c) })
	}
	for _, name := range []string{"product", "layernorm", "patches", "patchjoin", "unitrows", "actgrad", "colsum", "attentiongrad_k_f32", "infonce_lse", "resample_second"} {
		if !seen[name] {
			t.Errorf("kernel %s was not reported", name)
		}
	}
}

// TestConformSearch runs the search's cases.
func TestConformSearch(t *testing.T) {
	conform.SearchScope(t, func(int) runtime.Device { return open(t, cuda.Options{}) },
		conform.Scope{Threads: []int{1}, Dims: []int{77}, Rows: []int{0, 33, 450}, Subset: 2, Chunk: 300,
			Adverse: []runtime.DType{runtime.F32, runtime.BF16}})
}

func TestPrefixConformance(t *testing.T) {
	conform.Prefixes(t, func(int) runtime.Device { return open(t, cuda.Options{}) })
}

// TestHalfConformance runs the table of the half types.
func TestHalfConformance(t *testing.T) {
	for _, dt := range []runtime.DType{runtime.BF16, runtime.F16} {
		t.Run(dt.String(), func(t *testing.T) {
			conform.Halves(t, func(int) runtime.Device { return open(t, cuda.Options{}) }, dt)
			conform.HalfPrefixes(t, func(int) runtime.Device { return open(t, cuda.Options{}) }, dt)
		})
	}
}
