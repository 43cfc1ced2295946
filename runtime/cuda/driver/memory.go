//go:build cuda

package driver

// #include "cuda.h"
//
// static CUresult zero(CUdeviceptr p, size_t n, void *stream) { return cuMemsetD8Async(p, 0, n, stream); }
import "C"

import (
	"unsafe"

	"gorgonia.org/cu"
)

// AllocHost returns n bytes of pinned host memory, the only memory that copies may use while the host goes on.
func AllocHost(n int) ([]byte, error) {
	var p unsafe.Pointer
	if err := result("allocate pinned memory", C.cuMemHostAlloc(&p, C.size_t(n), C.CU_MEMHOSTALLOC_PORTABLE)); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

// FreeHost frees what AllocHost returned.
func FreeHost(b []byte) error {
	return result("free pinned memory", C.cuMemFreeHost(unsafe.Pointer(unsafe.SliceData(b))))
}

// Zero clears n bytes of device memory on a stream.
func Zero(p cu.DevicePtr, n int64, s cu.Stream) error {
	return result("clear memory", C.zero(C.CUdeviceptr(p), C.size_t(n), stream(s)))
}

// Upload copies pinned memory to the device on a stream.
func Upload(dst cu.DevicePtr, src []byte, s cu.Stream) error {
	return Check("copy to the device", cu.MemcpyHtoDAsync(dst, unsafe.Pointer(unsafe.SliceData(src)), int64(len(src)), s))
}

// Download copies device memory to pinned memory on a stream.
func Download(dst []byte, src cu.DevicePtr, s cu.Stream) error {
	return Check("copy from the device", cu.MemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(dst)), src, int64(len(dst)), s))
}
