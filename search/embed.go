package search

import (
	"context"
	"fmt"
	"iter"
	"slices"
)

// Embedded is an image's feature, or why it has none.
type Embedded struct {
	Index   int    // place among the paths
	Path    string // as given
	Feature []float32
	Err     error
}

// EmbedImages computes the raw features, not normalised, of image files and hands them to yield in the order of the paths;
// workers goroutines decode ahead while the device computes. A broken image has its error and does not stop the others. The
// feature is valid until yield returns; an error of yield ends the work.
func (e *Engine) EmbedImages(ctx context.Context, paths iter.Seq[string], workers int, yield func(Embedded) error) error {
	enc, err := e.image()
	if err != nil {
		return err
	}
	n, size := enc.MaxBatch(), e.pre.PixelCount()
	pixels, features := make([]float32, n*size), make([]float32, n*e.Dim())
	batch := make([]Embedded, 0, n) // with their broken neighbours, which take no pixels
	images := 0
	flush := func() error {
		if err := enc.Encode(ctx, features[:images*e.Dim()], pixels[:images*size], images); err != nil {
			return err
		}
		row := 0
		for _, item := range batch {
			if item.Err == nil {
				item.Feature = features[row*e.Dim() : (row+1)*e.Dim()]
				row++
			}
			if err := yield(item); err != nil {
				return err
			}
		}
		batch, images = batch[:0], 0
		return nil
	}
	for item := range e.pre.Load(ctx, paths, workers) {
		batch = append(batch, Embedded{Index: item.Index, Path: item.Path, Err: item.Err})
		if item.Err == nil {
			copy(pixels[images*size:], item.Pixels)
			images++
		}
		if len(batch) == n {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("search: embed images: %w", err)
	}
	return flush()
}

// EmbedImage is the raw feature of one image in memory; the name is for errors.
func (e *Engine) EmbedImage(ctx context.Context, name string, data []byte) ([]float32, error) {
	enc, err := e.image()
	if err != nil {
		return nil, err
	}
	pixels, feature := make([]float32, e.pre.PixelCount()), make([]float32, e.Dim())
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
