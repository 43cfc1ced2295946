package runtime

import "iter"

// LayerNormGrad is the backward pass of LayerNorm to its input: with h = (X - mean)/sqrt(var + Eps) and g = DY*Gamma,
//
//	DX = (g - average(g) - h*average(g*h)) / sqrt(var + Eps)
//
// added to what DX holds with Add (a residual's gradient, say). Mean and variance are computed again from X. Norm.Beta is
// not used. DX may be DY unless Add.
type LayerNormGrad struct {
	DY, X View // [Rows, n]
	Norm  Norm
	DX    View // [Rows, n]
	Add   bool
	Rows  Dim
}

func (LayerNormGrad) Name() string             { return "layernormgrad" }
func (o LayerNormGrad) Writes() iter.Seq[View] { return writes(o.DX) }
func (o LayerNormGrad) operands(y func(View) bool) {
	each(y, o.DY, o.X, o.Norm.Gamma, o.Norm.Beta, o.DX, o.Rows.Live)
}

func (o LayerNormGrad) check(c *checker) {
	c.dim("Rows", o.Rows)
	c.matrix("X", o.X, o.Rows.Cap, o.X.Cols, F32, F16, BF16)
	c.matrix("DY", o.DY, o.Rows.Cap, o.X.Cols, F32, F16, BF16)
	o.Norm.check(c, o.X.Cols)
	c.matrix("DX", o.DX, o.Rows.Cap, o.X.Cols, F32, F16, BF16)
	c.apart("DX", o.DX, o.X)
	if o.DX != o.DY || o.Add {
		c.apart("DX", o.DX, o.DY)
	}
}
