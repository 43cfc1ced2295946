package search

import (
	"io"
	"sync"

	"isearle/runtime"
	"isearle/weights/safetensors"
)

// featureAlign is what the features' place in the file is a multiple of: a cache line, and what a tensor map of a GPU needs.
const featureAlign = 64

// stream is a tensor that is made while it is written.
type stream struct {
	name  string
	dt    safetensors.DType
	shape []int
	write func(io.Writer) error
}

// Header implements safetensors.Source.
func (s stream) Header() (string, safetensors.DType, []int) { return s.name, s.dt, s.shape }

// WriteTo implements safetensors.Source.
func (s stream) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	err := s.write(c)
	return c.n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// writeGallery writes the .isx file.
func (w *Writer) writeGallery() error {
	n, d := len(w.order), w.meta.Dim
	ids := w.ids()
	ends, total := make([]int64, n), int64(0)
	for i, id := range ids {
		total += int64(len(id))
		ends[i] = total
	}
	tensors := []safetensors.Source{safetensors.FromInt64s("id_ends", ends, n)}
	if p, ok := w.padding(); ok {
		tensors = append(tensors, p)
	}
	tensors = append(tensors, stream{"features", stored[w.meta.DType], []int{n, d}, w.writeFeatures})
	if w.meta.Coarse {
		coarse, err := w.coarse()
		if err != nil {
			return err
		}
		tensors = append(tensors, coarse...)
	}
	if digests := w.digests(); digests != nil {
		tensors = append(tensors, safetensors.Tensor{Name: "digests", DType: safetensors.U8, Shape: []int{n, len(Digest{})}, Data: digests})
	}
	tensors = append(tensors, stream{"ids", safetensors.U8, []int{int(total)}, func(out io.Writer) error {
		for _, id := range ids {
			if _, err := io.WriteString(out, id); err != nil {
				return err
			}
		}
		return nil
	}})
	return safetensors.WriteFile(w.path, tensors, w.meta.encode())
}

// padding is the tensor that moves the features to a multiple of featureAlign. Data is ordered by falling element size, so
// what precedes them is id_ends and, where they have two bytes, what has four.
func (w *Writer) padding() (safetensors.Tensor, bool) {
	dt, before := safetensors.I64, 8*len(w.order)
	if w.meta.Coarse && w.meta.DType != runtime.F32 {
		dt, before = safetensors.F32, before+8*len(w.order)+4*w.meta.Dim
	}
	missing := -before & (featureAlign - 1)
	t := safetensors.Tensor{Name: "padding", DType: dt, Shape: []int{missing / dt.Size()}, Data: make([]byte, missing)}
	return t, missing > 0
}

func (w *Writer) writeFeatures(out io.Writer) error {
	r := w.reader()
	for i := range w.order {
		raw, err := r.row(i)
		if err != nil {
			return err
		}
		if _, err := out.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

// digests returns all digests, nil if every one is zero.
func (w *Writer) digests() []byte {
	var out []byte
	some := false
	for _, e := range w.order {
		var d Digest
		if e < 0 {
			d = w.base.Digest(^e)
		} else {
			d = w.journal.entries[e].digest
		}
		some = some || d != Digest{}
		out = append(out, d[:]...)
	}
	if !some {
		return nil
	}
	return out
}

// quantised is the coarse copy of a Writer's rows. Only what is small is kept; codes are made twice.
type quantised struct {
	w     *Writer
	mean  []float32
	scale []float32
	loss  []float32

	readers sync.Pool
	mu      sync.Mutex
	err     error
}

// coarse returns the coarse copy's tensors.
func (w *Writer) coarse() ([]safetensors.Source, error) {
	n, d := len(w.order), w.meta.Dim
	q := &quantised{w: w, scale: make([]float32, n), loss: make([]float32, n)}
	q.readers.New = func() any { return w.reader() }
	q.mean = meanOf(n, d, q.read)
	parallel(n, blockRows(4*d), func(lo, hi int) bool { q.rows(make([]int8, (hi-lo)*d), lo, hi); return q.failed() == nil })
	if err := q.failed(); err != nil {
		return nil, err
	}
	return []safetensors.Source{
		safetensors.FromFloat32s("scale", q.scale, n), safetensors.FromFloat32s("loss", q.loss, n),
		safetensors.FromFloat32s("mean", q.mean, d),
		stream{"codes", safetensors.I8, []int{n, d}, q.writeCodes},
	}, nil
}

// read is one row; an error is kept.
func (q *quantised) read(i int, dst []float32) {
	r := q.readers.Get().(*reader)
	defer q.readers.Put(r)
	if err := r.feature(i, dst); err != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.err = err
	}
}

func (q *quantised) failed() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// rows quantises rows lo to hi-1.
func (q *quantised) rows(codes []int8, lo, hi int) {
	d := q.w.meta.Dim
	x := make([]float32, d)
	for i := lo; i < hi; i++ {
		q.read(i, x)
		q.scale[i], q.loss[i] = QuantiseRow(codes[(i-lo)*d:(i-lo+1)*d], x, q.mean)
	}
}

// writeCodes makes the codes again, some blocks at a time on all cores.
func (q *quantised) writeCodes(out io.Writer) error {
	n, d := len(q.scale), q.w.meta.Dim
	step := blockRows(4 * d)
	codes, raw := make([]int8, 16*step*d), make([]byte, 16*step*d)
	for at := 0; at < n; at += 16 * step {
		count := min(16*step, n-at)
		parallel(count, step, func(lo, hi int) bool { q.rows(codes[lo*d:hi*d], at+lo, at+hi); return true })
		if err := q.failed(); err != nil {
			return err
		}
		for i, c := range codes[:count*d] {
			raw[i] = byte(c)
		}
		if _, err := out.Write(raw[:count*d]); err != nil {
			return err
		}
	}
	return nil
}
