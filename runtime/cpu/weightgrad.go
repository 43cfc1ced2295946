package cpu

import "isearle/runtime"

// transposeCols is how many columns a task transposes: with a panel's rows they fill half of a first-level cache of 32 KiB.
const transposeCols = 128

// weightGrad compiles runtime.WeightGrad: DPre is transposed and X packed, so that DW is a product like others, whose chain of
// multiply-adds runs over the live rows.
func (c *compiler) weightGrad(o runtime.WeightGrad) {
	rows, k := c.live(o.Rows), c.dev.k
	dpre, x, dw, dbias := c.f32(o.DPre), c.f32(o.X), c.f32(o.DW), c.f32(o.DBias)
	out, in := o.DW.Rows, o.DW.Cols
	turned := c.apart(out, o.Rows.Cap)
	w := &packed{n: in, k: o.Rows.Cap, nr: k.NR, data: c.floats(packedFloats(k, in, o.Rows.Cap))}
	if c.err != nil {
		return
	}
	parts := blocks(out, transposeCols)
	c.add(func() int { return blocks(rows(), k.NR) * parts }, func(wk *worker, task int) {
		r, j := task/parts*k.NR, task%parts*transposeCols
		c.dev.transpose(wk, turned, dpre, r, min(k.NR, rows()-r), j, min(transposeCols, out-j))
	})
	// The depth of this product varies from run to run; nothing reads w before this phase begins.
	c.add(func() int { w.k = rows(); return w.panels() }, func(_ *worker, j int) { w.packTransposed(x, j) })
	(&product{k: k, a: turned, w: w, dst: dw}).add(c, func() int { return out })
	if o.DBias.Absent() {
		return
	}
	c.add(func() int { return parts }, func(_ *worker, task int) {
		j := task * transposeCols
		n := min(transposeCols, out-j)
		sum := dbias.from(0, j)[:n]
		clear(sum)
		for r := range rows() {
			k.Bias(sum, dpre.from(r, j)[:n])
		}
	})
}

// transpose writes dst[j+b][r+a] = src[r+a][j+b] for a < rows, at most NR, and b < cols.
func (d *Device) transpose(w *worker, dst, src matrix, r, rows, j, cols int) {
	part := w.floats(cols * d.k.NR)
	d.k.Pack(part, src.from(r, j), src.stride, rows, cols)
	for b := range cols {
		copy(dst.from(j+b, r)[:rows], part[b*d.k.NR:])
	}
}
