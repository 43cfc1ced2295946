// unitrows: X[i] /= |X[i]|, in place; a zero row stays zero.
//
// Shapes: X f32 [M, n]. A warp a row: n elements read twice and written once.
#include "operand.cuh"

struct UnitRowsArgs {
	View x;
	Dim m;
};

KERNEL(unitrows, UnitRowsArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32, lane = thread_index() % 32;
	if (row >= extent(a.m)) return;
	float squares = 0.0f;
	for (int j = lane; j < a.x.cols; j += 32) {
		const float v = load(a.x, row, j);
		squares = fmaf(v, v, squares);
	}
	squares = warp_sum(squares);
	if (!(squares > 0.0f)) return;
	const float length = sqrtf(squares);
	for (int j = lane; j < a.x.cols; j += 32) store(a.x, row, j, load(a.x, row, j) / length);
}
