package runtime

import "iter"

// Resample turns images of any size into pixels for PatchEmbed: resized, cropped and normalised. It is Pillow's resize of 8-bit
// samples, exact to the integer: two passes of fixed-point products,
//
//	Mid[y, x, c] = clip((2^21 + sum over i < count of coefficient[i] * Src[y, first+i, c]) >> 22)
//
// with first, count and the coefficients those of output column x, then the same over the rows of Mid with those of output row y;
// or columns before rows, where Places says so. clip limits to 0..255. The crop is in the Taps: they are those of the columns
// and rows that are left. Out[c, y, x] = Norm[c, v] for the final sample v of channel c.
type Resample struct {
	// Src are the images' samples, U8 [1, n]: R, G, B of each pixel, rows one after the other.
	Src View
	// Places are, for each image, I32 [Images, 5]: where it begins in Src, width, height, 1 where columns are summed first, and where
	// its intermediate begins in Mid: [height, Size, 3], or [Size, width, 3] where columns are summed first.
	Places View
	// Taps are, for each image, of each column of the output and then of each row: first, count and Most coefficients times 2^22;
	// I32 [Images, 2*Size*(2+Most)].
	Taps View
	Most int
	Norm View // F32 [3, 256]
	Mid  View // U8 [1, n]
	Size int
	Out  View // F32 [Images, 3*Size*Size]

	Images Dim
}

// ResampleBits are those behind the point of a coefficient.
const ResampleBits = 22

func (Resample) Name() string             { return "resample" }
func (o Resample) Writes() iter.Seq[View] { return writes(o.Mid, o.Out) }
func (o Resample) operands(y func(View) bool) {
	each(y, o.Src, o.Places, o.Taps, o.Norm, o.Mid, o.Out, o.Images.Live)
}

func (o Resample) check(c *checker) {
	if o.Size < 1 || o.Most < 1 {
		c.failf("size %d, %d taps", o.Size, o.Most)
		return
	}
	c.dim("Images", o.Images)
	c.matrix("Src", o.Src, 1, o.Src.Cols, U8)
	c.matrix("Mid", o.Mid, 1, o.Mid.Cols, U8)
	c.table("Places", o.Places, 5*o.Images.Cap)
	c.table("Taps", o.Taps, o.Images.Cap*2*o.Size*(2+o.Most))
	c.matrix("Norm", o.Norm, 3, 256, F32)
	c.matrix("Out", o.Out, o.Images.Cap, 3*o.Size*o.Size, F32)
	c.apart("Out", o.Out, o.Norm)
	c.apart("Mid", o.Mid, o.Src)
}
