package search

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"isearle/clipnet"
	"isearle/clipnet/preprocess"
	"isearle/runtime"
)

// Embedded is an image's feature, or why it has none.
type Embedded struct {
	Index   int    // place among the paths
	Path    string // as given
	Feature []float32
	Err     error
}

// EmbedImages computes the raw features, not normalised, of image files and hands them to yield in the order of the paths;
// workers goroutines decode the next batch while the device computes one. A broken image has its error and does not stop the
// others. The feature is valid until yield returns; an error of yield ends the work.
func (e *Engine) EmbedImages(ctx context.Context, paths iter.Seq[string], workers int, yield func(Embedded) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	free, full := make(chan *imageBatch, 2), make(chan *imageBatch)
	free <- &imageBatch{}
	free <- &imageBatch{}
	go e.gather(ctx, paths, workers, free, full)
	for b := range full {
		if err := e.embedBatch(ctx, b, yield); err != nil {
			cancel()
			for range full { // gather must not be left waiting
			}
			return err
		}
		free <- b
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("search: embed images: %w", err)
	}
	return nil
}

// imageBatch is a run of images with the pixels of those that could be decoded, or the sources where the device resizes.
type imageBatch struct {
	items    []Embedded
	pixels   []float32
	sources  []preprocess.Source // of which the first so many images' are this batch's, the others memory
	bytes    int                 // of sources
	features []float32
	images   int
}

// maxSourceBytes ends a batch of sources.
const maxSourceBytes = 256 << 20

// reset empties a batch.
func (b *imageBatch) reset() { b.items, b.pixels, b.bytes, b.images = b.items[:0], b.pixels[:0], 0, 0 }

// add appends an image, copied.
func (b *imageBatch) add(item preprocess.Item) {
	b.items = append(b.items, Embedded{Index: item.Index, Path: item.Path, Err: item.Err})
	switch {
	case item.Err != nil:
		return
	case item.Source == nil:
		b.pixels = append(b.pixels, item.Pixels...)
	default:
		if b.images == len(b.sources) {
			b.sources = append(b.sources, preprocess.Source{})
		}
		b.sources[b.images].Set(item.Source)
		b.bytes += len(item.Source.Pix)
	}
	b.images++
}

// load decodes image files into what the device takes.
func (e *Engine) load(ctx context.Context, paths iter.Seq[string], workers int) iter.Seq[preprocess.Item] {
	if runtime.Resamples(e.dev) {
		return e.pre.LoadSources(ctx, paths, workers)
	}
	return e.pre.Load(ctx, paths, workers)
}

// gather fills batches until the paths end, and closes full.
func (e *Engine) gather(ctx context.Context, paths iter.Seq[string], workers int, free <-chan *imageBatch, full chan<- *imageBatch) {
	defer close(full)
	send := func(b *imageBatch) bool {
		select {
		case full <- b:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var b *imageBatch
	for item := range e.load(ctx, paths, workers) {
		if b == nil {
			select {
			case b = <-free:
				b.reset()
			case <-ctx.Done():
				return
			}
		}
		b.add(item)
		if len(b.items) == clipnet.MaxImages(e.dev) || b.bytes > maxSourceBytes {
			if !send(b) {
				return
			}
			b = nil
		}
	}
	if b != nil && ctx.Err() == nil {
		send(b)
	}
}

// embedBatch computes a batch's features and hands them over.
func (e *Engine) embedBatch(ctx context.Context, b *imageBatch, yield func(Embedded) error) error {
	if b.images > 0 {
		enc, err := e.image()
		if err != nil {
			return err
		}
		b.features = slices.Grow(b.features[:0], b.images*e.Dim())[:b.images*e.Dim()]
		if b.bytes > 0 {
			err = enc.EncodeSources(ctx, b.features, b.sources[:b.images])
		} else {
			err = enc.Encode(ctx, b.features, b.pixels, b.images)
		}
		if err != nil {
			return err
		}
	}
	row := 0
	for _, item := range b.items {
		if item.Err == nil {
			item.Feature = b.features[row*e.Dim() : (row+1)*e.Dim()]
			row++
		}
		if err := yield(item); err != nil {
			return err
		}
	}
	return nil
}

// EmbedImage is the raw feature of one image in memory; the name is for errors.
func (e *Engine) EmbedImage(ctx context.Context, name string, data []byte) ([]float32, error) {
	enc, err := e.image()
	if err != nil {
		return nil, err
	}
	feature := make([]float32, e.Dim())
	if runtime.Resamples(e.dev) {
		source := make([]preprocess.Source, 1)
		if err := e.pre.Source(name, data, &source[0]); err != nil {
			return nil, err
		}
		return feature, enc.EncodeSources(ctx, feature, source)
	}
	pixels := make([]float32, e.pre.PixelCount())
	if err := e.pre.Decode(name, data, pixels); err != nil {
		return nil, err
	}
	return feature, enc.Encode(ctx, feature, pixels, 1)
}

// EmbedFile is EmbedImage of a file.
func (e *Engine) EmbedFile(ctx context.Context, path string) (feature []float32, err error) {
	runErr := e.EmbedImages(ctx, slices.Values([]string{path}), 1, func(m Embedded) error {
		feature, err = slices.Clone(m.Feature), m.Err
		return nil
	})
	if runErr != nil {
		return nil, runErr
	}
	return feature, err
}

// Unit scales a feature to length one, in place; zero stays zero.
func Unit(x []float32) { unit(x, norm(x)) }
