// How products on the tensor units end: results go from a warp's fragments through shared memory, 16 rows at a time, so that a lane
// applies bias, activation and residual to neighbours in memory, four at once where they are aligned. A lane asks for all of its
// residuals of the 16 rows ahead: one after the other, their latency would be the time of the whole product.
#pragma once

#include "activation.cuh"
#include "operand.cuh"
#include "tensor.cuh"

// A slab is 16 rows of W floats. Rows are 8 floats longer, so that the rows of a fragment are in different banks.
DEVICE constexpr int slab_floats(int w) { return 16 * (w + 8); }

// put_slab writes W/8 fragments of 8 columns.
template <int W>
DEVICE void put_slab(float *slab, const float (*c)[4]) {
	float *const p = slab + thread_index() % 32 / 4 * (W + 8) + thread_index() % 4 * 2;
	UNROLL
	for (int j = 0; j < W / 8; j++) {
		*reinterpret_cast<Pair *>(p + 8 * j) = {c[j][0], c[j][1]};
		*reinterpret_cast<Pair *>(p + 8 * j + 8 * (W + 8)) = {c[j][2], c[j][3]};
	}
}

// Quad is four neighbours of a row.
struct alignas(16) Quad {
	float x, y, z, w;
};

struct alignas(8) Words {
	uint32_t lo, hi;
};

// load4 and store4 are load and store of elements (i, j) to (i, j+3), j a multiple of four, rows aligned likewise.
DEVICE Quad load4(const View &v, long i, long j) {
	const long at = i * v.stride + j;
	if (v.dtype == F32) return *reinterpret_cast<const Quad *>(static_cast<const float *>(v.data) + at);
	const Words w = *reinterpret_cast<const Words *>(static_cast<const uint16_t *>(v.data) + at);
	const uint16_t a = (uint16_t)w.lo, b = (uint16_t)(w.lo >> 16), c = (uint16_t)w.hi, d = (uint16_t)(w.hi >> 16);
	if (v.dtype == F16) return {f16_to_f32(a), f16_to_f32(b), f16_to_f32(c), f16_to_f32(d)};
	return {bf16_to_f32(a), bf16_to_f32(b), bf16_to_f32(c), bf16_to_f32(d)};
}

DEVICE void store4(const View &v, long i, long j, const Quad &q) {
	const long at = i * v.stride + j;
	if (v.dtype == F32) *reinterpret_cast<Quad *>(static_cast<float *>(v.data) + at) = q;
	else if (v.dtype == F16) *reinterpret_cast<Words *>(static_cast<uint16_t *>(v.data) + at) = {pack_f16(q.x, q.y), pack_f16(q.z, q.w)};
	else *reinterpret_cast<Words *>(static_cast<uint16_t *>(v.data) + at) = {pack_bf16(q.x, q.y), pack_bf16(q.z, q.w)};
}

// activate_slab applies bias and activation in the slab, for activations of so many instructions that there is to be one copy of them.
template <int WN, class Args>
DEVICE void activate_slab(const Args &a, float *slab, int row0, int col0, int m) {
	NO_UNROLL
	for (int i = thread_index() % 32; i < 16 * WN; i += 32) {
		float *const x = slab + i / WN * (WN + 8) + i % WN;
		const int row = row0 + i / WN, col = col0 + i % WN;
		if (a.bias) *x += a.bias[col];
		if (a.pre.data && row < m) store(a.pre, row, col, *x);
		*x = activate(a.act, *x);
	}
	warp_barrier();
}

// Lanes is how the lanes of a warp share a slab of W columns: four neighbours each, steps rows that are so far apart.
template <int W>
struct Lanes {
	static constexpr int across = W / 4, apart = 32 / across, steps = 16 / apart, pitch = W + 8;
	int row, column;
};

template <int W>
DEVICE Lanes<W> lanes() { return {thread_index() % 32 / (W / 4), thread_index() % (W / 4) * 4}; }

// first_of is the lane's first element of a matrix in a slab from (row0, col0) on.
template <class T, int W>
DEVICE T *first_of(const View &v, const Lanes<W> &l, int row0, int col0) {
	return static_cast<T *>(v.data) + (long)(row0 + l.row) * v.stride + col0 + l.column;
}

// Ahead is what a lane needs from memory to finish a slab in fours: residuals of its rows, bias.
template <int WN>
struct Ahead {
	Quad r[Lanes<WN>::steps], bias;
};

// in_fours says whether all columns of a slab are there, neighbours in fours aligned.
template <int WN, class Args>
DEVICE bool in_fours(const Args &a, int col0) { return a.together == 4 && col0 + WN <= a.n; }

// look_ahead asks for what a slab's end will need. R may be C: a slab's own elements only are read.
template <int WN, class Args>
DEVICE void look_ahead(const Args &a, Ahead<WN> &x, int row0, int col0, int m) {
	using L = Lanes<WN>;
	if (!in_fours<WN>(a, col0)) return;
	const int first = thread_index() % 32 / L::across, col = col0 + thread_index() % L::across * 4, left = m - row0 - first;
	if (a.r.data) {
		UNROLL
		for (int s = 0; s < L::steps; s++) {
			if (s * L::apart < left) x.r[s] = load4(a.r, row0 + first + s * L::apart, col);
		}
	}
	if (a.bias) x.bias = {a.bias[col], a.bias[col + 1], a.bias[col + 2], a.bias[col + 3]};
}

// finish_fours is finish for a slab in fours.
template <int WN, class Args>
DEVICE void finish_fours(const Args &a, const Ahead<WN> &ahead, float *slab, int row0, int col0, int m) {
	using L = Lanes<WN>;
	const int first = thread_index() % 32 / L::across, j = thread_index() % L::across * 4, col = col0 + j, left = m - row0 - first;
	const bool activated = a.act > QuickGELU;
	if (activated) activate_slab<WN>(a, slab, row0, col0, m);
	UNROLL
	for (int s = 0; s < L::steps; s++) {
		if (s * L::apart >= left) break;
		const int row = row0 + first + s * L::apart;
		Quad x = *reinterpret_cast<const Quad *>(slab + (first + s * L::apart) * (WN + 8) + j);
		if (!activated) {
			if (a.bias) x = {x.x + ahead.bias.x, x.y + ahead.bias.y, x.z + ahead.bias.z, x.w + ahead.bias.w};
			if (a.pre.data) store4(a.pre, row, col, x);
			if (a.act == QuickGELU) x = {quick_gelu_fast(x.x), quick_gelu_fast(x.y), quick_gelu_fast(x.z), quick_gelu_fast(x.w)};
		}
		if (a.r.data) x = {x.x + ahead.r[s].x, x.y + ahead.r[s].y, x.z + ahead.r[s].z, x.w + ahead.r[s].w};
		store4(a.c, row, col, x);
	}
}

// finish makes a slab into rows [row0, row0 + 16) and columns [col0, col0 + WN) of C, and of pre, with what look_ahead asked for; a has c, r,
// pre, bias, n, act and together.
template <int WN, class Args>
DEVICE void finish(const Args &a, const Ahead<WN> &ahead, float *slab, int row0, int col0, int m) {
	static constexpr int pitch = WN + 8, lanes = WN / 2;
	if (in_fours<WN>(a, col0)) {
		finish_fours(a, ahead, slab, row0, col0, m);
		return;
	}
	const int lane = thread_index() % 32;
	const bool pair = a.together > 1;
	for (int i = lane / lanes; i < 16; i += 32 / lanes) {
		const int row = row0 + i, j = lane % lanes * 2, col = col0 + j;
		if (row >= m || col >= a.n) continue;
		const bool second = col + 1 < a.n;
		float x = slab[i * pitch + j], y = slab[i * pitch + j + 1];
		if (a.bias) {
			x += a.bias[col];
			if (second) y += a.bias[col + 1];
		}
		if (a.pre.data) store2(a.pre, row, col, x, y, pair, second);
		if (a.act == QuickGELU) x = quick_gelu_fast(x), y = quick_gelu_fast(y);
		else x = activate(a.act, x), y = activate(a.act, y);
		if (a.r.data) {
			const Pair r = load2(a.r, row, col, pair, second);
			x += r.x, y += r.y;
		}
		store2(a.c, row, col, x, y, pair, second);
	}
}

// End is how a product ends: the towers' own ends, results in the factors' type or a sum with a residual in f32, have code of their own,
// short and without a branch on the way, since a block runs through it once and has to fetch it.
enum End { AnyEnd, HalfEnd, SumEnd };

// end_of is a launch's, for slabs of W columns.
template <int Type, int W, class Args>
DEVICE End end_of(const Args &a) {
	if (a.together < 4 || a.n % W || a.pre.data) return AnyEnd;
	if (!a.r.data && a.c.dtype == Type && a.act <= QuickGELU) return HalfEnd;
	return a.r.data && a.r.dtype == F32 && a.c.dtype == F32 && a.act == Identity ? SumEnd : AnyEnd;
}

template <int W, class Args>
DEVICE Quad bias_of(const Args &a, int col0) {
	if (!a.bias) return {0.0f, 0.0f, 0.0f, 0.0f};
	const float *const b = a.bias + col0 + lanes<W>().column;
	return {b[0], b[1], b[2], b[3]};
}

DEVICE Quad add(const Quad &x, const Quad &y) { return {x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w}; }

// finish_half is finish for a HalfEnd. Whether there is an activation is asked once a slab, so that its rows' are worked out side by side.
template <int Type, int W, bool Activated, class Args>
DEVICE void finish_half_of(const Args &a, const Quad &bias, const float *slab, int row0, int col0, int m) {
	using L = Lanes<W>;
	const L l = lanes<W>();
	const int left = m - row0 - l.row;
	uint16_t *const to = first_of<uint16_t>(a.c, l, row0, col0);
	UNROLL
	for (int s = 0; s < L::steps; s++) {
		Quad x = add(*reinterpret_cast<const Quad *>(slab + (l.row + s * L::apart) * L::pitch + l.column), bias);
		if (Activated) x = {quick_gelu_fast(x.x), quick_gelu_fast(x.y), quick_gelu_fast(x.z), quick_gelu_fast(x.w)};
		store2_if(s * L::apart < left, to + (long)(s * L::apart) * a.c.stride, pack<Type>(x.x, x.y), pack<Type>(x.z, x.w));
	}
}
template <int Type, int W, class Args>
DEVICE void finish_half(const Args &a, const Quad &bias, const float *slab, int row0, int col0, int m) {
	if (a.act == QuickGELU) finish_half_of<Type, W, true>(a, bias, slab, row0, col0, m);
	else finish_half_of<Type, W, false>(a, bias, slab, row0, col0, m);
}

// look_sum is look_ahead for a SumEnd, finish_sum is finish.
template <int W, class Args>
DEVICE void look_sum(const Args &a, Ahead<W> &ahead, int row0, int col0, int m) {
	using L = Lanes<W>;
	const L l = lanes<W>();
	const int left = m - row0 - l.row;
	const float *const from = first_of<const float>(a.r, l, row0, col0);
	UNROLL
	for (int s = 0; s < L::steps; s++) {
		if (s * L::apart < left) ahead.r[s] = *reinterpret_cast<const Quad *>(from + (long)(s * L::apart) * a.r.stride);
	}
	ahead.bias = bias_of<W>(a, col0);
}

template <int W, class Args>
DEVICE void finish_sum(const Args &a, const Ahead<W> &ahead, const float *slab, int row0, int col0, int m) {
	using L = Lanes<W>;
	const L l = lanes<W>();
	const int left = m - row0 - l.row;
	float *const to = first_of<float>(a.c, l, row0, col0);
	UNROLL
	for (int s = 0; s < L::steps; s++) {
		const Quad x = add(add(*reinterpret_cast<const Quad *>(slab + (l.row + s * L::apart) * L::pitch + l.column), ahead.bias), ahead.r[s]);
		store4_if(s * L::apart < left, to + (long)(s * L::apart) * a.c.stride, f32_to_bits(x.x), f32_to_bits(x.y), f32_to_bits(x.z), f32_to_bits(x.w));
	}
}

// finish_slab makes W/8 fragments of 8 columns into 16 rows of C.
template <int Type, int W, class Args>
DEVICE void finish_slab(const Args &a, End end, const float (*c)[4], float *slab, int row0, int col0, int m) {
	if (col0 >= a.n) return;
	Ahead<W> ahead = {};
	put_slab<W>(slab, c); // which frees the registers for what is asked for
	if (end == HalfEnd) {
		ahead.bias = bias_of<W>(a, col0);
		warp_barrier();
		finish_half<Type, W>(a, ahead.bias, slab, row0, col0, m);
	} else if (end == SumEnd) {
		look_sum(a, ahead, row0, col0, m);
		warp_barrier();
		finish_sum(a, ahead, slab, row0, col0, m);
	} else {
		look_ahead(a, ahead, row0, col0, m);
		warp_barrier();
		finish<W>(a, ahead, slab, row0, col0, m);
	}
	warp_barrier();
}
