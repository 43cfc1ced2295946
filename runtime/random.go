package runtime

import "iter"

// Distribution of Random's numbers.
type Distribution uint8

const (
	Normal Distribution = iota + 1 // mean 0, standard deviation Param
	Keep                           // a dropout mask: 1/(1-Param) with probability 1-Param, else 0
)

// Random fills rows with numbers from a counter-based generator (Philox4x32-10, Salmon et al., SC 2011), so that a row's
// numbers depend on its Key, the Counter and the Seed only, not on the batch or the threads:
//
//	block m of row i = Philox(key = Seed, counter = (Keys[i], Counter[0], Counter[1], m)) gives Out[i, 4m .. 4m+3]
//
// A uniform is (x>>8 + 0.5)/2^24; normals come in pairs by Box and Muller: of uniforms u and w,
// sqrt(-2 ln u) cos(2 pi w) and sqrt(-2 ln u) sin(2 pi w). Keep keeps where u >= Param.
type Random struct {
	Kind    Distribution
	Param   View // F32 [1, 1]
	Seed    View // I32 [1, 2]
	Counter View // I32 [1, 2]: the step, and the stream
	Keys    View // I32 [Rows]
	Out     View // F32 [Rows, n]
	Rows    Dim
}

func (Random) Name() string             { return "random" }
func (o Random) Writes() iter.Seq[View] { return writes(o.Out) }
func (o Random) operands(y func(View) bool) {
	each(y, o.Param, o.Seed, o.Counter, o.Keys, o.Out, o.Rows.Live)
}

func (o Random) check(c *checker) {
	if o.Kind != Normal && o.Kind != Keep {
		c.failf("distribution %d", o.Kind)
	}
	c.dim("Rows", o.Rows)
	c.matrix("Param", o.Param, 1, 1, F32)
	c.table("Seed", o.Seed, 2)
	c.table("Counter", o.Counter, 2)
	c.table("Keys", o.Keys, o.Rows.Cap)
	c.matrix("Out", o.Out, o.Rows.Cap, o.Out.Cols, F32)
}

// Multiply is Out = X * Y, element by element: dropout, forward and backward. Out may be X.
type Multiply struct {
	X, Y View // F32 [Rows, n]
	Out  View // F32 [Rows, n]
	Rows Dim
}

func (Multiply) Name() string             { return "multiply" }
func (o Multiply) Writes() iter.Seq[View] { return writes(o.Out) }
func (o Multiply) operands(y func(View) bool) {
	each(y, o.X, o.Y, o.Out, o.Rows.Live)
}

func (o Multiply) check(c *checker) {
	c.dim("Rows", o.Rows)
	c.matrix("X", o.X, o.Rows.Cap, o.X.Cols, F32)
	c.matrix("Y", o.Y, o.Rows.Cap, o.X.Cols, F32)
	c.matrix("Out", o.Out, o.Rows.Cap, o.X.Cols, F32)
	if o.Out != o.X {
		c.apart("Out", o.Out, o.X)
	}
	c.apart("Out", o.Out, o.Y)
}
