// layernorm: Out[i] = (x - mean)/sqrt(var + eps)*gamma + beta over x = X[rows[i]], var biased; without gamma, Out[i] = x.
//
// Shapes: X [.., n], Out [M, n], both f32, f16 or bf16; gamma, beta f32 [n]; rows optional. Out may be X without rows.
// A warp a row, two passes over it for the statistics, each lane's elements in ascending order and the lanes in a fixed
// tree: the bits depend on n only. Moves 2 reads of X (the second and third from cache) and one write; 8 FLOP an element.
#include "operand.cuh"

struct LayerNormArgs {
	View x, out;
	Table rows;
	Norm norm;
	Dim m;
};

KERNEL(layernorm, LayerNormArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32, lane = thread_index() % 32, n = a.x.cols;
	if (row >= extent(a.m)) return;
	const int from = lookup(a.rows, row);
	if (!a.norm.gamma) {
		for (int j = lane; j < n; j += 32) store(a.out, row, j, load(a.x, from, j));
		return;
	}
	float sum = 0.0f, squares = 0.0f;
	for (int j = lane; j < n; j += 32) sum += load(a.x, from, j);
	const float mean = warp_sum(sum) / n;
	for (int j = lane; j < n; j += 32) {
		const float d = load(a.x, from, j) - mean;
		squares = fmaf(d, d, squares);
	}
	const float scale = 1.0f / sqrtf(warp_sum(squares) / n + a.norm.eps);
	for (int j = lane; j < n; j += 32)
		store(a.out, row, j, fmaf((load(a.x, from, j) - mean) * scale, a.norm.gamma[j], a.norm.beta[j]));
}
