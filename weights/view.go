package weights

import (
	"encoding/binary"
	"math"

	"isearle/weights/safetensors"
)

// view is a tensor of a file, possibly transposed or otherwise strided.
type view struct {
	name   string // in the file
	dtype  safetensors.DType
	shape  []int
	stride []int // in elements
	data   []byte
}

// dense returns a view of a row-major tensor.
func dense(t safetensors.Tensor) view {
	stride := make([]int, len(t.Shape))
	n := 1
	for i := len(t.Shape) - 1; i >= 0; i-- {
		stride[i] = n
		n *= t.Shape[i]
	}
	return view{t.Name, t.DType, t.Shape, stride, t.Data}
}

// transpose swaps the two axes of a matrix.
func (v view) transpose() view {
	v.shape = []int{v.shape[1], v.shape[0]}
	v.stride = []int{v.stride[1], v.stride[0]}
	return v
}

func (v view) len() int {
	n := 1
	for _, d := range v.shape {
		n *= d
	}
	return n
}

// isDense says whether the elements stand one after the other.
func (v view) isDense() bool {
	n := 1
	for i := len(v.shape) - 1; i >= 0; i-- {
		if v.shape[i] != 1 && v.stride[i] != n {
			return false
		}
		n *= v.shape[i]
	}
	return true
}

// appendRange appends the bytes of the elements lo up to hi, counted in row-major order.
func (v view) appendRange(dst []byte, lo, hi int) []byte {
	size := v.dtype.Size()
	if v.isDense() {
		return append(dst, v.data[lo*size:hi*size]...)
	}
	at := make([]int, len(v.shape))
	for i, rest := len(at)-1, lo; i >= 0; i-- {
		at[i] = rest % v.shape[i]
		rest /= v.shape[i]
	}
	for range hi - lo {
		offset := 0
		for i, x := range at {
			offset += x * v.stride[i]
		}
		dst = append(dst, v.data[offset*size:(offset+1)*size]...)
		for i := len(at) - 1; i >= 0; i-- {
			if at[i]++; at[i] < v.shape[i] {
				break
			}
			at[i] = 0
		}
	}
	return dst
}

// tensor is one tensor of a CLIP in canonical form: the rows of its parts, one after the other.
type tensor struct {
	spec
	dtype safetensors.DType // of all parts, or F32 where they differ
	parts []view
}

func (t *tensor) len() int {
	n := 1
	for _, d := range t.shape {
		n *= d
	}
	return n
}

// appendRange appends the bytes, in the tensor's dtype, of the elements lo up to hi.
func (t *tensor) appendRange(dst []byte, lo, hi int) []byte {
	for _, p := range t.parts {
		n := p.len()
		a, b := max(lo, 0), min(hi, n)
		if a < b && p.dtype == t.dtype {
			dst = p.appendRange(dst, a, b)
		} else if a < b {
			x := make([]float32, b-a)
			safetensors.DecodeFloat32(x, p.appendRange(nil, a, b), p.dtype)
			for _, f := range x {
				dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(f))
			}
		}
		lo, hi = lo-n, hi-n
	}
	return dst
}

// rows returns the tensor in parts, views of the file where possible.
func (t *tensor) rows() (parts []safetensors.Tensor) {
	if len(t.shape) == 0 {
		return []safetensors.Tensor{t.canonical()}
	}
	row := t.len() / t.shape[0]
	for _, p := range t.parts {
		n := p.len()
		if !p.isDense() || p.dtype != t.dtype || n%row != 0 {
			return []safetensors.Tensor{t.canonical()}
		}
		parts = append(parts, safetensors.Tensor{Name: t.name, DType: t.dtype, Shape: append([]int{n / row}, t.shape[1:]...), Data: p.data[:n*p.dtype.Size()]})
	}
	return parts
}

// canonical returns the tensor as others see it: a view of the file where possible, otherwise a copy.
func (t *tensor) canonical() safetensors.Tensor {
	out := safetensors.Tensor{Name: t.name, DType: t.dtype, Shape: t.shape}
	n := t.len()
	if p := t.parts[0]; len(t.parts) == 1 && p.isDense() {
		out.Data = p.data[:n*p.dtype.Size()]
		return out
	}
	out.Data = t.appendRange(make([]byte, 0, n*t.dtype.Size()), 0, n)
	return out
}
