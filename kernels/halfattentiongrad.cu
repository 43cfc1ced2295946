// halfattentiongrad_q_* and halfattentiongrad_k_*: attentiongrad.cu's operation in bf16 or f16 on the tensor units. With P the weights,
// which are computed again,
//
//	DP_ij = DOut_i . V_j,  D_i = sum_j P_ij DP_ij,  DS_ij = P_ij (DP_ij - D_i) scale
//	DQ_i = sum_j DS_ij K_j          halfattentiongrad_q, which also leaves what the weights of a query need in stats
//	DV_j = sum_i P_ij DOut_i,  DK_j = sum_i DS_ij Q_i          halfattentiongrad_k, for the sequences' own keys
//
// Shapes: as halfattention.cu's, d up to 128; D is 32, 64 or 128. DOut, DQ as Q; DK, DV as K; stats f32 [query rows, 3*heads]: the
// exponent's shift, 1 by the sum, D.
//
// Tiling: as halfattention.cu's, in halfattentiongrad_q twice over the keys: once for the softmax and D, online, once for DQ. In
// halfattentiongrad_k a block has 64 own keys of a sequence and head, 16 a warp, and the queries go by in ascending tiles, the
// products transposed: K Q^T and V DOut^T give P and DS as the left fragments that DV and DK take. Every sum has one owner and
// goes up in position: no atomics, and the same bits whatever is in the batch. P and DS are rounded to the kernel's type for
// their products, nothing else is.
//
// What goes by comes in tiles of N rows, as many as registers leave beside the sums, D/2 of a lane in halfattentiongrad_q (DQ) and D in
// halfattentiongrad_k (DK and DV), N/2 for P and DP:
//
//	      N keys, shared    N queries, shared
//	32         64   24 KiB       32   17 KiB
//	64         64   48 KiB       64   50 KiB
//	128        32   64 KiB       16   48.5 KiB
//
// FLOP: 10 d a pair of query and key in halfattentiongrad_q, whose two passes both need scores and DP, 8 d in halfattentiongrad_k.
// Bytes: what a block owns once; the other side once for 64 rows, twice in halfattentiongrad_q, from L2 but for the first.
#include "halfattention.cuh"

struct HalfAttentionGradArgs {
	AttentionArgs f;
	View dout, dq, dk, dv, stats;
	int tiles, pad;
};

// hide sets the scores of keys that a lane's two rows do not see to minus infinity.
template <int Blocks>
DEVICE void hide(const AttentionArgs &f, const One &o, float (&p)[Blocks][4], int base, const int (&pos)[2]) {
	const int t = thread_index() % 4 * 2;
	UNROLL
	for (int j = 0; j < Blocks; j++) {
		UNROLL
		for (int i = 0; i < 4; i++) {
			const int key = base + 8 * j + t + i % 2;
			if (key >= o.keys.count || !visible(f, key, pos[i / 2])) p[j][i] = lowest();
		}
	}
}

// Softmax is the state of a lane's two rows: maximum, sum of weights, sum of weights times DP, before they are combined.
struct Softmax {
	float top[2], sum[2], average[2];
};

// online adds a tile's scores and DP.
template <int Blocks>
DEVICE void online(Softmax &m, const float (&s)[Blocks][4], const float (&dp)[Blocks][4], float factor) {
	UNROLL
	for (int i = 0; i < 2; i++) {
		float highest = m.top[i];
		UNROLL
		for (int j = 0; j < Blocks; j++) highest = fmaxf(highest, fmaxf(s[j][2 * i], s[j][2 * i + 1]));
		highest = quad_max(highest);
		const float shift = highest == lowest() ? 0.0f : highest * factor, shrink = exp2_fast(fmaf(m.top[i], factor, -shift));
		m.top[i] = highest, m.sum[i] *= shrink, m.average[i] *= shrink;
		UNROLL
		for (int j = 0; j < Blocks; j++) {
			UNROLL
			for (int e = 2 * i; e < 2 * i + 2; e++) {
				const float p = exp2_fast(fmaf(s[j][e], factor, -shift));
				m.sum[i] += p;
				m.average[i] = fmaf(p, dp[j][e], m.average[i]);
			}
		}
	}
}

template <int Type, int D, int N>
DEVICE void grad_q(const HalfAttentionGradArgs &a, int s, int q0) {
	static constexpr int tile = tile_rows * D, part = N * D;
	SHARED(uint16_t, qs);
	uint16_t *const ds = qs + tile, *const ks = ds + tile, *const vs = ks + 2 * part;
	const AttentionArgs &f = a.f;
	const int head = block_y();
	const One o = one_of(f, s, head);
	const int lane = thread_index() % 32, row = thread_index() / 32 * 16, g = lane / 4;
	const int rows = o.queries - q0, first = o.first + q0, count = o.keys.count;
	int pos[2] = {0, 0}, to = count;
	if (f.pos) {
		const Span span = positions(f, first, rows);
		for (int i = 0; i < 2; i++)
			if (row + g + 8 * i < rows) pos[i] = f.pos[first + row + g + 8 * i];
		if (f.causal && span.high + 1 < to) to = span.high + 1;
	}
	const int steps = (to + N - 1) / N; // of each pass
	const auto send = [&](int step) {
		if (step < 2 * steps) {
			const int at = step % 2 * part, base = step % steps * N;
			load_keys<N, D>(ks + at, f.k, f.prefix_k, o, base);
			load_keys<N, D>(vs + at, f.v, f.prefix_v, o, base);
		}
		copy_commit();
	};
	load_rows<tile_rows, D>(qs, f.q, first, rows, o.col, o.d);
	load_rows<tile_rows, D>(ds, a.dout, first, rows, o.col, o.d);
	if (steps) send(0);
	float dq[D / 8][4] = {}, shift[2], inverse[2];
	Softmax m = {{lowest(), lowest()}, {0.0f, 0.0f}, {0.0f, 0.0f}};
	const float factor = f.scale * log2e;
	const auto settle = [&] {
		UNROLL
		for (int i = 0; i < 2; i++) {
			const float all = quad_sum(m.sum[i]);
			inverse[i] = all > 0.0f ? 1.0f / all : 0.0f, shift[i] = m.top[i] == lowest() ? 0.0f : m.top[i] * factor;
			m.average[i] = quad_sum(m.average[i]) * inverse[i];
		}
	};
	for (int step = 0; step < 2 * steps; step++) {
		const int base = step % steps * N;
		barrier(); // nobody reads the tile before any more
		send(step + 1);
		copy_wait<1>();
		barrier();
		if (row >= rows) continue;
		uint16_t *const k = ks + step % 2 * part, *const v = vs + step % 2 * part;
		float p[N / 8][4] = {}, dp[N / 8][4] = {};
		scores<Type, D, N>(p, qs, row, k);
		scores<Type, D, N>(dp, ds, row, v);
		hide(f, o, p, base, pos);
		if (step < steps) {
			online(m, p, dp, factor);
			continue;
		}
		if (step == steps) settle();
		UNROLL
		for (int j = 0; j < N / 8; j++) {
			UNROLL
			for (int i = 0; i < 4; i++) {
				const float w = exp2_fast(fmaf(p[j][i], factor, -shift[i / 2])) * inverse[i / 2];
				p[j][i] = w * (dp[j][i] - m.average[i / 2]) * f.scale;
			}
		}
		accumulate<Type, D, N>(dq, p, k);
	}
	copy_wait<0>();
	barrier(); // of the block's next queries
	if (row >= rows) return;
	if (!steps) settle();
	put_rows<D>(a.dq, dq, first, rows, row, o, 1.0f, 1.0f);
	for (int i = 0; i < 2 && lane % 4 == 0; i++) {
		if (row + g + 8 * i >= rows) continue;
		store(a.stats, first + row + g + 8 * i, 3 * head, shift[i]);
		store(a.stats, first + row + g + 8 * i, 3 * head + 1, inverse[i]);
		store(a.stats, first + row + g + 8 * i, 3 * head + 2, m.average[i]);
	}
}

// Queries is what a tile of queries has besides its rows of Q and DOut: stats, and positions.
template <int N>
struct Queries {
	float shift[N], inverse[N], average[N];
	int pos[N];
};

template <int N>
DEVICE void load_queries(Queries<N> &to, const HalfAttentionGradArgs &a, int first, int rows, int head) {
	const int i = thread_index();
	if (i >= N) return;
	const bool live = i < rows;
	to.shift[i] = live ? load(a.stats, first + i, 3 * head) : 0.0f;
	to.inverse[i] = live ? load(a.stats, first + i, 3 * head + 1) : 0.0f;
	to.average[i] = live ? load(a.stats, first + i, 3 * head + 2) : 0.0f;
	to.pos[i] = live && a.f.pos ? a.f.pos[first + i] : 0;
}

template <int Type, int D, int N>
DEVICE void grad_k(const HalfAttentionGradArgs &a, int s, int k0) {
	static constexpr int tile = tile_rows * D, part = N * D;
	SHARED(uint16_t, ks);
	uint16_t *const vs = ks + tile, *const qs = vs + tile, *const ds = qs + 2 * part;
	Queries<N> *const queries = reinterpret_cast<Queries<N> *>(ds + 2 * part);
	const AttentionArgs &f = a.f;
	const int head = block_y();
	const One o = one_of(f, s, head);
	const int lane = thread_index() % 32, row = thread_index() / 32 * 16, g = lane / 4, t = lane % 4 * 2;
	const int rows = o.keys.count - o.keys.before - k0, first = o.keys.own + k0;
	const int place = o.keys.before + k0; // the position of the block's first key
	int from = 0; // queries before it see none of the block's keys
	while (f.causal && from < o.queries && positions(f, o.first + from, o.queries - from).high < place) from += tile_rows;
	const auto send = [&](int q0) {
		if (q0 < o.queries) {
			const int at = q0 / N % 2;
			load_rows<N, D>(qs + at * part, f.q, o.first + q0, o.queries - q0, o.col, o.d);
			load_rows<N, D>(ds + at * part, a.dout, o.first + q0, o.queries - q0, o.col, o.d);
			load_queries(queries[at], a, o.first + q0, o.queries - q0, head);
		}
		copy_commit();
	};
	load_rows<tile_rows, D>(ks, f.k, first, rows, o.col, o.d);
	load_rows<tile_rows, D>(vs, f.v, first, rows, o.col, o.d);
	send(from);
	float dk[D / 8][4] = {}, dv[D / 8][4] = {};
	const float factor = f.scale * log2e;
	for (int q0 = from; q0 < o.queries; q0 += N) {
		barrier(); // nobody reads the tile before any more
		send(q0 + N);
		copy_wait<1>();
		barrier();
		if (row >= rows) continue;
		const int at = q0 / N % 2;
		uint16_t *const q = qs + at * part, *const dout = ds + at * part;
		const Queries<N> &with = queries[at];
		float p[N / 8][4] = {}, dp[N / 8][4] = {};
		scores<Type, D, N>(p, ks, row, q);
		scores<Type, D, N>(dp, vs, row, dout);
		UNROLL
		for (int j = 0; j < N / 8; j++) {
			UNROLL
			for (int i = 0; i < 4; i++) {
				const int column = 8 * j + t + i % 2;
				const bool seen = q0 + column < o.queries && visible(f, place + row + g + i / 2 * 8, with.pos[column]);
				const float w = seen ? exp2_fast(fmaf(p[j][i], factor, -with.shift[column])) * with.inverse[column] : 0.0f;
				p[j][i] = w;
				dp[j][i] = w * (dp[j][i] - with.average[column]) * f.scale;
			}
		}
		accumulate<Type, D, N>(dv, p, dout);
		accumulate<Type, D, N>(dk, dp, q);
	}
	copy_wait<0>();
	barrier(); // of the block's next keys
	if (row >= rows) return;
	put_rows<D>(a.dk, dk, first, rows, row, o, 1.0f, 1.0f);
	put_rows<D>(a.dv, dv, first, rows, row, o, 1.0f, 1.0f);
}

template <int Type, int D>
DEVICE void grad_q_all(const HalfAttentionGradArgs &a) {
	const int s = block_z();
	if (s >= extent(a.f.seqs)) return;
	const int queries = a.f.q_starts[s + 1] - a.f.q_starts[s];
	for (int q0 = block_x() * tile_rows; q0 < queries; q0 += a.tiles * tile_rows) grad_q<Type, D, D == 128 ? 32 : 64>(a, s, q0);
}

template <int Type, int D>
DEVICE void grad_k_all(const HalfAttentionGradArgs &a) {
	const int s = block_z();
	if (s >= extent(a.f.seqs)) return;
	const int keys = a.f.starts[s + 1] - a.f.starts[s];
	for (int k0 = block_x() * tile_rows; k0 < keys; k0 += a.tiles * tile_rows) grad_k<Type, D, D == 128 ? 16 : D>(a, s, k0);
}

KERNEL(halfattentiongrad_q_bf16_32, HalfAttentionGradArgs, 128) { grad_q_all<BF16, 32>(a); }
KERNEL(halfattentiongrad_q_bf16_64, HalfAttentionGradArgs, 128) { grad_q_all<BF16, 64>(a); }
KERNEL(halfattentiongrad_q_bf16_128, HalfAttentionGradArgs, 128) { grad_q_all<BF16, 128>(a); }
KERNEL(halfattentiongrad_q_f16_32, HalfAttentionGradArgs, 128) { grad_q_all<F16, 32>(a); }
KERNEL(halfattentiongrad_q_f16_64, HalfAttentionGradArgs, 128) { grad_q_all<F16, 64>(a); }
KERNEL(halfattentiongrad_q_f16_128, HalfAttentionGradArgs, 128) { grad_q_all<F16, 128>(a); }
KERNEL(halfattentiongrad_k_bf16_32, HalfAttentionGradArgs, 128) { grad_k_all<BF16, 32>(a); }
KERNEL(halfattentiongrad_k_bf16_64, HalfAttentionGradArgs, 128) { grad_k_all<BF16, 64>(a); }
KERNEL(halfattentiongrad_k_bf16_128, HalfAttentionGradArgs, 128) { grad_k_all<BF16, 128>(a); }
KERNEL(halfattentiongrad_k_f16_32, HalfAttentionGradArgs, 128) { grad_k_all<F16, 32>(a); }
KERNEL(halfattentiongrad_k_f16_64, HalfAttentionGradArgs, 128) { grad_k_all<F16, 64>(a); }
KERNEL(halfattentiongrad_k_f16_128, HalfAttentionGradArgs, 128) { grad_k_all<F16, 128>(a); }
