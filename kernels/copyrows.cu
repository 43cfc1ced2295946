// copyrows: Dst[to[i]] = Src[from[i]], or added to it; a table that is absent is the identity, a negative index skips.
//
// Shapes: Src, Dst [.., n] of one dtype. A warp a row. Moves n elements in and out (and in again with add) a row.
#include "operand.cuh"

struct CopyRowsArgs {
	View src, dst;
	Table from, to;
	Dim m;
	int add, pad;
};

KERNEL(copyrows, CopyRowsArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32;
	if (row >= extent(a.m)) return;
	const int from = lookup(a.from, row), to = lookup(a.to, row);
	if (from < 0 || to < 0) return;
	for (int j = thread_index() % 32; j < a.src.cols; j += 32) {
		float v = load(a.src, from, j);
		if (a.add) v += load(a.dst, to, j);
		store(a.dst, to, j, v);
	}
}
