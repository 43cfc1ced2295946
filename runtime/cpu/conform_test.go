package cpu_test

import (
	"testing"

	"isearle/runtime"
	"isearle/runtime/conform"
	"isearle/runtime/cpu"
	"isearle/runtime/cpu/simd"
)

// everySet runs a conformance test with every instruction set of this machine.
func everySet(t *testing.T, test func(t *testing.T, open func(threads int) runtime.Device)) {
	for _, k := range simd.All() {
		t.Run(k.Name, func(t *testing.T) {
			test(t, func(threads int) runtime.Device {
				d, err := cpu.Open(cpu.Options{Threads: threads, Kernels: k.Name})
				if err != nil {
					t.Fatal(err)
				}
				return d
			})
		})
	}
}

func TestConformance(t *testing.T)       { everySet(t, conform.Ops) }
func TestPrefixConformance(t *testing.T) { everySet(t, conform.Prefixes) }
