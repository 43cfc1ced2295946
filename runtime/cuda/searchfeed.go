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

// feed brings rows to the device. Chunks that are promised to stay the same are kept there while there is memory, or at least their
// codes. Others stream: while one slice is scanned, the next is copied, by a stream of its own through pinned memory.
type feed struct {
	slots               [2]slot
	next                int
	last                *slot // that the latest slice is in; nil where its chunk is kept
	kept                map[chunkKey]*keptRows
	noRows, noCodeSpace bool // what is not kept yet does not fit
}

// keptRows are what is kept of a chunk: its rows and norms, made when a scan needs them, its codes and what goes with them, or both.
type keptRows struct {
	rows, norms                  region
	codes, scale, loss, codeRows region
	normed, coded                bool
}

func (k *keptRows) free() (err error) {
	for _, r := range []*region{&k.rows, &k.norms, &k.codes, &k.scale, &k.loss, &k.codeRows} {
		err = errors.Join(err, r.free())
	}
	return err
}

// slot is memory for a streamed slice: rows and their norms, or codes and what goes with them.
type slot struct {
	memory, norms         region
	scale, loss, codeRows region
	read                  cu.Event // the scan is done
	used                  bool
	made                  bool
}

func (h *slot) regions() []*region {
	return []*region{&h.memory, &h.norms, &h.scale, &h.loss, &h.codeRows}
}

// chunkKey identifies rows.
type chunkKey struct {
	first, rows int
	dt          runtime.DType
}

// spareBytes of the device's memory, or a sixteenth where that is more, is left to everything else.
const spareBytes = 512 << 20

// pitchOf is the distance of rows on the device: the kernels read 16 bytes at a time.
func (s *search) pitchOf(dt runtime.DType) int { return blocks(s.dim*dt.Size(), 16) * 16 }

// keep brings what does not change of a chunk to the device for good, as far as there is memory: rows, and codes.
func (s *search) keep(first int, c runtime.Chunk) error {
	if !c.Fixed {
		return nil
	}
	f, key := &s.feed, chunkKey{first, c.Rows, c.DType}
	k := f.kept[key]
	if k == nil {
		k = new(keptRows)
	}
	if k.rows.ptr == 0 && !f.noRows {
		ok, err := s.keepAll(k, []*region{&k.rows, &k.norms}, []int{c.Rows * s.pitchOf(c.DType), 4 * c.Rows}, func() error {
			return s.copyRows(k.rows.ptr, 0, c.Rows, c)
		})
		if err != nil {
			return err
		}
		f.noRows = !ok
	}
	if s.hasCodes(c) && k.codes.ptr == 0 && !f.noCodeSpace {
		ok, err := s.keepAll(k, []*region{&k.codes, &k.scale, &k.loss, &k.codeRows},
			[]int{c.Rows * s.codesPitch(), 4 * c.Rows, 4 * c.Rows, codeRow * c.Rows}, func() error {
				return s.copyCodes(k.codes.ptr, k.scale.ptr, k.loss.ptr, 0, c.Rows, c.Coarse)
			})
		if err != nil {
			return err
		}
		f.noCodeSpace = !ok
	}
	if k.rows.ptr == 0 && k.codes.ptr == 0 {
		return nil
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

// keepAll allocates regions of a chunk and fills them, and says whether there is memory; otherwise it leaves none of them. After an error
// nothing is kept of the chunk.
func (s *search) keepAll(k *keptRows, regions []*region, bytes []int, fill func() error) (bool, error) {
	for i, r := range regions {
		ok, err := s.spare(r, bytes[i])
		if ok {
			continue
		}
		for _, r := range regions[:i] {
			err = errors.Join(err, r.free())
		}
		return false, err
	}
	if err := fill(); err != nil {
		for key, o := range s.feed.kept {
			if o == k {
				delete(s.feed.kept, key)
			}
		}
		return false, errors.Join(err, k.free())
	}
	return true, nil
}

// spare allocates what a search can do without, if enough is left for everything else, and says whether it did.
func (s *search) spare(r *region, bytes int) (bool, error) {
	free, total, err := cu.MemInfo()
	if err := driver.Check("measure memory", err); err != nil {
		return false, err
	}
	if int64(bytes) > free-max(spareBytes, total/16) {
		return false, nil
	}
	p, err := cu.MemAlloc(int64(max(bytes, 16))) // not Device.allocate, which would give up other chunks for this one
	if err := driver.Check("allocate rows", err); errors.Is(err, runtime.ErrOutOfMemory) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	*r = region{p, max(bytes, 16)}
	return true, nil
}

// slotRows is how many rows of so many bytes a slot has room for.
func (s *search) slotRows(pitch int) int { return max(1, s.shape.slot/pitch) }

// rows returns n rows of a chunk from row at on, as the next kernel will find them; k is what is kept of it, or nil. More than slotRows
// must be kept.
func (s *search) rows(k *keptRows, at, n int, c runtime.Chunk) (deviceRows, error) {
	pitch := s.pitchOf(c.DType)
	if k != nil && k.rows.ptr != 0 {
		s.feed.last = nil
		return deviceRows{k.rows.ptr, 0, pitch, k}, nil
	}
	h, err := s.slot(func(h *slot) error {
		return errors.Join(s.dev.reserve(&h.memory, n*pitch), s.dev.reserve(&h.norms, 4*n))
	})
	if err != nil {
		return deviceRows{}, err
	}
	return deviceRows{h.memory.ptr, at, pitch, nil}, s.copyRows(h.memory.ptr, at, n, c)
}

// codesOf returns n codes of a chunk from row at on, as rows does.
func (s *search) codesOf(k *keptRows, at, n int, c runtime.Chunk) (deviceCodes, error) {
	if k != nil && k.codes.ptr != 0 {
		s.feed.last = nil
		return deviceCodes{uint64(k.codes.ptr), uint64(k.scale.ptr), uint64(k.loss.ptr), uint64(k.codeRows.ptr), &k.coded, 0, c.Rows}, nil
	}
	pitch := s.codesPitch()
	h, err := s.slot(func(h *slot) error {
		return errors.Join(s.dev.reserve(&h.memory, n*pitch), s.dev.reserve(&h.scale, 4*n), s.dev.reserve(&h.loss, 4*n),
			s.dev.reserve(&h.codeRows, codeRow*n))
	})
	if err != nil {
		return deviceCodes{}, err
	}
	back := func(r region, size int) uint64 { return uint64(r.ptr) - uint64(at*size) }
	d := deviceCodes{back(h.memory, pitch), back(h.scale, 4), back(h.loss, 4), back(h.codeRows, codeRow), nil, at, at + n}
	return d, s.copyCodes(h.memory.ptr, h.scale.ptr, h.loss.ptr, at, n, c.Coarse)
}

// slot returns the slot that was used longest ago, with memory as reserve makes it, ready to be filled by the copying stream.
func (s *search) slot(reserve func(h *slot) error) (*slot, error) {
	f := &s.feed
	h := &f.slots[f.next]
	f.next = 1 - f.next
	f.last = h
	if !h.made {
		var err error
		if h.read, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return nil, driver.Check("make event", err)
		}
		h.made = true
	}
	if err := reserve(h); err != nil || !h.used {
		return h, err
	}
	c, err := s.dev.copier()
	if err != nil {
		return nil, err
	}
	return h, driver.Check("wait for a scan", c.stream.Wait(h.read, 0))
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

// copyCodes is copyRows for codes, scales and losses.
func (s *search) copyCodes(codes, scale, loss cu.DevicePtr, at, n int, k *runtime.Coarse) error {
	p, err := s.dev.copier()
	if err != nil {
		return err
	}
	floats := func(dst cu.DevicePtr, x []float32) error {
		return p.upload(s.dev, dst, 4*n, func(piece []byte, off int) { encode(piece, runtime.F32, x[off/4:off/4+len(piece)/4]) })
	}
	data, pitch := codeBytes(k.Codes[at*s.dim:(at+n)*s.dim]), s.codesPitch()
	return errors.Join(p.upload(s.dev, codes, n*pitch, func(piece []byte, off int) { pad(piece, off, data, s.dim, pitch) }),
		floats(scale, k.Scale[at:at+n]), floats(loss, k.Loss[at:at+n]))
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
		for _, r := range h.regions() {
			err = errors.Join(err, r.free())
		}
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
