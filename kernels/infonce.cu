// infonce_*: phi's distillation loss and its gradient (runtime.InfoNCE). With n live rows, J = [a; b] the unit rows of A and B
// in 2*cap rows, zero where not live, and S = J J^T by product.cu:
//
//	infonce_unit:     J and the lengths
//	infonce_lse:      lse_i = log sum over live k != i of exp(S_ik/tau);  term_i = lse_i - S_i,pair/tau
//	infonce_loss:     Loss = sum of term_i / 2n
//	infonce_weights:  G_ik = (exp(S_ik/tau - lse_i) + exp(S_ik/tau - lse_k)) / (2n tau) - [k is i's pair]/(n tau), for rows i of b
//	infonce_through:  DB_i = weight (g - (g.u) u)/|B_i| for g = row i of G J by product.cu, u = b_i
//
// The exponents are differences from the logarithm of a sum that contains them: at most 0, so nothing overflows.
// A warp a row. The products dominate: 16*cap*cap*width FLOP.
#include "operand.cuh"

struct InfoNCEArgs {
	View a, b, j, lengths, s, lse, terms, g, db, loss;
	Dim n;
	float tau, weight;
};

// live says whether row i of J belongs to a live row.
DEVICE bool live(const InfoNCEArgs &a, int i, int n) { return i % a.n.cap < n; }

KERNEL(infonce_unit, InfoNCEArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32, lane = thread_index() % 32, n = extent(a.n), width = a.a.cols;
	if (row >= 2 * a.n.cap) return;
	if (!live(a, row, n)) {
		for (int c = lane; c < width; c += 32) store(a.j, row, c, 0.0f);
		return;
	}
	const View &x = row < a.n.cap ? a.a : a.b;
	const int from = row % a.n.cap;
	float s = 0.0f;
	for (int c = lane; c < width; c += 32) s = fmaf(load(x, from, c), load(x, from, c), s);
	const float length = sqrtf(warp_sum(s));
	for (int c = lane; c < width; c += 32) store(a.j, row, c, load(x, from, c) / length);
	if (lane == 0) store(a.lengths, row, 0, length);
}

KERNEL(infonce_lse, InfoNCEArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32, lane = thread_index() % 32, n = extent(a.n), all = 2 * a.n.cap;
	if (row >= all || !live(a, row, n)) return;
	float top = -bits_to_f32(0x7f800000u), sum = 0.0f;
	for (int k = lane; k < all; k += 32)
		if (k != row && live(a, k, n)) top = fmaxf(top, load(a.s, row, k) / a.tau);
	for (int m = 16; m > 0; m >>= 1) top = fmaxf(top, shuffle_xor(top, m));
	for (int k = lane; k < all; k += 32)
		if (k != row && live(a, k, n)) sum += expf(load(a.s, row, k) / a.tau - top);
	const float lse = top + logf(warp_sum(sum));
	if (lane == 0) {
		store(a.lse, row, 0, lse);
		store(a.terms, row, 0, lse - load(a.s, row, (row + a.n.cap) % all) / a.tau);
	}
}

KERNEL(infonce_loss, InfoNCEArgs, 32) {
	const int n = extent(a.n);
	float s = 0.0f;
	for (int i = thread_index(); i < 2 * a.n.cap; i += 32)
		if (live(a, i, n)) s += load(a.terms, i, 0);
	s = warp_sum(s);
	if (thread_index() == 0) store(a.loss, 0, 0, s / (float)(2 * n)); // NaN, the mean of nothing, without rows
}

KERNEL(infonce_weights, InfoNCEArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32, n = extent(a.n), all = 2 * a.n.cap;
	if (row >= n) return;
	const int i = a.n.cap + row;
	for (int k = thread_index() % 32; k < all; k += 32) {
		float w = 0.0f;
		if (k != i && live(a, k, n)) {
			const float s = load(a.s, i, k) / a.tau;
			w = (expf(s - load(a.lse, i, 0)) + expf(s - load(a.lse, k, 0))) * 0.5f;
			if (k == row) w -= 1.0f;
			w /= a.tau * (float)n;
		}
		store(a.g, row, k, w);
	}
}

KERNEL(infonce_through, InfoNCEArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32, lane = thread_index() % 32;
	if (row >= extent(a.n)) return;
	float along = 0.0f;
	for (int c = lane; c < a.db.cols; c += 32) along = fmaf(load(a.db, row, c), load(a.j, a.n.cap + row, c), along);
	along = warp_sum(along);
	const float length = load(a.lengths, a.n.cap + row, 0);
	for (int c = lane; c < a.db.cols; c += 32) {
		const float g = load(a.db, row, c) - along * load(a.j, a.n.cap + row, c);
		store(a.db, row, c, a.weight * g / length);
	}
}
