//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"

	"gorgonia.org/cu"

	"isearle/kernels"
	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// Built says whether this binary has the CUDA device.
const Built = true

// Device implements runtime.Device on a GPU.
type Device struct {
	ordinal      int
	sync         bool
	name         string
	major, minor int
	memory       int64
	tile         func(tiles []halfTile, p productSize, processors int) halfTile
	groups       bool  // products of half types by groupproduct.cu
	noGroups     error // why not, on a chip that has the kernels

	groupAttention   bool // attention by groupattention.cu
	noGroupAttention error

	multiprocessors, shared, clock, bus int // shared memory of a block in bytes; kHz of the memory's clock, bits of its bus; 0 where unknown

	mu        sync.Mutex // one call at a time uses the context
	ctx       cu.CUContext
	stream    cu.Stream
	arch      string
	images    map[string][]byte
	modules   map[string]cu.Module
	functions map[string]cu.Function
	staging   staging
	copies    *copier // nil until there is something to copy
	arenas    []*arena
	searches  []*search // that keep rows
	profile   profile
	closed    bool
	err       error // sticky
}

// maxSharedMemoryOptin is CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, which package cu lacks.
const maxSharedMemoryOptin cu.DeviceAttribute = 97

var errClosed = errors.New("device is closed")

// Count is the number of GPUs.
func Count() int {
	if driver.Status() != nil {
		return 0
	}
	n, err := cu.NumDevices()
	if err != nil {
		return 0
	}
	return n
}

// Status says why there is no GPU; nil where there is one.
func Status() error {
	if err := driver.Status(); err != nil {
		return err
	}
	n, err := cu.NumDevices()
	if err == nil && n == 0 {
		err = fmt.Errorf("the driver has no GPU: %w", runtime.ErrNoDevice)
	}
	return driver.Check("count GPUs", err)
}

// Open returns a GPU by its ordinal.
func Open(ordinal int, o Options) (runtime.Device, error) {
	d, err := open(ordinal, o)
	if err != nil {
		return nil, fmt.Errorf("cuda:%d: %w", ordinal, err)
	}
	return d, nil
}

func open(ordinal int, o Options) (*Device, error) {
	if err := driver.Status(); err != nil {
		return nil, err
	}
	if n := Count(); ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("the driver has %d: %w", n, runtime.ErrNoDevice)
	}
	gpu, err := cu.GetDevice(ordinal)
	if err != nil {
		return nil, driver.Check("get device", err)
	}
	d := &Device{ordinal: ordinal, sync: o.Sync, tile: chooseTile, modules: map[string]cu.Module{}, functions: map[string]cu.Function{}}
	if err := d.describe(gpu); err != nil {
		return nil, err
	}
	if d.arch, d.images, err = kernels.Modules(d.major, d.minor); err != nil {
		return nil, err
	}
	if err := d.connect(gpu); err != nil {
		return nil, err
	}
	if d.major != 9 || d.minor != 0 {
		return d, nil
	}
	d.noGroups = d.tryGroups()
	if err := d.revive(gpu); err != nil {
		return nil, err
	}
	d.noGroupAttention = d.tryGroupAttention()
	if err := d.revive(gpu); err != nil {
		return nil, err
	}
	d.groups, d.groupAttention = d.noGroups == nil, d.noGroupAttention == nil
	return d, nil
}

// revive makes another context where a trial has lost the device's.
func (d *Device) revive(gpu cu.Device) error {
	if !d.lost() {
		return nil
	}
	if err := driver.Check("destroy context", d.ctx.Destroy()); err != nil {
		return err
	}
	d.err, d.arenas, d.staging = nil, nil, staging{}
	clear(d.modules)
	clear(d.functions)
	return d.connect(gpu)
}

// connect makes a context and what lives as long.
func (d *Device) connect(gpu cu.Device) (err error) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	if d.ctx, err = gpu.MakeContext(cu.SchedAuto); err != nil {
		return driver.Check("make context", err)
	}
	if err := d.start(); err != nil {
		d.ctx.Destroy()
		return err
	}
	return nil
}

// describe asks for what Describe says.
func (d *Device) describe(gpu cu.Device) (err error) {
	if d.name, err = gpu.Name(); err != nil {
		return driver.Check("get name", err)
	}
	if d.memory, err = gpu.TotalMem(); err != nil {
		return driver.Check("get memory", err)
	}
	if d.major, err = gpu.Attribute(cu.ComputeCapabilityMajor); err != nil {
		return driver.Check("get capability", err)
	}
	if d.minor, err = gpu.Attribute(cu.ComputeCapabilityMinor); err != nil {
		return driver.Check("get capability", err)
	}
	for _, a := range []struct {
		to *int
		of cu.DeviceAttribute
	}{{&d.multiprocessors, cu.MultiprocessorCount}, {&d.shared, maxSharedMemoryOptin}, {&d.clock, cu.MemoryClockRate}, {&d.bus, cu.GlobalMemoryBusWidth}} {
		if *a.to, err = gpu.Attribute(a.of); err != nil {
			return driver.Check("get attribute", err)
		}
	}
	return nil
}

// start makes what lives as long as the context.
func (d *Device) start() (err error) {
	if d.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return driver.Check("make stream", err)
	}
	return d.staging.open()
}

// Name implements runtime.Device.
func (d *Device) Name() string { return fmt.Sprintf("cuda:%d", d.ordinal) }

// Breadth is for runtime.Breadth. 8 times the 32 images that fill a CPU are what the largest chips need: 256 images of ViT-B/32
// are 12,800 rows, so that even a product of 768 columns has 600 tiles of 128 x 128 for the some 132 multiprocessors.
func (d *Device) Breadth() int { return 8 }

// Resamples is for runtime.Resamples: the host has its hands full with decoding.
func (d *Device) Resamples() bool { return true }

// Activations implements runtime.Device: a half type's own, which the tensor units take as it is.
func (d *Device) Activations(products runtime.DType) runtime.DType {
	if products == runtime.F16 || products == runtime.BF16 {
		return products
	}
	return runtime.F32
}

// Describe implements runtime.Device.
func (d *Device) Describe() string {
	s := fmt.Sprintf("%s, %d MiB, compute capability %d.%d, %d multiprocessors, %d KiB of shared memory for a block", d.name, d.memory>>20, d.major, d.minor,
		d.multiprocessors, d.shared>>10)
	if d.clock > 0 && d.bus > 0 {
		s += fmt.Sprintf(", memory %.0f GB/s", 2*float64(d.clock)*1e3*float64(d.bus)/8/1e9) // two transfers a clock
	}
	s += fmt.Sprintf(", %s kernels", d.arch)
	switch {
	case d.groups:
		s += ", products by warpgroups"
	case d.noGroups != nil:
		s += fmt.Sprintf(", no products by warpgroups (%v)", d.noGroups)
	}
	if d.noGroupAttention != nil {
		s += fmt.Sprintf(", no attention by warpgroups (%v)", d.noGroupAttention)
	}
	return s
}

// do runs f with the device's context on a locked thread. An error that loses the context is kept.
func (d *Device) do(op string, f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return fmt.Errorf("%s: %s: %w", d.Name(), op, errClosed)
	case d.err != nil:
		return d.err
	}
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	err := driver.Check("set context", cu.SetCurrentContext(d.ctx))
	if err == nil {
		err = f()
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %s: %w", d.Name(), op, err)
	var e *driver.Error
	if errors.As(err, &e) && e.Sticky() {
		d.err = err
	}
	return err
}

// function returns a kernel, its module loaded on first use.
func (d *Device) function(source, name string) (cu.Function, error) {
	if f, ok := d.functions[name]; ok {
		return f, nil
	}
	m, ok := d.modules[source]
	if !ok {
		image, found := d.images[source]
		if !found {
			return cu.Function{}, fmt.Errorf("no module %s: %w", source, runtime.ErrUnsupported)
		}
		var err error
		if m, err = cu.LoadData(string(image)); err != nil {
			return cu.Function{}, driver.Check("load module "+source, err)
		}
		d.modules[source] = m
	}
	f, err := m.Function(name)
	if err != nil {
		return cu.Function{}, driver.Check("find kernel "+name, err)
	}
	d.functions[name] = f
	return f, nil
}

// wait returns when the stream's work is done.
func (d *Device) wait() error { return driver.Check("wait", d.stream.Synchronize()) }

// lost says whether an error has ended the context.
func (d *Device) lost() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err != nil
}

// Close implements runtime.Device. It destroys the context, and with it all that lives there.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	if err := driver.Check("destroy context", d.ctx.Destroy()); err != nil && d.err == nil {
		return fmt.Errorf("%s: close: %w", d.Name(), err)
	}
	return nil
}
