// attentiongrad_q_* and attentiongrad_k_*: the backward pass of attention.cu, the softmax computed again. With P the weights,
//
//	DP_ij = DOut_i . V_j,  D_i = sum_j P_ij DP_ij,  DS_ij = P_ij (DP_ij - D_i)
//	DQ_i = scale sum_j DS_ij K_j          attentiongrad_q, which also leaves each query's maximum, sum and D in stats
//	DV_j = sum_i P_ij DOut_i,  DK_j = scale sum_i DS_ij Q_i          attentiongrad_k, for the sequences' own keys
//
// Shapes: as attention's; DOut, DQ as Q; DK, DV as K; stats f32 [query rows, 3*heads].
// A warp a query and head, then a warp a key and head: every sum has one owner and goes up in position, so nothing depends on
// the batch. 14*d FLOP a pair of query and key; each operand is read once a pair, nearly always from cache.
#include "attention.cuh"

struct AttentionGradArgs {
	AttentionArgs fwd;
	View dout, dq, dk, dv, stats;
};

// The score of a pair, minus infinity where the query does not see the key.
template <int Type>
DEVICE float pair_score(const AttentionArgs &a, const Keys &keys, int row, int key, int pos, int col, int d) {
	if (key >= keys.count || !visible(a, key, pos)) return lowest();
	return a.scale * dot<Type>(a.q, row, key < keys.before ? a.prefix_k : a.k, line(keys, key), col, d);
}

template <int Type>
DEVICE void attentiongrad_q(const AttentionGradArgs &a) {
	SHARED(float, shared);
	const AttentionArgs &f = a.fwd;
	const int warp = thread_index() / 32, lane = thread_index() % 32, head = block_y();
	float *ds = shared + 32 * warp;
	const int row = block_x() * 4 + warp, d = f.q.cols / f.heads, col = head * d, seqs = extent(f.seqs);
	if (seqs == 0 || row >= f.q_starts[seqs] || row >= f.q.rows) return;
	const Keys keys = keys_of(f, sequence(f.q_starts, seqs, row));
	const int pos = f.pos ? f.pos[row] : 0;
	float top = lowest(), sum = 0.0f, average = 0.0f;
	for (int base = 0; base < keys.count; base += 32) {
		const int key = base + lane;
		const float score = pair_score<Type>(f, keys, row, key, pos, col, d), highest = fmaxf(top, warp_max(score));
		if (highest == lowest()) continue;
		const float p = score == lowest() ? 0.0f : expf(score - highest), shrink = top == lowest() ? 0.0f : expf(top - highest);
		const float dp = p == 0.0f ? 0.0f : dot<Type>(a.dout, row, key < keys.before ? f.prefix_v : f.v, line(keys, key), col, d);
		sum = fmaf(sum, shrink, warp_sum(p));
		average = fmaf(average, shrink, warp_sum(p * dp));
		top = highest;
	}
	if (sum > 0.0f) average /= sum;
	if (lane == 0) {
		put<F32>(a.stats, row, 3 * head, top);
		put<F32>(a.stats, row, 3 * head + 1, sum);
		put<F32>(a.stats, row, 3 * head + 2, average);
	}
	float acc[per_lane] = {};
	for (int base = 0; base < keys.count && sum > 0.0f; base += 32) {
		const int key = base + lane;
		const float score = pair_score<Type>(f, keys, row, key, pos, col, d);
		float g = 0.0f;
		if (score != lowest()) {
			const float dp = dot<Type>(a.dout, row, key < keys.before ? f.prefix_v : f.v, line(keys, key), col, d);
			g = expf(score - top) / sum * (dp - average) * f.scale;
		}
		ds[lane] = g;
		warp_barrier();
		const int last = keys.count - base < 32 ? keys.count - base : 32;
		for (int i = 0; i < last; i++) {
			const View &k = base + i < keys.before ? f.prefix_k : f.k;
			const long from = line(keys, base + i);
			const float w = ds[i];
			UNROLL
			for (int c = 0; c < per_lane; c++)
				if (lane + 32 * c < d) acc[c] = fmaf(w, at<Type>(k, from, col + lane + 32 * c), acc[c]);
		}
		warp_barrier();
	}
	UNROLL
	for (int c = 0; c < per_lane; c++)
		if (lane + 32 * c < d) put<Type>(a.dq, row, col + lane + 32 * c, acc[c]);
}

template <int Type>
DEVICE void attentiongrad_k(const AttentionGradArgs &a) {
	SHARED(float, shared);
	const AttentionArgs &f = a.fwd;
	const int warp = thread_index() / 32, lane = thread_index() % 32, head = block_y();
	float *weights = shared + 64 * warp, *ds = weights + 32;
	const int row = block_x() * 4 + warp, d = f.q.cols / f.heads, col = head * d, seqs = extent(f.seqs);
	if (seqs == 0 || row >= f.starts[seqs] || row >= f.k.rows) return;
	const int s = sequence(f.starts, seqs, row), first = f.q_starts[s], queries = f.q_starts[s + 1] - first;
	const Keys keys = keys_of(f, s);
	const int key = row - keys.own + keys.before;
	float dk[per_lane] = {}, dv[per_lane] = {};
	for (int base = 0; base < queries; base += 32) {
		const int q = first + base + lane;
		float p = 0.0f, g = 0.0f;
		if (base + lane < queries && visible(f, key, f.pos ? f.pos[q] : 0)) {
			p = expf(f.scale * dot<Type>(f.q, q, f.k, row, col, d) - at<F32>(a.stats, q, 3 * head)) / at<F32>(a.stats, q, 3 * head + 1);
			g = p * (dot<Type>(a.dout, q, f.v, row, col, d) - at<F32>(a.stats, q, 3 * head + 2)) * f.scale;
		}
		weights[lane] = p;
		ds[lane] = g;
		warp_barrier();
		const int last = queries - base < 32 ? queries - base : 32;
		for (int i = 0; i < last; i++) {
			const int from = first + base + i;
			const float w = weights[i], u = ds[i];
			UNROLL
			for (int c = 0; c < per_lane; c++) {
				const int j = col + lane + 32 * c;
				if (lane + 32 * c >= d) continue;
				dv[c] = fmaf(w, at<Type>(a.dout, from, j), dv[c]);
				dk[c] = fmaf(u, at<Type>(f.q, from, j), dk[c]);
			}
		}
		warp_barrier();
	}
	UNROLL
	for (int c = 0; c < per_lane; c++) {
		const int j = col + lane + 32 * c;
		if (lane + 32 * c >= d) continue;
		put<Type>(a.dk, row, j, dk[c]);
		put<Type>(a.dv, row, j, dv[c]);
	}
}

KERNEL(attentiongrad_q_f32, AttentionGradArgs, 128) { attentiongrad_q<F32>(a); }
KERNEL(attentiongrad_k_f32, AttentionGradArgs, 128) { attentiongrad_k<F32>(a); }
KERNEL(attentiongrad_q_bf16, AttentionGradArgs, 128) { attentiongrad_q<BF16>(a); }
KERNEL(attentiongrad_k_bf16, AttentionGradArgs, 128) { attentiongrad_k<BF16>(a); }
KERNEL(attentiongrad_q_f16, AttentionGradArgs, 128) { attentiongrad_q<F16>(a); }
KERNEL(attentiongrad_k_f16, AttentionGradArgs, 128) { attentiongrad_k<F16>(a); }
