package cpu

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped returns n zero bytes that start where a huge page may; n is a multiple of their size. It returns nil if the system
// refuses.
func mapped(n int) []byte {
	all, err := unix.MmapPtr(-1, 0, nil, uintptr(n+hugePage), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	before := -uintptr(all) & (hugePage - 1)
	start := unsafe.Add(all, before)
	if before > 0 {
		_ = unix.MunmapPtr(all, before)
	}
	if before < hugePage {
		_ = unix.MunmapPtr(unsafe.Add(start, n), hugePage-before)
	}
	return unsafe.Slice((*byte)(start), n)
}

// settle asks for huge pages in the place of those that are there.
func settle(mem []byte) { _ = unix.Madvise(mem, unix.MADV_HUGEPAGE) } // a hint: ordinary pages do too

func unmap(mem []byte) { _ = unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem))) }
