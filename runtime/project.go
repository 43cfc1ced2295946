package runtime

import "iter"

// Project pools, projects and normalises: with x = Norm(X[Pool[i]]),
//
//	Out[i] = W x,  divided by its Euclidean norm if Unit
//
// Pool absent is the identity. A zero vector stays zero under Unit.
type Project struct {
	X    View // [.., width]
	Pool View // I32 [Rows], optional
	Norm Norm // optional
	W    Weight
	Unit bool
	Rows Dim
	Out  View // F32 [Rows, out]
}

func (Project) Name() string             { return "project" }
func (o Project) Writes() iter.Seq[View] { return writes(o.Out) }
func (o Project) operands(y func(View) bool) {
	each(y, o.X, o.Pool, o.Norm.Gamma, o.Norm.Beta, o.Rows.Live, o.Out)
}

func (o Project) check(c *checker) {
	if o.W == nil {
		c.failf("W is missing")
		return
	}
	out, in := o.W.Shape()
	c.dim("Rows", o.Rows)
	rows := o.Rows.Cap
	if !o.Pool.Absent() {
		c.table("Pool", o.Pool, o.Rows.Cap)
		rows = 0
	}
	c.matrix("X", o.X, rows, in, F32, F16, BF16)
	if !o.Norm.absent() {
		o.Norm.check(c, in)
	}
	c.matrix("Out", o.Out, o.Rows.Cap, out, F32)
	c.apart("Out", o.Out, o.X)
}
