package clipnet

import (
	"context"
	"fmt"

	"isearle/clipnet/preprocess"
	"isearle/runtime"
)

// sourceMean is the side of the images that a program has room for on average; any of them may be as large as a Source can be, if the
// others are smaller. Larger batches are encoded in several runs.
const sourceMean = 512

// sourceViews and sourceBuffers are what a program that resizes takes.
type sourceViews struct{ src, places, taps, norm runtime.View }

type sourceBuffers struct {
	src, places, taps runtime.Buffer
	place, tap        []int32 // as written to places and taps
}

// recordSources records the resize of images in front of the patch embedding.
func (e *ImageEncoder) recordSources(p *runtime.Plan, images runtime.Dim) (pixels runtime.View, v sourceViews) {
	n, size, most := images.Cap, e.Size(), e.from.MaxTaps()
	side := max(preprocess.MaxSource, size)
	v = sourceViews{
		src:    p.New("images", runtime.U8, 1, max(3*side*side, n*3*sourceMean*sourceMean)),
		places: p.New("places", runtime.I32, n, 5),
		taps:   p.New("taps", runtime.I32, n, 2*size*(2+most)),
		norm:   p.New("normalised", runtime.F32, 3, 256),
	}
	pixels = p.Temp("pixels", runtime.F32, n, 3*size*size)
	p.Add(runtime.Resample{Src: v.src, Places: v.places, Taps: v.taps, Most: most, Norm: v.norm,
		Mid: p.Temp("resized once", runtime.U8, 1, e.middle(n)), Size: size, Out: pixels, Images: images})
	return pixels, v
}

// middle is the number of samples between the passes of so many images.
func (e *ImageEncoder) middle(images int) int {
	return 3 * e.Size() * max(preprocess.MaxSource, e.Size(), images*sourceMean)
}

// buffers finds the views' memory and writes what stays.
func (v sourceViews) buffers(prog runtime.Program, from *preprocess.Preprocessor) (sourceBuffers, error) {
	b := sourceBuffers{src: prog.Buffer(v.src.Slot), places: prog.Buffer(v.places.Slot), taps: prog.Buffer(v.taps.Slot)}
	for c, row := range from.Table() {
		if err := prog.Buffer(v.norm.Slot).WriteF32(256*c, row[:]); err != nil {
			return b, err
		}
	}
	return b, nil
}

// EncodeSources is Encode for images that the device resizes: sources of Options.Images. The pixels are the same, bit for bit.
func (e *ImageEncoder) EncodeSources(ctx context.Context, dst []float32, images []preprocess.Source) error {
	dim, n := e.Dim(), len(images)
	if e.from == nil {
		return fmt.Errorf("clipnet: encode %d sources: the encoder was made without Options.Images", n)
	}
	if len(dst) != n*dim {
		return fmt.Errorf("clipnet: encode %d sources: room for %d values, want %d", n, len(dst), n*dim)
	}
	for i := range images {
		if err := e.checkSource(&images[i]); err != nil {
			return fmt.Errorf("clipnet: encode source %d of %d: %w", i, n, err)
		}
	}
	return e.inBatches(&e.sources, n, func(p *imageProgram, capacity, done int) (int, error) {
		b, err := p.sources.write(images[done:min(n, done+capacity)], e.Size(), e.middle(capacity))
		if err != nil {
			return 0, err
		}
		return b, e.run(ctx, p, dst[done*dim:(done+b)*dim], b)
	})
}

// checkSource checks what a device cannot: that an image's taps stay within it.
func (e *ImageEncoder) checkSource(s *preprocess.Source) error {
	size, line := e.Size(), 2+e.from.MaxTaps()
	if side := max(preprocess.MaxSource, size); s.Width < 1 || s.Height < 1 || s.Width > side || s.Height > side || len(s.Pix) != 3*s.Width*s.Height {
		return fmt.Errorf("%d bytes for %d x %d pixels, at most %d on a side", len(s.Pix), s.Width, s.Height, side)
	}
	if len(s.Taps) != 2*size*line {
		return fmt.Errorf("%d taps, want %d", len(s.Taps), 2*size*line)
	}
	for i := range 2 * size {
		first, count, pixels := int(s.Taps[i*line]), int(s.Taps[i*line+1]), s.Width
		if i >= size {
			pixels = s.Height
		}
		if first < 0 || count < 0 || count > line-2 || first > pixels-count {
			return fmt.Errorf("%d taps from pixel %d of %d", count, first, pixels)
		}
	}
	return nil
}

// write brings as many images to the device as there is room for, at least one, and returns how many.
func (b *sourceBuffers) write(images []preprocess.Source, size, middle int) (int, error) {
	b.place, b.tap = b.place[:0], b.tap[:0]
	at, mid := 0, 0
	for i := range images {
		s := &images[i]
		between, first := 3*size*s.Height, int32(0)
		if s.ColumnsFirst {
			between, first = 3*size*s.Width, 1
		}
		if at+len(s.Pix) > b.src.Len() || mid+between > middle {
			break
		}
		if err := b.src.WriteRaw(at, s.Pix); err != nil {
			return 0, err
		}
		b.place = append(b.place, int32(at), int32(s.Width), int32(s.Height), first, int32(mid))
		b.tap = append(b.tap, s.Taps...)
		at, mid = at+len(s.Pix), mid+between
	}
	if err := b.places.WriteI32(0, b.place); err != nil {
		return 0, err
	}
	return len(b.place) / 5, b.taps.WriteI32(0, b.tap)
}
