package runtime

import "iter"

// GatherSum adds rows by list: Dst[j] = sum over t from Starts[j] to Starts[j+1]-1 of Src[List[t]], in that order. It collects
// the gradient of each pseudo-word from the rows that it was embedded in.
type GatherSum struct {
	Src    View // [.., n]
	Starts View // I32 [Rows+1]
	List   View // I32
	Dst    View // F32 [Rows, n]
	Rows   Dim
}

func (GatherSum) Name() string             { return "gathersum" }
func (o GatherSum) Writes() iter.Seq[View] { return writes(o.Dst) }
func (o GatherSum) operands(y func(View) bool) {
	each(y, o.Src, o.Starts, o.List, o.Dst, o.Rows.Live)
}

func (o GatherSum) check(c *checker) {
	c.dim("Rows", o.Rows)
	c.table("Starts", o.Starts, o.Rows.Cap+1)
	c.table("List", o.List, 0)
	c.matrix("Src", o.Src, 0, o.Src.Cols, F32, F16, BF16)
	c.matrix("Dst", o.Dst, o.Rows.Cap, o.Src.Cols, F32)
	c.apart("Dst", o.Dst, o.Src)
}
