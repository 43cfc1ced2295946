// attention: ragged multi-head attention in f32, as runtime.Attention defines it. For sequence s, head h, query row i:
//
//	Out_i = sum over keys j of softmax_j(scale Q_i . K_j) V_j
//
// over the prefix's keys and then the sequence's own, in order of position; causal: keys at positions <= pos[i]; window w:
// those > pos[i] - w. A query without keys gets zero.
//
// Shapes: Q, Out [query rows, heads*d], K, V [key rows, heads*d], prefix K, V [pool rows, heads*d]; d at most 256.
// A warp a query and head. Keys go by in chunks of 32 from position 0, one a lane, with an online softmax, so a query's bits
// depend on its own sequence only. 4*d FLOP a key; K and V are read once a query, from cache for all but the first.
#include "operand.cuh"

struct AttentionArgs {
	View q, k, v, prefix_k, prefix_v, out;
	Table q_starts, starts, pos, prefix;
	Dim seqs;
	float scale;
	int heads, causal, window;
};

static constexpr int max_depth = 256, per_lane = max_depth / 32;

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

DEVICE float warp_max(float v) {
	for (int m = 16; m > 0; m >>= 1) v = fmaxf(v, shuffle_xor(v, m));
	return v;
}

KERNEL(attention, AttentionArgs, 128) {
	SHARED(float, shared);
	const int warp = thread_index() / 32, lane = thread_index() % 32;
	float *weights = shared + 32 * warp;
	const int row = block_x() * 4 + warp, d = a.q.cols / a.heads, col = block_y() * d, seqs = extent(a.seqs);
	if (seqs == 0 || row >= a.q_starts[seqs] || row >= a.q.rows) return;
	const int s = sequence(a.q_starts, seqs, row);
	const int before = a.prefix ? a.prefix[2 * s + 1] : 0, pool = a.prefix ? a.prefix[2 * s] : 0;
	const int own = a.starts[s], keys = before + a.starts[s + 1] - own, pos = a.pos ? a.pos[row] : 0;
	const float none = -bits_to_f32(0x7f800000u);
	float top = none, sum = 0.0f, acc[per_lane] = {};
	for (int base = 0; base < keys; base += 32) {
		const int key = base + lane;
		float score = none;
		if (key < keys && (!a.causal || key <= pos) && (!a.window || key > pos - a.window)) {
			const bool old = key < before;
			score = 0.0f;
			for (int j = 0; j < d; j++) {
				const float k = old ? load(a.prefix_k, pool + key, col + j) : load(a.k, own + key - before, col + j);
				score = fmaf(load(a.q, row, col + j), k, score);
			}
			score *= a.scale;
		}
		const float highest = fmaxf(top, warp_max(score));
		if (highest == none) continue;
		const float p = score == none ? 0.0f : expf(score - highest), shrink = top == none ? 0.0f : expf(top - highest);
		weights[lane] = p;
		warp_barrier();
		sum = fmaf(sum, shrink, warp_sum(p));
		top = highest;
		const int last = keys - base < 32 ? keys - base : 32;
		UNROLL
		for (int c = 0; c < per_lane; c++) acc[c] *= shrink;
		for (int i = 0; i < last; i++) {
			const int at = base + i;
			const View &values = at < before ? a.prefix_v : a.v;
			const long line = at < before ? pool + at : own + at - before;
			const float w = weights[i];
			UNROLL
			for (int c = 0; c < per_lane; c++)
				if (lane + 32 * c < d) acc[c] = fmaf(w, load(values, line, col + lane + 32 * c), acc[c]);
		}
		warp_barrier();
	}
	UNROLL
	for (int c = 0; c < per_lane; c++) {
		const int j = lane + 32 * c;
		if (j < d) store(a.out, row, col + j, sum > 0.0f ? acc[c] / sum : 0.0f);
	}
}
