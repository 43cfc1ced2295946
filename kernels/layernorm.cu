// layernorm: Out[i] = (x - mean)/sqrt(var + eps)*gamma + beta over x = X[rows[i]], var biased; without gamma, Out[i] = x.
//
// Shapes: X [.., n], Out [M, n], both f32, f16 or bf16; gamma, beta f32 [n]; rows optional. Out may be X without rows.
// A warp a row. A lane has pairs of neighbours, 64 elements apart, and adds them up in ascending order, the lanes in a fixed tree: the
// bits depend on n only. The variance is the mean of squares of differences from the mean, not of squares less a square. Rows of f32 of
// up to 1024 elements, which are what transformers' sums over blocks have, stay in registers: all of a lane's loads are under way at
// once, and each element is read once; others are read three times, twice from cache. Moves X and Out once; 8 FLOP an element.
//
// In front of a product in a half type Out is of that type, and the product reads it. With w the width, that is 8 w bytes a row: 4 w of
// X read and 2 w written here, 2 w read there; of the 64 w that a transformer's block moves between its products, its two norms
// are a quarter. What fusing would give:
//
// - Statistics of the rows in the epilogue of the product in front: nothing. X has to be read to be normalised, and is read once. The
//   sums would add to the bytes: sets of columns that no choice of tile changes are 16 wide (halfproduct's narrowest warp), and a mean
//   and a sum of squares for each are w/2 bytes a row, written and read again.
// - The normalisation on A's way to shared memory in the product behind: 4 w of the 8 w, as nothing is written and read again. But
//   every BN columns read A again, in f32: with w = 768, for fc1's 4 w columns in tiles of 256, 48 w bytes of second-level cache in place
//   of 24 w and 6 w here, and through registers in place of cp.async and the tensor memory accelerator, which the products' speed
//   rests on.
// - gamma in the weights, mean and scale in the product's epilogue: 4 w of the 8 w too, but then X and gamma W are what is rounded, not the
//   normalised row and W as runtime.PackOptions promises. With a mean of m standard deviations the rounding error grows m times, and f16
//   overflows where sums over blocks pass 65504.
// - The normalisation by the product in front, whose last block of a tile of rows to finish reads the rows back from the second-level
//   cache: 4 w of the 8 w where a batch's rows, 4 w bytes each, do not stay in that cache between two kernels, a sixteenth of a
//   transformer block's bytes for each norm, and a launch. At an estimated 1,200 cycles from load to store, 8 warps take 16 such times for
//   128 rows, 11 us at 1.7 GHz, at the end of each tile of rows, or some 3.5 us if they hold four rows each; here every row has a
//   warp of its own, on all multiprocessors. Which is faster a chip has to say; nothing was measured, so this stays a kernel.
#include "operand.cuh"

struct LayerNormArgs {
	View x, out;
	Table rows;
	Norm norm;
	Dim m;
};

// held is how many pairs a lane keeps in registers.
static constexpr int held = 16;

// paired says whether neighbours, the first in an even column, can be reached at once.
DEVICE bool paired(const View &v) {
	const int size = v.dtype == F32 ? 4 : 2;
	return v.stride % 2 == 0 && (size_t)v.data % (2 * size) == 0;
}

// normalise makes a row of Out. Held: X is f32, of an even width up to 64*held, and both matrices are paired.
template <bool Held>
DEVICE void normalise(const LayerNormArgs &a, int from, int row) {
	const int first = thread_index() % 32 * 2, n = a.x.cols, steps = Held ? held : (n + 63) / 64;
	const bool pairs_in = !Held && paired(a.x), pairs_out = Held || paired(a.out);
	Pair kept[Held ? held : 1];
	if (Held) {
		const float *const x = static_cast<const float *>(a.x.data) + (long)from * a.x.stride + first;
		UNROLL
		for (int i = 0; i < held; i++) kept[i] = 64 * i + first < n ? *reinterpret_cast<const Pair *>(x + 64 * i) : Pair{0.0f, 0.0f};
	}
	const auto pair = [&](int i) {
		const int j = 64 * i + first;
		return Held ? kept[Held ? i : 0] : j < n ? load2(a.x, from, j, pairs_in, j + 1 < n) : Pair{0.0f, 0.0f};
	};
	float sum = 0.0f, squares = 0.0f;
	UNROLL
	for (int i = 0; i < steps; i++) {
		const Pair p = pair(i);
		sum += p.x;
		sum += p.y;
	}
	const float mean = warp_sum(sum) / n;
	UNROLL
	for (int i = 0; i < steps; i++) {
		const Pair p = pair(i);
		const int j = 64 * i + first;
		const float x = j < n ? p.x - mean : 0.0f, y = j + 1 < n ? p.y - mean : 0.0f;
		squares = fmaf(x, x, squares);
		squares = fmaf(y, y, squares);
	}
	const float scale = 1.0f / sqrtf(warp_sum(squares) / n + a.norm.eps);
	UNROLL
	for (int i = 0; i < steps; i++) {
		const int j = 64 * i + first;
		if (j >= n) continue;
		const Pair p = pair(i);
		const bool second = Held || j + 1 < n;
		const float x = fmaf((p.x - mean) * scale, a.norm.gamma[j], a.norm.beta[j]);
		const float y = second ? fmaf((p.y - mean) * scale, a.norm.gamma[j + 1], a.norm.beta[j + 1]) : 0.0f;
		store2(a.out, row, j, x, y, pairs_out, second);
	}
}

// Without the number of blocks some of ptxas's targets spill a few registers for one block more.
KERNEL_FOR(6, layernorm, LayerNormArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32, n = a.x.cols;
	if (row >= extent(a.m)) return;
	const int from = lookup(a.rows, row);
	if (!a.norm.gamma) {
		for (int j = thread_index() % 32; j < n; j += 32) store(a.out, row, j, load(a.x, from, j));
		return;
	}
	if (a.x.dtype == F32 && paired(a.x) && paired(a.out) && n % 2 == 0 && n <= 64 * held) normalise<true>(a, from, row);
	else normalise<false>(a, from, row);
}
