package runtime

import "iter"

// LayerNorm normalises each row: Out = (X - mean)/sqrt(var + Eps)*Gamma + Beta, var biased. Out may be X.
type LayerNorm struct {
	X    View // [Rows, n]
	Norm Norm
	Rows Dim
	Out  View // [Rows, n]
}

func (LayerNorm) Name() string             { return "layernorm" }
func (o LayerNorm) Writes() iter.Seq[View] { return writes(o.Out) }
func (o LayerNorm) operands(y func(View) bool) {
	each(y, o.X, o.Norm.Gamma, o.Norm.Beta, o.Rows.Live, o.Out)
}

func (o LayerNorm) check(c *checker) {
	c.dim("Rows", o.Rows)
	c.matrix("X", o.X, o.Rows.Cap, o.X.Cols, F32, F16, BF16)
	o.Norm.check(c, o.X.Cols)
	c.matrix("Out", o.Out, o.Rows.Cap, o.X.Cols, F32, F16, BF16)
	if o.X != o.Out {
		c.apart("Out", o.Out, o.X)
	}
}
