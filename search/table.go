package search

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"isearle/runtime"
)

// Table is a file of features in any format: .isx, .npy or .jsonl.
type Table struct {
	// Meta is a gallery's own. Of the other formats Dim is known, Normalised where all rows have unit length, and DType is F32.
	Meta  Meta
	rows  iter.Seq2[Row, error]
	close func() error
}

// OpenTable opens a file by the ending of its name. The ids of X.npy are the lines of X.ids.txt, or the numbers of the rows
// from 0 where there is no such file.
func OpenTable(path string) (*Table, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".isx":
		g, err := OpenGallery(path)
		if err != nil {
			return nil, err
		}
		return &Table{Meta: g.meta, rows: g.all(), close: g.Close}, nil
	case ".npy":
		return openNPYTable(path)
	case ".jsonl":
		return openJSONLTable(path)
	default:
		return nil, fmt.Errorf("search: %q: the name must end in .isx, .npy or .jsonl", path)
	}
}

// all gives the rows of a gallery.
func (g *Gallery) all() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		x := make([]float32, g.meta.Dim)
		for i := range g.rows {
			if !yield(Row{g.ID(i), g.Feature(i, x)}, nil) {
				return
			}
		}
	}
}

func openNPYTable(path string) (*Table, error) {
	a, err := OpenNPY(path)
	if err != nil {
		return nil, err
	}
	ids, err := readIDs(IDsPath(path), a.Rows)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	rows := func(yield func(Row, error) bool) {
		x := make([]float32, a.Dim)
		for i := range a.Rows {
			a.Row(i, x)
			id := strconv.Itoa(i)
			if ids != nil {
				id = ids[i]
			}
			if !finite(norm(x)) {
				yield(Row{}, fmt.Errorf("search: %q: the feature of row %d (%q) is not finite", path, i, id))
				return
			}
			if !yield(Row{id, x}, nil) {
				return
			}
		}
	}
	return newTable(a.Dim, rows, a.Close)
}

func openJSONLTable(path string) (*Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	rows := func(yield func(Row, error) bool) {
		if _, err := f.Seek(0, 0); err != nil {
			yield(Row{}, fmt.Errorf("search: %w", err))
			return
		}
		ReadJSONL(f, path)(yield)
	}
	return newTable(0, rows, f.Close)
}

// newTable goes through the rows once, to see errors early and whether all have unit length.
func newTable(dim int, rows iter.Seq2[Row, error], close func() error) (*Table, error) {
	t := &Table{Meta: Meta{Dim: dim, Normalised: true, DType: runtime.F32}, rows: rows, close: close}
	for r, err := range rows {
		if err != nil {
			return nil, errors.Join(err, close())
		}
		t.Meta.Dim = len(r.Feature)
		t.Meta.Normalised = t.Meta.Normalised && isUnit(norm(r.Feature))
	}
	return t, nil
}

// Rows gives the rows in order; a Row's feature is valid until the next. It can be ranged over again.
func (t *Table) Rows() iter.Seq2[Row, error] { return t.rows }

// Close closes the file.
func (t *Table) Close() error { return t.close() }

// Convert writes the rows of a Table to a file of any format. meta may change the DType, ask for a coarse copy, or complete
// what the Table does not know; where it says normalised and the Table is not, rows are normalised.
func Convert(ctx context.Context, t *Table, path string, meta Meta) (err error) {
	w, err := Create(path, meta, WriterOptions{Restart: true})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.discard())
		}
	}()
	var x []float32
	for r, err := range t.Rows() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		x = append(x[:0], r.Feature...)
		if meta.Normalised && !t.Meta.Normalised {
			unit(x, norm(x))
		}
		if err := w.Add(r.ID, Digest{}, x); err != nil {
			return err
		}
	}
	return w.Commit()
}

// discard closes a Writer and removes its journal.
func (w *Writer) discard() error {
	if w.journal == nil {
		return w.Close()
	}
	err := w.journal.remove()
	w.journal = nil
	return errors.Join(err, w.Close())
}
