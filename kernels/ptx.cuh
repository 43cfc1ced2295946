// What kernels may use of the machine, for two compilers: CUDA C++ and inline PTX under NVRTC, and the emulated driver's
// functions under a host C++ compiler, so that the same sources run in tests without a GPU.
//
// A kernel takes one structure by value, and dynamic shared memory only. Memory is reached by plain loads and stores, which
// the emulated driver watches; everything between threads goes through the functions below. Products that are to be fused
// are written fmaf: contraction is off in both compilers, so that an emulated kernel gives the bits of the chip wherever it
// does not call a transcendental function.
#pragma once

#ifdef __CUDACC__

typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;

#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define NO_UNROLL _Pragma("unroll 1")
#define UNROLL_FOUR _Pragma("unroll 4")

// KERNEL(name, Args, threads) { ... a.field ... } defines a kernel for blocks of so many threads.
#define KERNEL(name, Args, threads) \
	extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Args a)

// KERNEL_FOR is KERNEL where a multiprocessor is to hold so many blocks, which bounds the registers.
#define KERNEL_FOR(blocks, name, Args, threads) \
	extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Args a)

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
// shuffle returns v of a lane, warp_ballot a bit of each lane's p, lane 0's the lowest. All lanes must call them.
DEVICE int shuffle(int v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
DEVICE uint32_t warp_ballot(bool p) { return __ballot_sync(0xffffffffu, p); }
DEVICE int bits_set(uint32_t x) { return __popc(x); }

// Products of small matrices by a warp, C += A B, all lanes together. Lane 4g + t holds
//
//	A [16, 16] f16 or bf16, words of two elements of a row: (g, 2t), (g+8, 2t), (g, 2t+8), (g+8, 2t+8)
//	B [16, 8], words of two elements of a column: (2t, g), (2t+8, g)
//	C [16, 8] f32: (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)
//
// mma_s8 is the same of bytes, A [16, 32] and B [32, 8], words of four: (g, 4t), (g+8, 4t), (g, 4t+16), (g+8, 4t+16) and (4t, g),
// (4t+16, g), with i32 sums. PTX ISA: mma.m16n8k16, mma.m16n8k32.
DEVICE void mma_f16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
	asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE void mma_bf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE void mma_s8(int (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
	asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

DEVICE uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

// ldmatrix loads n matrices of 8 rows of 16 bytes from shared memory, one word of each a lane. Lane 8m + r gives the address of row
// r of matrix m, aligned to 16 bytes; lane 4g + t gets elements 2t and 2t+1 of row g, with trans of column g. It waits for nobody.
DEVICE void ldmatrix_x1(uint32_t &r, const void *row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r) : "r"(shared_address(row)) : "memory");
}
DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void *row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}
DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void *row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
DEVICE void ldmatrix_x1_trans(uint32_t &r, const void *row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r) : "r"(shared_address(row)) : "memory");
}
DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], const void *row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
	             : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}
DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

// copy_async copies 16 bytes from global to shared memory, both aligned to 16, without waiting: the first n from memory, zeros for
// the rest; with n = 0 nothing is read. copy_commit closes a group of the thread's copies, copy_wait<N> waits for all of its
// groups but the last N. Other threads see the bytes behind a barrier after that.
DEVICE void copy_async(void *to, const void *from, int n) {
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
	             :: "r"(shared_address(to)), "l"(__cvta_generic_to_global(from)), "r"(n) : "memory");
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }

// store2_if and store4_if store so many words, to memory aligned to all of them, where it is live: without a branch, around which nothing
// would move.
DEVICE void store2_if(bool live, void *to, uint32_t x, uint32_t y) {
	asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %3, 0;\n\t@p st.global.v2.b32 [%0], {%1, %2};\n\t}"
	             :: "l"(__cvta_generic_to_global(to)), "r"(x), "r"(y), "r"((int)live));
}
DEVICE void store4_if(bool live, void *to, uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
	asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %5, 0;\n\t@p st.global.v4.b32 [%0], {%1, %2, %3, %4};\n\t}"
	             :: "l"(__cvta_generic_to_global(to)), "r"(x), "r"(y), "r"(z), "r"(w), "r"((int)live));
}

// pack_f16 and pack_bf16 round two numbers to nearest even, x the lower half of the word.
DEVICE uint32_t pack_f16(float x, float y) {
	uint32_t w;
	asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(y), "f"(x));
	return w;
}
DEVICE uint32_t pack_bf16(float x, float y) {
	uint32_t w;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(y), "f"(x));
	return w;
}

// exp2_fast is 2^x by the special function unit, within 2 ulp, subnormal results flushed to zero.
DEVICE float exp2_fast(float x) {
	float y;
	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

// reciprocal_fast is 1/x by the special function unit, within 1 ulp, subnormal results flushed to zero.
DEVICE float reciprocal_fast(float x) {
	float y;
	asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

// atomic_add adds n to *p, in global or shared memory, and returns what it was. Between two barriers nothing else may reach *p.
DEVICE int atomic_add(int *p, int n) { return atomicAdd(p, n); }

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
DEVICE uint32_t f32_to_bits(float f) { return __float_as_uint(f); }

// sin_pi and cos_pi are the functions of pi*x.
DEVICE float sin_pi(float x) { return sinpif(x); }
DEVICE float cos_pi(float x) { return cospif(x); }

#else

#include "emu/kernel.h"

#define DEVICE static inline
#define UNROLL
#define NO_UNROLL
#define UNROLL_FOUR

#define KERNEL(name, Args, threads)                                                                           \
	static void name##_body([[maybe_unused]] const Args &a);                                                                   \
	static const bool name##_added =                                                                          \
		emu::add({#name, [](const void *p) { name##_body(*static_cast<const Args *>(p)); }, sizeof(Args), threads}); \
	static void name##_body([[maybe_unused]] const Args &a)

#define KERNEL_FOR(blocks, name, Args, threads) KERNEL(name, Args, threads)

#define SHARED(T, name) T *name = static_cast<T *>(emu::shared_memory())

DEVICE int thread_index() { return emu::thread_index(); }
DEVICE int block_x() { return emu::block(0); }
DEVICE int block_y() { return emu::block(1); }
DEVICE int block_z() { return emu::block(2); }
DEVICE void barrier() { emu::barrier(); }
DEVICE void warp_barrier() { emu::warp_barrier(); }
DEVICE float shuffle_xor(float v, int mask) { return emu::shuffle_xor(v, mask); }
DEVICE int shuffle(int v, int lane) { return emu::shuffle(v, lane); }
DEVICE uint32_t warp_ballot(bool p) { return emu::ballot(p); }
DEVICE int bits_set(uint32_t x) { return __builtin_popcount(x); }
DEVICE int atomic_add(int *p, int n) { return emu::atomic_add(p, n); }

DEVICE void store2_if(bool live, void *to, uint32_t x, uint32_t y) {
	uint32_t *const p = static_cast<uint32_t *>(to);
	if (live) p[0] = x, p[1] = y;
}
DEVICE void store4_if(bool live, void *to, uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
	uint32_t *const p = static_cast<uint32_t *>(to);
	if (live) p[0] = x, p[1] = y, p[2] = z, p[3] = w;
}

#define EMU_MMA(name, type, Parts)                                                                          \
	DEVICE void name(type (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {                        \
		const emu::Parts d = emu::name({{a[0], a[1], a[2], a[3]}}, b0 | uint64_t(b1) << 32, {{c[0], c[1], c[2], c[3]}}); \
		c[0] = d.x[0], c[1] = d.x[1], c[2] = d.x[2], c[3] = d.x[3];                                             \
	}
EMU_MMA(mma_f16, float, Floats)
EMU_MMA(mma_bf16, float, Floats)
EMU_MMA(mma_s8, int, Ints)
#undef EMU_MMA

#define EMU_LDMATRIX(suffix, transposed)                                                        \
	DEVICE void ldmatrix_x1##suffix(uint32_t &r, const void *row) { r = emu::ldmatrix(row, 1, transposed).x[0]; } \
	DEVICE void ldmatrix_x2##suffix(uint32_t (&r)[2], const void *row) {                           \
		const emu::Words w = emu::ldmatrix(row, 2, transposed);                                       \
		r[0] = w.x[0], r[1] = w.x[1];                                                                 \
	}                                                                                             \
	DEVICE void ldmatrix_x4##suffix(uint32_t (&r)[4], const void *row) {                           \
		const emu::Words w = emu::ldmatrix(row, 4, transposed);                                       \
		r[0] = w.x[0], r[1] = w.x[1], r[2] = w.x[2], r[3] = w.x[3];                                   \
	}
EMU_LDMATRIX(, false)
EMU_LDMATRIX(_trans, true)
#undef EMU_LDMATRIX

DEVICE void copy_async(void *to, const void *from, int n) { emu::copy_async(to, from, n); }
DEVICE void copy_commit() { emu::copy_commit(); }
template <int N>
DEVICE void copy_wait() { emu::copy_wait(N); }
DEVICE uint32_t pack_f16(float x, float y) { return emu::f32_to_f16(x) | (uint32_t)emu::f32_to_f16(y) << 16; }
DEVICE uint32_t pack_bf16(float x, float y) { return emu::f32_to_bf16(x) | (uint32_t)emu::f32_to_bf16(y) << 16; }
DEVICE float exp2_fast(float x) {
	const float y = exp2f(x);
	return y < 1.17549435e-38f ? 0.0f : y;
}
DEVICE float reciprocal_fast(float x) {
	const float y = 1.0f / x;
	return fabsf(y) < 1.17549435e-38f ? copysignf(0.0f, y) : y;
}
DEVICE float f16_to_f32(uint16_t h) { return emu::f16_to_f32(h); }
DEVICE uint16_t f32_to_f16(float f) { return emu::f32_to_f16(f); }
DEVICE uint16_t f32_to_bf16(float f) { return emu::f32_to_bf16(f); }
DEVICE float bits_to_f32(uint32_t x) { return emu::bits_to_f32(x); }
DEVICE uint32_t f32_to_bits(float f) { return emu::f32_to_bits(f); }
DEVICE float sin_pi(float x) { return (float)sin(3.14159265358979323846 * x); }
DEVICE float cos_pi(float x) { return (float)cos(3.14159265358979323846 * x); }

#endif

DEVICE int atomic_increment(int *p) { return atomic_add(p, 1); }

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
