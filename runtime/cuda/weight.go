//go:build cuda

package cuda

import (
	"fmt"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
	"isearle/weights/half"
)

// weight is a frozen matrix, row-major. In f32 product reads it either way round, so that Grad needs no second copy; in a half
// type, whose rows are aligned to 16 bytes, Grad adds the transposed matrix.
type weight struct {
	dev             *Device
	dt              runtime.DType
	out, in         int
	ptr, transposed cu.DevicePtr
}

func (w *weight) Shape() (out, in int) { return w.out, w.in }
func (w *weight) DType() runtime.DType { return w.dt }

// Close frees the matrix.
func (w *weight) Close() error {
	if w.ptr == 0 {
		return nil
	}
	w.dev.do("free", w.free)
	w.ptr, w.transposed = 0, 0
	return nil
}

func (w *weight) free() error {
	for _, p := range []cu.DevicePtr{w.ptr, w.transposed} {
		if p == 0 {
			continue
		}
		if err := driver.Check("free memory", cu.MemFree(p)); err != nil {
			return err
		}
	}
	return nil
}

// Pack implements runtime.Device.
func (d *Device) Pack(m runtime.Matrix, o runtime.PackOptions) (runtime.Weight, error) {
	if o.Source != nil {
		defer o.Source.Release()
	}
	if o.DType == 0 {
		o.DType = runtime.F32
	}
	if !o.DType.Float() {
		return nil, fmt.Errorf("%s: pack: products in %s: %w", d.Name(), o.DType, runtime.ErrUnsupported)
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("%s: pack: %w", d.Name(), err)
	}
	m = m.Whole()
	w := &weight{dev: d, dt: o.DType, out: m.Rows, in: m.Cols}
	err := d.do("pack", func() error {
		err := w.upload(m, o.Grad)
		if err != nil {
			w.free()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// upload allocates and fills the device's memory.
func (w *weight) upload(m runtime.Matrix, grad bool) (err error) {
	if w.dt == runtime.F32 {
		return w.uploadF32(m)
	}
	x := halves(m, w.dt)
	if w.ptr, err = w.dev.uploadHalves(w.out, w.in, func(row []byte, i int) { putHalves(row, x[i*w.in:(i+1)*w.in]) }); err != nil || !grad {
		return err
	}
	column := make([]uint16, w.out)
	w.transposed, err = w.dev.uploadHalves(w.in, w.out, func(row []byte, j int) {
		for i := range column {
			column[i] = x[i*w.in+j]
		}
		putHalves(row, column)
	})
	return err
}

func (w *weight) uploadF32(m runtime.Matrix) (err error) {
	n, size := m.Rows*m.Cols, m.DType.Size()
	if w.ptr, err = w.dev.allocate(4 * n); err != nil {
		return err
	}
	row := make([]float32, stagingSize/4)
	return w.dev.upload(w.ptr, 4*n, func(piece []byte, off int) {
		n := len(piece) / 4
		decode(row[:n], m.DType, m.Data[off/4*size:])
		encode(piece, runtime.F32, row[:n])
	})
}

// uploadHalves allocates a matrix with aligned rows, which fill writes one by one.
func (d *Device) uploadHalves(rows, cols int, fill func(row []byte, i int)) (cu.DevicePtr, error) {
	stride := 2 * aligned(cols)
	ptr, err := d.allocate(rows * stride)
	if err != nil {
		return 0, err
	}
	row := make([]byte, stride)
	err = d.upload(ptr, rows*stride, func(piece []byte, off int) {
		for done := 0; done < len(piece); {
			at := off + done
			fill(row[:2*cols], at/stride)
			done += copy(piece[done:], row[at%stride:])
		}
	})
	return ptr, err
}

// halves are a matrix's elements in a half type.
func halves(m runtime.Matrix, dt runtime.DType) []uint16 {
	row, out := make([]float32, m.Cols), make([]uint16, 0, m.Rows*m.Cols)
	convert := half.F32ToBF16
	if dt == runtime.F16 {
		convert = half.F32ToF16
	}
	for i := range m.Rows {
		decode(row, m.DType, m.Data[i*m.Cols*m.DType.Size():])
		for _, v := range row {
			out = append(out, convert(v))
		}
	}
	return out
}

// putHalves writes little-endian elements.
func putHalves(dst []byte, src []uint16) {
	for i, h := range src {
		dst[2*i], dst[2*i+1] = byte(h), byte(h>>8)
	}
}
