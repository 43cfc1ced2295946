package runtime

import "iter"

// CopyRows moves rows by index: Dst[DstRows[i]] = Src[SrcRows[i]] for i < Rows; an absent table is the identity. It
// gathers the rows that are pooled, and appends keys and values to a prefix pool. A negative index skips the row. No two
// live entries of DstRows may be equal. With Add the rows are added to what Dst holds.
type CopyRows struct {
	Src     View // [.., n]
	SrcRows View // I32 [Rows], optional
	Dst     View // [.., n], of Src's dtype
	DstRows View // I32 [Rows], optional
	Rows    Dim
	Add     bool
}

func (CopyRows) Name() string             { return "copyrows" }
func (o CopyRows) Writes() iter.Seq[View] { return writes(o.Dst) }
func (o CopyRows) operands(y func(View) bool) {
	each(y, o.Src, o.SrcRows, o.Dst, o.DstRows, o.Rows.Live)
}

func (o CopyRows) check(c *checker) {
	c.dim("Rows", o.Rows)
	src, dst := o.Rows.Cap, o.Rows.Cap
	if !o.SrcRows.Absent() {
		c.table("SrcRows", o.SrcRows, o.Rows.Cap)
		src = 0
	}
	if !o.DstRows.Absent() {
		c.table("DstRows", o.DstRows, o.Rows.Cap)
		dst = 0
	}
	c.matrix("Src", o.Src, src, o.Src.Cols, F32, F16, BF16)
	c.matrix("Dst", o.Dst, dst, o.Src.Cols, F32, F16, BF16)
	if c.err == nil && c.plan.Info(o.Src.Slot).DType != c.plan.Info(o.Dst.Slot).DType {
		c.failf("Src is %s, Dst %s", c.plan.Info(o.Src.Slot).DType, c.plan.Info(o.Dst.Slot).DType)
	}
	c.apart("Dst", o.Dst, o.Src)
}
