// Package cpu is the CPU device: pure Go and assembly, no cgo. It owns a fixed set of workers, packed weights and the
// execution of Plans in host memory. Activations are f32; products are made in f32, bf16 or int8 (words.go).
//
// Every product is one chain of fused multiply-adds over its whole inner dimension, or in int8 a sum of integers, so an output's bits
// depend on that dimension and the instruction set only.
package cpu

import (
	"fmt"
	goruntime "runtime"
	"sync"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// Device implements runtime.Device on the host's cores.
type Device struct {
	k    *simd.Kernels
	pool *pool
	heap heap
	mu   sync.Mutex // one program or search at a time owns the pool

	profile profile
}

// Options of a device.
type Options struct {
	// Threads is the number of workers, the caller's included; 0 means GOMAXPROCS.
	Threads int
	// Kernels names an instruction set (see package simd); "" means the fastest this machine has.
	Kernels string
}

// Open returns a CPU device.
func Open(o Options) (*Device, error) {
	k := simd.Best()
	if o.Kernels != "" {
		var err error
		if k, err = simd.Select(o.Kernels); err != nil {
			return nil, fmt.Errorf("cpu: open: %w", err)
		}
	}
	if o.Threads == 0 {
		o.Threads = goruntime.GOMAXPROCS(0)
	}
	if o.Threads < 1 || o.Threads > 1024 {
		return nil, fmt.Errorf("cpu: open: %d threads; 1 to 1024 are possible", o.Threads)
	}
	return &Device{k: k, pool: newPool(o.Threads)}, nil
}

// Name implements runtime.Device.
func (d *Device) Name() string { return "cpu" }

// Threads is the number of workers.
func (d *Device) Threads() int { return len(d.pool.workers) }

// Describe implements runtime.Device.
func (d *Device) Describe() string {
	return fmt.Sprintf("CPU, %s kernels, %d threads", d.k.Name, d.Threads())
}

// Activations implements runtime.Device: they are f32 and rounded in front of each product.
func (d *Device) Activations(runtime.DType) runtime.DType { return runtime.F32 }

// Alloc implements runtime.Device.
func (d *Device) Alloc(dt runtime.DType, n int) (runtime.Buffer, error) {
	if n < 0 || dt.Size() == 0 {
		return nil, fmt.Errorf("cpu: allocate %d elements of %s", n, dt)
	}
	return d.newBuffer(dt, n), nil
}

// Close implements runtime.Device.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pool.close()
	d.heap.close()
	return nil
}
