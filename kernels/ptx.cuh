// What kernels may use of the machine, for two compilers: CUDA C++ and inline PTX under NVRTC, and the emulated driver's
// functions under a host C++ compiler, so that the same sources run in tests without a GPU.
//
// A kernel takes one structure by value, and dynamic shared memory only. Memory is reached by plain loads and stores, which
// the emulated driver watches; everything between threads goes through the functions below. Products that are to be fused
// are written fmaf: contraction is off in both compilers, so that an emulated kernel gives the bits of the chip wherever it
// does not call a transcendental function.
#pragma once

#ifdef __CUDACC__

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;

#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")

// KERNEL(name, Args, threads) { ... a.field ... } defines a kernel for blocks of so many threads.
#define KERNEL(name, Args, threads) \
	extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Args a)

// SHARED(T, name) declares the block's dynamic shared memory.
#define SHARED(T, name)                                              \
	extern __shared__ __align__(128) unsigned char shared_memory_[]; \
	T *name = reinterpret_cast<T *>(shared_memory_)

DEVICE int thread_index() { return threadIdx.x; }
DEVICE int block_x() { return blockIdx.x; }
DEVICE int block_y() { return blockIdx.y; }
DEVICE int block_z() { return blockIdx.z; }

// barrier waits for the block's threads and orders their accesses to shared and global memory; warp_barrier the warp's.
DEVICE void barrier() { __syncthreads(); }
DEVICE void warp_barrier() { __syncwarp(); }

// shuffle_xor returns v of the lane whose number differs by the mask. All lanes of the warp must call it.
DEVICE float shuffle_xor(float v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }

// atomic_increment adds one to *p, which kernels reach no other way, and returns what it was.
DEVICE int atomic_increment(int *p) { return atomicAdd(p, 1); }

DEVICE float f16_to_f32(uint16_t h) {
	float f;
	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
	return f;
}
DEVICE uint16_t f32_to_f16(float f) {
	uint16_t h;
	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
}
DEVICE uint16_t f32_to_bf16(float f) {
	uint16_t h;
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
}
DEVICE float bits_to_f32(uint32_t x) { return __uint_as_float(x); }

// sin_pi and cos_pi are the functions of pi*x.
DEVICE float sin_pi(float x) { return sinpif(x); }
DEVICE float cos_pi(float x) { return cospif(x); }

#else

#include "emu/kernel.h"

#define DEVICE static inline
#define UNROLL

#define KERNEL(name, Args, threads)                                                                           \
	static void name##_body([[maybe_unused]] const Args &a);                                                                   \
	static const bool name##_added =                                                                          \
		emu::add({#name, [](const void *p) { name##_body(*static_cast<const Args *>(p)); }, sizeof(Args), threads}); \
	static void name##_body([[maybe_unused]] const Args &a)

#define SHARED(T, name) T *name = static_cast<T *>(emu::shared_memory())

DEVICE int thread_index() { return emu::thread_index(); }
DEVICE int block_x() { return emu::block(0); }
DEVICE int block_y() { return emu::block(1); }
DEVICE int block_z() { return emu::block(2); }
DEVICE void barrier() { emu::barrier(); }
DEVICE void warp_barrier() { emu::warp_barrier(); }
DEVICE float shuffle_xor(float v, int mask) { return emu::shuffle_xor(v, mask); }
DEVICE int atomic_increment(int *p) { return emu::atomic_increment(p); }
DEVICE float f16_to_f32(uint16_t h) { return emu::f16_to_f32(h); }
DEVICE uint16_t f32_to_f16(float f) { return emu::f32_to_f16(f); }
DEVICE uint16_t f32_to_bf16(float f) { return emu::f32_to_bf16(f); }
DEVICE float bits_to_f32(uint32_t x) { return emu::bits_to_f32(x); }
DEVICE float sin_pi(float x) { return (float)sin(3.14159265358979323846 * x); }
DEVICE float cos_pi(float x) { return (float)cos(3.14159265358979323846 * x); }

#endif

DEVICE float bf16_to_f32(uint16_t h) { return bits_to_f32((uint32_t)h << 16); }

// warp_sum adds v over the warp's lanes, in the same order in every lane.
DEVICE float warp_sum(float v) {
	for (int m = 16; m > 0; m >>= 1) v += shuffle_xor(v, m);
	return v;
}

// block_sum adds v over a block of so many threads, a multiple of 32. scratch is threads/32 floats of shared memory, free
// again when block_sum returns. Every thread gets the same bits.
DEVICE float block_sum(float v, float *scratch, int threads) {
	const int t = thread_index();
	v = warp_sum(v);
	if (t % 32 == 0) scratch[t / 32] = v;
	barrier();
	float s = 0;
	for (int i = 0; i < threads / 32; i++) s += scratch[i];
	barrier();
	return s;
}
