// Kernels for the emulated driver's own tests: right ones, and ones with a bug that it must find.
#include "../operand.cuh"

struct PlantedArgs {
	const float *in;
	float *out;
	int n, pad;
};

// The sum of a block's elements, as it should be.
KERNEL(planted_sum, PlantedArgs, 256) {
	SHARED(float, s);
	const int t = thread_index();
	s[t] = t < a.n ? a.in[t] : 0.0f;
	barrier();
	for (int h = 128; h > 0; h /= 2) {
		if (t < h) s[t] += s[t + h];
		barrier();
	}
	if (t == 0) a.out[0] = s[0];
}

// The same without the barrier of the loop.
KERNEL(planted_no_barrier, PlantedArgs, 256) {
	SHARED(float, s);
	const int t = thread_index();
	s[t] = t < a.n ? a.in[t] : 0.0f;
	barrier();
	for (int h = 128; h > 0; h /= 2)
		if (t < h) s[t] += s[t + h];
	if (t == 0) a.out[0] = s[0];
}

// The last steps within a warp, without the warp's barrier.
KERNEL(planted_no_warp_barrier, PlantedArgs, 32) {
	SHARED(float, s);
	const int t = thread_index();
	s[t] = a.in[t];
	a.out[t] = s[31 - t];
}

KERNEL(planted_warp_barrier, PlantedArgs, 32) {
	SHARED(float, s);
	const int t = thread_index();
	s[t] = a.in[t];
	warp_barrier();
	a.out[t] = s[31 - t];
}

// One element too many.
KERNEL(planted_store_past, PlantedArgs, 256) {
	const int t = thread_index();
	if (t <= a.n) a.out[t] = 1.0f;
}

KERNEL(planted_shared_past, PlantedArgs, 256) {
	SHARED(float, s);
	s[thread_index() + 1] = 1.0f;
}

// Shared memory that nobody wrote.
KERNEL(planted_unwritten, PlantedArgs, 32) {
	SHARED(float, s);
	const int t = thread_index();
	if (t < 31) s[t] = 1.0f;
	warp_barrier();
	a.out[t] = s[t];
}

// A barrier that half of a warp does not reach, since it waits for the warp.
KERNEL(planted_divergent, PlantedArgs, 32) {
	if (thread_index() < 16) barrier();
	else warp_barrier();
	a.out[thread_index()] = 1.0f;
}

// All blocks store to one element.
KERNEL(planted_blocks, PlantedArgs, 32) {
	if (thread_index() == 0) a.out[0] = (float)block_x();
}

// Two groups of copies by four threads, read by the others.
template <int Pending, bool Ordered>
DEVICE void planted_rows(const PlantedArgs &a) {
	SHARED(float, s);
	const int t = thread_index();
	for (int i = 0; i < 2; i++) {
		if (t < 4) copy_async(s + 16 * i + 4 * t, a.in + 16 * i + 4 * t, 16);
		copy_commit();
	}
	copy_wait<Pending>();
	if (Ordered) barrier();
	a.out[t] = s[31 - t];
}

KERNEL(planted_copy, PlantedArgs, 32) { planted_rows<0, true>(a); }
KERNEL(planted_copy_no_barrier, PlantedArgs, 32) { planted_rows<0, false>(a); }

// The second group is still on its way.
KERNEL(planted_copy_no_wait, PlantedArgs, 32) { planted_rows<1, true>(a); }

// The next copy goes where others may still read.
KERNEL(planted_copy_too_soon, PlantedArgs, 32) {
	SHARED(float, s);
	const int t = thread_index();
	s[t] = a.in[t];
	barrier();
	const float x = s[31 - t];
	if (t < 8) copy_async(s + 4 * t, a.in + 4 * t, 16);
	copy_commit();
	copy_wait<0>();
	a.out[t] = x;
}

KERNEL(planted_ldmatrix, PlantedArgs, 32) {
	SHARED(float, s);
	const int t = thread_index();
	s[t] = a.in[t];
	warp_barrier();
	uint32_t r;
	ldmatrix_x1(r, s + t % 8 * 4);
	a.out[t] = bits_to_f32(r);
}

KERNEL(planted_ldmatrix_no_barrier, PlantedArgs, 32) {
	SHARED(float, s);
	const int t = thread_index();
	s[31 - t] = a.in[t];
	uint32_t r;
	ldmatrix_x1(r, s + t % 8 * 4);
	a.out[t] = bits_to_f32(r);
}

KERNEL(planted_ldmatrix_misaligned, PlantedArgs, 32) {
	SHARED(float, s);
	const int t = thread_index();
	s[t] = a.in[t];
	warp_barrier();
	uint32_t r;
	ldmatrix_x1(r, s + t % 8);
	a.out[t] = bits_to_f32(r);
}

// A product that half of the warp does not join.
KERNEL(planted_mma_divergent, PlantedArgs, 32) {
	const int t = thread_index();
	float c[4] = {};
	const uint32_t x[4] = {};
	if (t < 16) mma_f16(c, x, 0, 0);
	else c[0] = shuffle_xor(1.0f, 1);
	a.out[t] = c[0];
}

// Rows of 128 bytes, whose first 16 lie in the same banks: right, but slow.
KERNEL(planted_conflict, PlantedArgs, 256) {
	SHARED(float, s);
	const int t = thread_index();
	s[t] = a.in[t % a.n];
	barrier();
	uint32_t r;
	ldmatrix_x1(r, s + t % 8 * 32);
	if (t < 32) a.out[t] = bits_to_f32(r);
}
