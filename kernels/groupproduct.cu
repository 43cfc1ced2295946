// groupproduct_*: halfproduct.cu's operation for sm_90a, by products of a warpgroup (wgmma) on tiles that the tensor memory accelerator
// brings. Optional: package cuda takes it where a trial at opening agrees with halfproduct.
//
//	C[m, n] = act(sum over k of A[m, k] B[n, k] + bias[n]) + R[m, n]
//
// Shapes: as halfproduct.cu's; A and B by tensor maps of [M, K] and [N, K] with boxes of 64 columns, swizzled by 128 bytes. Rows of A that
// are not live may hold anything: a row of C depends on its own row of A only. What is outside is zeros.
//
// A sum is a chain of wgmma of depth 16 with k ascending, whatever the tile. It need not have the bits of mma.sync's: a device makes all
// its products by one or all by the other.
//
// Tiling: C in BM x BN, slices of 64 along K. The last warp's first thread sends slices ahead as far as shared memory goes; each warpgroup
// before it multiplies 64 rows, one slice's products behind the next one's, and hands slices back.
//
//	            warps  slices ahead  shared   blocks a multiprocessor  FLOP a byte from L2
//	128 x 256   8 + 1       4       193 KiB             1                    85
//	128 x 128   8 + 1       3        97 KiB             2                    64
//	64  x 64    4 + 1       6        97 KiB             2                    32
//	64  x 32    4 + 1       8        97 KiB             2                    21
//	64  x 16    4 + 1       8        81 KiB             2                    13
//
// Of two blocks on a multiprocessor one multiplies while the other's results leave. The small tiles are for few rows: they spread the
// weights' bytes over as many multiprocessors as they can.
//
// FLOP and bytes: halfproduct.cu's. wgmma reads both factors from shared memory: 64 x 256 x 16 takes 128 cycles and 10 KiB of 16 KiB that
// shared memory gives meanwhile.
#include "epilogue.cuh"
#include "hopper.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

struct GroupProductArgs {
	TensorMap a, b;
	View c, r, pre;
	const float *bias;
	Dim m;
	int k, n, act, together;
};

static constexpr int depth = 64; // of a slice: rows of 128 bytes

template <int Type, int Blocks>
DEVICE void group_multiply(float (&d)[Blocks][4], uint64_t a, uint64_t b, int add) {
	if (Type == BF16) group_mma_bf16(d, a, b, add);
	else group_mma_f16(d, a, b, add);
}

// Ring is the slices in shared memory and their barriers: full when a slice has come, empty when every warp is done with it.
template <int BM, int BN, int Stages>
struct Ring {
	uint16_t a[Stages][BM * depth], b[Stages][BN * depth];
	uint64_t full[Stages], empty[Stages];
};

template <int BM, int BN, int Stages>
DEVICE void send(Ring<BM, BN, Stages> &ring, const GroupProductArgs &a, int m0, int n0, int slices) {
	int at = 0, phase = 1;
	for (int s = 0; s < slices; s++) {
		barrier_wait(&ring.empty[at], phase);
		barrier_expect(&ring.full[at], (int)sizeof(ring.a[0]) + (int)sizeof(ring.b[0]));
		load_box(ring.a[at], &a.a, s * depth, m0, &ring.full[at]);
		load_box(ring.b[at], &a.b, s * depth, n0, &ring.full[at]);
		if (++at == Stages) at = 0, phase ^= 1;
	}
}

template <int Type, int BM, int BN, int Stages>
DEVICE void group_product(const GroupProductArgs &a) {
	static constexpr int groups = BM / 64, width = BN < 64 ? BN : 64; // of a slab
	SHARED(unsigned char, shared);
	auto &ring = *reinterpret_cast<Ring<BM, BN, Stages> *>(shared + (1024 - shared_address(shared) % 1024) % 1024);
	const int m = extent(a.m), m0 = block_y() * BM, n0 = block_x() * BN, slices = (a.k + depth - 1) / depth;
	if (m0 >= m) return;
	const int warp = thread_index() / 32, lane = thread_index() % 32;
	if (thread_index() == 0) {
		for (int i = 0; i < Stages; i++) barrier_init(&ring.full[i], 1), barrier_init(&ring.empty[i], 4 * groups);
		barriers_ready();
	}
	barrier();
	if (warp == 4 * groups) {
		if (lane == 0) send(ring, a, m0, n0, slices);
		return;
	}
	float acc[BN / 8][4] = {};
	int at = 0, phase = 0, last = 0;
	for (int s = 0; s < slices; s++) {
		barrier_wait(&ring.full[at], phase);
		const uint64_t ta = group_tile(ring.a[at] + warp / 4 * 64 * depth), tb = group_tile(ring.b[at]);
		group_begin();
		UNROLL
		for (int k = 0; k < depth / 16; k++) group_multiply<Type>(acc, ta + 2 * k, tb + 2 * k, s + k);
		group_commit();
		group_wait<1>();
		if (s && lane == 0) barrier_arrive(&ring.empty[last]);
		last = at;
		if (++at == Stages) at = 0, phase ^= 1;
	}
	group_wait<0>();
	some_barrier<128 * groups>(); // the slices' place is free for results
	float *const slab = reinterpret_cast<float *>(ring.a) + warp * slab_floats(width);
	UNROLL
	for (int j = 0; j < BN / width; j++) {
		Ahead<width> ahead = {};
		put_slab<width>(slab, acc + width / 8 * j); // which frees the registers for what is asked for
		look_ahead(a, ahead, m0 + 16 * warp, n0 + width * j, m);
		warp_barrier();
		finish<width>(a, ahead, slab, m0 + 16 * warp, n0 + width * j, m);
		warp_barrier();
	}
}

KERNEL_FOR(1, groupproduct_bf16_128x256, GroupProductArgs, 288) { group_product<BF16, 128, 256, 4>(a); }
KERNEL_FOR(2, groupproduct_bf16_128x128, GroupProductArgs, 288) { group_product<BF16, 128, 128, 3>(a); }
KERNEL_FOR(2, groupproduct_bf16_64x64, GroupProductArgs, 160) { group_product<BF16, 64, 64, 6>(a); }
KERNEL_FOR(2, groupproduct_bf16_64x32, GroupProductArgs, 160) { group_product<BF16, 64, 32, 8>(a); }
KERNEL_FOR(2, groupproduct_bf16_64x16, GroupProductArgs, 160) { group_product<BF16, 64, 16, 8>(a); }
KERNEL_FOR(1, groupproduct_f16_128x256, GroupProductArgs, 288) { group_product<F16, 128, 256, 4>(a); }
KERNEL_FOR(2, groupproduct_f16_128x128, GroupProductArgs, 288) { group_product<F16, 128, 128, 3>(a); }
KERNEL_FOR(2, groupproduct_f16_64x64, GroupProductArgs, 160) { group_product<F16, 64, 64, 6>(a); }
KERNEL_FOR(2, groupproduct_f16_64x32, GroupProductArgs, 160) { group_product<F16, 64, 32, 8>(a); }
KERNEL_FOR(2, groupproduct_f16_64x16, GroupProductArgs, 160) { group_product<F16, 64, 16, 8>(a); }

#endif
