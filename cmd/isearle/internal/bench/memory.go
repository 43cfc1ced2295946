package bench

import (
	"unsafe"

	"isearle/weights/mmap"
)

// floats returns n zero floats for a gallery, in huge pages if the system has some, as numpy and so the programs to compare with ask for
// too. It is never given back.
func floats(n int) []float32 {
	mem := mmap.Anonymous((4*n + mmap.HugePage - 1) / mmap.HugePage * mmap.HugePage)
	if len(mem) == 0 {
		return make([]float32, n)
	}
	mmap.AskHuge(mem)
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(mem))), n)
}
