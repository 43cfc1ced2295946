// attention_*: ragged multi-head attention with sums in f32, as runtime.Attention defines it. For sequence s, head h, query row i:
//
//	Out_i = sum over keys j of softmax_j(scale Q_i . K_j) V_j
//
// over the prefix's keys and then the sequence's own, in order of position; causal: keys at positions <= pos[i]; window w:
// those > pos[i] - w. A query without keys gets zero.
//
// For f32, and for half types that halfattention.cu cannot take: heads of any width up to 128, rows of any alignment.
//
// Shapes: Q, Out [query rows, heads*d], K, V [key rows, heads*d], prefix K, V [pool rows, heads*d]; all of one
// type; d at most 128.
// A warp a query and head. Keys go by in chunks of 32 from position 0, one a lane, with an online softmax, so a query's bits
// depend on its own sequence only. 4*d FLOP a key; K and V are read once a query, from cache for all but the first.
#include "attention.cuh"

template <int Type>
DEVICE void attention(const AttentionArgs &a) {
	SHARED(float, shared);
	const int warp = thread_index() / 32, lane = thread_index() % 32;
	float *weights = shared + 32 * warp;
	const int row = block_x() * 4 + warp, d = a.q.cols / a.heads, col = block_y() * d, seqs = extent(a.seqs);
	if (seqs == 0 || row >= a.q_starts[seqs] || row >= a.q.rows) return;
	const Keys keys = keys_of(a, sequence(a.q_starts, seqs, row));
	const int pos = a.pos ? a.pos[row] : 0;
	float top = lowest(), sum = 0.0f, acc[per_lane] = {};
	for (int base = 0; base < keys.count; base += 32) {
		const int key = base + lane;
		float score = lowest();
		if (key < keys.count && visible(a, key, pos))
			score = a.scale * dot<Type>(a.q, row, key < keys.before ? a.prefix_k : a.k, line(keys, key), col, d);
		const float highest = fmaxf(top, warp_max(score));
		if (highest == lowest()) continue;
		const float p = score == lowest() ? 0.0f : expf(score - highest), shrink = top == lowest() ? 0.0f : expf(top - highest);
		weights[lane] = p;
		warp_barrier();
		sum = fmaf(sum, shrink, warp_sum(p));
		top = highest;
		const int last = keys.count - base < 32 ? keys.count - base : 32;
		UNROLL
		for (int c = 0; c < per_lane; c++) acc[c] *= shrink;
		for (int i = 0; i < last; i++) {
			const View &values = base + i < keys.before ? a.prefix_v : a.v;
			const long from = line(keys, base + i);
			const float w = weights[i];
			UNROLL
			for (int c = 0; c < per_lane; c++)
				if (lane + 32 * c < d) acc[c] = fmaf(w, at<Type>(values, from, col + lane + 32 * c), acc[c]);
		}
		warp_barrier();
	}
	UNROLL
	for (int c = 0; c < per_lane; c++) {
		const int j = lane + 32 * c;
		if (j < d) put<Type>(a.out, row, col + j, sum > 0.0f ? acc[c] / sum : 0.0f);
	}
}

KERNEL(attention_f32, AttentionArgs, 128) { attention<F32>(a); }
KERNEL(attention_bf16, AttentionArgs, 128) { attention<BF16>(a); }
KERNEL(attention_f16, AttentionArgs, 128) { attention<F16>(a); }
