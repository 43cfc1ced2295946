// product: every matrix product in f32.
//
//	C[m, n] = act(sum over k of A(m, k) B(n, k) + bias[n]) + R[m, n]
//
// A(m, k) is element m*a_row + k*a_col of A and B(n, k) likewise, so that both may be transposed. pre receives the sum with
// its bias, in front of the activation. R may be C. M and K are extents that the device holds; N is fixed.
//
// Shapes: A [M, K], B [N, K], C, R and pre [M, N]; each f32, f16 or bf16; accumulation f32.
// Each sum is one chain of fused multiply-adds with k ascending, so its bits do not depend on M, N or the tile.
//
// Tiling: blocks of 256 threads compute 64 x 64 of C, 4 x 4 a thread, from slices of 16 along K in shared memory.
// A block moves 4*(64+64)*K bytes for 2*64*64*K FLOP: 16 FLOP a byte from L2.
#include "activation.cuh"
#include "operand.cuh"

struct ProductArgs {
	View a, b, c, r, pre;
	const float *bias;
	long a_row, a_col, b_row, b_col;
	Dim m, k;
	int n, act;
};

static constexpr int tile = 64, slice = 16, pitch = tile + 4; // pitch: 4 more floats keep rows of 16 bytes in other banks

KERNEL(product, ProductArgs, 256) {
	SHARED(float, as);
	float *bs = as + slice * pitch;
	const int m = extent(a.m), depth = extent(a.k), m0 = block_y() * tile, n0 = block_x() * tile;
	if (m0 >= m) return;
	const int t = thread_index(), tm = t / 16 * 4, tn = t % 16 * 4;
	float acc[4][4] = {};
	for (int k0 = 0; k0 < depth; k0 += slice) {
		for (int i = t; i < tile * slice; i += 256) {
			// Neighbouring threads take neighbouring elements of memory.
			const int ak = a.a_col == 1 ? i % slice : i / tile, am = a.a_col == 1 ? i / slice : i % tile;
			const int bk = a.b_col == 1 ? i % slice : i / tile, bn = a.b_col == 1 ? i / slice : i % tile;
			float x = 0.0f, y = 0.0f;
			if (m0 + am < m && k0 + ak < depth) x = load(a.a, 0, (m0 + am) * a.a_row + (k0 + ak) * a.a_col);
			if (n0 + bn < a.n && k0 + bk < depth) y = load(a.b, 0, (n0 + bn) * a.b_row + (k0 + bk) * a.b_col);
			as[ak * pitch + am] = x;
			bs[bk * pitch + bn] = y;
		}
		barrier();
		const int last = depth - k0 < slice ? depth - k0 : slice;
		for (int k = 0; k < last; k++) {
			float x[4], y[4];
			UNROLL
			for (int i = 0; i < 4; i++) {
				x[i] = as[k * pitch + tm + i];
				y[i] = bs[k * pitch + tn + i];
			}
			UNROLL
			for (int i = 0; i < 4; i++) {
				UNROLL
				for (int j = 0; j < 4; j++) acc[i][j] = fmaf(x[i], y[j], acc[i][j]);
			}
		}
		barrier();
	}
	UNROLL
	for (int i = 0; i < 4; i++) {
		UNROLL
		for (int j = 0; j < 4; j++) {
			const int row = m0 + tm + i, col = n0 + tn + j;
			if (row >= m || col >= a.n) continue;
			float v = acc[i][j];
			if (a.bias) v += a.bias[col];
			if (a.pre.data) store(a.pre, row, col, v);
			v = activate(a.act, v);
			if (a.r.data) v += load(a.r, row, col);
			store(a.c, row, col, v);
		}
	}
}
