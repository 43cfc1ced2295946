package search

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"unsafe"

	"isearle/runtime"
	"isearle/weights/mmap"
	"isearle/weights/safetensors"
)

// Gallery is an open .isx file. Features stay in the file, which is mapped. Its methods can be called concurrently.
type Gallery struct {
	meta    Meta
	path    string
	m       *mmap.File
	rows    int
	data    []byte // features
	ids     []byte
	ends    []byte // id_ends
	digests []byte
	coarse  *runtime.Coarse
	codes   []byte // those of coarse

	table func() *idTable
}

// maxRows is what a row's number in 32 bits allows.
const maxRows = math.MaxUint32 - 1

// OpenGallery maps a gallery and checks everything but what takes reading all features: see Check. Errors are a
// *safetensors.FormatError for a broken file, others that name the tensor and the row, and the system's.
func OpenGallery(path string) (*Gallery, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, fmt.Errorf("search: open gallery: %w", err)
	}
	g, err := parseGallery(m)
	if err != nil {
		m.Close()
		return nil, err
	}
	return g, nil
}

// ParseGallery checks a gallery that is in memory, which must not change while it is in use; name stands for it in errors.
func ParseGallery(data []byte, name string) (*Gallery, error) {
	return parseGallery(mmap.FromBytes(name, data))
}

func parseGallery(m *mmap.File) (*Gallery, error) {
	f, err := safetensors.FromMap(m)
	if err != nil {
		return nil, fmt.Errorf("search: open gallery: %w", err)
	}
	g := &Gallery{path: m.Name(), m: m}
	g.table = sync.OnceValue(func() *idTable { return newIDTable(g) })
	if err := g.load(f); err != nil {
		return nil, fmt.Errorf("search: gallery %q: %w", g.path, err)
	}
	return g, nil
}

func (g *Gallery) load(f *safetensors.File) error {
	var err error
	if g.meta, err = decodeMeta(f.Metadata()); err != nil {
		return err
	}
	for _, step := range []func(*safetensors.File) error{g.loadFeatures, g.loadIDs, g.loadDigests, g.loadCoarse} {
		if err := step(f); err != nil {
			return err
		}
	}
	return g.sample()
}

func (g *Gallery) loadFeatures(f *safetensors.File) error {
	t, ok := f.Tensor("features")
	if !ok {
		return errors.New(`no tensor "features"`)
	}
	if len(t.Shape) != 2 || t.Shape[1] != g.meta.Dim {
		return fmt.Errorf("features are %v, the metadata says [n %d]", t.Shape, g.meta.Dim)
	}
	for dt, s := range stored {
		if s == t.DType {
			g.meta.DType = dt
		}
	}
	if g.meta.DType == 0 {
		return fmt.Errorf("features are %v, not F32, F16 or BF16", t.DType)
	}
	if t.Shape[0] > maxRows {
		return fmt.Errorf("%d rows; at most %d are possible", t.Shape[0], maxRows)
	}
	_, g.meta.Coarse = f.Tensor("codes")
	g.rows, g.data = t.Shape[0], t.Data
	return g.meta.check()
}

// tensor finds a tensor of a type and shape.
func tensor(f *safetensors.File, name string, dt safetensors.DType, shape ...int) (safetensors.Tensor, error) {
	t, ok := f.Tensor(name)
	if !ok {
		return t, fmt.Errorf("no tensor %q", name)
	}
	right := t.DType == dt && len(t.Shape) == len(shape)
	for i := 0; right && i < len(shape); i++ {
		right = shape[i] < 0 || t.Shape[i] == shape[i]
	}
	if !right {
		return t, fmt.Errorf("%s is %v %v, not %v %v", name, t.DType, t.Shape, dt, shape)
	}
	return t, nil
}

func (g *Gallery) loadIDs(f *safetensors.File) error {
	ids, err := tensor(f, "ids", safetensors.U8, -1)
	if err != nil {
		return err
	}
	ends, err := tensor(f, "id_ends", safetensors.I64, g.rows)
	if err != nil {
		return err
	}
	g.ids, g.ends = ids.Data, ends.Data
	at := uint64(0)
	for i := range g.rows {
		end := binary.LittleEndian.Uint64(g.ends[8*i:])
		if end > uint64(len(g.ids)) || end < at {
			return fmt.Errorf("id_ends: row %d: id ends at %d, the one before it at %d, all ids at %d", i, end, at, len(g.ids))
		}
		if end == at {
			return fmt.Errorf("id_ends: row %d has an empty id", i)
		}
		at = end
	}
	if at != uint64(len(g.ids)) {
		return fmt.Errorf("id_ends: the last id ends at %d, all ids at %d", at, len(g.ids))
	}
	return nil
}

func (g *Gallery) loadDigests(f *safetensors.File) error {
	if _, ok := f.Tensor("digests"); !ok {
		return nil
	}
	t, err := tensor(f, "digests", safetensors.U8, g.rows, len(Digest{}))
	g.digests = t.Data
	return err
}

func (g *Gallery) loadCoarse(f *safetensors.File) error {
	if !g.meta.Coarse {
		return nil
	}
	codes, err := tensor(f, "codes", safetensors.I8, g.rows, g.meta.Dim)
	if err != nil {
		return err
	}
	g.codes = codes.Data
	g.coarse = &runtime.Coarse{Codes: unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(codes.Data))), len(codes.Data))}
	for _, t := range []struct {
		name string
		n    int
		dst  *[]float32
	}{{"scale", g.rows, &g.coarse.Scale}, {"loss", g.rows, &g.coarse.Loss}, {"mean", g.meta.Dim, &g.coarse.Mean}} {
		x, err := tensor(f, t.name, safetensors.F32, t.n)
		if err != nil {
			return err
		}
		view, ok := x.Float32View()
		if !ok {
			if view, err = x.Float32s(nil); err != nil {
				return err
			}
		}
		for i, v := range view {
			if !finite(float64(v)) || v < 0 && t.name != "mean" {
				return fmt.Errorf("%s: element %d is %v", t.name, i, v)
			}
		}
		*t.dst = view
	}
	return nil
}

// sampleRows is how many rows are looked at when a gallery is opened.
const sampleRows = 64

// sample looks at some rows, so that a wrong type or a wrong claim to be normalised shows at once.
func (g *Gallery) sample() error {
	x := make([]float32, g.meta.Dim)
	for i := range min(sampleRows, g.rows) {
		if err := g.checkRow(i*g.rows/min(sampleRows, g.rows), x); err != nil {
			return err
		}
	}
	return nil
}

// checkRow checks one row with x as scratch.
func (g *Gallery) checkRow(i int, x []float32) error {
	n := norm(g.Feature(i, x))
	switch {
	case !finite(n):
		return fmt.Errorf("the feature of row %d (%q) is not finite", i, g.ID(i))
	case g.meta.Normalised && !isUnit(n):
		return fmt.Errorf("the feature of row %d (%q) has length %.4g, but the metadata says normalised", i, g.ID(i), n)
	}
	return nil
}

// Meta says what the features are.
func (g *Gallery) Meta() Meta { return g.meta }

// Path is the name the gallery was opened with.
func (g *Gallery) Path() string { return g.path }

// Len is the number of rows.
func (g *Gallery) Len() int { return g.rows }

// ID is the id of row i.
func (g *Gallery) ID(i int) string { return string(g.id(i)) }

func (g *Gallery) id(i int) []byte {
	start := uint64(0)
	if i > 0 {
		start = binary.LittleEndian.Uint64(g.ends[8*(i-1):])
	}
	return g.ids[start:binary.LittleEndian.Uint64(g.ends[8*i:])]
}

// Digest is that of row i, zero where the gallery has none.
func (g *Gallery) Digest(i int) (d Digest) {
	if g.digests != nil {
		copy(d[:], g.digests[i*len(d):])
	}
	return d
}

// Row finds an id. The first call reads all ids.
func (g *Gallery) Row(id string) (row int, ok bool) { return g.table().find([]byte(id)) }

// Feature converts row i into dst, which is grown when it is too short, and returns it with the gallery's dimension.
func (g *Gallery) Feature(i int, dst []float32) []float32 {
	if cap(dst) < g.meta.Dim {
		dst = make([]float32, g.meta.Dim)
	}
	dst = dst[:g.meta.Dim]
	decode(dst, g.raw(i, i+1), g.meta.DType)
	return dst
}

// raw is the stored bytes of rows lo to hi-1.
func (g *Gallery) raw(lo, hi int) []byte {
	size := g.meta.Dim * g.meta.DType.Size()
	return g.data[lo*size : hi*size]
}

// Chunk is rows lo to hi-1 as a device's search takes them. Its memory is the file's.
func (g *Gallery) Chunk(lo, hi int) runtime.Chunk {
	c := runtime.Chunk{DType: g.meta.DType, Rows: hi - lo, Data: g.raw(lo, hi)}
	if k := g.coarse; k != nil {
		c.Coarse = &runtime.Coarse{Codes: k.Codes[lo*g.meta.Dim : hi*g.meta.Dim], Scale: k.Scale[lo:hi], Loss: k.Loss[lo:hi], Mean: k.Mean}
	}
	return c
}

// CheckModel is a *ModelMismatchError if m is not the model that made the gallery. Where a hash is not known names decide,
// and where these are not known either there is nothing to compare.
func (g *Gallery) CheckModel(m Model) error {
	if !g.meta.Model.matches(m) {
		return &ModelMismatchError{Path: g.path, Have: g.meta.Model, Want: m}
	}
	return nil
}

// Check reads all ids and features: ids must be unique and features finite. It is as fast as memory.
func (g *Gallery) Check(ctx context.Context) error {
	if i, j, twice := g.table().duplicate(); twice {
		return fmt.Errorf("search: gallery %q: rows %d and %d have the same id %q", g.path, i, j, g.ID(i))
	}
	return g.scan(ctx, func(lo, hi int) bool { return allFinite(g.raw(lo, hi), g.meta.DType) })
}

// Verify checks what Check does and that every row has the length and the coarse copy that the file claims, on which the
// results of a search depend.
func (g *Gallery) Verify(ctx context.Context) error {
	if err := g.Check(ctx); err != nil {
		return err
	}
	return g.scan(ctx, func(lo, hi int) bool {
		x := make([]float32, g.meta.Dim)
		for i := lo; i < hi; i++ {
			if g.verifyRow(i, x) != nil {
				return false
			}
		}
		return true
	})
}

// verifyRow checks one row and its coarse copy.
func (g *Gallery) verifyRow(i int, x []float32) error {
	if err := g.checkRow(i, x); err != nil || g.coarse == nil {
		return err
	}
	k, sum := g.coarse, 0.0
	codes := k.Codes[i*g.meta.Dim : (i+1)*g.meta.Dim]
	for j, v := range g.Feature(i, x) {
		d := float64(v) - float64(k.Mean[j]) - float64(k.Scale[i])*float64(codes[j])
		sum += d * d
	}
	if math.Sqrt(sum) > float64(k.Loss[i]) {
		return fmt.Errorf("the coarse copy of row %d (%q) is off by %v, its loss says %v", i, g.ID(i), math.Sqrt(sum), k.Loss[i])
	}
	return nil
}

// scan calls ok for blocks of rows on all cores. Where it fails the first bad row is looked up.
func (g *Gallery) scan(ctx context.Context, ok func(lo, hi int) bool) error {
	size := blockRows(g.meta.Dim * g.meta.DType.Size())
	good := parallel(g.rows, size, func(lo, hi int) bool {
		defer g.release(lo, hi)
		return ctx.Err() == nil && ok(lo, hi)
	})
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("search: check gallery %q: %w", g.path, err)
	}
	if good {
		return nil
	}
	x := make([]float32, g.meta.Dim)
	for i := range g.rows {
		if err := g.verifyRow(i, x); err != nil {
			return fmt.Errorf("search: gallery %q: %w", g.path, err)
		}
	}
	return fmt.Errorf("search: gallery %q changed while it was read", g.path)
}

// keepMapped is how large features, and codes, may be to stay in this process's memory between scans: mapping pages again costs
// a scan a tenth of its time.
const keepMapped = 1 << 30

// release gives back the memory of rows lo to hi-1, which stay in the file, if the features or the codes are large.
func (g *Gallery) release(lo, hi int) {
	if len(g.data) > keepMapped {
		g.m.Drop(g.raw(lo, hi))
	}
	if len(g.codes) > keepMapped {
		g.m.Drop(g.codes[lo*g.meta.Dim : hi*g.meta.Dim])
	}
}

// Close unmaps the file. What Chunk returned must not be used afterwards.
func (g *Gallery) Close() error {
	if err := g.m.Close(); err != nil {
		return fmt.Errorf("search: close gallery: %w", err)
	}
	return nil
}
