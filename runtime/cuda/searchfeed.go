//go:build cuda

package cuda

import (
	"errors"
	"slices"
	"unsafe"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// region is device memory that grows when it has to and is kept otherwise.
type region struct {
	ptr   cu.DevicePtr
	bytes int
}

// reserve makes a region hold so many bytes; what was in it is lost when it grows.
func (d *Device) reserve(r *region, bytes int) error {
	if bytes <= r.bytes && r.ptr != 0 {
		return nil
	}
	if err := r.free(); err != nil {
		return err
	}
	p, err := d.allocate(bytes)
	if err != nil {
		return err
	}
	*r = region{p, max(bytes, 16)}
	return nil
}

func (r *region) free() error {
	if r.ptr == 0 {
		return nil
	}
	p := r.ptr
	*r = region{}
	return driver.Check("free memory", cu.MemFree(p))
}

// deviceRows are rows on the device: row from of a chunk stands at ptr, the next ones pitch bytes apart.
type deviceRows struct {
	ptr         cu.DevicePtr
	from, pitch int
	kept        *keptRows // nil where they stream
}

// feed brings rows to the device. Chunks that are promised to stay the same are kept there while there is memory. Others
// stream: while one slice is scanned, the next is copied, by a stream of its own through pinned memory.
type feed struct {
	slots [2]slot
	next  int
	last  *slot // that the latest slice is in; nil where its chunk is kept
	kept  map[chunkKey]*keptRows
	full  bool // what is not kept yet does not fit
}

// keptRows are a chunk's rows and what goes with them: norms, made when a scan needs them, and the coarse copy.
type keptRows struct {
	rows, norms, codes, scale, loss region
	normed                          bool
}

func (k *keptRows) free() (err error) {
	for _, r := range []*region{&k.rows, &k.norms, &k.codes, &k.scale, &k.loss} {
		err = errors.Join(err, r.free())
	}
	return err
}

// slot is memory for a streamed slice.
type slot struct {
	memory region
	norms  region
	read   cu.Event // the scan is done
	used   bool
	made   bool
}

// chunkKey identifies rows.
type chunkKey struct {
	first, rows int
	dt          runtime.DType
}

const (
	slotBytes = 64 << 20
	// spareBytes of the device's memory, or a sixteenth where that is more, is left to everything else.
	spareBytes = 512 << 20
)

// pitchOf is the distance of rows on the device: the kernels read 16 bytes at a time.
func (s *search) pitchOf(dt runtime.DType) int { return blocks(s.dim*dt.Size(), 16) * 16 }

// keep brings a chunk that does not change to the device for good, if there is memory.
func (s *search) keep(first int, c runtime.Chunk) error {
	f, key := &s.feed, chunkKey{first, c.Rows, c.DType}
	if _, ok := f.kept[key]; ok || !c.Fixed || f.full {
		return nil
	}
	k := new(keptRows)
	for _, m := range []struct {
		r     *region
		bytes int
	}{{&k.rows, c.Rows * s.pitchOf(c.DType)}, {&k.norms, 4 * c.Rows}} {
		if ok, err := s.spare(m.r, m.bytes); !ok {
			return errors.Join(err, k.free())
		}
	}
	if err := s.copyRows(k.rows.ptr, 0, c.Rows, c); err != nil {
		return errors.Join(err, k.free())
	}
	if f.kept == nil {
		f.kept = map[chunkKey]*keptRows{}
	}
	if !slices.Contains(s.dev.searches, s) {
		s.dev.searches = append(s.dev.searches, s)
	}
	f.kept[key] = k
	return nil
}

// spare allocates what a search can do without, if enough is left for everything else, and says whether it did.
func (s *search) spare(r *region, bytes int) (bool, error) {
	free, total, err := cu.MemInfo()
	if err := driver.Check("measure memory", err); err != nil {
		return false, err
	}
	if int64(bytes) > free-max(spareBytes, total/16) {
		s.feed.full = true
		return false, nil
	}
	p, err := cu.MemAlloc(int64(max(bytes, 16))) // not Device.allocate, which would give up other chunks for this one
	if err := driver.Check("allocate rows", err); errors.Is(err, runtime.ErrOutOfMemory) {
		s.feed.full = true
		return false, nil
	} else if err != nil {
		return false, err
	}
	*r = region{p, max(bytes, 16)}
	return true, nil
}

// rows returns rows of a chunk, n at most, from row at on, as the next kernel will find them, and how many.
func (s *search) rows(first, at, n int, c runtime.Chunk) (int, deviceRows, error) {
	f, pitch := &s.feed, s.pitchOf(c.DType)
	if k, ok := f.kept[chunkKey{first, c.Rows, c.DType}]; ok {
		f.last = nil
		return n, deviceRows{k.rows.ptr, 0, pitch, k}, nil
	}
	n = min(n, max(1, slotBytes/pitch))
	h := &f.slots[f.next]
	f.next = 1 - f.next
	f.last = h
	if err := h.prepare(s.dev, n, pitch); err != nil {
		return 0, deviceRows{}, err
	}
	if err := s.copyRows(h.memory.ptr, at, n, c); err != nil {
		return 0, deviceRows{}, err
	}
	return n, deviceRows{h.memory.ptr, at, pitch, nil}, nil
}

// prepare makes the slot ready to be filled by the copying stream.
func (h *slot) prepare(d *Device, rows, pitch int) (err error) {
	if !h.made {
		if h.read, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return driver.Check("make event", err)
		}
		h.made = true
	}
	if err := errors.Join(d.reserve(&h.memory, rows*pitch), d.reserve(&h.norms, 4*rows)); err != nil {
		return err
	}
	if !h.used {
		return nil
	}
	c, err := d.copier()
	if err != nil {
		return err
	}
	return driver.Check("wait for a scan", c.stream.Wait(h.read, 0))
}

// read notes that the scan of the latest slice has been launched.
func (s *search) read() error {
	h := s.feed.last
	if h == nil {
		return nil
	}
	h.used = true
	return driver.Check("record event", h.read.Record(s.dev.stream))
}

// copyRows copies n rows of a chunk, from row at on, to the device, padded. Kernels that are launched later find them there.
func (s *search) copyRows(dst cu.DevicePtr, at, n int, c runtime.Chunk) error {
	size, pitch := s.dim*c.DType.Size(), s.pitchOf(c.DType)
	data := c.Data[at*size : (at+n)*size]
	p, err := s.dev.copier()
	if err != nil {
		return err
	}
	return p.upload(s.dev, dst, n*pitch, func(piece []byte, off int) { pad(piece, off, data, size, pitch) })
}

// pad fills a piece, which begins off bytes into rows pitch bytes apart, from rows of size bytes.
func pad(piece []byte, off int, data []byte, size, pitch int) {
	if size == pitch {
		copyParallel(piece, data[off:])
		return
	}
	clear(piece)
	for r := off / pitch; r*pitch < off+len(piece) && r*size < len(data); r++ {
		row := data[r*size : (r+1)*size]
		if at := r*pitch - off; at >= 0 {
			copy(piece[at:], row)
		} else if -at < size {
			copy(piece, row[-at:])
		}
	}
}

// close frees everything; the caller holds the device, and nothing runs.
func (f *feed) close() (err error) {
	for i := range f.slots {
		h := &f.slots[i]
		err = errors.Join(err, h.memory.free(), h.norms.free())
		if h.made {
			err = errors.Join(err, driver.Check("free event", cu.DestroyEvent(&h.read)))
		}
	}
	err = errors.Join(err, f.drop())
	*f = feed{}
	return err
}

// drop gives the kept chunks up.
func (f *feed) drop() (err error) {
	for key, r := range f.kept {
		err = errors.Join(err, r.free())
		delete(f.kept, key)
	}
	return err
}

// codeBytes are codes as bytes; not a copy.
func codeBytes(codes []int8) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(codes))), len(codes))
}
