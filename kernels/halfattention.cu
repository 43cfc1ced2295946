// halfattention_*: attention.cu's operation in bf16 or f16 on the tensor units, scores and softmax in f32. For sequence s, head h and
// query row i:
//
//	Out_i = sum over keys j of softmax_j(scale Q_i . K_j) V_j
//
// Shapes: as attention.cu's, all of the kernel's type, rows and heads aligned to 16 bytes; d a multiple of 8, at most the kernel's D.
//
// Tiling: 64 queries of a sequence and head a block, 16 a warp; keys in tiles of 64 from position 0 on, prefix first, so that a cached
// prefix gives the same bits. K and V come by cp.async, one tile ahead, swizzled; S = Q K^T stays in registers, where it is P's fragment
// for P V. The softmax is online: a tile whose keys no query of the block sees is left out, which changes no bit, since weights of
// zero add nothing. Weights are 2^(x - max) with the scale times log2 e in the exponent; P is rounded to the kernel's type for P V, its
// sum is not. Columns d to D are zeros.
//
// FLOP: 4 d a pair of query and key, in tiles of 64 x 64. Bytes: Q and Out once; K and V once for 64 queries, from L2 but for the first.
// Shared memory: 10 D * 64 bytes (Q, and K and V twice): D = 64 40 KiB, 128 80 KiB.
#include "halfattention.cuh"

template <int Type, int D>
DEVICE void half_attention(const HalfAttentionArgs &a, int s, int q0) {
	static constexpr int tile = tile_rows * D;
	SHARED(uint16_t, qs);
	uint16_t *const ks = qs + tile, *const vs = ks + 2 * tile;
	const AttentionArgs &f = a.f;
	const One o = one_of(f, s, block_y());
	const int lane = thread_index() % 32, row = thread_index() / 32 * 16, g = lane / 4, t = lane % 4 * 2;
	const int rows = o.queries - q0, first = o.first + q0;
	// The positions of the lane's two rows, and the keys that some row of the block may see: [from, to), all rows those before `all`.
	int pos[2] = {0, 0}, from = 0, to = o.keys.count, all = to;
	if (f.pos) {
		const Span span = positions(f, first, rows);
		for (int i = 0; i < 2; i++)
			if (row + g + 8 * i < rows) pos[i] = f.pos[first + row + g + 8 * i];
		if (f.causal && span.high + 1 < to) to = span.high + 1;
		if (f.causal && span.low + 1 < all) all = span.low + 1;
		if (f.window) all = 0;
		if (f.window && span.low - f.window + 1 > 0) from = (span.low - f.window + 1) / tile_rows * tile_rows;
	}
	const auto send = [&](int base) {
		if (base < to) {
			const int at = base / tile_rows % 2 * tile;
			load_keys<tile_rows, D>(ks + at, f.k, f.prefix_k, o, base);
			load_keys<tile_rows, D>(vs + at, f.v, f.prefix_v, o, base);
		}
		copy_commit();
	};
	load_rows<tile_rows, D>(qs, f.q, first, rows, o.col, o.d);
	send(from);
	float out[D / 8][4] = {}, top[2] = {lowest(), lowest()}, sum[2] = {0.0f, 0.0f};
	const float factor = f.scale * log2e;
	for (int base = from; base < to; base += tile_rows) {
		barrier(); // nobody reads the tile before any more
		send(base + tile_rows);
		copy_wait<1>();
		barrier();
		if (row >= rows) continue;
		uint16_t *const k = ks + base / tile_rows % 2 * tile, *const v = vs + base / tile_rows % 2 * tile;
		const int left = D <= 64 ? to - base : tile_rows; // wider heads have no registers for it
		float p[tile_rows / 8][4] = {};
		scores<Type, D, tile_rows>(p, qs, row, k, left);
		if (base + tile_rows > all) {
			UNROLL
			for (int j = 0; j < tile_rows / 8; j++) {
				UNROLL
				for (int i = 0; i < 4; i++) {
					const int key = base + 8 * j + t + i % 2;
					if (key >= o.keys.count || !visible(f, key, pos[i / 2])) p[j][i] = lowest();
				}
			}
		}
		soften<D, tile_rows>(p, out, top, sum, factor);
		accumulate<Type, D, tile_rows>(out, p, v, left);
	}
	copy_wait<0>();
	barrier(); // of the block's next queries
	if (row >= rows) return;
	float inverse[2];
	UNROLL
	for (int i = 0; i < 2; i++) {
		const float all = quad_sum(sum[i]);
		inverse[i] = all > 0.0f ? 1.0f / all : 0.0f;
	}
	put_rows<D>(f.out, out, first, rows, row, o, inverse[0], inverse[1]);
}

// The queries of a sequence, 64 a block: as many blocks as there are tiles of keys at most, which queries may exceed.
template <int Type, int D>
DEVICE void half_attention_all(const HalfAttentionArgs &a) {
	const int s = block_z();
	if (s >= extent(a.f.seqs)) return;
	const int queries = a.f.q_starts[s + 1] - a.f.q_starts[s];
	for (int q0 = block_x() * tile_rows; q0 < queries; q0 += a.tiles * tile_rows) half_attention<Type, D>(a, s, q0);
}

KERNEL(halfattention_bf16_32, HalfAttentionArgs, 128) { half_attention_all<BF16, 32>(a); }
KERNEL(halfattention_bf16_64, HalfAttentionArgs, 128) { half_attention_all<BF16, 64>(a); }
KERNEL(halfattention_bf16_128, HalfAttentionArgs, 128) { half_attention_all<BF16, 128>(a); }
KERNEL(halfattention_f16_32, HalfAttentionArgs, 128) { half_attention_all<F16, 32>(a); }
KERNEL(halfattention_f16_64, HalfAttentionArgs, 128) { half_attention_all<F16, 64>(a); }
KERNEL(halfattention_f16_128, HalfAttentionArgs, 128) { half_attention_all<F16, 128>(a); }
