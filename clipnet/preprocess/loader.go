package preprocess

import (
	"context"
	"iter"
	"sync"
)

// Item is one image that Load has worked on.
type Item struct {
	Index  int    // place among the paths, from 0
	Path   string // as given
	Crop   []byte // [D, D, 3]; nil after an error
	Pixels []float32
	Source *Source // what LoadSources gives in place of Crop and Pixels
	Err    error   // as File returns it; the other images are not touched by it
}

// slot is an Item with its memory and a signal that it is finished.
type slot struct {
	item   Item
	crop   []byte
	pixels []float32
	source Source
	done   chan struct{} // holds one token once the item is finished
}

// Load decodes and preprocesses image files with the given number of workers, ahead of the caller, and yields them in
// the order of their paths. It holds at most 2*workers images. An Item's memory is valid until the next one is asked
// for. Pixels are [3, D, D] float32.
//
// Paths are ranged over in another goroutine, and only as fast as their images are consumed. When ctx is cancelled the
// sequence ends early; the caller then finds the reason in ctx.Err.
func (p *Preprocessor) Load(ctx context.Context, paths iter.Seq[string], workers int) iter.Seq[Item] {
	return load(ctx, paths, workers, func(s *slot) error {
		if err := p.cropSlot(s); err != nil {
			return err
		}
		s.pixels = resized(s.pixels, p.PixelCount())
		p.Normalize(s.crop, s.pixels)
		s.item.Pixels = s.pixels
		return nil
	})
}

// LoadCrops is Load without the normalisation: Pixels stays nil.
func (p *Preprocessor) LoadCrops(ctx context.Context, paths iter.Seq[string], workers int) iter.Seq[Item] {
	return load(ctx, paths, workers, p.cropSlot)
}

// LoadSources is Load for a device that resizes.
func (p *Preprocessor) LoadSources(ctx context.Context, paths iter.Seq[string], workers int) iter.Seq[Item] {
	return load(ctx, paths, workers, func(s *slot) error {
		err := p.SourceFile(s.item.Path, &s.source)
		if err == nil {
			s.item.Source = &s.source
		}
		return err
	})
}

// cropSlot makes a slot's crop.
func (p *Preprocessor) cropSlot(s *slot) error {
	s.crop = resized(s.crop, p.CropBytes())
	err := p.CropFile(s.item.Path, s.crop)
	if err == nil {
		s.item.Crop = s.crop
	}
	return err
}

// load has slots filled by workers.
func load(ctx context.Context, paths iter.Seq[string], workers int, fill func(*slot) error) iter.Seq[Item] {
	workers = max(workers, 1)
	return func(yield func(Item) bool) {
		ctx, cancel := context.WithCancel(ctx)
		slots := 2 * workers
		free, order, jobs := make(chan *slot, slots), make(chan *slot, slots), make(chan *slot)
		for range slots {
			free <- &slot{done: make(chan struct{}, 1)}
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		for range workers {
			wg.Go(func() { work(ctx, jobs, fill) })
		}
		// Not waited for: the paths may come from a pipe that says nothing more.
		go dispatch(ctx, paths, free, order, jobs)
		for {
			var s *slot
			var more bool
			select {
			case s, more = <-order:
			case <-ctx.Done():
			}
			if !more {
				return
			}
			select {
			case <-s.done:
			case <-ctx.Done():
				return
			}
			if ctx.Err() != nil || !yield(s.item) {
				return
			}
			free <- s
		}
	}
}

// dispatch gives each path a free slot, its place in the order and a worker.
func dispatch(ctx context.Context, paths iter.Seq[string], free <-chan *slot, order, jobs chan<- *slot) {
	defer close(order)
	index := 0
	for path := range paths {
		var s *slot
		select {
		case s = <-free:
		case <-ctx.Done():
			return
		}
		s.item = Item{Index: index, Path: path}
		index++
		order <- s // there is room: as many places as slots
		select {
		case jobs <- s:
		case <-ctx.Done():
			return
		}
	}
}

// work serves jobs until the context ends.
func work(ctx context.Context, jobs <-chan *slot, fill func(*slot) error) {
	for {
		var s *slot
		select {
		case s = <-jobs:
		case <-ctx.Done():
			return
		}
		s.item.Err = fill(s)
		s.done <- struct{}{}
	}
}
