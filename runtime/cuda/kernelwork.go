//go:build cuda

package cuda

import "isearle/runtime"

// kernelWork is what a kernel has to read, write and compute in a run: op is its operation's Work, table resolves the run's I32
// elements, as Plan.Work takes them.
type kernelWork func(op runtime.Work, table func(runtime.View) []int32) runtime.Work

// whole is the work of an operation's only kernel.
func whole(op runtime.Work, _ func(runtime.View) []int32) runtime.Work { return op }

// rowsWork is the work of a kernel that does the same for each row of m, times each: flop and bytes a row, and bytes that are read
// once.
func rowsWork(m runtime.Dim, each int, dt runtime.DType, flop, bytes, once float64) kernelWork {
	return func(op runtime.Work, table func(runtime.View) []int32) runtime.Work {
		n := m.LiveIn(table) * each
		return runtime.Work{Shape: op.Shape, Rows: n, FLOP: flop * float64(n), Bytes: bytes*float64(n) + once, DType: dt}
	}
}

// rowBytes is the size of one row of each of the matrices; absent ones have none.
func rowBytes(vs ...view) float64 {
	n := 0
	for _, v := range vs {
		if v.Data != 0 {
			n += int(v.Cols) * runtime.DType(v.DType).Size()
		}
	}
	return float64(n)
}

// normFLOP of an element: 1 for the mean, 3 for the variance, 4 for (x-mean)*rstd*gamma + beta.
const normFLOP = 8

// normWork is layernorm's; without a normalisation it copies.
func normWork(a layerNormArgs, m runtime.Dim, each int) kernelWork {
	flop, parameters := 0.0, 0.0
	if a.Norm.Gamma != 0 {
		flop, parameters = normFLOP*float64(a.X.Cols), 2*4*float64(a.X.Cols)
	}
	bytes := rowBytes(a.X, a.Out)
	if a.Rows != 0 {
		bytes += 4
	}
	return rowsWork(m, each, runtime.F32, flop, bytes, parameters)
}

// work is a product's.
func (p product) work() kernelWork {
	flop, once := 2*float64(p.K)*float64(p.N), float64(p.K)*rowBytes(view{Data: 1, Cols: int32(p.N), DType: p.B.DType})
	if p.Bias != 0 {
		flop, once = flop+float64(p.N), once+4*float64(p.N)
	}
	if p.R.Data != 0 {
		flop += float64(p.N)
	}
	return rowsWork(p.M, p.Each, runtime.DType(p.B.DType), flop, rowBytes(p.A, p.C, p.R, p.Pre), once)
}

// attentionGradWorks are those of the two kernels of attention's backward pass. Of the operation's five products the first makes Q K^T,
// DOut V^T and DQ, the second the former two again, DK and DV; both read everything, and either leaves out what the other one writes.
func attentionGradWorks(o runtime.AttentionGrad, a attentionGradArgs) (q, k kernelWork) {
	part := func(products, stats float64, left func(rows, own float64) float64) kernelWork {
		return func(op runtime.Work, table func(runtime.View) []int32) runtime.Work {
			starts, seqs := table(o.Starts), o.Seqs.LiveIn(table)
			rows, own := float64(op.Rows), float64(starts[seqs]-starts[0])
			op.FLOP *= products / 5
			op.Bytes += rows*stats - left(rows, own)
			return op
		}
	}
	stats := rowBytes(a.Stats)
	return part(3, stats, func(_, own float64) float64 { return own * rowBytes(a.DK, a.DV) }),
		part(4, stats, func(rows, _ float64) float64 { return rows * rowBytes(a.DQ) })
}

// infoNCEWork is the work of a kernel of the loss over n live rows of a width: flop(n, width) and bytes(n, width).
func infoNCEWork(o runtime.InfoNCE, flop, bytes func(n, width float64) float64) kernelWork {
	return func(op runtime.Work, table func(runtime.View) []int32) runtime.Work {
		n, width := float64(o.Rows.LiveIn(table)), float64(o.A.Cols)
		return runtime.Work{Shape: op.Shape, Rows: op.Rows, FLOP: flop(n, width), Bytes: bytes(n, width), DType: runtime.F32}
	}
}
