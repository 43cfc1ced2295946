package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"unsafe"

	"isearle/weights/half"
)

// Tensor is an array in row-major order. Data holds its elements in little-endian bytes; in a Tensor of a File it is a
// view of the file, read-only and valid until the file is closed.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // a scalar has none
	Data  []byte
}

// Len returns the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float32s converts the elements of an F64, F32, F16 or BF16 tensor into dst, which is grown when it is too short, and
// returns it with the tensor's length. F64 is rounded to nearest, the others are exact.
func (t Tensor) Float32s(dst []float32) ([]float32, error) {
	n := t.Len()
	if !t.DType.IsFloat() {
		return nil, fmt.Errorf("safetensors: tensor %q: %v is not a floating-point type", t.Name, t.DType)
	}
	if len(t.Data) != n*t.DType.Size() {
		return nil, fmt.Errorf("safetensors: tensor %q: %d bytes for %v %v", t.Name, len(t.Data), t.DType, t.Shape)
	}
	if cap(dst) < n {
		dst = make([]float32, n)
	}
	dst = dst[:n]
	DecodeFloat32(dst, t.Data, t.DType)
	return dst, nil
}

// DecodeFloat32 converts len(dst) elements of type d from src to dst. It panics when d is not a floating-point type or
// src is too short.
func DecodeFloat32(dst []float32, src []byte, d DType) {
	src = src[:len(dst)*d.Size()]
	switch d {
	case F32:
		if littleEndian {
			copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), 4*len(dst)), src)
			return
		}
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F16:
		half.DecodeF16(dst, src)
	case BF16:
		half.DecodeBF16(dst, src)
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	default:
		panic(fmt.Sprintf("safetensors: no conversion from %v to F32", d))
	}
}

// littleEndian says whether memory holds numbers as files do.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// Float32View returns the elements of an F32 tensor without copying them. It reports false when that is not possible: the
// type is another, the data is not aligned to 4 bytes, or the machine is big-endian.
func (t Tensor) Float32View() ([]float32, bool) {
	if t.DType != F32 || !littleEndian || uintptr(unsafe.Pointer(unsafe.SliceData(t.Data)))%4 != 0 {
		return nil, false
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(t.Data))), len(t.Data)/4), true
}

// Int64s converts the elements of an integer or BOOL tensor into dst, which is grown when it is too short, and returns it
// with the tensor's length. A U64 above the range of int64 is an error.
func (t Tensor) Int64s(dst []int64) ([]int64, error) {
	n := t.Len()
	if len(t.Data) != n*t.DType.Size() {
		return nil, fmt.Errorf("safetensors: tensor %q: %d bytes for %v %v", t.Name, len(t.Data), t.DType, t.Shape)
	}
	if cap(dst) < n {
		dst = make([]int64, n)
	}
	dst = dst[:n]
	le, b := binary.LittleEndian, t.Data
	for i := range dst {
		switch t.DType {
		case Bool, U8:
			dst[i] = int64(b[i])
		case I8:
			dst[i] = int64(int8(b[i]))
		case I16:
			dst[i] = int64(int16(le.Uint16(b[2*i:])))
		case U16:
			dst[i] = int64(le.Uint16(b[2*i:]))
		case I32:
			dst[i] = int64(int32(le.Uint32(b[4*i:])))
		case U32:
			dst[i] = int64(le.Uint32(b[4*i:]))
		case I64:
			dst[i] = int64(le.Uint64(b[8*i:]))
		case U64:
			u := le.Uint64(b[8*i:])
			if u > math.MaxInt64 {
				return nil, fmt.Errorf("safetensors: tensor %q: element %d: %d does not fit in 64 signed bits", t.Name, i, u)
			}
			dst[i] = int64(u)
		default:
			return nil, fmt.Errorf("safetensors: tensor %q: %v is not an integer type", t.Name, t.DType)
		}
	}
	return dst, nil
}

// FromFloat32s returns an F32 tensor that holds a copy of values.
func FromFloat32s(name string, values []float32, shape ...int) Tensor {
	data := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
	}
	return Tensor{Name: name, DType: F32, Shape: shape, Data: data}
}

// FromInt64s returns an I64 tensor that holds a copy of values.
func FromInt64s(name string, values []int64, shape ...int) Tensor {
	data := make([]byte, 8*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint64(data[8*i:], uint64(v))
	}
	return Tensor{Name: name, DType: I64, Shape: shape, Data: data}
}

// Header returns the tensor's name, type and shape; with WriteTo it makes a Tensor a Source.
func (t Tensor) Header() (name string, dtype DType, shape []int) { return t.Name, t.DType, t.Shape }

// WriteTo writes Data.
func (t Tensor) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(t.Data)
	return int64(n), err
}
