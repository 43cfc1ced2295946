package preprocess

import "math"

// geometry is where the pixels of a crop come from.
type geometry struct {
	width, height       int // the decoded image
	padX, padY          int // zeros on each side
	paddedW, paddedH    int
	resizedW, resizedH  int
	cropX, cropY, cropD int // the crop within the resized image
}

// plan works out the padding, the size after the resize and the crop, with the references' rounding.
func (o *Options) plan(w, h int) geometry {
	g := geometry{width: w, height: h, cropD: o.Size}
	short, long := min(w, h), max(w, h)
	if o.Pad != PadNone && float64(long)/float64(short) >= float64(o.Pad) {
		side := float64(long) / float64(o.Pad)
		g.padX = max(int((side-float64(w))/2), 0)
		g.padY = max(int((side-float64(h))/2), 0)
	}
	g.paddedW, g.paddedH = w+2*g.padX, h+2*g.padY
	// torchvision's Resize(int): the shorter side becomes D, the longer one is cut to an integer.
	short, long = min(g.paddedW, g.paddedH), max(g.paddedW, g.paddedH)
	scaled := int(float64(o.Size*long) / float64(short))
	g.resizedW, g.resizedH = o.Size, scaled
	if g.paddedW > g.paddedH {
		g.resizedW, g.resizedH = scaled, o.Size
	}
	// torchvision's CenterCrop: Python's round, ties to even.
	g.cropX = int(math.RoundToEven(float64(g.resizedW-o.Size) / 2))
	g.cropY = int(math.RoundToEven(float64(g.resizedH-o.Size) / 2))
	return g
}

// sameSize reports that the resize changes nothing; Pillow and torchvision then leave the pixels alone.
func (g *geometry) sameSize() bool { return g.resizedW == g.paddedW && g.resizedH == g.paddedH }

// verticalFirst reports that columns are resized before rows, which rounds otherwise: Pillow 13's rule (its #9549) for
// when that is cheaper, found to hold for 2,000 random sizes. Older versions resize rows first.
func (g *geometry) verticalFirst() bool {
	return g.resizedH < g.paddedH && g.paddedH-g.resizedH > 2*(g.paddedW-g.resizedW)
}
