// cosineloss: OTI's loss of each row and its gradient. With a = A + noise, or with unit a = A/|A| + noise,
//
//	Loss = 1 - a.b / sqrt((a.a + 1e-12)(b.b + 1e-12)),  DA = weight dLoss/dA
//
// Shapes: A, B, noise, DA f32 [M, n]; weight, Loss f32 [M, 1]. A warp a row, four passes, all but the first from cache.
#include "operand.cuh"

struct CosineLossArgs {
	View a, b, noise, weight, loss, da;
	Dim m;
	int unit, pad;
};

KERNEL(cosineloss, CosineLossArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32, lane = thread_index() % 32, n = a.a.cols;
	if (row >= extent(a.m)) return;
	float length = 1.0f;
	if (a.unit) {
		float s = 0.0f;
		for (int j = lane; j < n; j += 32) s = fmaf(load(a.a, row, j), load(a.a, row, j), s);
		length = sqrtf(warp_sum(s));
	}
	float aa = 0.0f, ab = 0.0f, bb = 0.0f;
	for (int j = lane; j < n; j += 32) {
		const float x = load(a.a, row, j) / length + (a.noise.data ? load(a.noise, row, j) : 0.0f), y = load(a.b, row, j);
		aa = fmaf(x, x, aa);
		ab = fmaf(x, y, ab);
		bb = fmaf(y, y, bb);
	}
	aa = warp_sum(aa) + 1e-12f;
	bb = warp_sum(bb) + 1e-12f;
	const float both = sqrtf(aa) * sqrtf(bb), cosine = warp_sum(ab) / both;
	float along = 0.0f;
	for (int j = lane; j < n && a.unit; j += 32) {
		const float u = load(a.a, row, j) / length, x = u + (a.noise.data ? load(a.noise, row, j) : 0.0f);
		along = fmaf(cosine * x / aa - load(a.b, row, j) / both, u, along);
	}
	if (a.unit) along = warp_sum(along);
	const float weight = load(a.weight, row, 0);
	for (int j = lane; j < n; j += 32) {
		const float u = load(a.a, row, j) / length, x = u + (a.noise.data ? load(a.noise, row, j) : 0.0f);
		float g = cosine * x / aa - load(a.b, row, j) / both;
		if (a.unit) g = (g - along * u) / length;
		store(a.da, row, j, weight * g);
	}
	if (lane == 0) store(a.loss, row, 0, 1.0f - cosine);
}
