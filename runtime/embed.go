package runtime

import "iter"

// PatchEmbed turns images into the rows of a vision transformer. Image b has L = 1 + (Size/Patch)^2 rows:
//
//	Out[b*L]     = Class + Pos[0]
//	Out[b*L+1+p] = W . patch p + Pos[1+p]
//
// Patches run row by row; a patch's elements are ordered channel, row, column, as a convolution's weight is.
type PatchEmbed struct {
	Pixels      View // F32 [Images, 3*Size*Size]: channel, row, column
	Size, Patch int
	W           Weight // [width, 3*Patch*Patch]
	Class       View   // F32 [1, width]
	Pos         View   // F32 [L, width]
	Images      Dim
	Out         View // [Images*L, width]
}

func (PatchEmbed) Name() string             { return "patchembed" }
func (o PatchEmbed) Writes() iter.Seq[View] { return writes(o.Out) }
func (o PatchEmbed) operands(y func(View) bool) {
	each(y, o.Pixels, o.Class, o.Pos, o.Images.Live, o.Out)
}

// Rows is L, the number of rows of an image.
func (o PatchEmbed) Rows() int { return 1 + (o.Size/o.Patch)*(o.Size/o.Patch) }

func (o PatchEmbed) check(c *checker) {
	if o.W == nil || o.Patch < 1 || o.Size < o.Patch {
		c.failf("Size %d, Patch %d, weight given: %v", o.Size, o.Patch, o.W != nil)
		return
	}
	width, in := o.W.Shape()
	if in != 3*o.Patch*o.Patch {
		c.failf("weight is [%d, %d], want [.., %d]", width, in, 3*o.Patch*o.Patch)
	}
	c.dim("Images", o.Images)
	c.matrix("Pixels", o.Pixels, o.Images.Cap, 3*o.Size*o.Size, F32)
	c.matrix("Class", o.Class, 1, width, F32)
	c.matrix("Pos", o.Pos, o.Rows(), width, F32)
	c.matrix("Out", o.Out, o.Images.Cap*o.Rows(), width, F32, F16, BF16)
}

// TokenEmbed looks up the rows of a text transformer:
//
//	Out[i] = (Pseudo[Inject[i]] if Inject[i] >= 0, else Table[IDs[i]]) + PosTable[Pos[i]]
//
// An id, position or pseudo-word outside its table makes the row NaN: data on the device cannot raise an error, and a
// wrong row must not look right.
type TokenEmbed struct {
	IDs      View // I32 [Rows]
	Pos      View // I32 [Rows]
	Inject   View // I32 [Rows], optional
	Pseudo   View // F32 [n, width], with Inject
	Table    View // F32, F16 or BF16 [vocabulary, width]
	PosTable View // F32 [context, width]
	Rows     Dim
	Out      View // [Rows, width]
}

func (TokenEmbed) Name() string             { return "tokenembed" }
func (o TokenEmbed) Writes() iter.Seq[View] { return writes(o.Out) }
func (o TokenEmbed) operands(y func(View) bool) {
	each(y, o.IDs, o.Pos, o.Inject, o.Pseudo, o.Table, o.PosTable, o.Rows.Live, o.Out)
}

func (o TokenEmbed) check(c *checker) {
	width := o.Table.Cols
	c.dim("Rows", o.Rows)
	c.table("IDs", o.IDs, o.Rows.Cap)
	c.table("Pos", o.Pos, o.Rows.Cap)
	if !o.Inject.Absent() {
		c.table("Inject", o.Inject, o.Rows.Cap)
		c.matrix("Pseudo", o.Pseudo, 0, width, F32)
	}
	c.matrix("Table", o.Table, 1, width, F32, F16, BF16)
	c.matrix("PosTable", o.PosTable, 1, width, F32)
	c.matrix("Out", o.Out, o.Rows.Cap, width, F32, F16, BF16)
}
