package bench

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of the pages that are asked for.
const hugePage = 2 << 20

// floats returns n zero floats for a gallery, in huge pages if the system has some, as numpy and so the programs to compare with ask for
// too. It is never given back.
func floats(n int) []float32 {
	size := (4*n + 2*hugePage) &^ (hugePage - 1)
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]float32, n)
	}
	start := unsafe.Add(p, -uintptr(p)&(hugePage-1))
	_ = unix.Madvise(unsafe.Slice((*byte)(start), size-hugePage), unix.MADV_HUGEPAGE) // a hint
	return unsafe.Slice((*float32)(start), n)
}
