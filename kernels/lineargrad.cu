// actgrad and colsum: what stands around the products of the linear layers' backward pass.
//
//	DPre[i] = DY[i] * act'(Pre[i])          actgrad; DPre may be DY
//	S[j] = sum over rows i, ascending, of X[i, j]          colsum, a bias's gradient
//
// Shapes: DY, Pre, DPre [M, n] f32, f16 or bf16; X [M, n], S f32 [n].
// actgrad: a warp a row, 3 elements moved for about 20 FLOP. colsum: a thread a column, X read once.
#include "activation.cuh"
#include "operand.cuh"

struct ActGradArgs {
	View dy, pre, dpre;
	Dim m;
	int act, pad;
};

KERNEL(actgrad, ActGradArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32;
	if (row >= extent(a.m)) return;
	for (int j = thread_index() % 32; j < a.dy.cols; j += 32) {
		const float dy = load(a.dy, row, j);
		store(a.dpre, row, j, a.act == Identity ? dy : dy * derivative(a.act, load(a.pre, row, j)));
	}
}

struct ColSumArgs {
	View x;
	float *sum;
	Dim m;
};

KERNEL(colsum, ColSumArgs, 128) {
	const int j = block_x() * 128 + thread_index(), m = extent(a.m);
	if (j >= a.x.cols) return;
	float s = 0.0f;
	for (int i = 0; i < m; i++) s += load(a.x, i, j);
	a.sum[j] = s;
}
