package weights

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"isearle/weights/half"
	"isearle/weights/safetensors"
)

// slice is a field of a layout, made from the rows [row, row+rows) of a tensor while it is written.
type slice struct {
	field
	from  *tensor
	dtype safetensors.DType
	row   int
}

// Header makes slice a safetensors.Source.
func (s slice) Header() (string, safetensors.DType, []int) { return s.name, s.dtype, s.shape }

// convertChunk is the elements that are converted at once.
const convertChunk = 1 << 16

// WriteTo writes the elements, converted.
func (s slice) WriteTo(w io.Writer) (written int64, err error) {
	n := 1
	for _, d := range s.shape {
		n *= d
	}
	emit := func(raw []byte) error {
		out, err := convert(raw, s.from.dtype, s.dtype)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", s.from.name, err)
		}
		k, err := w.Write(out)
		written += int64(k)
		return err
	}
	if s.transposed { // of the two projections only, which are small
		whole := safetensors.Tensor{Name: s.name, DType: s.from.dtype, Shape: s.from.shape, Data: s.from.canonical().Data}
		return written, emit(dense(whole).transpose().appendRange(nil, 0, n))
	}
	start := 0
	if rows := s.from.shape; len(rows) > 0 {
		start = s.row * (s.from.len() / rows[0])
	}
	var raw []byte
	for at := 0; at < n; at += convertChunk {
		raw = s.from.appendRange(raw[:0], start+at, start+min(at+convertChunk, n))
		if err := emit(raw); err != nil {
			return written, err
		}
	}
	return written, nil
}

// convert changes the type of numbers, rounding to nearest even. A finite number that becomes infinite is an error.
func convert(raw []byte, from, to safetensors.DType) ([]byte, error) {
	if from == to {
		return raw, nil
	}
	n := len(raw) / from.Size()
	x := make([]float32, n)
	if from == safetensors.F64 && to != safetensors.F32 {
		for i := range x {
			x[i] = roundToOdd(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
		}
	} else {
		safetensors.DecodeFloat32(x, raw, from)
	}
	var out []byte
	switch to {
	case safetensors.F32:
		out = safetensors.FromFloat32s("", x).Data
	case safetensors.F16:
		out = make([]byte, 2*n)
		half.EncodeF16(out, x)
	case safetensors.BF16:
		out = make([]byte, 2*n)
		half.EncodeBF16(out, x)
	default:
		return nil, fmt.Errorf("no conversion to %v", to)
	}
	return out, checkRange(raw, from, out, to)
}

// Cast returns a tensor in another floating-point type, rounded to nearest even; a number beyond the type's range is an error.
func Cast(t safetensors.Tensor, to safetensors.DType) (safetensors.Tensor, error) {
	if t.DType == to {
		return t, nil
	}
	data, err := convert(t.Data, t.DType, to)
	if err != nil {
		return t, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	t.DType, t.Data = to, data
	return t, nil
}

// checkRange returns an error for the first number that became infinite and was not.
func checkRange(raw []byte, from safetensors.DType, out []byte, to safetensors.DType) error {
	x := make([]float32, len(out)/to.Size())
	safetensors.DecodeFloat32(x, out, to)
	for i, f := range x {
		if !math.IsInf(float64(f), 0) {
			continue
		}
		at := raw[i*from.Size():]
		was := make([]float32, 1)
		safetensors.DecodeFloat32(was, at, from)
		value := float64(was[0])
		if from == safetensors.F64 {
			value = math.Float64frombits(binary.LittleEndian.Uint64(at))
		}
		if !math.IsInf(value, 0) {
			return fmt.Errorf("%g is beyond the range of %v", value, to)
		}
	}
	return nil
}

// roundToOdd returns a float32 that rounds to a narrower type as f itself would: what is cut off is remembered in the last
// bit, so that the second rounding sees no false tie.
func roundToOdd(f float64) float32 {
	x := float32(f)
	if float64(x) == f || f != f || math.IsInf(float64(x), 0) {
		return x
	}
	bits := math.Float32bits(x)
	if math.Abs(float64(x)) > math.Abs(f) {
		bits--
	}
	return math.Float32frombits(bits | 1)
}
