// Package kernels holds the CUDA kernels: sources, and what NVRTC made of them, embedded with the build tag cuda. A kernel
// source is headed by its mathematics, shapes, tiling and the bytes and operations that it must move and do.
//
// The same sources run on the CPU in tests: emu is a driver that emulates a device, watching every load and store for
// races, for accesses out of bounds and for reads of what was never written. ptx.cuh is all that they share of a machine.
//
// "make kernels-cuda" compiles with a pinned tool chain from PyPI; "make check-kernels" compares what is committed with what
// the sources give.
package kernels
