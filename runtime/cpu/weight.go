package cpu

import (
	"fmt"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// packed is a matrix [n, k] in the micro-kernel's panels: panel j holds rows j*NR to j*NR+NR-1, transposed and padded with
// zeros, so that a product reads it front to back.
type packed struct {
	n, k, nr int
	data     []float32
	block    *block // of data; nil for scratch memory
}

func (p *packed) panels() int { return (p.n + p.nr - 1) / p.nr }

// panel returns panel j.
func (p *packed) panel(j int) []float32 { return p.data[j*p.k*p.nr : (j+1)*p.k*p.nr] }

// width is the number of columns of the product that panel j covers.
func (p *packed) width(j int) int { return min(p.nr, p.n-j*p.nr) }

// packedFloats is the memory that a packed [n, depth] matrix takes.
func packedFloats(k *simd.Kernels, n, depth int) int { return (n + k.NR - 1) / k.NR * k.NR * depth }

func (d *Device) newPacked(n, depth int) *packed {
	b := d.heap.alloc(4 * packedFloats(d.k, n, depth))
	return &packed{n: n, k: depth, nr: d.k.NR, data: as[float32](b.mem), block: b}
}

// weight implements runtime.Weight.
type weight struct {
	out, in int
	fwd     *packed // [out, in]
	bwd     *packed // [in, out], for gradients
}

func (w *weight) Shape() (out, in int) { return w.out, w.in }
func (w *weight) DType() runtime.DType { return runtime.F32 }

// Close releases the memory, which lasts until the last Program that uses it is closed too.
func (w *weight) Close() error {
	for _, p := range []*packed{w.fwd, w.bwd} {
		if p != nil {
			p.block.release()
		}
	}
	w.fwd, w.bwd = nil, nil
	return nil
}

// Pack implements runtime.Device. The panels are filled by all workers.
func (d *Device) Pack(m runtime.Matrix, o runtime.PackOptions) (runtime.Weight, error) {
	if o.DType != 0 && o.DType != runtime.F32 {
		return nil, fmt.Errorf("cpu: pack: products in %s: %w", o.DType, runtime.ErrUnsupported)
	}
	if !m.DType.Float() || m.Rows < 1 || m.Cols < 1 || len(m.Data) != m.Rows*m.Cols*m.DType.Size() {
		return nil, fmt.Errorf("cpu: pack: %d bytes of %s for a [%d, %d] matrix", len(m.Data), m.DType, m.Rows, m.Cols)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &weight{out: m.Rows, in: m.Cols, fwd: d.newPacked(m.Rows, m.Cols)}
	d.pool.run(w.fwd.panels(), func(t *worker, j int) {
		rows := w.fwd.width(j)
		src := t.floats(rows * m.Cols)
		toF32(src, m.DType, m.Data[j*w.fwd.nr*m.Cols*m.DType.Size():])
		d.k.Pack(w.fwd.panel(j), src, m.Cols, rows, m.Cols)
	})
	if o.Grad {
		w.bwd = d.newPacked(m.Cols, m.Rows)
		d.pool.run(w.bwd.panels(), func(_ *worker, j int) { w.packTransposed(m, j) })
	}
	return w, nil
}

// packTransposed fills panel j of the transposed matrix: its rows are the source's columns, which a panel holds as they are.
func (w *weight) packTransposed(m runtime.Matrix, j int) {
	p := w.bwd
	dst, size := p.panel(j), m.DType.Size()
	clear(dst)
	for r := range m.Rows {
		toF32(dst[r*p.nr:][:p.width(j)], m.DType, m.Data[(r*m.Cols+j*p.nr)*size:])
	}
}
