package runtime

import "iter"

// LinearGrad is the backward pass of Linear to its input, behind its Norm:
//
//	DPre = DY * Act'(Pre)          element by element; DPre = DY if Act is Identity
//	DX   = DPre W                  added to what DX holds with Add
//
// A residual's gradient is DY itself. Where Linear had a Norm, LayerNormGrad follows.
type LinearGrad struct {
	DY    View       // [Rows, out]
	Act   Activation // Identity, QuickGELU, GELU, GELUTanh or ReLU
	Pre   View       // [Rows, out]: Linear's Pre; needed unless Act is Identity
	W     Weight     // packed with Grad
	Dense View       // F32 [out, in], instead of W
	DX    View       // [Rows, in], optional if DPre is given
	DPre  View       // [Rows, out], optional; may be DY
	Add   bool
	Rows  Dim
}

func (LinearGrad) Name() string             { return "lineargrad" }
func (o LinearGrad) Writes() iter.Seq[View] { return writes(o.DX, o.DPre) }
func (o LinearGrad) operands(y func(View) bool) {
	each(y, o.DY, o.Pre, o.Dense, o.DX, o.DPre, o.Rows.Live)
}

// Shape is the weight's [out, in].
func (o LinearGrad) Shape() (out, in int) { return Linear{W: o.W, Dense: o.Dense}.Shape() }

func (o LinearGrad) check(c *checker) {
	if (o.W == nil) == o.Dense.Absent() {
		c.failf("exactly one of W and Dense must be given")
		return
	}
	out, in := o.Shape()
	c.dim("Rows", o.Rows)
	c.matrix("DY", o.DY, o.Rows.Cap, out, F32, F16, BF16)
	if o.Act != Identity {
		c.matrix("Pre", o.Pre, o.Rows.Cap, out, F32, F16, BF16)
	}
	if o.DX.Absent() && o.DPre.Absent() {
		c.failf("neither DX nor DPre is given")
	}
	c.maybe("Dense", o.Dense, out, in, F32)
	c.maybe("DX", o.DX, o.Rows.Cap, in, F32, F16, BF16)
	c.maybe("DPre", o.DPre, o.Rows.Cap, out, F32, F16, BF16)
	c.apart("DX", o.DX, o.DY, o.Pre, o.Dense, o.DPre)
	if o.DPre != o.DY {
		c.apart("DPre", o.DPre, o.DY)
	}
}

// WeightGrad is the backward pass of Linear to a Dense weight and its bias: DW = DPre^T X, DBias = the sum of DPre's rows,
// both over the live rows in increasing order.
type WeightGrad struct {
	DPre  View // [Rows, out]
	X     View // [Rows, in]
	DW    View // F32 [out, in]
	DBias View // F32 [1, out], optional
	Rows  Dim
}

func (WeightGrad) Name() string             { return "weightgrad" }
func (o WeightGrad) Writes() iter.Seq[View] { return writes(o.DW, o.DBias) }
func (o WeightGrad) operands(y func(View) bool) {
	each(y, o.DPre, o.X, o.DW, o.DBias, o.Rows.Live)
}

func (o WeightGrad) check(c *checker) {
	out, in := o.DW.Rows, o.DW.Cols
	c.dim("Rows", o.Rows)
	c.matrix("DPre", o.DPre, o.Rows.Cap, out, F32, F16, BF16)
	c.matrix("X", o.X, o.Rows.Cap, in, F32, F16, BF16)
	c.matrix("DW", o.DW, out, in, F32)
	c.maybe("DBias", o.DBias, 1, out, F32)
	c.apart("DW", o.DW, o.DPre, o.X, o.DBias)
}
