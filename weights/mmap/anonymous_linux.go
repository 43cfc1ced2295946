package mmap

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func anonymous(n int) []byte {
	all, err := unix.MmapPtr(-1, 0, nil, uintptr(n+HugePage), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	before := -uintptr(all) & (HugePage - 1)
	start := unsafe.Add(all, before)
	if before > 0 {
		_ = unix.MunmapPtr(all, before)
	}
	if before < HugePage {
		_ = unix.MunmapPtr(unsafe.Add(start, n), HugePage-before)
	}
	return unsafe.Slice((*byte)(start), n)
}

func askHuge(mem []byte) { _ = unix.Madvise(mem, unix.MADV_HUGEPAGE) }

func free(mem []byte) { _ = unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem))) }
