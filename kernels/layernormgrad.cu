// layernormgrad: the backward pass of layernorm.cu to its input. With h = (x - mean)/sqrt(var + eps) and g = dy*gamma,
//
//	DX = (g - average(g) - h average(g h)) / sqrt(var + eps), added to what DX holds with add
//
// Shapes: X, DY, DX [M, n], f32, f16 or bf16; gamma f32 [n]. DX may be DY. A warp a row; X and DY are read four and twice,
// from cache but once.
#include "operand.cuh"

struct LayerNormGradArgs {
	View dy, x, dx;
	Norm norm;
	Dim m;
	int add, pad;
};

KERNEL(layernormgrad, LayerNormGradArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32, lane = thread_index() % 32, n = a.x.cols;
	if (row >= extent(a.m)) return;
	float sum = 0.0f, squares = 0.0f, sum_g = 0.0f, sum_gh = 0.0f;
	for (int j = lane; j < n; j += 32) sum += load(a.x, row, j);
	const float mean = warp_sum(sum) / n;
	for (int j = lane; j < n; j += 32) {
		const float c = load(a.x, row, j) - mean;
		squares = fmaf(c, c, squares);
	}
	const float scale = 1.0f / sqrtf(warp_sum(squares) / n + a.norm.eps);
	for (int j = lane; j < n; j += 32) {
		const float g = load(a.dy, row, j) * a.norm.gamma[j];
		sum_g += g;
		sum_gh = fmaf(g, (load(a.x, row, j) - mean) * scale, sum_gh);
	}
	const float average_g = warp_sum(sum_g) / n, average_gh = warp_sum(sum_gh) / n;
	for (int j = lane; j < n; j += 32) {
		const float h = (load(a.x, row, j) - mean) * scale;
		float v = (load(a.dy, row, j) * a.norm.gamma[j] - average_g - h * average_gh) * scale;
		if (a.add) v += load(a.dx, row, j);
		store(a.dx, row, j, v);
	}
}
