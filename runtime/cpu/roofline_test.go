package cpu_test

import (
	"errors"
	"testing"
	"time"

	"isearle/runtime"
	"isearle/runtime/cpu"
	"isearle/runtime/cpu/simd"
)

// The figures are measured, so only their order of magnitude can be known: more than a calculator, less than a cluster.
func TestRoofline(t *testing.T) {
	for _, k := range simd.All() {
		dev, err := cpu.Open(cpu.Options{Threads: 3, Kernels: k.Name})
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		var roof runtime.Roofline = dev
		between := func(what string, v float64, err error) {
			if err != nil || !(v > 1e7 && v < 1e16) {
				t.Errorf("%s: %s is %v (%v)", k.Name, what, v, err)
			}
		}
		v, err := roof.Peak(runtime.F32, time.Millisecond)
		between("peak", v, err)
		v, err = roof.Bandwidth(time.Millisecond)
		between("bandwidth", v, err)
		if _, err := roof.Peak(runtime.I32, time.Millisecond); !errors.Is(err, runtime.ErrUnsupported) {
			t.Errorf("%s: peak of i32: %v", k.Name, err)
		}
	}
}
