package cpu

import (
	"sync"

	"isearle/weights/mmap"
)

// Packed weights and the matrices of Programs live outside the Go heap: they hold no pointers, so the collector need neither
// know of them nor leave room for as much again, they can be given back at once, and in huge pages they are read with fewer
// misses of the translation tables (1 to 6 % of a product's time). Huge pages are asked for when a region is full: the system
// then makes them in the background. Asked for before, memory is tidied up for each page that is touched first, and where it
// is fragmented a start takes two to four times as long.
const (
	regionSize = 64 << 20 // only what is touched takes memory
	leastBlock = 64 << 10 // smaller ones are left to the Go heap
)

// heap hands out blocks of memory, one after the other, from regions that it maps. A region is unmapped when the last of its
// blocks is released.
type heap struct {
	mu  sync.Mutex
	now *region // the one that is being handed out; nil at first
}

// region is a piece of mapped memory.
type region struct {
	mem  []byte
	used int
	refs int // blocks in use, and one as long as more are handed out
	late int // blocks that are filled later
}

// block is memory that is released when as many release it as hold it. The heap's lock guards refs.
type block struct {
	heap *heap
	from *region // nil: of the Go heap
	mem  []byte
	refs int
	late bool   // filled later
	last func() // called when the last hold ends; may be nil
}

// alloc returns n zero bytes that start on a cache line, held once.
func (h *heap) alloc(n int) *block {
	b := &block{heap: h, refs: 1}
	if n < leastBlock {
		b.mem = alignedBytes(n)
		return b
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	size := (n + cacheLine - 1) &^ (cacheLine - 1)
	if h.now == nil || size > len(h.now.mem)-h.now.used {
		mem := mmap.Anonymous(max(regionSize, blocks(size, mmap.HugePage)*mmap.HugePage))
		if mem == nil {
			b.mem = alignedBytes(n)
			return b
		}
		if h.now != nil && h.now.late == 0 {
			mmap.AskHuge(h.now.mem)
		}
		h.drop(h.now)
		h.now = &region{mem: mem, refs: 1}
	}
	r := h.now
	b.from, b.mem = r, r.mem[r.used:r.used+n:r.used+n]
	r.used += size
	r.refs++
	return b
}

// drop gives up one hold of a region, with the lock held.
func (h *heap) drop(r *region) {
	if r == nil {
		return
	}
	if r.refs--; r.refs == 0 {
		mmap.Free(r.mem)
		r.mem = nil
	}
}

// close ends the handing out; what is in use stays.
func (h *heap) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(h.now)
	h.now = nil
}

// fillLater says that the block will be filled by and by, until filled is called.
func (b *block) fillLater() {
	b.heap.mu.Lock()
	defer b.heap.mu.Unlock()
	if b.from != nil {
		b.late = true
		b.from.late++
	}
}

// filled ends fillLater.
func (b *block) filled() {
	b.heap.mu.Lock()
	defer b.heap.mu.Unlock()
	b.settled()
}

// settled is filled with the lock held.
func (b *block) settled() {
	if !b.late {
		return
	}
	b.late = false
	if b.from.late--; b.from.late == 0 && b.from != b.heap.now {
		mmap.AskHuge(b.from.mem)
	}
}

// hold keeps the block's memory until one more release.
func (b *block) hold() {
	b.heap.mu.Lock()
	defer b.heap.mu.Unlock()
	b.refs++
}

// release gives up one hold.
func (b *block) release() {
	b.heap.mu.Lock()
	defer b.heap.mu.Unlock()
	if b.refs--; b.refs == 0 {
		if b.last != nil {
			b.last()
		}
		b.settled()
		b.heap.drop(b.from)
		b.mem, b.from = nil, nil
	}
}
