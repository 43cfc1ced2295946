//go:build cuda

package driver

/*
#include <stdlib.h>
#include <string.h>
#include "cuda.h"

// encode makes the map in memory that is aligned as the driver wants it.
static CUresult encode(void *to, int bfloat16, CUdeviceptr p, cuuint64_t cols, cuuint64_t rows, cuuint64_t stride, cuuint32_t box_cols, cuuint32_t box_rows) {
	CUtensorMap map;
	cuuint64_t size[2] = {cols, rows};
	cuuint32_t box[2] = {box_cols, box_rows}, step[2] = {1, 1};
	CUresult r = cuTensorMapEncodeTiled(&map, bfloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, (void *)p, size, &stride,
	                                    box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
	                                    CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
	memcpy(to, &map, sizeof map);
	return r;
}
*/
import "C"

import (
	"unsafe"

	"gorgonia.org/cu"
)

// TensorMap describes a matrix to the tensor memory accelerator, as a kernel's argument aligned to 64 bytes.
type TensorMap [128]byte

// Tiles is a matrix of a half type with rows that are Stride bytes apart, cut into boxes whose rows are swizzled by 128 bytes.
type Tiles struct {
	BFloat16         bool
	Data             cu.DevicePtr
	Rows, Cols       int
	Stride           int // bytes, a multiple of 16
	BoxRows, BoxCols int
}

// Encode returns the map of a matrix.
func (t Tiles) Encode() (m TensorMap, err error) {
	kind := C.int(0)
	if t.BFloat16 {
		kind = 1
	}
	err = result("make a tensor map", C.encode(unsafe.Pointer(&m), kind, C.CUdeviceptr(t.Data), C.cuuint64_t(t.Cols), C.cuuint64_t(t.Rows),
		C.cuuint64_t(t.Stride), C.cuuint32_t(t.BoxCols), C.cuuint32_t(t.BoxRows)))
	return m, err
}
