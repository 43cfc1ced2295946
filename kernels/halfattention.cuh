// What the forward and backward attention kernels on the tensor units share.
#pragma once

#include "attention.cuh"
#include "tensor.cuh"

// A block is 4 warps, each with 16 rows of a tile of 64; keys, or queries, go by in tiles.
static constexpr int tile_rows = 64, tile_threads = 128;

struct HalfAttentionArgs {
	AttentionArgs f;
	int tiles, pad; // blocks a sequence and head
};

// One is a block's share: a sequence, a head, and where they lie.
struct One {
	Keys keys;
	int d, col, first, queries; // of a head: width and first column; of the sequence: first query row and how many
};

DEVICE One one_of(const AttentionArgs &f, int s, int head) {
	One o;
	o.keys = keys_of(f, s);
	o.d = f.q.cols / f.heads, o.col = head * o.d;
	o.first = f.q_starts[s], o.queries = f.q_starts[s + 1] - o.first;
	return o;
}

// Span is the lowest and highest position of a block's queries, found by every warp for itself; positions are exact in f32.
struct Span {
	int low, high;
};

DEVICE Span positions(const AttentionArgs &f, int first, int rows) {
	float low = lowest(), high = lowest();
	for (int i = thread_index() % 32; i < tile_rows && i < rows; i += 32) {
		const float p = (float)f.pos[first + i];
		low = fmaxf(low, -p), high = fmaxf(high, p);
	}
	return {(int)-warp_max(low), (int)warp_max(high)};
}

// load_rows sends Rows rows of a matrix, columns [col, col + d), to a tile of D columns; those from `rows` on are zeros.
template <int Rows, int D>
DEVICE void load_rows(uint16_t *tile, const View &v, int first, int rows, int col, int d) {
	for (int i = thread_index(); i < Rows * D / 8; i += tile_threads) {
		const int row = i / (D / 8), c = i % (D / 8), bytes = valid(row < rows, 8 * c, d);
		copy_async(tile_at<D / 8>(tile, row, c), row_chunk(v, first + row, col + 8 * c, bytes), bytes);
	}
}

// load_keys is load_rows for keys or values from position `base` on, in the pool or among the own rows.
template <int Rows, int D>
DEVICE void load_keys(uint16_t *tile, const View &own, const View &pool, const One &o, int base) {
	for (int i = thread_index(); i < Rows * D / 8; i += tile_threads) {
		const int row = i / (D / 8), c = i % (D / 8), key = base + row, bytes = valid(key < o.keys.count, 8 * c, o.d);
		const View &v = key < o.keys.before ? pool : own;
		copy_async(tile_at<D / 8>(tile, row, c), row_chunk(v, line(o.keys, key), o.col + 8 * c, bytes), bytes);
	}
}

// scores adds the products of a warp's 16 rows, `row` the first of its tile, with the rows of another tile: c[j] are columns 8j to
// 8j + 7. Blocks of 16 columns from `left` on are left as they are.
template <int Type, int D, int Columns>
DEVICE void scores(float (&c)[Columns / 8][4], uint16_t *a, int row, uint16_t *b, int left = Columns) {
	UNROLL
	for (int k = 0; k < D / 16; k++) {
		uint32_t fa[4];
		fragment_a<D / 8>(fa, a, row, 2 * k);
		UNROLL
		for (int j = 0; j < Columns / 16; j++) {
			if (16 * j >= left) continue;
			uint32_t fb[4];
			fragment_b<D / 8>(fb, b, 16 * j, 2 * k);
			multiply<Type>(c[2 * j], fa, fb[0], fb[1]);
			multiply<Type>(c[2 * j + 1], fa, fb[2], fb[3]);
		}
	}
}

// fragment_of rounds two blocks of 8 columns of a result to a factor's fragment.
template <int Type>
DEVICE void fragment_of(uint32_t (&f)[4], const float (&x)[4], const float (&y)[4]) {
	f[0] = pack<Type>(x[0], x[1]), f[1] = pack<Type>(x[2], x[3]), f[2] = pack<Type>(y[0], y[1]), f[3] = pack<Type>(y[2], y[3]);
}

// accumulate adds w B, where w are the results of scores, rounded, and B's rows a tile's. Blocks of 16 columns from `left` on are zeros.
template <int Type, int D, int Columns>
DEVICE void accumulate(float (&c)[D / 8][4], const float (&w)[Columns / 8][4], uint16_t *b, int left = Columns) {
	UNROLL
	for (int k = 0; k < Columns / 16; k++) {
		if (16 * k >= left) continue;
		uint32_t fa[4];
		fragment_of<Type>(fa, w[2 * k], w[2 * k + 1]);
		UNROLL
		for (int j = 0; j < D / 16; j++) {
			uint32_t fb[4];
			fragment_bt<D / 8>(fb, b, 16 * k, 2 * j);
			multiply<Type>(c[2 * j], fa, fb[0], fb[1]);
			multiply<Type>(c[2 * j + 1], fa, fb[2], fb[3]);
		}
	}
}

// quad_sum and quad_max combine the four lanes that hold a row of a fragment.
DEVICE float quad_sum(float v) {
	v += shuffle_xor(v, 1);
	return v + shuffle_xor(v, 2);
}
DEVICE float quad_max(float v) {
	v = fmaxf(v, shuffle_xor(v, 1));
	return fmaxf(v, shuffle_xor(v, 2));
}

static constexpr float log2e = 1.44269504f;

// soften makes a tile's scores p into weights 2^(factor (p - top)), top the highest of the row so far: what there is of the output and of
// the weights' sum shrinks where it rises. The lane holds two rows; hidden scores are minus infinity.
template <int D, int Columns>
DEVICE void soften(float (&p)[Columns / 8][4], float (&out)[D / 8][4], float (&top)[2], float (&sum)[2], float factor) {
	UNROLL
	for (int i = 0; i < 2; i++) {
		float highest = top[i];
		UNROLL
		for (int j = 0; j < Columns / 8; j++) highest = fmaxf(highest, fmaxf(p[j][2 * i], p[j][2 * i + 1]));
		highest = quad_max(highest);
		const float shift = highest == lowest() ? 0.0f : highest * factor, shrink = exp2_fast(fmaf(top[i], factor, -shift));
		top[i] = highest;
		sum[i] *= shrink;
		UNROLL
		for (int j = 0; j < D / 8; j++) out[j][2 * i] *= shrink, out[j][2 * i + 1] *= shrink;
		UNROLL
		for (int j = 0; j < Columns / 8; j++) {
			p[j][2 * i] = exp2_fast(fmaf(p[j][2 * i], factor, -shift)), p[j][2 * i + 1] = exp2_fast(fmaf(p[j][2 * i + 1], factor, -shift));
			sum[i] += p[j][2 * i] + p[j][2 * i + 1];
		}
	}
}

// put_rows stores a fragment of 16 rows, two of which the lane holds, each times its factor.
template <int D>
DEVICE void put_rows(const View &v, const float (&c)[D / 8][4], int first, int rows, int row, const One &o, float scale0, float scale1) {
	const int t = thread_index() % 4 * 2, g = thread_index() % 32 / 4;
	UNROLL
	for (int j = 0; j < D / 8; j++) {
		if (8 * j + t >= o.d) continue;
		if (row + g < rows) store2(v, first + row + g, o.col + 8 * j + t, c[j][0] * scale0, c[j][1] * scale0, true, true);
		if (row + g + 8 < rows) store2(v, first + row + g + 8, o.col + 8 * j + t, c[j][2] * scale1, c[j][3] * scale1, true, true);
	}
}
