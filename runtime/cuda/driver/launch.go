//go:build cuda

package driver

/*
#include <stdlib.h>
#include <string.h>
#include "cuda.h"

typedef struct {
	CUfunction function;
	unsigned grid[3], block, shared;
	size_t size;
	void *extra[5], *params[1];
	// The kernel's structure follows.
} launch_block;

static launch_block *launch_new(void *function, const unsigned *grid, unsigned block, unsigned shared, const void *args, size_t size, int aligned) {
	launch_block *l = malloc(sizeof *l + size);
	if (!l) return NULL;
	l->function = function;
	memcpy(l->grid, grid, sizeof l->grid);
	l->block = block;
	l->shared = shared;
	l->size = size;
	memcpy(l + 1, args, size);
	l->extra[0] = CU_LAUNCH_PARAM_BUFFER_POINTER;
	l->extra[1] = l + 1;
	l->extra[2] = CU_LAUNCH_PARAM_BUFFER_SIZE;
	l->extra[3] = &l->size;
	l->extra[4] = CU_LAUNCH_PARAM_END;
	l->params[0] = aligned ? l + 1 : NULL;
	return l;
}

static CUresult launch_run(launch_block *l, void *stream) {
	return cuLaunchKernel(l->function, l->grid[0], l->grid[1], l->grid[2], l->block, 1, 1, l->shared, stream, l->params[0] ? l->params : NULL,
	                      l->params[0] ? NULL : l->extra);
}

static CUresult function_shared(void *function, int bytes) {
	return cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
}
*/
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// handle is the driver's handle inside one of cu's structures, which hold nothing else.
func handle[T any](v *T) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(v)) }

func stream(s cu.Stream) unsafe.Pointer { return handle(&s) }

// SetSharedMemory allows launches of a function with so many bytes of dynamic shared memory; more than 48 KiB must be allowed.
func SetSharedMemory(f cu.Function, bytes int) error {
	return result("set a kernel's shared memory", C.function_shared(handle(&f), C.int(bytes)))
}

// Launch is a kernel with its grid and arguments in C memory, so that starting it allocates nothing and passes no Go pointer.
type Launch struct {
	name  string
	block *C.launch_block
}

// Config is the form of a launch.
type Config struct {
	Grid   [3]int // blocks
	Block  int    // threads
	Shared int    // bytes of dynamic shared memory
	// Aligned is for a structure that is aligned to more than 16 bytes. The device's place for arguments is not, so that the driver must
	// find the structure's own place, which it does for arguments without a size: nothing checks theirs.
	Aligned bool
}

// NewLaunch prepares a launch; args are the bytes of the kernel's one structure.
func NewLaunch(name string, f cu.Function, c Config, args []byte) (*Launch, error) {
	grid := [3]C.uint{C.uint(c.Grid[0]), C.uint(c.Grid[1]), C.uint(c.Grid[2])}
	aligned := C.int(0)
	if c.Aligned {
		aligned = 1
	}
	l := C.launch_new(handle(&f), &grid[0], C.uint(c.Block), C.uint(c.Shared), unsafe.Pointer(unsafe.SliceData(args)), C.size_t(len(args)), aligned)
	if l == nil {
		return nil, fmt.Errorf("launch %s: no memory for its arguments", name)
	}
	return &Launch{name, l}, nil
}

// Set changes what the next Run starts; args are as many bytes as before. A run that has been started keeps its own.
func (l *Launch) Set(grid [3]int, args []byte) {
	for i, n := range grid {
		l.block.grid[i] = C.uint(n)
	}
	copy(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(l.block), C.sizeof_launch_block)), int(l.block.size)), args)
}

// Name is the kernel's name.
func (l *Launch) Name() string { return l.name }

// Run starts the kernel on a stream.
func (l *Launch) Run(s cu.Stream) error {
	return result("launch "+l.name, C.launch_run(l.block, stream(s)))
}

// Close frees the arguments.
func (l *Launch) Close() {
	C.free(unsafe.Pointer(l.block))
	l.block = nil
}
