package cpu

import (
	"fmt"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// leastPieces is the least number of rows that products by pieces are worth it for. A panel's pieces take as long to make as products of
// 32 rows with them. The 50 rows of one image of ViT-B/32 take a tenth longer than by Gemm, 200 a fifth less, ViT-L/14's 257 a quarter
// less, on a Granite Rapids.
const leastPieces = 128

// packed is a matrix [n, k] in the micro-kernel's panels: panel j holds rows j*NR to j*NR+NR-1, transposed and padded with
// zeros, so that a product reads it front to back. In BF16 and I8 an element of a panel is a word (words.go).
type packed struct {
	n, k, nr int
	dt       runtime.DType // 0 is F32
	pieces   bool          // products are made by pieces (simd.Kernels.GemmPieces)
	data     []float32
	scale    []float32 // of I8, for each panel: what NR columns are scaled by, and that times the sums of their integers
	block    *block    // of both; nil for scratch memory
	late     *late     // of a weight that is packed when it is used
}

func (p *packed) panels() int { return (p.n + p.nr - 1) / p.nr }

// depth is the number of a panel's rows.
func (p *packed) depth() int { return blocks(p.k, wordElements(p.dt)) }

// panel returns panel j.
func (p *packed) panel(j int) []float32 { return p.data[j*p.depth()*p.nr : (j+1)*p.depth()*p.nr] }

// scales returns those of panel j.
func (p *packed) scales(j int) []float32 {
	if p.dt != runtime.I8 {
		return nil
	}
	return p.scale[2*j*p.nr : 2*(j+1)*p.nr]
}

// width is the number of columns of the product that panel j covers.
func (p *packed) width(j int) int { return min(p.nr, p.n-j*p.nr) }

// packedFloats is the memory that a packed [n, depth] matrix takes.
func packedFloats(k *simd.Kernels, n, depth int) int { return (n + k.NR - 1) / k.NR * k.NR * depth }

func (d *Device) newPacked(dt runtime.DType, n, inner int) *packed {
	p := &packed{n: n, k: inner, nr: d.k.NR, dt: dt}
	panels, scales := packedFloats(d.k, n, p.depth()), 0
	if dt == runtime.I8 {
		scales = 2 * p.panels() * p.nr
	}
	p.block = d.heap.alloc(4 * (panels + scales))
	all := as[float32](p.block.mem)
	p.data, p.scale = all[:panels:panels], all[panels:]
	return p
}

// weight implements runtime.Weight.
type weight struct {
	dt      runtime.DType
	out, in int
	fwd     *packed // [out, in]
	bwd     *packed // [in, out], for gradients
}

func (w *weight) Shape() (out, in int) { return w.out, w.in }
func (w *weight) DType() runtime.DType { return w.dt }

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

// Pack implements runtime.Device. Products are made in F32, BF16 or I8; in I8 there is no backward pass. A weight whose source stays is
// packed when it is used (late.go); the panels of others are filled by all workers.
func (d *Device) Pack(m runtime.Matrix, o runtime.PackOptions) (runtime.Weight, error) {
	if o.DType == 0 {
		o.DType = runtime.F32
	}
	w, err := d.pack(m, o)
	if err != nil {
		err = fmt.Errorf("cpu: pack: %w", err)
	}
	if o.Source != nil && (err != nil || w.fwd.late == nil) {
		o.Source.Release()
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (d *Device) pack(m runtime.Matrix, o runtime.PackOptions) (*weight, error) {
	if dt := o.DType; dt != runtime.F32 && dt != runtime.BF16 && dt != runtime.I8 || dt == runtime.I8 && o.Grad {
		return nil, fmt.Errorf("products in %s, backward %t: %w", o.DType, o.Grad, runtime.ErrUnsupported)
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &weight{dt: o.DType, out: m.Rows, in: m.Cols, fwd: d.newPacked(o.DType, m.Rows, m.Cols)}
	w.fwd.pieces = o.DType == runtime.F32 && o.Rows >= leastPieces && d.k.GemmPieces != nil
	src, direct := w.fwd.source(m)
	if direct && o.Source != nil && !o.Grad {
		w.fwd.keep(src, o.Source)
		return w, nil
	}
	d.pool.run(w.fwd.panels(), func(t *worker, j int) {
		w.fwd.fill(d.k, src, j, w.fwd.panel(j), w.fwd.scales(j), t.floats(w.fwd.fillRoom()))
	})
	if o.Grad {
		m = m.Whole()
		w.bwd = d.newPacked(o.DType, m.Cols, m.Rows)
		d.pool.run(w.bwd.panels(), func(t *worker, j int) {
			if w.dt == runtime.BF16 {
				w.bwd.packTransposedPairs(t, m, j)
				return
			}
			w.packTransposed(m, j)
		})
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
