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
//	            warps  slices ahead  shared   blocks a multiprocessor  FLOP a byte into shared memory
//	256 x 256   8 + 4       4       213 KiB             1                    85   by two blocks
//	128 x 128   8 + 1       3        97 KiB             2                    64
//	64  x 128   4 + 1       4        97 KiB             2                    43
//	64  x 64    4 + 1      12       193 KiB             1                    32
//	64  x 16    4 + 1      16       161 KiB             1                    13
//
// A multiprocessor takes 64 bytes a cycle, in which 128 x 128 x 64 would keep it as busy as its products: large products need larger
// tiles. Two blocks, each with 256 rows and 128 columns, bring each other half of the rows of A, so that the second-level cache gives 128
// FLOP a byte, and take one tile after the other. Of two blocks on a multiprocessor one multiplies while the other's results leave.
// The small tiles are for few rows: they spread the weights' bytes over as many multiprocessors as they can, and ask for many ahead,
// since a slice comes 1.2 us after it was asked for.
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
	const End end = end_of<Type, width>(a);
	UNROLL
	for (int j = 0; j < BN / width; j++) finish_slab<Type, width>(a, end, acc + width / 8 * j, slab, m0 + 16 * warp, n0 + width * j, m);
}

// PairRing is the slices of a block's 256 x 128, with a slab for each warp: slices of the next tile come while results leave.
template <int Stages>
struct PairRing : Ring<256, 128, Stages> {
	float slabs[8][slab_floats(32)];
};

// Course is the tiles that a pair of blocks takes, one after the other, each block half of the columns: columns first, so that neighbours
// share rows of A.
struct Course {
	int columns, tiles, first, step, rank, slices;

	DEVICE int row(int tile) const { return tile / columns * 256; }
	DEVICE int column(int tile) const { return tile % columns * 256 + rank * 128; }
};

DEVICE Course course_of(const GroupProductArgs &a, int m) {
	const int columns = (a.n + 255) / 256;
	return {columns, (m + 255) / 256 * columns, block_x() / 2, grid_x() / 2, block_x() % 2, (a.k + depth - 1) / depth};
}

// send_pair brings each block its own rows of B, and both half of those of A.
template <int Stages>
DEVICE void send_pair(PairRing<Stages> &ring, const GroupProductArgs &a, const Course &c) {
	int at = 0, phase = 1;
	for (int t = c.first; t < c.tiles; t += c.step) {
		const int m0 = c.row(t) + 128 * c.rank, n0 = c.column(t);
		for (int s = 0; s < c.slices; s++) {
			barrier_wait(&ring.empty[at], phase);
			barrier_expect(&ring.full[at], (int)sizeof(ring.a[0]) + (int)sizeof(ring.b[0]));
			load_box_pair(ring.a[at] + 128 * depth * c.rank, &a.a, s * depth, m0, &ring.full[at]);
			load_box(ring.b[at], &a.b, s * depth, n0, &ring.full[at]);
			if (++at == Stages) at = 0, phase ^= 1;
		}
	}
}

// half_tile and sum_tile are the ends of a warpgroup's 128 x 128, of which a warp has 16 rows of each half. What a slab needs of memory is
// asked for behind the slab before.
template <int Type>
DEVICE void half_tile(const GroupProductArgs &a, float (&acc)[2][16][4], const Quad (&bias)[4], float *slab, int row0, int n0, int m) {
	UNROLL
	for (int i = 0; i < 8; i++) {
		put_slab<32>(slab, acc[i / 4] + i % 4 * 4);
		warp_barrier();
		finish_half<Type, 32>(a, bias[i % 4], slab, row0 + i / 4 * 64, n0 + i % 4 * 32, m);
		warp_barrier();
	}
}

DEVICE void sum_tile(const GroupProductArgs &a, float (&acc)[2][16][4], Ahead<32> &ahead, float *slab, int row0, int n0, int m) {
	UNROLL
	for (int i = 0; i < 8; i++) {
		put_slab<32>(slab, acc[i / 4] + i % 4 * 4);
		Ahead<32> next = {};
		if (i < 7) look_sum(a, next, row0 + (i + 1) / 4 * 64, n0 + (i + 1) % 4 * 32, m);
		warp_barrier();
		finish_sum(a, ahead, slab, row0 + i / 4 * 64, n0 + i % 4 * 32, m);
		warp_barrier();
		ahead = next;
	}
}

// pair_product: a warpgroup multiplies 128 rows. The ends are half_tile and sum_tile only, all columns there.
template <int Type, int Stages>
DEVICE void pair_product(const GroupProductArgs &a) {
	SHARED(unsigned char, shared);
	auto &ring = *reinterpret_cast<PairRing<Stages> *>(shared + (1024 - shared_address(shared) % 1024) % 1024);
	const int m = extent(a.m), warp = thread_index() / 32, lane = thread_index() % 32, group = warp / 4;
	const Course c = course_of(a, m);
	if (thread_index() == 0) {
		for (int i = 0; i < Stages; i++) barrier_init(&ring.full[i], 1), barrier_init(&ring.empty[i], 16); // the warps of both blocks
		barriers_ready();
	}
	pair_barrier();
	if (group == 2) {
		fewer_registers<40>();
		if (warp == 8 && lane == 0) send_pair(ring, a, c);
	} else {
		more_registers<232>();
		const auto free = [&](int at) {
			if (lane < 2) pair_arrive(&ring.empty[at], lane);
		};
		int at = 0, phase = 0;
		for (int t = c.first; t < c.tiles; t += c.step) {
			const int row0 = c.row(t) + 128 * group + warp % 4 * 16, n0 = c.column(t);
			float acc[2][16][4];
			int last = 0;
			for (int s = 0; s < c.slices; s++) {
				barrier_wait(&ring.full[at], phase);
				const uint64_t ta = group_tile(ring.a[at] + 128 * depth * group), tb = group_tile(ring.b[at]);
				group_begin();
				UNROLL
				for (int k = 0; k < depth / 16; k++) {
					UNROLL
					for (int h = 0; h < 2; h++) group_multiply<Type>(acc[h], ta + 64 * depth / 8 * h + 2 * k, tb + 2 * k, s + k);
				}
				group_commit();
				group_wait<1>();
				if (s) free(last);
				last = at;
				if (++at == Stages) at = 0, phase ^= 1;
			}
			if (a.r.data) {
				Ahead<32> ahead = {};
				look_sum(a, ahead, row0, n0, m);
				group_wait<0>();
				free(last);
				sum_tile(a, acc, ahead, ring.slabs[warp], row0, n0, m);
			} else {
				const Quad bias[4] = {bias_of<32>(a, n0), bias_of<32>(a, n0 + 32), bias_of<32>(a, n0 + 64), bias_of<32>(a, n0 + 96)};
				group_wait<0>();
				free(last);
				half_tile<Type>(a, acc, bias, ring.slabs[warp], row0, n0, m);
			}
		}
	}
	pair_barrier(); // the other block's bytes and arrivals come until its end
}

KERNEL_PAIR(groupproduct_bf16_256x256, GroupProductArgs, 384) { pair_product<BF16, 4>(a); }
KERNEL_PAIR(groupproduct_f16_256x256, GroupProductArgs, 384) { pair_product<F16, 4>(a); }
KERNEL_FOR(2, groupproduct_bf16_128x128, GroupProductArgs, 288) { group_product<BF16, 128, 128, 3>(a); }
KERNEL_FOR(2, groupproduct_bf16_64x128, GroupProductArgs, 160) { group_product<BF16, 64, 128, 4>(a); }
KERNEL_FOR(1, groupproduct_bf16_64x64, GroupProductArgs, 160) { group_product<BF16, 64, 64, 12>(a); }
KERNEL_FOR(1, groupproduct_bf16_64x16, GroupProductArgs, 160) { group_product<BF16, 64, 16, 16>(a); }
KERNEL_FOR(2, groupproduct_f16_128x128, GroupProductArgs, 288) { group_product<F16, 128, 128, 3>(a); }
KERNEL_FOR(2, groupproduct_f16_64x128, GroupProductArgs, 160) { group_product<F16, 64, 128, 4>(a); }
KERNEL_FOR(1, groupproduct_f16_64x64, GroupProductArgs, 160) { group_product<F16, 64, 64, 12>(a); }
KERNEL_FOR(1, groupproduct_f16_64x16, GroupProductArgs, 160) { group_product<F16, 64, 16, 16>(a); }

#endif
