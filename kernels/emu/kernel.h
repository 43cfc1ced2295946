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
int atomic_increment(int *p);
void *shared_memory();

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
uint16_t f32_to_bf16(float f);
float bits_to_f32(uint32_t x);

} // namespace emu
