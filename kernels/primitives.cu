// primitive_mma, primitive_ldmatrix, primitive_copy, primitive_pack: ptx.cuh's warp products, loads of fragments, asynchronous copies
// and conversions, each by one warp on words that the host lays out, so that a test finds every element where the PTX ISA says it
// lies: on the emulated driver, and on a chip.
//
//	mma:      Out[lane] = C of the lane after C += A B; In[lane] = A (4 words), B (2), C (4)
//	ldmatrix: Out[lane] = what lane gets of `count` matrices, which In holds row after row
//	copy:     Out[4*lane ..] = the first count bytes of the 16 that In has for the lane, then zeros
//	pack:     Out[2*lane], Out[2*lane+1] = In[2*lane], In[2*lane+1] as f16 and as bf16
#include "ptx.cuh"

enum { F16Product, BF16Product, S8Product };

struct PrimitiveArgs {
	const uint32_t *in;
	uint32_t *out;
	int kind, count;
};

DEVICE uint32_t bits(float f) {
	union {
		float f;
		uint32_t x;
	} u = {f};
	return u.x;
}

KERNEL(primitive_mma, PrimitiveArgs, 32) {
	const uint32_t *in = a.in + 10 * thread_index();
	uint32_t *out = a.out + 4 * thread_index();
	const uint32_t x[4] = {in[0], in[1], in[2], in[3]};
	if (a.kind == S8Product) {
		int c[4] = {(int)in[6], (int)in[7], (int)in[8], (int)in[9]};
		mma_s8(c, x, in[4], in[5]);
		for (int i = 0; i < 4; i++) out[i] = (uint32_t)c[i];
		return;
	}
	float c[4] = {bits_to_f32(in[6]), bits_to_f32(in[7]), bits_to_f32(in[8]), bits_to_f32(in[9])};
	if (a.kind == F16Product) mma_f16(c, x, in[4], in[5]);
	else mma_bf16(c, x, in[4], in[5]);
	for (int i = 0; i < 4; i++) out[i] = bits(c[i]);
}

KERNEL(primitive_ldmatrix, PrimitiveArgs, 32) {
	SHARED(uint32_t, s);
	const int lane = thread_index();
	for (int i = 0; i < a.count; i++) s[32 * i + lane] = a.in[32 * i + lane];
	warp_barrier();
	const uint32_t *row = s + 4 * (lane % (8 * a.count));
	uint32_t r[4] = {}, r2[2];
	if (a.count == 4) {
		if (a.kind) ldmatrix_x4_trans(r, row);
		else ldmatrix_x4(r, row);
	} else if (a.count == 2) {
		if (a.kind) ldmatrix_x2_trans(r2, row);
		else ldmatrix_x2(r2, row);
		r[0] = r2[0], r[1] = r2[1];
	} else {
		if (a.kind) ldmatrix_x1_trans(r[0], row);
		else ldmatrix_x1(r[0], row);
	}
	for (int i = 0; i < a.count; i++) a.out[4 * lane + i] = r[i];
}

KERNEL(primitive_copy, PrimitiveArgs, 32) {
	SHARED(uint32_t, s);
	const int lane = thread_index();
	copy_async(s + 4 * lane, a.in + 4 * lane, a.count);
	copy_commit();
	copy_wait<0>();
	warp_barrier();
	for (int i = 0; i < 4; i++) a.out[32 * i + lane] = s[32 * i + lane];
}

KERNEL(primitive_pack, PrimitiveArgs, 32) {
	const int at = 2 * thread_index();
	const float x = bits_to_f32(a.in[at]), y = bits_to_f32(a.in[at + 1]);
	a.out[at] = pack_f16(x, y);
	a.out[at + 1] = pack_bf16(x, y);
}
