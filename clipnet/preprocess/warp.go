package preprocess

import "fmt"

// Warp resizes a decoded image to the model's D x D without keeping its ratio, as Pillow's resize((D, D)) does, and writes it to dst:
// [D, D, 3] bytes, RGB. The image is used up.
func (p *Preprocessor) Warp(m *Image, dst []byte) error {
	if len(dst) < p.CropBytes() {
		return fmt.Errorf("preprocess: %d bytes for a crop of %d", len(dst), p.CropBytes())
	}
	w, h, d := m.Width, m.Height, p.opts.Size
	if w < 1 || h < 1 {
		return fmt.Errorf("preprocess: warp an image of %d x %d", w, h)
	}
	rgb := &Image{Mode: ModeRGB, Width: w, Height: h, Pix: m.RGB()}
	g := geometry{width: w, height: h, paddedW: w, paddedH: h, resizedW: d, resizedH: d, cropD: d}
	if g.sameSize() {
		crop(rgb, g, dst)
		return nil
	}
	s := p.scratch.Get().(*scratch)
	defer p.scratch.Put(s)
	s.resize.resize(rgb, g, p.opts.Filter, dst[:p.CropBytes()])
	return nil
}
