package search

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"isearle/runtime"
)

// Index answers queries over a gallery on a device. Its methods can be called concurrently; searches run one after the
// other.
type Index struct {
	g      *Gallery
	search runtime.Search
	step   int // rows of a chunk: whole words of a mask

	mu     sync.Mutex
	unit   []byte // a chunk's normalised rows, where the gallery's are not
	prefix string
	skip   mask // of prefix
	hits   []runtime.Hit
	counts []int
}

// IndexOptions of OpenIndex.
type IndexOptions struct {
	// Trust leaves out Gallery.Check, which reads the whole file. NaN features are then never found, and of several rows with
	// one id any may be excluded.
	Trust bool
}

// OpenIndex checks a gallery and prepares to search it. The gallery must stay open until the Index is closed. A gallery
// that is not normalised is normalised anew during every scan, which takes longer than scanning: convert it if it is
// searched often.
func OpenIndex(ctx context.Context, g *Gallery, dev runtime.Device, o IndexOptions) (*Index, error) {
	if !o.Trust {
		if err := g.Check(ctx); err != nil {
			return nil, err
		}
	}
	s, err := dev.NewSearch(g.meta.Dim)
	if err != nil {
		return nil, fmt.Errorf("search: index of %q: %w", g.path, err)
	}
	x := &Index{g: g, search: s}
	x.setChunk(chunkBytes)
	if !g.meta.Normalised {
		x.setChunk(unitBytes)
	}
	return x, nil
}

// setChunk makes chunks about so large.
func (x *Index) setChunk(bytes int) {
	x.step = max(1, bytes/(x.g.meta.Dim*x.g.meta.DType.Size())/64) * 64
}

// Query asks for the K rows most similar to each of some features.
type Query struct {
	// Features are one vector of the gallery's dimension for each query. They are normalised; zero vectors are refused.
	Features [][]float32
	// K is the number of results for each, at least 1. Where the gallery has fewer rows there are fewer results.
	K int
	// Exclude, if not nil, has for each query the ids that shall not be among its results, such as the reference image's
	// own. Ids that the gallery lacks are passed over.
	Exclude [][]string
	// Prefix, if not empty, leaves only rows whose ids begin with it.
	Prefix string
	// Exact reads all features even where the gallery has a coarse copy. Results are the same.
	Exact bool
}

// Result is a row found.
type Result struct {
	ID    string
	Row   int
	Rank  int // from 1
	Score float32
}

const (
	// maxBatch is how many queries one scan answers: as many as keep a device busy with one reading of the gallery.
	maxBatch = 1024
	// maxHits bounds the lists of hits that a scan keeps for each of a device's workers.
	maxHits = 1 << 22
	// chunkBytes is about what one step of a scan reads, between looks at the context.
	chunkBytes = 64 << 20
	// coarseSteps is how many times as many rows a step has where a coarse copy spares the reading of most.
	coarseSteps = 4
	// unitBytes is the same for rows that have to be normalised: they should still be in a cache when they are read again.
	unitBytes = 4 << 20
)

// Search returns each query's results, best first; equal scores are in the order of their rows. Scores are cosines. Where the
// device has no memory for a batch of queries, smaller ones are scanned for.
func (x *Index) Search(ctx context.Context, q Query) ([][]Result, error) {
	out, err := x.answer(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("search: %q: %w", x.g.path, err)
	}
	return out, nil
}

func (x *Index) answer(ctx context.Context, q Query) ([][]Result, error) {
	features, err := x.features(q)
	if err != nil {
		return nil, err
	}
	out := make([][]Result, len(q.Features))
	if x.g.rows == 0 {
		return out, nil
	}
	excluded := make([][]int, len(q.Features))
	for i, ids := range q.Exclude {
		for _, id := range ids {
			if row, ok := x.g.Row(id); ok {
				excluded[i] = append(excluded[i], row)
			}
		}
		slices.Sort(excluded[i])
		excluded[i] = slices.Compact(excluded[i])
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.setPrefix(q.Prefix)
	most := maxBatch
	for lo := 0; lo < len(out); {
		hi, k := x.batch(lo, most, q.K, excluded)
		err := x.scan(ctx, features[lo*x.g.meta.Dim:hi*x.g.meta.Dim], hi-lo, k, q.Exact)
		if errors.Is(err, runtime.ErrOutOfMemory) && hi-lo > 1 {
			most = (hi - lo) / 2
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := lo; i < hi; i++ {
			out[i] = x.results(x.hits[(i-lo)*k:][:x.counts[i-lo]], q.K, excluded[i])
		}
		lo = hi
	}
	return out, nil
}

// features checks a Query and returns its vectors, normalised and one after the other.
func (x *Index) features(q Query) ([]float32, error) {
	if q.K < 1 {
		return nil, fmt.Errorf("k is %d; at least 1 is needed", q.K)
	}
	if q.Exclude != nil && len(q.Exclude) != len(q.Features) {
		return nil, fmt.Errorf("%d lists of excluded ids for %d queries", len(q.Exclude), len(q.Features))
	}
	var all []float32
	for i, f := range q.Features {
		if len(f) != x.g.meta.Dim {
			return nil, fmt.Errorf("query %d has dimension %d, the gallery %d", i, len(f), x.g.meta.Dim)
		}
		n := norm(f)
		if !finite(n) || n == 0 {
			return nil, fmt.Errorf("query %d has length %v", i, n)
		}
		all = append(all, f...)
		unit(all[len(all)-len(f):], n)
	}
	return all, nil
}

// batch is the end of the batch of at most so many that begins with query lo, and the number of hits it needs: the excluded ones come
// on top.
func (x *Index) batch(lo, most, k int, excluded [][]int) (hi, hits int) {
	for hi = lo; hi < len(excluded) && hi-lo < most; hi++ {
		need := max(hits, min(k+len(excluded[hi]), x.g.rows))
		if hi > lo && need*(hi-lo+1) > maxHits {
			break
		}
		hits = need
	}
	return hi, hits
}

// setPrefix makes the mask of rows to be skipped.
func (x *Index) setPrefix(prefix string) {
	if prefix == x.prefix {
		return
	}
	x.prefix, x.skip = prefix, nil
	if prefix == "" {
		return
	}
	x.skip = newMask(x.g.rows)
	for i := range x.g.rows {
		if !bytes.HasPrefix(x.g.id(i), []byte(prefix)) {
			x.skip.set(i)
		}
	}
}

// scan runs a batch over the gallery; hits and counts hold the result.
func (x *Index) scan(ctx context.Context, queries []float32, nq, k int, exact bool) error {
	if err := x.search.Begin(queries, nq, k); err != nil {
		return err
	}
	step := x.step
	if x.g.coarse != nil && !exact {
		step *= coarseSteps
	}
	for lo := 0; lo < x.g.rows; lo += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		hi := min(lo+step, x.g.rows)
		if err := x.search.Feed(lo, x.chunk(lo, hi, exact)); err != nil {
			return err
		}
		x.g.release(lo, hi)
	}
	x.hits = slices.Grow(x.hits[:0], nq*k)[:nq*k]
	x.counts = slices.Grow(x.counts[:0], nq)[:nq]
	return x.search.Finish(x.hits, x.counts)
}

// chunk is rows lo to hi-1 as they are to be fed; lo is a multiple of 64.
func (x *Index) chunk(lo, hi int, exact bool) runtime.Chunk {
	c := x.g.Chunk(lo, hi)
	c.Fixed = true // a gallery does not change while it is open
	if exact {
		c.Coarse = nil
	}
	if x.skip != nil {
		c.Skip = x.skip[lo/64 : (hi+63)/64]
	}
	if !x.g.meta.Normalised {
		x.normalise(&c, lo)
	}
	return c
}

// normalise replaces the rows of a chunk that begins with row lo by unit vectors in f32.
func (x *Index) normalise(c *runtime.Chunk, lo int) {
	d := x.g.meta.Dim
	if len(x.unit) < 4*d*c.Rows {
		x.unit = make([]byte, 4*d*c.Rows)
	}
	parallel(c.Rows, blockRows(4*d)/4+1, func(first, end int) bool {
		v := make([]float32, d)
		for i := first; i < end; i++ {
			x.g.Feature(lo+i, v)
			unit(v, norm(v))
			putFloats(x.unit[4*d*i:4*d*(i+1)], v)
		}
		return true
	})
	c.DType, c.Data = runtime.F32, x.unit[:4*d*c.Rows]
}

// results turns hits into at most k results without the excluded rows, which are sorted.
func (x *Index) results(hits []runtime.Hit, k int, excluded []int) []Result {
	out := make([]Result, 0, min(k, len(hits)))
	for _, h := range hits {
		if len(out) == k {
			break
		}
		if _, hidden := slices.BinarySearch(excluded, h.Row); !hidden {
			out = append(out, Result{ID: x.g.ID(h.Row), Row: h.Row, Rank: len(out) + 1, Score: h.Score})
		}
	}
	return out
}

// Close releases the device's part. The gallery stays open.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.search.Close()
}
