// Package cuda is the CUDA device: runtime's operations as hand-written kernels (package kernels) on NVIDIA GPUs, through
// gorgonia.org/cu and what package driver adds. The device is compiled with the build tag cuda; without it, Open answers that
// this binary has none.
//
// A Plan becomes a list of launches whose arguments never change, captured once as a graph: a run is one graph launch,
// allocates nothing, and whatever varies is read by the kernels from device memory. All work of a device goes through one
// stream, so programs share memory for their temporaries. An error of the chip is sticky: the device keeps it and every later
// call returns it.
package cuda
