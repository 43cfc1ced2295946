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
