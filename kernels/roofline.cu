// roofline: as many multiply-adds as the units can take, on registers, to know a chip's peak. A warp has 8 independent chains of
// products of 16 x 8 (x 16, or x 32 bytes) by the tensor cores, a thread 16 of f32. Nothing is read; a result that depends on all
// of it is stored, unless it is 1, which it never is.
//
// FLOP a warp and round: 8 * 2*16*8*16 in f16 and bf16, 8 * 2*16*8*32 in bytes, 32 * 16 * 2 in f32.
#include "ptx.cuh"

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
