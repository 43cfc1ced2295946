// searchbound: which rows of a slice may be among the best, for many queries and 16-bit rows, by a bound of their scores. A row
// whose bound does not reach a query's floor is passed by; the others are appended to its candidates, to be scored exactly by
// search_rescore. So hits and scores are those of searchscan.cu, bit for bit, at the speed of the tensor cores.
//
// Let q' be q rounded to the rows' type, s the tensor cores' sum for q'.x, S the exact kernel's chain, n the dimension,
// u = 2^-24. Products are exact and sums of at least four are aligned and cut to 24 bits or more (Fasi, Higham, Mikaitis,
// Pranesh, Numerical behavior of NVIDIA tensor cores, 2021): of the 5 n/4 terms each loses at most 2u |q'||x|, so
//
//	|s - q'.x| <= 2.5 n u |q'||x|,    |S - q.x| <= n u / (1 - n u) |q||x|,    |q.x - q'.x| <= |q - q'||x|
//
// and S <= s + slack |x| + least, where slack is |q - q'| + (4 n + 64) u (|q| + |q'|), which leaves room for the rounding of this very
// sum, and least what underflow can take. Where anything overflows slack or |x| is infinite, and no row is passed by.
//
// search_norms: |x|, rounded up: the root of the sum of squares has a relative error below (n + 2) u / 2 + u; squares of elements
// below 2^-63 may vanish. A warp a row.
//
// Tiling of search_bound: a block has 128 rows and 128 queries, its 8 warps 32 x 64 each, as 2 x 8 products of 16 x 8; 64 dimensions
// of both, 32 KiB, are a stage of three. 2*128*128 FLOP for 4*(128+128) bytes a dimension pair: bound by the tensor cores.
// search_bound64 has 64 queries, warps 32 x 32 and four stages of 24 KiB: bound by memory. What a warp's results are compared with is
// asked for at once.
#include "search.cuh"

struct BoundArgs {
	SearchArgs s;
	const uint8_t *queries; // [count, depth], of the rows' type
	const float *norms;     // by row of the chunk
	const float *slack;     // by query
	float least;
	int pad;
};

static constexpr int tile = 128, step = 128, granules = step / 16; // rows of a block, bytes of a row in a stage

// place is where a stage has granule g of row r; see x_at.
DEVICE int place(int r, int g) { return r * step + (g ^ r % 8) * 16; }

template <int Queries>
DEVICE void fetch_both(const BoundArgs &a, int row0, int query0, int s, uint8_t *mem) {
	for (int i = thread_index(); i < (tile + Queries) * granules; i += 256) {
		const bool is_row = i < tile * granules;
		const int r = i / granules - (is_row ? 0 : tile), g = i % granules;
		const uint64_t at = uint64_t(s) * step + g * 16;
		const bool there = is_row ? row0 + r < a.s.hi && at < a.s.pitch : query0 + r < a.s.count && at < uint64_t(a.s.depth) * 2;
		const uint8_t *from = is_row ? a.s.x : a.queries;
		if (there) from += is_row ? uint64_t(row0 + r) * a.s.pitch + at : uint64_t(query0 + r) * a.s.depth * 2 + at;
		copy_async(mem + (is_row ? 0 : tile * step) + place(r, g), from, there ? 16 : 0);
	}
}

DEVICE void mma(Half, float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { mma_f16(c, a, b0, b1); }
DEVICE void mma(BHalf, float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { mma_bf16(c, a, b0, b1); }

template <class T, int Queries, int Stages>
DEVICE void bound(const BoundArgs &a) {
	static constexpr int stage = (tile + Queries) * step, blocks = Queries / 16; // of 8 columns a warp
	SHARED(uint8_t, mem);
	const int row0 = a.s.lo + block_x() * tile, query0 = block_y() * Queries;
	const int lane = thread_index() % 32, warp = thread_index() / 32, wr = warp % 4 * 32, wq = warp / 4 * (Queries / 2);
	const int steps = int((a.s.pitch + step - 1) / step);
	float sum[2][blocks][4] = {};
	for (int s = 0; s < Stages - 1; s++) {
		if (s < steps) fetch_both<Queries>(a, row0, query0, s, mem + s * stage);
		copy_commit();
	}
	for (int s = 0; s < steps; s++) {
		copy_wait<Stages - 2>();
		barrier();
		const int next = s + Stages - 1;
		if (next < steps) fetch_both<Queries>(a, row0, query0, next, mem + next % Stages * stage);
		copy_commit();
		const uint8_t *x = mem + s % Stages * stage, *q = x + tile * step;
		UNROLL
		for (int k = 0; k < granules / 2; k++) {
			uint32_t f[2][4];
			UNROLL
			for (int i = 0; i < 2; i++) ldmatrix_x4(f[i], x + place(wr + 16 * i + lane % 16, 2 * k + lane / 16));
			UNROLL
			for (int j = 0; j < blocks; j += 2) {
				uint32_t b[4];
				ldmatrix_x4(b, q + place(wq + 8 * j + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
				UNROLL
				for (int i = 0; i < 2; i++) {
					mma(T(), sum[i][j], f[i], b[0], b[1]);
					mma(T(), sum[i][j + 1], f[i], b[2], b[3]);
				}
			}
		}
	}
	float norm[4];
	UNROLL
	for (int i = 0; i < 4; i++) {
		const int row = row0 + wr + 16 * (i / 2) + 8 * (i % 2) + lane / 4;
		norm[i] = row < a.s.hi ? a.norms[row] : 0.0f;
	}
	static constexpr int some = 8; // queries at a time
	UNROLL
	for (int first = 0; first < 2 * blocks; first += some) {
		float floor[some], slack[some];
		UNROLL
		for (int j = 0; j < some; j++) {
			const int query = query0 + wq + 8 * ((first + j) / 2) + lane % 4 * 2 + j % 2;
			floor[j] = query < a.s.count ? score_of(a.s.floors[query]) : 0.0f;
			slack[j] = query < a.s.count ? a.slack[query] : 0.0f;
		}
		UNROLL
		for (int j = 0; j < some; j++) {
			const int query = query0 + wq + 8 * ((first + j) / 2) + lane % 4 * 2 + j % 2;
			UNROLL
			for (int i = 0; i < 4; i++) {
				const int row = row0 + wr + 16 * (i / 2) + 8 * (i % 2) + lane / 4;
				const float most = fmaf(slack[j], norm[i], sum[i / 2][(first + j) / 2][i % 2 * 2 + j % 2]) + a.least;
				if (most < floor[j] || row >= a.s.hi || query >= a.s.count || skipped(a.s, row)) continue; // a NaN goes on
				append(a.s, query, ~uint32_t(a.s.first + row));
			}
		}
	}
}

KERNEL_FOR(2, search_bound_f16, BoundArgs, 256) { bound<Half, 128, 3>(a); }
KERNEL_FOR(2, search_bound_bf16, BoundArgs, 256) { bound<BHalf, 128, 3>(a); }
KERNEL_FOR(2, search_bound64_f16, BoundArgs, 256) { bound<Half, 64, 4>(a); }
KERNEL_FOR(2, search_bound64_bf16, BoundArgs, 256) { bound<BHalf, 64, 4>(a); }

struct NormArgs {
	const uint8_t *x;
	float *norms;
	uint64_t pitch;
	int lo, hi; // rows
	float grow; // what a norm is multiplied by
	float more; // and what is added then
};

template <class T>
DEVICE void row_norms(const NormArgs &a) {
	const int row = a.lo + block_x() * 4 + thread_index() / 32;
	if (row >= a.hi) return;
	const Quad *x = reinterpret_cast<const Quad *>(a.x + uint64_t(row) * a.pitch);
	float sum = 0;
	for (int i = thread_index() % 32; i < int(a.pitch / 16); i += 32) {
		const Quad raw = x[i];
		UNROLL
		for (int f = 0; f < 2; f++) {
			const Four v = widen(T(), raw, f);
			UNROLL
			for (int c = 0; c < 4; c++) sum = fmaf(v.x[c], v.x[c], sum);
		}
	}
	sum = warp_sum(sum);
	if (thread_index() % 32 == 0) a.norms[row] = sqrtf(sum) * a.grow + a.more;
}

KERNEL(search_norms_f16, NormArgs, 128) { row_norms<Half>(a); }
KERNEL(search_norms_bf16, NormArgs, 128) { row_norms<BHalf>(a); }
