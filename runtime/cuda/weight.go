//go:build cuda

package cuda

import (
	"fmt"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// weight is a frozen matrix, row-major f32: product reads it either way round, so that Grad needs no second copy.
type weight struct {
	dev     *Device
	out, in int
	ptr     cu.DevicePtr
}

func (w *weight) Shape() (out, in int) { return w.out, w.in }
func (w *weight) DType() runtime.DType { return runtime.F32 }

// Close frees the matrix.
func (w *weight) Close() error {
	if w.ptr == 0 {
		return nil
	}
	w.dev.do("free", func() error { return driver.Check("free memory", cu.MemFree(w.ptr)) })
	w.ptr = 0
	return nil
}

// Pack implements runtime.Device.
func (d *Device) Pack(m runtime.Matrix, o runtime.PackOptions) (runtime.Weight, error) {
	if o.DType != 0 && o.DType != runtime.F32 {
		return nil, fmt.Errorf("%s: pack: products in %s: %w", d.Name(), o.DType, runtime.ErrUnsupported)
	}
	if !m.DType.Float() || m.Rows < 1 || m.Cols < 1 || len(m.Data) != m.Rows*m.Cols*m.DType.Size() {
		return nil, fmt.Errorf("%s: pack: %d bytes of %s for a [%d, %d] matrix", d.Name(), len(m.Data), m.DType, m.Rows, m.Cols)
	}
	w := &weight{dev: d, out: m.Rows, in: m.Cols}
	err := d.do("pack", func() (err error) {
		if w.ptr, err = d.allocate(4 * m.Rows * m.Cols); err != nil {
			return err
		}
		size := m.DType.Size()
		row := make([]float32, stagingSize/4)
		return d.upload(w.ptr, 4*m.Rows*m.Cols, func(piece []byte, off int) {
			n := len(piece) / 4
			decode(row[:n], m.DType, m.Data[off/4*size:])
			encode(piece, runtime.F32, row[:n])
		})
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}
