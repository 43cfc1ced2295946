package cpu

import (
	"errors"
	"fmt"
	"sync/atomic"

	"isearle/runtime"
)

// search implements runtime.Search. A task is a block of gallery rows. For a handful of queries they are transposed in registers
// and multiplied at once (Scores); for many the queries are packed, and rows are the other side of the product (searchmany.go);
// in between rows are packed panel by panel. Each tile of scores is compared with the worker's own lists of best hits while it is
// in the first-level cache. With a coarse copy its codes are read in place of the rows, and those that may be hits are scored at
// the end of a chunk (searchcoarse.go, searchpanel.go, searchcandidates.go). Finish merges the lists; a key's order is total, so
// the result does not depend on who scanned what.
type search struct {
	dev     *Device
	dim     int
	nq, k   int
	queries []float32
	workers []*scanner // by worker.id
	// floors are, by query, the ordered form of a score that the final k-th best hit reaches: the best floor of any worker.
	floors []atomic.Uint32
	coarse coarseBound
	merge  merge

	many   bool      // queries are the packed side
	panels []float32 // of queries, if so

	first   int
	chunk   runtime.Chunk
	aligned bool // the chunk's elements lie where their type wants them
	rows    int  // of a task
	scan    func(*worker, int)
	rank    func(*worker, int) // scores a query's candidates
}

// NewSearch implements runtime.Device.
func (d *Device) NewSearch(dim int) (runtime.Search, error) {
	if dim < 1 || dim > maxDim {
		return nil, fmt.Errorf("cpu: search: dimension %d; 1 to %d are possible", dim, maxDim)
	}
	s := &search{dev: d, dim: dim}
	for range d.pool.workers {
		s.workers = append(s.workers, newScanner(s))
	}
	s.rows = max(1, min(cacheFloats/dim, maxBlockRows)/d.k.NR) * d.k.NR
	s.scan = func(w *worker, task int) { s.workers[w.id].block(w, task) }
	s.rank = func(w *worker, q int) { s.workers[w.id].rank(q) }
	s.merge.task = func(w *worker, q int) { s.finish(s.workers[w.id], q) }
	return s, nil
}

const (
	// maxDim keeps a worker's panel within 128 MiB for the widest panels; CLIP's features have at most 1280 dimensions.
	maxDim = 1 << 20
	// maxBlockRows bounds a task where rows are short.
	maxBlockRows = 4096
)

var errSearchClosed = errors.New("cpu: search is closed")

// Begin implements runtime.Search.
func (s *search) Begin(queries []float32, nq, k int) error {
	switch {
	case s.dev == nil:
		return errSearchClosed
	case nq < 0 || len(queries) != nq*s.dim:
		return fmt.Errorf("cpu: search: %d numbers for %d queries of dimension %d", len(queries), nq, s.dim)
	case k < 1 || k > maxRow:
		return fmt.Errorf("cpu: search: k is %d; 1 to %d are possible", k, maxRow)
	}
	if cap(s.queries) < len(queries) {
		s.queries = alignedFloats(len(queries))
	}
	s.nq, s.k, s.queries = nq, k, s.queries[:len(queries)]
	copy(s.queries, queries)
	if len(s.floors) < nq {
		s.floors = make([]atomic.Uint32, nq)
	}
	for q := range nq {
		s.floors[q].Store(0)
	}
	for _, w := range s.workers {
		w.begin(nq, k)
	}
	s.coarse.begin(s.dim)
	if s.many = s.manyQueries(); s.many {
		s.packQueries()
	}
	return nil
}

// Feed implements runtime.Search.
func (s *search) Feed(first int, c runtime.Chunk) error {
	if err := s.check(first, c); err != nil {
		return err
	}
	d := s.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	s.first, s.chunk = first, c
	s.aligned = isAligned(c.Data, c.DType.Size())
	s.coarse.chunk(s)
	start := d.profile.now()
	d.pool.run(blocks(c.Rows, s.rows), s.scan)
	if s.coarse.way != readAll {
		d.pool.run(s.nq, s.rank)
	}
	if d.profile.on() {
		if s.coarse.way == readAll {
			c.Coarse = nil
		}
		d.profile.report(runtime.Event{Plan: "search", Name: "search", Work: runtime.SearchWork(c, s.nq, s.dim)}, start)
	}
	s.chunk = runtime.Chunk{}
	return nil
}

func (s *search) check(first int, c runtime.Chunk) error {
	if s.dev == nil {
		return errSearchClosed
	}
	if !c.DType.Float() {
		return fmt.Errorf("cpu: search: rows of %s: %w", c.DType, runtime.ErrUnsupported)
	}
	if first < 0 || c.Rows < 0 || first > maxRow-c.Rows {
		return fmt.Errorf("cpu: search: %d rows from row %d; a gallery has at most %d", c.Rows, first, maxRow)
	}
	if len(c.Data) != c.Rows*s.dim*c.DType.Size() {
		return fmt.Errorf("cpu: search: %d bytes for %d rows of %d %s", len(c.Data), c.Rows, s.dim, c.DType)
	}
	if c.Skip != nil && len(c.Skip) < blocks(c.Rows, 64) {
		return fmt.Errorf("cpu: search: a skip mask of %d words for %d rows", len(c.Skip), c.Rows)
	}
	if k := c.Coarse; k != nil && (len(k.Codes) != c.Rows*s.dim || len(k.Scale) != c.Rows || len(k.Loss) != c.Rows || len(k.Mean) != s.dim) {
		return fmt.Errorf("cpu: search: coarse copy of %d codes, %d scales, %d losses and a mean of %d for %d rows of %d",
			len(k.Codes), len(k.Scale), len(k.Loss), len(k.Mean), c.Rows, s.dim)
	}
	return nil
}

// merge is where Finish puts its result.
type merge struct {
	hits   []runtime.Hit
	counts []int
	task   func(*worker, int)
}

// Finish implements runtime.Search.
func (s *search) Finish(hits []runtime.Hit, counts []int) error {
	if s.dev == nil {
		return errSearchClosed
	}
	if len(hits) < s.nq*s.k || len(counts) < s.nq {
		return fmt.Errorf("cpu: search: room for %d hits and %d counts, %d queries have %d hits each", len(hits), len(counts), s.nq, s.k)
	}
	d := s.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	s.merge.hits, s.merge.counts = hits, counts
	start := d.profile.now()
	d.pool.run(s.nq, s.merge.task)
	if d.profile.on() {
		d.profile.report(runtime.Event{Plan: "search", Index: 1, Name: "searchmerge", Work: runtime.Work{Shape: fmt.Sprintf("best %d", s.k), Rows: s.nq, DType: runtime.F32}}, start)
	}
	s.merge.hits, s.merge.counts = nil, nil
	return nil
}

// finish joins the workers' lists of query q.
func (s *search) finish(w *scanner, q int) {
	all := w.joined[:0]
	for _, o := range s.workers {
		all = append(all, o.tops[q].keys...)
	}
	w.joined = all
	if len(all) > s.k {
		selectBest(all, s.k)
		all = all[:s.k]
	}
	sortBest(all)
	for i, k := range all {
		s.merge.hits[q*s.k+i] = k.hit()
	}
	s.merge.counts[q] = len(all)
}

// Close implements runtime.Search.
func (s *search) Close() error {
	*s = search{}
	return nil
}
