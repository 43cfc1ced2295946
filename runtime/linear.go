package runtime

import "iter"

// Activation is the function that Linear applies to each element.
type Activation uint8

const (
	Identity  Activation = iota
	QuickGELU            // x * sigmoid(1.702 x): OpenAI's CLIP
	GELU                 // x * (1 + erf(x/sqrt 2)) / 2
	GELUTanh             // x * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2: GPT-2 and GPT-Neo
	ReLU                 // max(x, 0): Pic2Word's mapping network
)

func (a Activation) String() string {
	return [...]string{"identity", "quick_gelu", "gelu", "gelu_tanh", "relu"}[a]
}

// Norm is a layer normalisation in front of a product: (x - mean)/sqrt(var + Eps)*Gamma + Beta over each row, var biased.
// The zero Norm does nothing.
type Norm struct {
	Gamma, Beta View // F32 [1, n]
	Eps         float32
}

func (n Norm) absent() bool { return n.Gamma.Absent() }

func (n Norm) check(c *checker, cols int) {
	c.matrix("Gamma", n.Gamma, 1, cols, F32)
	c.matrix("Beta", n.Beta, 1, cols, F32)
	if !(n.Eps > 0) {
		c.failf("Eps is %v", n.Eps)
	}
}

// Linear is a product with a weight matrix and everything around it:
//
//	Out = Act(Norm(X) W^T + Bias) + Residual
//
// over rows of X [Rows, in] for W [out, in]. The weight is either frozen and packed (W) or a matrix in device memory that may
// change between runs (Dense, F32 [out, in]). Out may be Residual itself.
type Linear struct {
	X        View
	Norm     Norm
	W        Weight
	Dense    View
	Bias     View // F32 [1, out], optional
	Act      Activation
	Residual View // [Rows, out], optional
	Rows     Dim
	Out      View // [Rows, out]
	// Pre, optional, receives Norm(X) W^T + Bias for the backward pass; [Rows, out].
	Pre View
}

func (Linear) Name() string             { return "linear" }
func (o Linear) Writes() iter.Seq[View] { return writes(o.Out, o.Pre) }
func (o Linear) operands(y func(View) bool) {
	each(y, o.X, o.Norm.Gamma, o.Norm.Beta, o.Dense, o.Bias, o.Residual, o.Rows.Live, o.Out, o.Pre)
}

// Shape is the weight's [out, in].
func (o Linear) Shape() (out, in int) {
	if o.W != nil {
		return o.W.Shape()
	}
	return o.Dense.Rows, o.Dense.Cols
}

func (o Linear) check(c *checker) {
	if (o.W == nil) == o.Dense.Absent() {
		c.failf("exactly one of W and Dense must be given")
		return
	}
	out, in := o.Shape()
	c.dim("Rows", o.Rows)
	c.matrix("X", o.X, o.Rows.Cap, in, F32, F16, BF16)
	if !o.Norm.absent() {
		o.Norm.check(c, in)
	}
	c.maybe("Dense", o.Dense, out, in, F32)
	c.maybe("Bias", o.Bias, 1, out, F32)
	c.maybe("Residual", o.Residual, o.Rows.Cap, out, F32, F16, BF16)
	c.matrix("Out", o.Out, o.Rows.Cap, out, F32, F16, BF16)
	c.maybe("Pre", o.Pre, o.Rows.Cap, out, F32, F16, BF16)
	c.apart("Out", o.Out, o.X, o.Dense)
	c.apart("Pre", o.Pre, o.X, o.Out, o.Residual)
	if o.Act > ReLU {
		c.failf("activation %d", o.Act)
	}
}
