// layernorm: Out[i] = (x - mean)/sqrt(var + eps)*gamma + beta over x = X[rows[i]], var biased; without gamma, Out[i] = x.
//
// Shapes: X [.., n], Out [M, n], both f32, f16 or bf16; gamma, beta f32 [n]; rows optional. Out may be X without rows.
// A warp a row, two passes over it for the statistics, each lane's elements in ascending order and the lanes in a fixed
// tree: the bits depend on n only. Moves 2 reads of X (the second and third from cache) and one write; 8 FLOP an element.
//
// In front of a product in a half type Out is of that type, and the product reads it: with K the width and tiles of BN columns, 4 K bytes
// of X read and 2 K written here, 2 K N/BN read there, of which one pass from memory. The other way, statistics here and the
// normalisation on A's way to shared memory, moves 4 K here and 4 K N/BN there: as many bytes of memory (8 K a row), twice the bytes
// of second-level cache, and A through registers in place of cp.async, K N/BN times the arithmetic. A row's statistics need the
// whole row, which a product's block does not have: the residual in front goes through memory.
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
