package cpu

import (
	"fmt"
	"unsafe"

	"isearle/runtime"
	"isearle/weights/half"
)

// cacheLine is the alignment of every buffer, so that vectors do not straddle lines.
const cacheLine = 64

// alignedBytes returns n zero bytes that start on a cache line.
func alignedBytes(n int) []byte {
	b := make([]byte, n+cacheLine)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (cacheLine - 1))
	return b[skip : skip+n : skip+n]
}

// as reinterprets aligned bytes as elements.
func as[T any](b []byte) []T {
	var t T
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}

// isAligned says whether memory can be taken as elements of a size.
func isAligned(b []byte, size int) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(size) == 0
}

func alignedFloats(n int) []float32 { return as[float32](alignedBytes(4 * n)) }

// buffer is host memory.
type buffer struct {
	dt    runtime.DType
	n     int
	mem   []byte
	block *block // of mem; nil for a part of a Program's arena
	// borrowed memory is not written to.
	borrowed bool
}

func (d *Device) newBuffer(dt runtime.DType, n int) *buffer {
	b := d.heap.alloc(n * dt.Size())
	return &buffer{dt: dt, n: n, mem: b.mem, block: b}
}

func (b *buffer) DType() runtime.DType { return b.dt }
func (b *buffer) Len() int             { return b.n }

// Close releases the memory, which lasts until the last Program that uses it is closed too.
func (b *buffer) Close() error {
	if b.block != nil {
		b.block.release()
	}
	b.mem, b.n, b.block = nil, 0, nil
	return nil
}

func (b *buffer) check(op string, off, n int, dts ...runtime.DType) error {
	if off < 0 || n < 0 || off > b.n-n {
		return fmt.Errorf("cpu: %s: elements %d to %d of a buffer of %d", op, off, off+n, b.n)
	}
	for _, dt := range dts {
		if dt == b.dt {
			return nil
		}
	}
	return fmt.Errorf("cpu: %s: buffer is %s", op, b.dt)
}

// Borrow implements runtime.Borrower. Data must be aligned to its elements.
func (d *Device) Borrow(dt runtime.DType, data []byte, s runtime.Source) (runtime.Buffer, error) {
	size := dt.Size()
	if size == 0 || len(data)%size != 0 || !isAligned(data, size) {
		s.Release()
		return nil, fmt.Errorf("cpu: borrow %d bytes of %s: not whole and aligned elements", len(data), dt)
	}
	return &buffer{dt: dt, n: len(data) / size, mem: data, block: &block{heap: &d.heap, mem: data, refs: 1, last: s.Release}, borrowed: true}, nil
}

// checkWrite is check for a write.
func (b *buffer) checkWrite(op string, off, n int, dts ...runtime.DType) error {
	if b.borrowed {
		return fmt.Errorf("cpu: %s: the buffer is borrowed", op)
	}
	return b.check(op, off, n, dts...)
}

func (b *buffer) WriteF32(off int, src []float32) error {
	if err := b.checkWrite("write f32", off, len(src), runtime.F32, runtime.F16, runtime.BF16); err != nil {
		return err
	}
	switch b.dt {
	case runtime.F32:
		copy(as[float32](b.mem)[off:], src)
	case runtime.F16:
		for i, v := range src {
			as[uint16](b.mem)[off+i] = half.F32ToF16(v)
		}
	case runtime.BF16:
		for i, v := range src {
			as[uint16](b.mem)[off+i] = half.F32ToBF16(v)
		}
	}
	return nil
}

func (b *buffer) ReadF32(off int, dst []float32) error {
	if err := b.check("read f32", off, len(dst), runtime.F32, runtime.F16, runtime.BF16); err != nil {
		return err
	}
	toF32(dst, b.dt, b.mem[off*b.dt.Size():])
	return nil
}

// toF32 converts the first len(dst) elements of src, which need not be aligned: files map as they are.
func toF32(dst []float32, dt runtime.DType, src []byte) {
	src = src[:len(dst)*dt.Size()]
	switch {
	case !isAligned(src, dt.Size()):
		toF32(dst, dt, append([]byte(nil), src...))
	case dt == runtime.F32:
		copy(dst, as[float32](src))
	case dt == runtime.F16:
		for i, v := range as[uint16](src) {
			dst[i] = half.F16ToF32(v)
		}
	case dt == runtime.BF16:
		for i, v := range as[uint16](src) {
			dst[i] = half.BF16ToF32(v)
		}
	}
}

// floatsOf is the first n elements of src as floats: where they are, if they are floats, otherwise in room.
func floatsOf(room []float32, n int, dt runtime.DType, src []byte) []float32 {
	if dt == runtime.F32 && isAligned(src, dt.Size()) {
		return as[float32](src[:4*n])
	}
	toF32(room[:n], dt, src)
	return room[:n]
}

func (b *buffer) WriteI32(off int, src []int32) error {
	if err := b.checkWrite("write i32", off, len(src), runtime.I32); err != nil {
		return err
	}
	copy(as[int32](b.mem)[off:], src)
	return nil
}

func (b *buffer) ReadI32(off int, dst []int32) error {
	if err := b.check("read i32", off, len(dst), runtime.I32); err != nil {
		return err
	}
	copy(dst, as[int32](b.mem)[off:])
	return nil
}

func (b *buffer) WriteRaw(off int, src []byte) error {
	size := b.dt.Size()
	if len(src)%size != 0 {
		return fmt.Errorf("cpu: write raw: %d bytes are not whole elements of %s", len(src), b.dt)
	}
	if err := b.checkWrite("write raw", off, len(src)/size, b.dt); err != nil {
		return err
	}
	copy(b.mem[off*size:], src)
	return nil
}
