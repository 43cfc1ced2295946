package cpu_test

import (
	"testing"

	"isearle/runtime"
	"isearle/runtime/conform"
	"isearle/runtime/cpu"
	"isearle/runtime/cpu/simd"
)

// TestConformance runs the table with every instruction set of this machine.
func TestConformance(t *testing.T) {
	for _, k := range simd.All() {
		t.Run(k.Name, func(t *testing.T) {
			conform.Ops(t, func(threads int) runtime.Device {
				d, err := cpu.Open(cpu.Options{Threads: threads, Kernels: k.Name})
				if err != nil {
					t.Fatal(err)
				}
				return d
			})
		})
	}
}
