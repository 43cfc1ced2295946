//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// The structures of kernels/search.cuh and kernels/searchselect.cu.
type (
	searchArgs struct {
		X, Queries, Floors, Skip, Keys, Counts, Pitch uint64
		Lo, Hi, First, Count, Depth, Room             int32
	}
	selectArgs struct {
		Keys, Floors, Counts, Out uint64
		Room, K, Threads, Size    int32
	}
)

// scanKernel is a kernel of searchscan.cu: its tile, its threads and the bytes of a row in one of its stages.
type scanKernel struct {
	name                         string
	rows, queries, threads, step int
}

const (
	scanStages = 3 // of a tile
	fewQueries = 8 // that one block has all of
)

// scanFor is the kernel for a number of queries.
func scanFor(nq int, dt runtime.DType) scanKernel {
	switch {
	case nq == 1:
		return scanKernel{"search_scan1_" + dt.String(), 128, 1, 128, 256}
	case nq <= 4:
		return scanKernel{"search_scan4_" + dt.String(), 128, 4, 128, 256}
	case nq <= fewQueries:
		return scanKernel{"search_scan8_" + dt.String(), 128, 8, 128, 256}
	case dt == runtime.F32:
		return scanKernel{"search_scanmany_" + dt.String(), 128, 64, 256, 64}
	}
	return scanKernel{"search_scanmany_" + dt.String(), 64, 64, 256, 64}
}

func (k scanKernel) shared(dt runtime.DType) int {
	return scanStages * (k.rows*k.step + k.queries*k.step/dt.Size()*4)
}

// slice is the number of rows that the next slice of a chunk may have. All rows of the first one are candidates, so that it is
// several times k, or nothing would be gained by it. Where candidates are cheap, a slice has thousands of them rather than
// another slice behind it: what bounds by codes let pass costs a row each.
func (s *search) slice(c runtime.Chunk) int {
	times := growth
	if !s.hasCodes(c) {
		times = max(growth, s.shape.candidates/s.k)
	}
	first := firstSlice
	if s.shape.narrow {
		first = max(first, growth*s.k)
	}
	return min(max(first, times*s.seen), max(firstSlice, s.shape.keyBudget/keyBytes/s.nq))
}

// scan compares rows of a chunk, from row at on, with the queries, and says how many.
func (s *search) scan(first, at int, c runtime.Chunk) (int, error) {
	key, n := chunkKey{first, c.Rows, c.DType}, min(c.Rows-at, s.slice(c))
	kept := func() (k *keptRows, rows, codes bool) {
		k = s.feed.kept[key]
		return k, k != nil && k.rows.ptr != 0, k != nil && k.codes.ptr != 0
	}
	_, rows, codes := kept()
	fromHost := !rows && s.worthFetching(c)
	switch {
	case fromHost && !codes:
		n = min(n, s.slotRows(s.codesPitch()))
	case !rows && !fromHost:
		n = min(n, s.slotRows(s.pitchOf(c.DType)))
	}
	byCodes := fromHost || rows && codes && s.hasCodes(c) && s.worthBounds()
	if byCodes {
		if err := s.settle(); err != nil {
			return 0, err
		}
	}
	// Memory first: whoever takes it may give up what is kept.
	err := s.makeRoom(n)
	if fromHost {
		err = errors.Join(err, s.dev.reserve(&s.memory.wanted, wantedBytes(n)),
			s.dev.reserve(&s.memory.fetched, s.hostRows(n, c.DType)*s.pitchOf(c.DType)))
	}
	if err != nil {
		return 0, err
	}
	k, rowsNow, codesNow := kept()
	if rows != rowsNow || codes != codesNow {
		return 0, nil
	}
	if byCodes {
		err = s.scanByCodes(k, rows, first, at, n, c)
	} else {
		err = s.scanRows(k, first, at, n, c)
	}
	if err != nil {
		return 0, err
	}
	s.seen += n
	s.bound += n
	if s.seen >= 2*s.selected && s.bound > s.k {
		if err := s.shrink(); err != nil {
			return 0, err
		}
	}
	if s.feed.last != nil { // and is overwritten soon
		err = s.settle()
	}
	return n, errors.Join(err, s.read())
}

// scanRows scans rows.
func (s *search) scanRows(kept *keptRows, first, at, n int, c runtime.Chunk) error {
	x, err := s.rows(kept, at, n, c)
	if err != nil {
		return err
	}
	a := s.args(x.ptr, x.from, x.pitch, first, at, n, c)
	if (s.shape.narrow || s.worthBounds()) && s.byTensor() && c.DType != runtime.F32 {
		return s.scanBounds(a, x, c)
	}
	k := scanFor(s.nq, c.DType)
	return s.launch("searchscan.cu", k.name, driver.Config{Grid: [3]int{blocks(n, k.rows), blocks(s.nq, k.queries), 1},
		Block: k.threads, Shared: k.shared(c.DType)}, bytesOf(&a), s.work(n, s.dim*c.DType.Size(), s.nq, runtime.F32))
}

// scanByCodes scans codes, and rows where they are kept.
func (s *search) scanByCodes(kept *keptRows, rows bool, first, at, n int, c runtime.Chunk) error {
	codes, err := s.codesOf(kept, at, n, c)
	if err != nil {
		return err
	}
	var x *deviceRows
	a := s.args(0, 0, s.codesPitch(), first, at, n, c)
	if rows {
		x = &deviceRows{kept.rows.ptr, 0, s.pitchOf(c.DType), kept}
		a = s.args(x.ptr, 0, x.pitch, first, at, n, c)
	}
	return s.scanCodes(a, x, codes, at, c)
}

// worthBounds says whether bounds can be expected to pass most rows of a slice by.
func (s *search) worthBounds() bool { return s.selected > 0 && s.selected >= 8*s.k }

// worthFetching says whether codes and the rows of candidates are expected to be fewer bytes than all rows of a chunk that has to be
// copied.
func (s *search) worthFetching(c runtime.Chunk) bool {
	if !s.worthBounds() || !s.hasCodes(c) {
		return false
	}
	fetched := s.shape.wanted * float64(s.k) * float64(s.nq) / float64(s.seen)
	return fetched < 1-1/float64(c.DType.Size())
}

// args are those of a scan of n rows from row at on, of which row from is at x.
func (s *search) args(x cu.DevicePtr, from, pitch, first, at, n int, c runtime.Chunk) searchArgs {
	m := &s.memory
	a := searchArgs{X: uint64(x) - uint64(from*pitch), Queries: uint64(m.queries.ptr), Floors: uint64(m.floors.ptr), Keys: uint64(m.keys.ptr),
		Counts: uint64(m.counts.ptr), Pitch: uint64(pitch), Lo: int32(at), Hi: int32(at + n), First: int32(first),
		Count: int32(s.nq), Depth: int32(s.depth), Room: int32(s.room)}
	if c.Skip != nil {
		a.Skip = uint64(m.skip.ptr)
	}
	return a
}

// makeRoom sees to it that n more candidates fit each query's.
func (s *search) makeRoom(n int) error {
	if s.bound+n > s.room && s.bound > s.narrowed() {
		if err := s.shrink(); err != nil {
			return err
		}
	}
	if s.bound+n <= s.room {
		return nil
	}
	if err := s.settle(); err != nil {
		return err
	}
	room := max(s.bound+n, min(2*s.room, s.bound+4*n, s.shape.keyBudget/keyBytes/s.nq))
	if room > maxRow || room > 1<<40/s.nq {
		return fmt.Errorf("%d candidates of %d queries: %w", room, s.nq, runtime.ErrOutOfMemory)
	}
	var keys region
	if err := s.dev.reserve(&keys, keyBytes*s.nq*room); err != nil {
		room = s.bound + n
		if err := s.dev.reserve(&keys, keyBytes*s.nq*room); err != nil {
			return err
		}
	}
	old := s.memory.keys
	for q := range s.nq {
		if s.bound == 0 {
			break
		}
		err := driver.Check("copy candidates", cu.MemcpyDtoDAsync(keys.ptr+cu.DevicePtr(keyBytes*q*room), old.ptr+cu.DevicePtr(keyBytes*q*s.room),
			int64(keyBytes*s.bound), s.dev.stream))
		if err != nil {
			keys.free()
			return err
		}
	}
	if err := s.dev.wait(); err != nil {
		return err
	}
	s.memory.keys, s.room = keys, room
	return old.free()
}

// shrink leaves each query its k best candidates, or those that may be, and raises the floors.
func (s *search) shrink() (err error) {
	left := s.k
	switch {
	case s.bound <= s.k:
	case s.pending != nil:
		left, err = s.narrowed(), s.narrow()
	default:
		threads := s.selectThreads()
		err = s.choose("search_select", selectArgs{K: int32(s.k), Threads: int32(threads)}, selectShared)
	}
	s.bound, s.selected = min(s.bound, left), s.seen
	return err
}

// selectShared is the size of a Selection.
const selectShared = 4 * (2048 + 256 + 16 + 4*32 + 2)

// selectThreads are those of a query's block in a selection: the less there is beside it the more.
func (s *search) selectThreads() int {
	if s.nq <= 2*s.shape.processors {
		return 1024
	}
	return 256
}

// sort orders each query's candidates, the k best into memory.out.
func (s *search) sort(k int) error {
	size := 1
	for size < s.bound {
		size *= 2
	}
	return s.choose("search_sort", selectArgs{K: int32(k), Threads: int32(max(32, min(1024, size/2))), Size: int32(size)}, keyBytes*size)
}

// choose leaves candidates chosen or ordered, a.K of each query: every candidate is read, and as many as stay are written.
func (s *search) choose(kernel string, a selectArgs, shared int) error {
	m := &s.memory
	n, err := s.candidates()
	if err != nil {
		return err
	}
	a.Keys, a.Floors, a.Counts, a.Out, a.Room = uint64(m.keys.ptr), uint64(m.floors.ptr), uint64(m.counts.ptr), uint64(m.out.ptr), int32(s.room)
	return s.launch("searchselect.cu", kernel, driver.Config{Grid: [3]int{s.nq, 1, 1}, Block: int(a.Threads), Shared: shared}, bytesOf(&a),
		runtime.Work{Rows: s.nq, DType: runtime.F32, Bytes: keyBytes*(n+min(n, float64(s.nq)*float64(a.K))) + float64(s.nq)*(keyBytes+4)})
}

// candidates is how many candidates all queries have, if a profile wants to know: it waits for the device.
func (s *search) candidates() (n float64, err error) {
	if !s.dev.profile.on() {
		return 0, nil
	}
	counts := make([]int32, s.nq)
	err = s.downloadInts(s.memory.counts.ptr, counts)
	for _, c := range counts {
		n += float64(c)
	}
	return n, err
}

// passing runs a scan by bounds and says how many candidates it adds, if a profile wants to know.
func (s *search) passing(scan func() error) (float64, error) {
	before, err := s.candidates()
	if err != nil {
		return 0, err
	}
	if err := scan(); err != nil {
		return 0, err
	}
	after, err := s.candidates()
	return after - before, err
}

// work is that of a kernel which reads n rows of so many bytes and multiplies each with so many vectors in a type.
func (s *search) work(n, bytes, vectors int, dt runtime.DType) runtime.Work {
	return runtime.Work{Rows: n, FLOP: 2 * float64(n) * float64(s.dim) * float64(vectors), Bytes: float64(n) * float64(bytes), DType: dt}
}

// launchKey tells the launches of a search apart that differ in more than grid and arguments.
type launchKey struct {
	kernel        string
	shared, block int
}

// launch starts a kernel, whose work a profile reports. Its arguments' memory is made once.
func (s *search) launch(source, kernel string, cfg driver.Config, args []byte, w runtime.Work) error {
	key := launchKey{kernel, cfg.Shared, cfg.Block}
	l, ok := s.launches[key]
	if !ok {
		f, err := s.dev.function(source, kernel)
		if err != nil {
			return err
		}
		if cfg.Shared > 48<<10 {
			if err := driver.SetSharedMemory(f, cfg.Shared); err != nil {
				return err
			}
		}
		if l, err = driver.NewLaunch(kernel, f, cfg, args); err != nil {
			return err
		}
		s.launches[key] = l
	}
	l.Set(cfg.Grid, args)
	if err := s.dev.observedKernel(l, w); err != nil || !s.dev.sync {
		return err
	}
	if err := s.dev.wait(); err != nil {
		return fmt.Errorf("kernel %s: %w", kernel, err)
	}
	return nil
}

// bytesOf are the bytes of a kernel's structure, which has no padding and no pointers.
func bytesOf[T any](a *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(a)), unsafe.Sizeof(*a)) }
