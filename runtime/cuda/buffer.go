//go:build cuda

package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
	"isearle/weights/half"
)

// buffer is device memory.
type buffer struct {
	dev *Device
	dt  runtime.DType
	n   int
	ptr cu.DevicePtr
	own bool // by whoever allocated it, until closed

	program bool // by a program
}

// allocate returns device memory, never none: the driver refuses to allocate nothing. Where there is too little, what is kept in
// case it is needed again is given up.
func (d *Device) allocate(bytes int) (cu.DevicePtr, error) {
	op := fmt.Sprintf("allocate %d bytes", bytes)
	p, err := cu.MemAlloc(int64(max(bytes, 16)))
	if err = driver.Check(op, err); errors.Is(err, runtime.ErrOutOfMemory) && d.trim() {
		p, err = cu.MemAlloc(int64(max(bytes, 16)))
		err = driver.Check(op, err)
	}
	return p, err
}

// newBuffer returns zeroed memory; the caller holds the device.
func (d *Device) newBuffer(dt runtime.DType, n int) (*buffer, error) {
	p, err := d.allocate(n * dt.Size())
	if err != nil {
		return nil, err
	}
	b := &buffer{dev: d, dt: dt, n: n, ptr: p}
	if n > 0 {
		if err := driver.Zero(p, int64(n*dt.Size()), d.stream); err != nil {
			cu.MemFree(p)
			return nil, err
		}
	}
	return b, nil
}

// Alloc implements runtime.Device.
func (d *Device) Alloc(dt runtime.DType, n int) (runtime.Buffer, error) {
	if dt < runtime.F32 || dt > runtime.U8 || n < 0 || n > math.MaxInt/8 {
		return nil, fmt.Errorf("%s: allocate %d elements of %s", d.Name(), n, dt)
	}
	var b *buffer
	err := d.do("allocate", func() error {
		var err error
		if b, err = d.newBuffer(dt, n); err == nil {
			b.own = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (b *buffer) DType() runtime.DType { return b.dt }
func (b *buffer) Len() int             { return b.n }

// Close frees the memory. Where the device is closed or lost it is gone already.
func (b *buffer) Close() error {
	if !b.own {
		return nil
	}
	b.own = false
	b.dev.do("free", func() error { return driver.Check("free memory", cu.MemFree(b.ptr)) })
	b.ptr, b.n = 0, 0
	return nil
}

func (b *buffer) check(op string, off, n int, dts ...runtime.DType) error {
	if off < 0 || n < 0 || off > b.n-n {
		return fmt.Errorf("%s: %s: elements %d to %d of a buffer of %d", b.dev.Name(), op, off, off+n, b.n)
	}
	if !slices.Contains(dts, b.dt) {
		return fmt.Errorf("%s: %s: buffer is %s", b.dev.Name(), op, b.dt)
	}
	return nil
}

func (b *buffer) at(off int) cu.DevicePtr { return b.ptr + cu.DevicePtr(off*b.dt.Size()) }

// write and read copy n elements, converted by the callbacks, which get bytes and the first element's number; write's runs for several
// parts at once.
func (b *buffer) write(op string, off, n int, fill func(piece []byte, first int)) error {
	size := b.dt.Size()
	return b.dev.do(op, func() error {
		return b.dev.upload(b.at(off), n*size, func(piece []byte, at int) {
			inParts(len(piece), func(lo, hi int) { fill(piece[lo:hi], (at+lo)/size) })
		})
	})
}

func (b *buffer) read(op string, off, n int, use func(piece []byte, first int)) error {
	size := b.dt.Size()
	return b.dev.do(op, func() error {
		return b.dev.download(b.at(off), n*size, func(piece []byte, at int) { use(piece, at/size) })
	})
}

// WriteF32 implements runtime.Buffer.
func (b *buffer) WriteF32(off int, src []float32) error {
	if err := b.check("write f32", off, len(src), runtime.F32, runtime.F16, runtime.BF16); err != nil {
		return err
	}
	return b.write("write f32", off, len(src), func(piece []byte, first int) {
		encode(piece, b.dt, src[first:first+len(piece)/b.dt.Size()])
	})
}

// ReadF32 implements runtime.Buffer.
func (b *buffer) ReadF32(off int, dst []float32) error {
	if err := b.check("read f32", off, len(dst), runtime.F32, runtime.F16, runtime.BF16); err != nil {
		return err
	}
	return b.read("read f32", off, len(dst), func(piece []byte, first int) {
		decode(dst[first:first+len(piece)/b.dt.Size()], b.dt, piece)
	})
}

// WriteI32 implements runtime.Buffer.
func (b *buffer) WriteI32(off int, src []int32) error {
	if err := b.check("write i32", off, len(src), runtime.I32); err != nil {
		return err
	}
	return b.write("write i32", off, len(src), func(piece []byte, first int) {
		for i := range len(piece) / 4 {
			binary.LittleEndian.PutUint32(piece[4*i:], uint32(src[first+i]))
		}
	})
}

// ReadI32 implements runtime.Buffer.
func (b *buffer) ReadI32(off int, dst []int32) error {
	if err := b.check("read i32", off, len(dst), runtime.I32); err != nil {
		return err
	}
	return b.read("read i32", off, len(dst), func(piece []byte, first int) {
		for i := range len(piece) / 4 {
			dst[first+i] = int32(binary.LittleEndian.Uint32(piece[4*i:]))
		}
	})
}

// WriteRaw implements runtime.Buffer.
func (b *buffer) WriteRaw(off int, src []byte) error {
	size := b.dt.Size()
	if len(src)%size != 0 {
		return fmt.Errorf("%s: write raw: %d bytes are not whole elements of %s", b.dev.Name(), len(src), b.dt)
	}
	if err := b.check("write raw", off, len(src)/size, b.dt); err != nil {
		return err
	}
	return b.write("write raw", off, len(src)/size, func(piece []byte, first int) { copy(piece, src[first*size:]) })
}

// encode converts floats to elements of a type, of the host's byte order, which is the device's.
func encode(dst []byte, dt runtime.DType, src []float32) {
	switch dt {
	case runtime.F32:
		copy(dst, runtime.Float32Bytes(src))
	case runtime.F16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], half.F32ToF16(v))
		}
	case runtime.BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], half.F32ToBF16(v))
		}
	}
}

// decode is encode backwards.
func decode(dst []float32, dt runtime.DType, src []byte) {
	switch dt {
	case runtime.F32:
		copy(runtime.Float32Bytes(dst), src)
	case runtime.F16:
		half.DecodeF16(dst, src)
	case runtime.BF16:
		half.DecodeBF16(dst, src)
	}
}
