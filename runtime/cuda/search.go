//go:build cuda

package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// search implements runtime.Search. The gallery passes the queries slice by slice; each query's candidates, their selection
// and the floor that the next slice is compared with stay on the device (kernels/search.cuh), and the host waits for nothing
// before Finish, but for which rows to fetch where a gallery has codes and its rows are not on the device. The first slices are small,
// so that the floors are up when the large ones come; none is larger than the room that every one of its rows could need.
type search struct {
	dev        *Device
	dim, depth int // depth: what the queries are padded to
	nq, k      int
	seen       int // rows scanned
	bound      int // no query has more candidates
	selected   int // seen at the last selection
	room       int // candidates that there is memory for, by query
	memory     searchMemory
	launches   map[launchKey]*driver.Launch
	shape      searchShape
	pending    *pendingScores // of candidates
	feed       feed
	bounds     boundQueries
	codes      codeQueries
}

// searchMemory is what a search owns on the device, kept from scan to scan.
type searchMemory struct{ queries, floors, counts, keys, out, skip, rounded, slack, coarse, words, wanted, fetched region }

func (m *searchMemory) all() []*region {
	return []*region{&m.queries, &m.floors, &m.counts, &m.keys, &m.out, &m.skip, &m.rounded, &m.slack, &m.coarse, &m.words, &m.wanted, &m.fetched}
}

const (
	maxSearchDim = 1 << 20
	maxRow       = math.MaxInt32
	depthAlign   = 64 // of a query's padding, in elements: a step of the narrowest rows
	keyBytes     = 8  // of a candidate
	firstSlice   = 4096
	growth       = 8    // of slices, by the rows before: so many times k candidates are expected of one
	maxSorted    = 2048 // candidates that search_sort orders in shared memory; more are ordered by the host
)

var errSearchClosed = errors.New("search is closed")

// NewSearch implements runtime.Device.
func (d *Device) NewSearch(dim int) (runtime.Search, error) {
	if dim < 1 || dim > maxSearchDim {
		return nil, fmt.Errorf("%s: search: dimension %d; 1 to %d are possible", d.Name(), dim, maxSearchDim)
	}
	return &search{dev: d, dim: dim, depth: blocks(dim, depthAlign) * depthAlign, launches: map[launchKey]*driver.Launch{},
		shape: d.searchShape()}, nil
}

func (s *search) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: search: "+format, append([]any{s.dev.Name()}, args...)...)
}

// Begin implements runtime.Search.
func (s *search) Begin(queries []float32, nq, k int) error {
	switch {
	case s.dev == nil:
		return errSearchClosed
	case nq < 0 || len(queries) != nq*s.dim:
		return s.errorf("%d numbers for %d queries of dimension %d", len(queries), nq, s.dim)
	case k < 1 || k > maxRow:
		return s.errorf("k is %d; 1 to %d are possible", k, maxRow)
	}
	return s.dev.do("begin search", func() error {
		s.nq, s.k, s.seen, s.bound, s.selected, s.pending = 0, k, 0, 0, 0, nil
		s.feed.noRows, s.feed.noCodeSpace = false, false
		m := &s.memory
		for _, need := range []struct {
			r     *region
			bytes int
		}{{&m.queries, 4 * nq * s.depth}, {&m.floors, keyBytes * nq}, {&m.counts, 4 * nq}, {&m.coarse, 32 * nq}, {&m.words, nq * s.depth}} {
			if err := s.dev.reserve(need.r, need.bytes); err != nil {
				return err
			}
		}
		s.nq, s.room = nq, m.keys.bytes/keyBytes/max(nq, 1)
		if nq == 0 {
			return nil
		}
		if err := errors.Join(driver.Zero(m.floors.ptr, int64(keyBytes*nq), s.dev.stream), driver.Zero(m.counts.ptr, int64(4*nq), s.dev.stream)); err != nil {
			return err
		}
		padded := s.bounds.padded
		if len(padded) != nq*s.depth {
			padded = make([]float32, nq*s.depth)
		}
		all := runtime.Float32Bytes(padded)
		pad(all, 0, runtime.Float32Bytes(queries), 4*s.dim, 4*s.depth)
		s.bounds.begin(padded)
		s.codes = codeQueries{}
		return s.dev.upload(m.queries.ptr, len(all), func(piece []byte, off int) { copyParallel(piece, all[off:]) })
	})
}

func (s *search) check(first int, c runtime.Chunk) error {
	switch k := c.Coarse; {
	case s.dev == nil:
		return errSearchClosed
	case s.k == 0:
		return s.errorf("not begun")
	case !c.DType.Float():
		return s.errorf("rows of %s: %w", c.DType, runtime.ErrUnsupported)
	case first < 0 || c.Rows < 0 || first > maxRow-c.Rows:
		return s.errorf("%d rows from row %d; a gallery has at most %d", c.Rows, first, maxRow)
	case len(c.Data) != c.Rows*s.dim*c.DType.Size():
		return s.errorf("%d bytes for %d rows of %d %s", len(c.Data), c.Rows, s.dim, c.DType)
	case c.Skip != nil && len(c.Skip) < blocks(c.Rows, 64):
		return s.errorf("a skip mask of %d words for %d rows", len(c.Skip), c.Rows)
	case k != nil && (len(k.Codes) != c.Rows*s.dim || len(k.Scale) != c.Rows || len(k.Loss) != c.Rows || len(k.Mean) != s.dim):
		return s.errorf("coarse copy of %d codes, %d scales, %d losses and a mean of %d for %d rows of %d",
			len(k.Codes), len(k.Scale), len(k.Loss), len(k.Mean), c.Rows, s.dim)
	}
	return nil
}

// Feed implements runtime.Search.
func (s *search) Feed(first int, c runtime.Chunk) error {
	if err := s.check(first, c); err != nil || s.nq == 0 || c.Rows == 0 {
		return err
	}
	scan := func() error {
		// Memory first: when it runs short the rows that are kept are given up, which must not be those that are scanned.
		if err := s.uploadSkip(c); err != nil {
			return err
		}
		if err := s.roundQueries(c.DType); err != nil {
			return err
		}
		if err := s.keep(first, c); err != nil {
			return err
		}
		for at := 0; at < c.Rows; {
			n, err := s.scan(first, at, c)
			if err != nil {
				return err
			}
			at += n
		}
		return s.settle() // while the chunk's rows are known
	}
	return s.dev.do("search", func() error {
		return s.dev.observed(runtime.Event{Name: "search", Work: runtime.SearchWork(c, s.nq, s.dim)}, scan)
	})
}

// uploadSkip brings a chunk's mask to the device.
func (s *search) uploadSkip(c runtime.Chunk) error {
	if c.Skip == nil {
		return nil
	}
	words := c.Skip[:blocks(c.Rows, 64)]
	if err := s.dev.reserve(&s.memory.skip, 8*len(words)); err != nil {
		return err
	}
	return s.dev.upload(s.memory.skip.ptr, 8*len(words), func(piece []byte, off int) {
		for i := range len(piece) / 8 {
			binary.LittleEndian.PutUint64(piece[8*i:], words[off/8+i])
		}
	})
}

// Finish implements runtime.Search.
func (s *search) Finish(hits []runtime.Hit, counts []int) error {
	switch {
	case s.dev == nil:
		return errSearchClosed
	case len(hits) < s.nq*s.k || len(counts) < s.nq:
		return s.errorf("room for %d hits and %d counts, %d queries have %d hits each", len(hits), len(counts), s.nq, s.k)
	}
	if s.nq == 0 || s.seen == 0 {
		clear(counts[:s.nq])
		return nil
	}
	merge := func() error {
		if s.bound > maxSorted {
			if err := s.shrink(); err != nil {
				return err
			}
		}
		if s.bound <= maxSorted {
			return s.sorted(hits, counts)
		}
		return s.unsorted(hits, counts)
	}
	return s.dev.do("finish search", func() error {
		return s.dev.observed(runtime.Event{Index: 1, Name: "searchmerge", Work: runtime.Work{Rows: s.nq, DType: runtime.F32}}, merge)
	})
}

// sorted reads the hits in order.
func (s *search) sorted(hits []runtime.Hit, counts []int) error {
	k := min(s.k, s.seen)
	if err := s.dev.reserve(&s.memory.out, keyBytes*s.nq*k); err != nil {
		return err
	}
	if err := s.sort(k); err != nil {
		return err
	}
	clear(counts[:s.nq])
	return s.dev.download(s.memory.out.ptr, keyBytes*s.nq*k, func(piece []byte, off int) {
		first, end := off/keyBytes, (off+len(piece))/keyBytes
		queries := blocks(end, k) - first/k
		queriesInParts(queries, end-first, func(lo, hi int) {
			for q := first/k + lo; q < first/k+hi; q++ {
				for at := max(first, q*k); at < min(end, (q+1)*k); at++ {
					key := binary.LittleEndian.Uint64(piece[keyBytes*(at-first):])
					if key == 0 {
						break
					}
					hits[q*s.k+at-q*k] = hit(key)
					counts[q]++
				}
			}
		})
	})
}

// unsorted reads the candidates that are left and orders them here.
func (s *search) unsorted(hits []runtime.Hit, counts []int) error {
	if err := s.dev.download(s.memory.counts.ptr, 4*s.nq, func(piece []byte, off int) {
		for i := range len(piece) / 4 {
			counts[off/4+i] = int(binary.LittleEndian.Uint32(piece[4*i:]))
		}
	}); err != nil {
		return err
	}
	for q, n := range counts[:s.nq] {
		keys := make([]uint64, 0, n)
		if err := s.dev.download(s.memory.keys.ptr+cu.DevicePtr(keyBytes*q*s.room), keyBytes*n, func(piece []byte, _ int) {
			for i := 0; i < len(piece); i += keyBytes {
				if key := binary.LittleEndian.Uint64(piece[i:]); key != 0 {
					keys = append(keys, key)
				}
			}
		}); err != nil {
			return err
		}
		slices.Sort(keys)
		slices.Reverse(keys)
		counts[q] = min(len(keys), s.k)
		for i, key := range keys[:counts[q]] {
			hits[q*s.k+i] = hit(key)
		}
	}
	return nil
}

// hit is what a key of kernels/search.cuh says.
func hit(key uint64) runtime.Hit {
	o := uint32(key >> 32)
	bits := ^o
	if o>>31 == 1 {
		bits = o &^ (1 << 31)
	}
	return runtime.Hit{Row: int(^uint32(key)), Score: math.Float32frombits(bits)}
}

// Close implements runtime.Search. Where the device is closed or lost, its memory is gone already.
func (s *search) Close() error {
	if s.dev == nil {
		return nil
	}
	err := s.dev.do("close search", func() error {
		err := s.dev.wait()
		for _, r := range s.memory.all() {
			err = errors.Join(err, r.free())
		}
		s.dev.searches = slices.DeleteFunc(s.dev.searches, func(o *search) bool { return o == s })
		return errors.Join(err, s.feed.close())
	})
	for _, l := range s.launches {
		l.Close()
	}
	if errors.Is(err, errClosed) || s.dev.lost() {
		err = nil
	}
	*s = search{}
	return err
}
