package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"sync"
	"sync/atomic"

	"isearle/cmd/isearle/internal/console"
	"isearle/cmd/isearle/internal/lines"
	"isearle/search"
)

// embedding is a run of embed: rows go to a sink in the order of the inputs, computed or kept from before.
type embedding struct {
	s        *session
	engine   *engine
	out      sink
	raw      bool
	badID    func(id string) error // why the output cannot have an id
	progress *console.Progress
	failed   atomic.Bool

	mu      sync.Mutex
	pending []input // seen and not yet placed
	placed  int
}

// input is an image or a caption.
type input struct {
	name   string // for messages
	id     string
	digest search.Digest
	kept   bool // a row from before is right
}

// fail names an input that is left out.
func (e *embedding) fail(err error) {
	e.failed.Store(true)
	e.s.fail(err)
}

// finish ends the run, which ended with err.
func (e *embedding) finish(err error) error {
	e.progress.Stop()
	if err != nil {
		return e.abandon(err)
	}
	if e.placed == 0 && !e.failed.Load() {
		err = errors.New("no inputs: nothing is written")
	}
	if err = errors.Join(err, e.out.commit()); err == nil && e.failed.Load() {
		return errInputs
	}
	return err
}

// abandon ends a run that an error or an interrupt has stopped.
func (e *embedding) abandon(err error) error {
	unsaved := e.out.leave()
	switch {
	case !errors.Is(err, context.Canceled):
		return err // if saving failed too, then for the same reason
	case unsaved != nil:
		return unsaved
	case e.out.digests():
		e.s.notef("what is done is kept: the same command goes on from there")
	}
	return err
}

// images embeds the images at paths.
func (e *embedding) images(ctx context.Context, paths iter.Seq[string], id func(string) string) error {
	err := e.engine.EmbedImages(ctx, e.missing(paths, id), e.engine.threads, func(m search.Embedded) error {
		if err := e.placeKept(); err != nil {
			return err
		}
		in := e.next()
		if m.Err != nil {
			e.fail(m.Err)
			return nil
		}
		return e.place(in, m.Feature)
	})
	if err != nil {
		return err
	}
	return e.placeKept()
}

// missing gives the paths whose features have to be computed. It is ranged over by another goroutine.
func (e *embedding) missing(paths iter.Seq[string], id func(string) string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for path := range paths {
			in, err := e.look(path, id(path))
			if err != nil {
				e.fail(err)
				continue
			}
			e.mu.Lock()
			e.pending = append(e.pending, in)
			e.mu.Unlock()
			if !in.kept && !yield(path) {
				return
			}
		}
	}
}

// look finds out whether an image has a row already.
func (e *embedding) look(path, id string) (in input, err error) {
	in = input{name: path, id: id}
	if err := e.badID(id); err != nil {
		return in, fmt.Errorf("%s: %w", path, err)
	}
	if e.out.digests() {
		in.digest, err = digestFile(path)
		in.kept = in.digest != search.Digest{} && e.out.find(in.id, in.digest)
	}
	return in, err
}

// digestFile is the digest of a file's content; zero for a pipe, which can be read only once.
func digestFile(path string) (d search.Digest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return d, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return d, err
	}
	copy(d[:], h.Sum(nil)) // as search.DigestOf, without holding the file in memory
	return d, nil
}

// captionBatch is how many captions are computed together at most.
const captionBatch = 256

// captions embeds lines of text; name is their file's.
func (e *embedding) captions(ctx context.Context, name string, texts iter.Seq2[lines.Line, error], id func(lines.Line) string) error {
	for batch, err := range lines.Batches(ctx, texts, captionBatch) {
		if err != nil {
			return err
		}
		var todo []string
		for _, line := range batch {
			in := input{name: fmt.Sprintf("%s:%d", name, line.Number), id: id(line), digest: search.DigestOf([]byte(line.Text))}
			if err := e.badID(in.id); err != nil {
				e.fail(fmt.Errorf("%s: %w", in.name, err))
				continue
			}
			in.kept = e.out.find(in.id, in.digest)
			e.pending = append(e.pending, in)
			if !in.kept {
				todo = append(todo, line.Text)
			}
		}
		if err := e.computeCaptions(ctx, todo); err != nil {
			return err
		}
		if err := e.s.out.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// computeCaptions computes the pending captions that are not kept and places all.
func (e *embedding) computeCaptions(ctx context.Context, texts []string) error {
	dim := e.engine.Dim()
	features := make([]float32, len(texts)*dim)
	cut, err := e.engine.EmbedTexts(ctx, features, texts)
	if err != nil {
		return err
	}
	for i := range texts {
		if err := e.placeKept(); err != nil {
			return err
		}
		in := e.next()
		if len(cut) > 0 && cut[0] == i {
			cut = cut[1:]
			e.s.notef("%s: the caption is cut to %d tokens", in.name, e.engine.Config().Text.Context)
		}
		if err := e.place(in, features[i*dim:(i+1)*dim]); err != nil {
			return err
		}
	}
	return e.placeKept()
}

// next takes the first pending input.
func (e *embedding) next() input {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := e.pending[0]
	e.pending = e.pending[1:]
	return in
}

// placeKept places the inputs before the first one that is computed.
func (e *embedding) placeKept() error {
	for {
		e.mu.Lock()
		kept := len(e.pending) > 0 && e.pending[0].kept
		e.mu.Unlock()
		if !kept {
			return nil
		}
		in := e.next()
		if err := e.settle(e.out.keep(in.id, in.digest)); err != nil {
			return err
		}
	}
}

// place scales a computed feature and gives it to the sink.
func (e *embedding) place(in input, feature []float32) error {
	sum := 0.0
	for _, v := range feature {
		sum += float64(v) * float64(v)
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) || sum == 0 {
		e.fail(fmt.Errorf("%s: its feature has length %g: the model's weights or the input are broken", in.name, math.Sqrt(sum)))
		return nil
	}
	if !e.raw {
		search.Unit(feature)
	}
	return e.settle(e.out.add(in.id, in.digest, feature))
}

// settle counts what was placed. An id that occurs twice fails its input, not the run.
func (e *embedding) settle(err error) error {
	if errors.Is(err, search.ErrDuplicateID) {
		e.fail(err)
		return nil
	}
	if err == nil {
		e.placed++
		e.progress.Add(1)
	}
	return err
}
