package cpu_test

import (
	"testing"

	"isearle/runtime"
	"isearle/runtime/conform"
	"isearle/runtime/cpu"
	"isearle/runtime/cpu/simd"
)

// open returns a device with a set of kernels.
func open(t testing.TB, kernels string, threads int) *cpu.Device {
	t.Helper()
	d, err := cpu.Open(cpu.Options{Threads: threads, Kernels: kernels})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestSearchConformance(t *testing.T) {
	for _, k := range simd.All() {
		t.Run(k.Name, func(t *testing.T) {
			conform.Search(t, func(threads int) runtime.Device { return open(t, k.Name, threads) })
		})
	}
}
