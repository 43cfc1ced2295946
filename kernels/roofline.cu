// roofline: as many multiply-adds as the units can take, on registers, to know a chip's peak. A warp has 8 independent chains of
// products of 16 x 8 (x 16, or x 32 bytes) by the tensor cores, a thread 16 of f32. Nothing is read; a result that depends on all
// of it is stored, unless it is 1, which it never is.
//
// On sm_90a roofline_group_* are the products by warpgroups, of 64 x 256 x 64 in shared memory: mma.sync does not reach the chip's peak there.
//
// FLOP a warp and round: 8 * 2*16*8*16 in f16 and bf16, 8 * 2*16*8*32 in bytes, 32 * 16 * 2 in f32; a warpgroup's 2*64*256*64.
#include "hopper.cuh"

struct RooflineArgs {
	float *out;
	int rounds, pad;
};

static constexpr int chains = 8;

#define PRODUCTS(type, Sum, product)                                                    \
	KERNEL(roofline_##type, RooflineArgs, 256) {                                           \
		Sum c[chains][4] = {};                                                                \
		uint32_t x[4]; /* numbers below 2 of either 16-bit type */                            \
		for (int j = 0; j < 4; j++) x[j] = (thread_index() * 2654435761u + j * 40503u) & 0x3fff3fffu; \
		for (int i = 0; i < a.rounds; i++) {                                                  \
			UNROLL                                                                               \
			for (int j = 0; j < chains; j++) product(c[j], x, x[1], x[2]);                        \
		}                                                                                     \
		Sum sum = 0;                                                                          \
		for (int j = 0; j < chains; j++) sum += c[j][0] + c[j][3];                            \
		if (sum == Sum(1)) a.out[0] = float(sum);                                             \
	}

PRODUCTS(f16, float, mma_f16)
PRODUCTS(bf16, float, mma_bf16)
PRODUCTS(i8, int, mma_s8)

KERNEL(roofline_f32, RooflineArgs, 256) {
	float c[16];
	for (int j = 0; j < 16; j++) c[j] = float(j);
	const float x = 1.0f + float(a.rounds) * 1e-30f;
	for (int i = 0; i < a.rounds; i++) {
		UNROLL
		for (int j = 0; j < 16; j++) c[j] = fmaf(c[j], x, 1e-3f);
	}
	float sum = 0;
	for (int j = 0; j < 16; j++) sum += c[j];
	if (sum == 1.0f) a.out[0] = sum;
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

#define GROUP_PRODUCTS(type)                                                                                               \
	KERNEL(roofline_group_##type, RooflineArgs, 128) {                                                                       \
		SHARED(unsigned char, shared);                                                                                          \
		auto *const x = reinterpret_cast<uint32_t *>(shared + (1024 - shared_address(shared) % 1024) % 1024);                   \
		for (int i = thread_index(); i < (64 + 256) * 32; i += 128) x[i] = (i * 2654435761u) >> 3 & 0x3fff3fffu;                \
		fence_for_groups();                                                                                                     \
		barrier();                                                                                                              \
		const uint64_t ta = group_tile(x), tb = group_tile(x + 64 * 32);                                                        \
		float c[32][4] = {};                                                                                                    \
		for (int i = 0; i < a.rounds; i++) {                                                                                    \
			group_begin();                                                                                                         \
			UNROLL                                                                                                                 \
			for (int k = 0; k < 4; k++) group_mma_##type(c, ta + 2 * k, tb + 2 * k, 1);                                            \
			group_commit();                                                                                                        \
			group_wait<1>();                                                                                                       \
		}                                                                                                                       \
		group_wait<0>();                                                                                                        \
		float sum = 0;                                                                                                          \
		for (int j = 0; j < 32; j++) sum += c[j][0] + c[j][3];                                                                  \
		if (sum == 1.0f) a.out[0] = sum;                                                                                        \
	}

GROUP_PRODUCTS(f16)
GROUP_PRODUCTS(bf16)

#endif
