//go:build unix

package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func load(f *os.File, size int) (data []byte, mapped bool, err error) {
	data, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	return data, err == nil, err
}

func unmap(data []byte) error { return unix.Munmap(data) }

// drop advises on the whole pages inside b: its first and last page may belong to a neighbour still in use.
func drop(b []byte) {
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	lo := (start + page - 1) &^ (page - 1)
	hi := (start + uintptr(len(b))) &^ (page - 1)
	if lo < hi {
		_ = unix.Madvise(b[lo-start:hi-start], unix.MADV_DONTNEED)
	}
}

// prefetch advises on every page that b touches. The first of them begins inside the mapping, which starts with a page.
func prefetch(b []byte) {
	before := uintptr(unsafe.Pointer(unsafe.SliceData(b))) % uintptr(os.Getpagesize())
	first := (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), -int(before)))
	_ = unix.Madvise(unsafe.Slice(first, len(b)+int(before)), unix.MADV_WILLNEED)
}
