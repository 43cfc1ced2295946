//go:build cuda

package cuda

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// search implements runtime.Search. The device scores slices of the gallery and hands back, for each query, the rows that come
// before its k-th best hit so far; the host keeps the hits. After the first slices that is next to nothing.
type search struct {
	dev       *Device
	dim       int
	rows      int // of a slice
	nq, k     int
	room      int // queries that there is memory for
	best      [][]runtime.Hit
	floors    []float32
	floorRows []int32 // relative to the slice
	kernel    map[runtime.DType]*driver.Launch

	x, queries, floor, floorRow, skip, control, found, counts cu.DevicePtr
}

const (
	sliceBytes     = 32 << 20 // of f32 rows
	maxSliceRows   = 4096
	maxSearchDim   = 1 << 20
	maxRow         = math.MaxInt32
	searchShared   = (128*33 + 8*32) * 4 // search.cu's tiles
	candidateBytes = 8
)

var errSearchClosed = errors.New("search is closed")

// NewSearch implements runtime.Device.
func (d *Device) NewSearch(dim int) (runtime.Search, error) {
	if dim < 1 || dim > maxSearchDim {
		return nil, fmt.Errorf("%s: search: dimension %d; 1 to %d are possible", d.Name(), dim, maxSearchDim)
	}
	return &search{dev: d, dim: dim, rows: max(64, min(maxSliceRows, sliceBytes/4/dim/64*64))}, nil
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
		if nq > s.room || s.kernel == nil {
			if err := s.grow(max(nq, 1)); err != nil {
				return err
			}
		}
		s.nq, s.k, s.best = nq, k, make([][]runtime.Hit, nq)
		s.floors, s.floorRows = make([]float32, nq), make([]int32, nq)
		return s.dev.upload(s.queries, 4*nq*s.dim, func(piece []byte, off int) {
			encode(piece, runtime.F32, queries[off/4:off/4+len(piece)/4])
		})
	})
}

// grow makes memory and launches for so many queries.
func (s *search) grow(nq int) error {
	if err := s.release(); err != nil {
		return err
	}
	for _, m := range []struct {
		p     *cu.DevicePtr
		bytes int
	}{{&s.x, 4 * s.rows * s.dim}, {&s.queries, 4 * nq * s.dim}, {&s.floor, 4 * nq}, {&s.floorRow, 4 * nq}, {&s.skip, s.rows / 8},
		{&s.control, 16}, {&s.found, candidateBytes * nq * s.rows}, {&s.counts, 4 * nq}} {
		var err error
		if *m.p, err = s.dev.allocate(m.bytes); err != nil {
			return errors.Join(err, s.release())
		}
	}
	f, err := s.dev.function("search.cu", "search")
	if err != nil {
		return err
	}
	s.room, s.kernel = nq, map[runtime.DType]*driver.Launch{}
	for _, dt := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
		var b bytes.Buffer
		binary.Write(&b, binary.LittleEndian, searchArgs{view{uint64(s.x), int32(s.rows), int32(s.dim), int32(s.dim), int32(dt)},
			uint64(s.queries), uint64(s.floor), uint64(s.floorRow), uint64(s.skip), uint64(s.control), uint64(s.found), uint64(s.counts), int32(s.rows), 0})
		grid := [3]int{blocks(s.rows, 128), blocks(nq, 8), 1}
		if s.kernel[dt], err = driver.NewLaunch("search", f, driver.Config{Grid: grid, Block: 128, Shared: searchShared}, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

type searchArgs struct {
	X                                                             view
	Queries, Floors, FloorRows, Skip, Control, Candidates, Counts uint64
	Room, Pad                                                     int32
}

// release frees everything; the caller holds the device.
func (s *search) release() (err error) {
	for _, p := range []*cu.DevicePtr{&s.x, &s.queries, &s.floor, &s.floorRow, &s.skip, &s.control, &s.found, &s.counts} {
		if *p != 0 {
			err = errors.Join(err, driver.Check("free memory", cu.MemFree(*p)))
			*p = 0
		}
	}
	for _, l := range s.kernel {
		l.Close()
	}
	s.kernel, s.room = nil, 0
	return err
}

func (s *search) check(first int, c runtime.Chunk) error {
	switch k := c.Coarse; {
	case s.dev == nil:
		return errSearchClosed
	case s.kernel == nil:
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
	if err := s.check(first, c); err != nil || s.nq == 0 {
		return err
	}
	return s.dev.do("search", func() error {
		for at := 0; at < c.Rows; at += s.rows {
			if err := s.slice(first+at, at, min(s.rows, c.Rows-at), c); err != nil {
				return err
			}
		}
		return nil
	})
}

// slice scans n rows of a chunk from row at on, the gallery's row first.
func (s *search) slice(first, at, n int, c runtime.Chunk) error {
	size := c.DType.Size() * s.dim
	data := c.Data[at*size : (at+n)*size]
	if err := s.dev.upload(s.x, len(data), func(piece []byte, off int) { copy(piece, data[off:]) }); err != nil {
		return err
	}
	control := []int32{int32(n), int32(s.nq), 0, 0}
	if c.Skip != nil {
		control[2] = 1
		words := c.Skip[at/64 : at/64+blocks(n, 64)]
		if err := s.dev.upload(s.skip, 8*len(words), func(piece []byte, off int) {
			for i := range len(piece) / 8 {
				binary.LittleEndian.PutUint64(piece[8*i:], words[off/8+i])
			}
		}); err != nil {
			return err
		}
	}
	for q := range s.nq {
		s.floors[q], s.floorRows[q] = float32(math.Inf(-1)), maxRow
		if b := s.best[q]; len(b) == s.k {
			s.floors[q], s.floorRows[q] = b[s.k-1].Score, int32(max(b[s.k-1].Row-first, -1))
		}
	}
	if err := s.dev.uploadI32(s.control, control); err != nil {
		return err
	}
	if err := s.dev.uploadI32(s.floorRow, s.floorRows); err != nil {
		return err
	}
	if err := s.dev.upload(s.floor, 4*s.nq, func(piece []byte, off int) {
		encode(piece, runtime.F32, s.floors[off/4:off/4+len(piece)/4])
	}); err != nil {
		return err
	}
	if err := driver.Zero(s.counts, int64(4*s.nq), s.dev.stream); err != nil {
		return err
	}
	if err := s.kernel[c.DType].Run(s.dev.stream); err != nil {
		return err
	}
	return s.collect(first)
}

// collect merges a slice's candidates into the hits.
func (s *search) collect(first int) error {
	counts := make([]int, s.nq)
	if err := s.dev.download(s.counts, 4*s.nq, func(piece []byte, off int) {
		for i := range len(piece) / 4 {
			counts[off/4+i] = int(binary.LittleEndian.Uint32(piece[4*i:]))
		}
	}); err != nil {
		return err
	}
	for q, n := range counts {
		if err := s.dev.download(s.found+cu.DevicePtr(candidateBytes*q*s.rows), candidateBytes*n, func(piece []byte, _ int) {
			for i := 0; i < len(piece); i += candidateBytes {
				s.best[q] = append(s.best[q], runtime.Hit{Row: first + int(binary.LittleEndian.Uint32(piece[i+4:])),
					Score: math.Float32frombits(binary.LittleEndian.Uint32(piece[i:]))})
			}
		}); err != nil {
			return err
		}
		if n > 0 {
			slices.SortFunc(s.best[q], order)
			s.best[q] = s.best[q][:min(len(s.best[q]), s.k)]
		}
	}
	return nil
}

// order is that of hits, for slices.SortFunc.
func order(a, b runtime.Hit) int {
	switch {
	case a.Before(b):
		return -1
	case b.Before(a):
		return 1
	}
	return 0
}

// uploadI32 copies integers to the device.
func (d *Device) uploadI32(dst cu.DevicePtr, src []int32) error {
	return d.upload(dst, 4*len(src), func(piece []byte, off int) {
		for i := range len(piece) / 4 {
			binary.LittleEndian.PutUint32(piece[4*i:], uint32(src[off/4+i]))
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
	for q, b := range s.best {
		copy(hits[q*s.k:], b)
		counts[q] = len(b)
	}
	return nil
}

// Close implements runtime.Search. Where the device is closed or lost, its memory is gone already.
func (s *search) Close() error {
	if s.dev == nil {
		return nil
	}
	err := s.dev.do("close search", s.release)
	if errors.Is(err, errClosed) || s.dev.lost() {
		err = nil
	}
	*s = search{}
	return err
}
