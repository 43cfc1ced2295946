// patches and patchjoin: what stands around the product of the patch embedding. With G = size/patch and L = 1 + G*G,
//
//	P[b*G*G + p, (c*patch + y)*patch + x] = Pixels[b, c, (p/G)*patch + y, (p%G)*patch + x]
//	Out[b*L + r] = (class if r is 0, else E[b*G*G + r-1]) + Pos[r]
//
// Shapes: Pixels f32 [images, 3*size*size]; P f32 [images*G*G, 3*patch*patch]; E f32 [images*G*G, n]; Out [images*L, n].
// A warp a row. patches moves 24*patch*patch bytes a row, patchjoin 12*n or fewer.
#include "operand.cuh"

struct PatchesArgs {
	View pixels, out;
	int size, patch;
	Dim m; // images, times G*G
};

KERNEL(patches, PatchesArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32, grid = a.size / a.patch, area = a.patch * a.patch;
	if (row >= extent(a.m)) return;
	const int image = row / (grid * grid), p = row % (grid * grid);
	const int top = p / grid * a.patch, left = p % grid * a.patch;
	const bool pairs = a.patch % 2 == 0 && a.pixels.stride % 2 == 0 && a.out.stride % 2 == 0;
	if (pairs && a.pixels.dtype == F32 && ((size_t)a.pixels.data | (size_t)a.out.data) % 8 == 0) {
		UNROLL_FOUR
		for (int j = thread_index() % 32 * 2; j < a.out.cols; j += 64) {
			const int c = j / area, y = j / a.patch % a.patch, x = j % a.patch;
			const Pair v = load2(a.pixels, image, ((long)c * a.size + top + y) * a.size + left + x, true, true);
			store2(a.out, row, j, v.x, v.y, true, true);
		}
		return;
	}
	for (int j = thread_index() % 32; j < a.out.cols; j += 32) {
		const int c = j / area, y = j / a.patch % a.patch, x = j % a.patch;
		store(a.out, row, j, load(a.pixels, image, ((long)c * a.size + top + y) * a.size + left + x));
	}
}

struct PatchJoinArgs {
	View e, pos, out;
	const float *first;
	Dim m; // images, times L
	int length, pad;
};

KERNEL(patchjoin, PatchJoinArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32;
	if (row >= extent(a.m)) return;
	const int image = row / a.length, r = row % a.length;
	for (int j = thread_index() % 32; j < a.out.cols; j += 32) {
		const float v = r ? load(a.e, image * (a.length - 1) + r - 1, j) : a.first[j];
		store(a.out, row, j, v + load(a.pos, r, j));
	}
}
