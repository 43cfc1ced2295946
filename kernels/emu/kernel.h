// What the emulated driver offers to kernels that a host compiler builds; see ptx.cuh.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace emu {

struct Entry {
	const char *name;
	void (*body)(const void *args);
	size_t args; // bytes
	int threads; // the most in a block
};

// add registers a kernel.
bool add(const Entry &e);

int thread_index();
int block(int axis);
void barrier();
void warp_barrier();
float shuffle_xor(float v, int mask);
int shuffle(int v, int lane);
uint32_t ballot(bool p);
int atomic_add(int *p, int n);
void *shared_memory();

// Four words of a fragment, in registers.
struct Words {
	uint32_t x[4];
};
struct Floats {
	float x[4];
};
struct Ints {
	int x[4];
};

// The warp's products of ptx.cuh: c + a b for a lane's pieces of the matrices.
Floats mma_f16(Words a, uint64_t b, Floats c);
Floats mma_bf16(Words a, uint64_t b, Floats c);
Ints mma_s8(Words a, uint64_t b, Ints c);
// ldmatrix loads count 8 x 8 matrices of 16-bit elements.
Words ldmatrix(const void *row, int count, bool transposed);
// copy_async takes the first n of 16 bytes from memory, zero for the rest; they arrive when copy_wait says so.
void copy_async(void *to, const void *from, int n);
void copy_commit();
void copy_wait(int pending);

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
uint16_t f32_to_bf16(float f);
float bits_to_f32(uint32_t x);
uint32_t f32_to_bits(float f);

} // namespace emu
