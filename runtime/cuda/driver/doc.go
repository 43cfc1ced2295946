// Package driver is what package cuda needs of NVIDIA's driver beside gorgonia.org/cu: launches without malloc on cu's
// handles, function attributes, stream capture and graphs, pinned host memory, and errors that say whether a device is lost.
//
// It is compiled with the build tag cuda only, against include/cuda.h and the static library in shim, which finds the real
// driver when it is first called: the library that ISEARLE_CUDA_DRIVER names, else libcuda.so.1. So a binary needs no CUDA
// toolkit to be built and starts where there is no driver.
package driver
