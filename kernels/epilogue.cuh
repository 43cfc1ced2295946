// How products on the tensor units end: results go from a warp's fragments through shared memory, 16 rows at a time, so that a loop
// over rows, not unrolled over registers, applies bias, activation and residual to neighbours in memory.
#pragma once

#include "activation.cuh"
#include "operand.cuh"

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

// finish makes a slab into rows [row0, row0 + 16) and columns [col0, col0 + WN) of C, and of pre; a has c, r, pre, bias, n, act and pairs.
template <int WN, class Args>
DEVICE void finish(const Args &a, const float *slab, int row0, int col0, int m) {
	static constexpr int pitch = WN + 8, lanes = WN / 2;
	const int lane = thread_index() % 32;
	for (int i = lane / lanes; i < 16; i += 32 / lanes) {
		const int row = row0 + i, j = lane % lanes * 2, col = col0 + j;
		if (row >= m || col >= a.n) continue;
		const bool second = col + 1 < a.n;
		float x = slab[i * pitch + j], y = slab[i * pitch + j + 1];
		if (a.bias) {
			x += a.bias[col];
			if (second) y += a.bias[col + 1];
		}
		if (a.pre.data) store2(a.pre, row, col, x, y, a.pairs, second);
		x = activate(a.act, x), y = activate(a.act, y);
		if (a.r.data) {
			const Pair r = load2(a.r, row, col, a.pairs, second);
			x += r.x, y += r.y;
		}
		store2(a.c, row, col, x, y, a.pairs, second);
	}
}
