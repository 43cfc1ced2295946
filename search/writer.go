package search

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"isearle/weights/atomicfile"
)

// PartialSuffix is added to a path for the journal of a run that has not finished.
const PartialSuffix = ".partial"

// maxID is the longest id in bytes; paths have at most 4096 on Linux.
const maxID = 1 << 16

// ErrDuplicateID is wrapped by the errors of Writer.Add and Keep for an id that the file already has.
var ErrDuplicateID = errors.New("the id occurs twice")

// WriterOptions of Create.
type WriterOptions struct {
	// Restart drops what an interrupted run has left and uses no row of an existing file.
	Restart bool
	// Append begins with all rows of the existing gallery, if there is one. Only galleries can be appended to.
	Append bool
	// NoIDs leaves the ids out of .npy output.
	NoIDs bool
}

// Writer makes a file of features: a gallery where the path ends in .isx, an array and a list of ids for .npy (see IDsPath),
// one object a line for .jsonl. Nothing stands at the path before Commit, which puts the whole file there at once; until then
// rows are collected beside it, in path + PartialSuffix. A process that is killed at any moment loses the rows since the last
// Flush, and the next Writer for the path goes on with those before it.
//
// The rows of the file are those given to Add and Keep, in that order. So a program that goes through its inputs in a fixed
// order, and for each either keeps the row or computes and adds it, ends in the same bytes however often it was interrupted:
//
//	for _, in := range inputs {
//		if ok, err := w.Keep(in.id, in.digest); err != nil {
//			return err
//		} else if !ok {
//			err = w.Add(in.id, in.digest, compute(in))
//			...
//
// A Writer is not safe for concurrent use.
type Writer struct {
	path    string
	meta    Meta
	o       WriterOptions
	journal *journal
	base    *Gallery // an existing gallery whose rows may be kept
	earlier int      // rows in the journal at the start

	order    []int // the file's rows: entry e of the journal as e, row r of base as ^r
	placed   map[string]bool
	baseRows int // rows of base that are placed by Append
}

// Create begins or resumes the file at path. An interrupted run of another model is a *ModelMismatchError.
func Create(path string, meta Meta, o WriterOptions) (*Writer, error) {
	w, err := create(path, meta, o)
	if err != nil {
		return nil, fmt.Errorf("search: create %q: %w", path, err)
	}
	return w, nil
}

func create(path string, meta Meta, o WriterOptions) (*Writer, error) {
	if err := meta.check(); err != nil {
		return nil, err
	}
	if _, err := writerFor(path); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	w := &Writer{path: path, meta: meta, o: o, placed: map[string]bool{}}
	var err error
	if w.journal, err = openJournal(path+PartialSuffix, meta, o.Restart); err != nil {
		return nil, err
	}
	w.earlier = len(w.journal.entries)
	if err := w.openBase(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// openBase opens the file that is to be replaced or appended to. Where it is only replaced, it may be anything.
func (w *Writer) openBase() error {
	if !isGallery(w.path) {
		if w.o.Append {
			return errors.New("only .isx galleries can be appended to")
		}
		return nil
	}
	g, err := OpenGallery(w.path)
	if errors.Is(err, os.ErrNotExist) || err != nil && !w.o.Append {
		return nil
	}
	if err != nil {
		return err
	}
	if err := g.CheckModel(w.meta.Model); err != nil && w.o.Append {
		return errors.Join(err, g.Close())
	} else if d := g.meta.difference(w.meta); d != "" && w.o.Append {
		return errors.Join(fmt.Errorf("it has %s: what is appended must agree", d), g.Close())
	} else if err != nil || d != "" || w.o.Restart && !w.o.Append {
		return g.Close()
	}
	w.base = g
	if w.o.Append {
		w.baseRows = g.Len()
		for r := range g.Len() {
			w.order = append(w.order, ^r)
		}
	}
	return nil
}

func isGallery(path string) bool { return strings.EqualFold(filepath.Ext(path), ".isx") }

// writerFor is how a path's format is written.
func writerFor(path string) (func(*Writer) error, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".isx":
		return (*Writer).writeGallery, nil
	case ".npy":
		return (*Writer).writeNPY, nil
	case ".jsonl":
		return (*Writer).writeJSONL, nil
	}
	return nil, errors.New("the name must end in .isx, .npy or .jsonl")
}

// Resumed is the number of rows that an interrupted run has left.
func (w *Writer) Resumed() int { return w.earlier }

// Len is the number of rows placed so far.
func (w *Writer) Len() int { return len(w.order) }

// Has says whether Keep would find a row: one that an interrupted run, or the gallery that stands at the path, made for this
// id from content of this digest. For a row of that gallery the digest must not be zero.
func (w *Writer) Has(id string, d Digest) bool {
	_, ok := w.find(id, d)
	return ok
}

// find returns a stored row as an element of order.
func (w *Writer) find(id string, d Digest) (int, bool) {
	if e, ok := w.journal.byID[id]; ok && w.journal.entries[e].digest == d {
		return e, true
	}
	if w.base != nil {
		if r, ok := w.base.Row(id); ok && (r < w.baseRows || d != Digest{} && w.base.Digest(r) == d) {
			return ^r, true
		}
	}
	return 0, false
}

// has says whether the file has a row with an id.
func (w *Writer) has(id string) bool {
	if w.placed[id] {
		return true
	}
	if w.baseRows == 0 {
		return false
	}
	_, ok := w.base.Row(id)
	return ok
}

// Keep places a stored row next, and reports whether there was one. With Append, the gallery's own rows have their places
// already, and Keep reports that they are there, whatever the digest.
func (w *Writer) Keep(id string, d Digest) (bool, error) {
	if w.baseRows > 0 {
		if _, ok := w.base.Row(id); ok {
			return true, nil
		}
	}
	row, ok := w.find(id, d)
	if !ok {
		return false, nil
	}
	if w.has(id) {
		return false, fmt.Errorf("search: %q: keep %q: %w", w.path, id, ErrDuplicateID)
	}
	w.place(id, row)
	return true, nil
}

func (w *Writer) place(id string, row int) {
	w.placed[id] = true
	w.order = append(w.order, row)
}

// Add places a new row next. The feature must be finite, also when rounded to the file's dtype, and of unit length if the
// Meta says normalised.
func (w *Writer) Add(id string, d Digest, feature []float32) error {
	raw, err := w.check(id, feature)
	if err != nil {
		return fmt.Errorf("search: %q: add %q: %w", w.path, id, err)
	}
	row := len(w.journal.entries) + w.journal.pending.rows
	if err := w.journal.add(id, d, raw); err != nil {
		return fmt.Errorf("search: %q: %w", w.path, err)
	}
	w.place(id, row)
	return nil
}

// check returns a row's stored form.
func (w *Writer) check(id string, feature []float32) ([]byte, error) {
	n := norm(feature)
	switch {
	case id == "" || len(id) > maxID:
		return nil, fmt.Errorf("an id of %d bytes; 1 to %d are possible", len(id), maxID)
	case w.has(id):
		return nil, ErrDuplicateID
	case len(w.order) >= maxRows:
		return nil, fmt.Errorf("more than %d rows", maxRows)
	case len(feature) != w.meta.Dim:
		return nil, fmt.Errorf("a feature of dimension %d, the file has %d", len(feature), w.meta.Dim)
	case !finite(n):
		return nil, errors.New("the feature is not finite")
	case w.meta.Normalised && !isUnit(n):
		return nil, fmt.Errorf("the feature has length %.4g, but the file is to be normalised", n)
	}
	raw := encode(nil, feature, w.meta.DType)
	if !allFinite(raw, w.meta.DType) {
		return nil, fmt.Errorf("the feature has numbers too large for %s", w.meta.DType)
	}
	return raw, nil
}

// Flush makes all rows added so far durable. A Writer flushes by itself after some megabytes.
func (w *Writer) Flush() error {
	if err := w.journal.flush(); err != nil {
		return fmt.Errorf("search: %q: %w", w.path, err)
	}
	return nil
}

// Commit writes the file and removes the journal. When it fails, a file that stood at the path is as it was, and the rows
// are safe in the journal.
func (w *Writer) Commit() error {
	if err := w.Flush(); err != nil {
		return err
	}
	write, err := writerFor(w.path)
	if err != nil {
		return err
	}
	if err := write(w); err != nil {
		return fmt.Errorf("search: %w", err)
	}
	if err := w.journal.remove(); err != nil {
		return fmt.Errorf("search: %q is written, but: %w", w.path, err)
	}
	w.journal = nil
	return w.Close()
}

// Close flushes and releases what an uncommitted Writer holds, and leaves the journal for the next one. After Commit it does
// nothing.
func (w *Writer) Close() error {
	var errs []error
	if w.journal != nil {
		errs = append(errs, w.journal.flush(), w.journal.close())
		w.journal = nil
	}
	if w.base != nil {
		errs = append(errs, w.base.Close())
		w.base = nil
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("search: %q: %w", w.path, err)
	}
	return nil
}

// reader reads the stored rows of a Writer. It is for one goroutine.
type reader struct {
	w   *Writer
	raw []byte
}

func (w *Writer) reader() *reader { return &reader{w: w, raw: make([]byte, w.journal.rowSize())} }

// row is the stored bytes of row i of the file, valid until the next call.
func (r *reader) row(i int) ([]byte, error) {
	e := r.w.order[i]
	if e < 0 {
		return r.w.base.raw(^e, ^e+1), nil
	}
	return r.raw, r.w.journal.feature(r.raw, e)
}

// feature converts row i of the file.
func (r *reader) feature(i int, dst []float32) error {
	raw, err := r.row(i)
	if err == nil {
		decode(dst, raw, r.w.meta.DType)
	}
	return err
}

// ids returns the ids in order.
func (w *Writer) ids() []string {
	out := make([]string, len(w.order))
	byEntry := make([]string, len(w.journal.entries))
	for id, e := range w.journal.byID {
		byEntry[e] = id
	}
	for i, e := range w.order {
		if e < 0 {
			out[i] = w.base.ID(^e)
		} else {
			out[i] = byEntry[e]
		}
	}
	return out
}

// writeNPY writes the array after its ids, so that an array never stands beside the ids of another.
func (w *Writer) writeNPY() error {
	if !w.o.NoIDs {
		err := atomicfile.Write(IDsPath(w.path), func(out io.Writer) error { return WriteIDs(out, w.ids()) })
		if err != nil {
			return err
		}
	}
	r, x := w.reader(), make([]float32, w.meta.Dim)
	return atomicfile.Write(w.path, func(out io.Writer) error {
		return WriteNPY(out, len(w.order), w.meta.Dim, func(i int) ([]float32, error) { return x, r.feature(i, x) })
	})
}

func (w *Writer) writeJSONL() error {
	r, x, ids := w.reader(), make([]float32, w.meta.Dim), w.ids()
	return atomicfile.Write(w.path, func(out io.Writer) error {
		for i, id := range ids {
			if err := r.feature(i, x); err != nil {
				return err
			}
			if err := WriteJSONL(out, Row{ID: id, Feature: x}); err != nil {
				return err
			}
		}
		return nil
	})
}
