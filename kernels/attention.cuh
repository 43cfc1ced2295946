// What attention's forward and backward kernels share.
#pragma once

#include "operand.cuh"

struct AttentionArgs {
	View q, k, v, prefix_k, prefix_v, out;
	Table q_starts, starts, pos, prefix;
	Dim seqs;
	float scale;
	int heads, causal, window;
};

static constexpr int max_depth = 128, per_lane = max_depth / 32;

// sequence finds the sequence of a query row: the last whose start is not behind it.
DEVICE int sequence(Table starts, int seqs, int row) {
	int lo = 0, hi = seqs;
	while (hi - lo > 1) {
		const int mid = (lo + hi) / 2;
		if (starts[mid] <= row) lo = mid;
		else hi = mid;
	}
	return lo;
}

// at and put reach elements of a type that the kernel is made for: choosing it as they go would take registers that these kernels lack.
template <int Type>
DEVICE float at(const View &v, long i, long j) {
	const long n = i * v.stride + j;
	if (Type == F32) return static_cast<const float *>(v.data)[n];
	const uint16_t h = static_cast<const uint16_t *>(v.data)[n];
	return Type == F16 ? f16_to_f32(h) : bf16_to_f32(h);
}
template <int Type>
DEVICE void put(const View &v, long i, long j, float x) {
	const long n = i * v.stride + j;
	if (Type == F32) static_cast<float *>(v.data)[n] = x;
	else static_cast<uint16_t *>(v.data)[n] = Type == F16 ? f32_to_f16(x) : f32_to_bf16(x);
}

DEVICE float lowest() { return -bits_to_f32(0x7f800000u); } // minus infinity

DEVICE float warp_max(float v) {
	for (int m = 16; m > 0; m >>= 1) v = fmaxf(v, shuffle_xor(v, m));
	return v;
}

// Keys of one sequence: those of the prefix, then its own, by position.
struct Keys {
	int before, pool, own, count;
};

DEVICE Keys keys_of(const AttentionArgs &a, int s) {
	Keys k;
	k.before = a.prefix ? a.prefix[2 * s + 1] : 0;
	k.pool = a.prefix ? a.prefix[2 * s] : 0;
	k.own = a.starts[s];
	k.count = k.before + a.starts[s + 1] - k.own;
	return k;
}

DEVICE bool visible(const AttentionArgs &a, int key, int pos) {
	return (!a.causal || key <= pos) && (!a.window || key > pos - a.window);
}

// line is the row of the key at a position, in the prefix's pool or among the own rows.
DEVICE long line(const Keys &k, int key) { return key < k.before ? k.pool + key : k.own + key - k.before; }

// dot is the product of d elements from column col on.
template <int Type>
DEVICE float dot(const View &x, long i, const View &y, long j, int col, int d) {
	float s = 0.0f;
	for (int c = col; c < col + d; c++) s = fmaf(at<Type>(x, i, c), at<Type>(y, j, c), s);
	return s;
}
