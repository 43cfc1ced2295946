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
// sum, and least what underflow can take. Where anything overflows slack or |x| is infinite, and no row is passed by. The differences
// above are bounded in both directions: S >= s - slack |x| - least too, as long as the bound is finite, and so candidates are narrowed down
// before they are scored (searchselect.cu).
//
// search_norms: |x|, rounded up: the root of the sum of squares has a relative error below (n + 2) u / 2 + u; squares of elements
// below 2^-63 may vanish. A warp a row.
//
// search_resident16 and search_resident64 are for up to so many queries, search_bound for more, a block of which has 128, and search_bound64 for
// queries that are too long to stay in shared memory (searchproduct.cuh). Let B = dim*2 be the bytes of a row:
//
//	kernel            FLOP for B bytes  stages        shared memory          a warp, for 32 bytes of its rows
//	search_resident16   2*dim*16        4 of 16 KiB    64 KiB + 16 B         16 x 16: 1 + 1 ldmatrix, 2 mma
//	search_resident64   2*dim*64        3 of 16 KiB    48 KiB + 64 B + 512   32 x 32: 2 + 2 ldmatrix, 8 mma
//	search_bound64      2*dim*64        4 of 24 KiB    96 KiB + 512          32 x 32
//	search_bound        2*dim*128       3 of 32 KiB    96 KiB + 1 KiB        32 x 64: 2 + 4 ldmatrix, 16 mma
//
// Few queries. searchscan.cu reads a query's four floats from shared memory for four multiply-adds: a warp's load of 16 bytes a lane takes
// four cycles on its way into registers, whoever shares them. For 32 rows and eight queries that are dim/4 * (8 + 1/2) * 4 cycles, 4,352 for
// dim 512, where an H100's memory gives the rows' 32 KiB in 2,430 (3.0 TB/s, 132 multiprocessors, 1.75 GHz): 56 % of its bandwidth,
// and 59 were measured. For four queries it is 2,304 cycles, for one 768. ldmatrix of 32 bytes of 16 rows and of 16 queries takes 4 cycles
// each, and the copies that brought the rows 4 more: 12 of the 38 in which memory gives them, for any number of queries up to 16.
//
// Up to 64 queries. A block of search_bound64 fetches its queries again: half as many bytes as rows, from the second-level cache. It waits for
// its first copies and then for its last rows' floors while it copies nothing; only the other block of its multiprocessor fills the gap.
// 2,159 GB/s were measured. search_resident64 moves rows alone and does not stop. Two blocks a multiprocessor of 227 KiB for dim up to
// 512, one of 163 KiB; the two stages of 16 KiB that are on their way in a block are more than the 23 bytes a nanosecond that
// memory gives a multiprocessor of an H100, for the microsecond that it takes.
//
// More queries: search_bound has 64 FLOP for a byte from the second-level cache, its warps read 24 cycles of shared memory for products of 26 (five
// eighths of the peak), and its 8 steps begin and end with nothing to multiply: 209 TFLOP/s on an H200, selection and
// copies included.
//
// Blocks of 256 rows and 512 threads for up to 64 queries, or of 256 rows and 128 queries that stay for more, one a multiprocessor, were 15 to 20 %
// slower on an H200 than two blocks of 128 rows.
#include "searchproduct.cuh"

struct BoundArgs {
	SearchArgs s;
	const uint8_t *queries; // [count, depth], of the rows' type
	const float *norms;     // by row of the chunk
	const float *slack;     // by query
	float least;
	int blocks; // of a resident scan
};

// NormBound is the bound by a row's norm.
struct NormBound {
	static constexpr bool later = true;
	struct Term {
		float floor, slack;
	};
	static Term term(const BoundArgs &a, int query) { return {score_of(a.s.floors[query]), a.slack[query]}; }

	// Rows are those of 16 RT that a thread has sums of.
	template <int RT>
	struct Rows {
		float norm[2 * RT];

		void load(const BoundArgs &a, int row0) {
			UNROLL
			for (int i = 0; i < 2 * RT; i++) {
				const int row = row0 + 8 * i + thread_index() % 32 / 4;
				norm[i] = row < a.s.hi ? a.norms[row] : 0.0f;
			}
		}

		// bound makes bounds of sums; terms are those of the thread's first query; it has two in every eight.
		template <int QB>
		void bound(const BoundArgs &a, const Term *terms, int, const float (&sum)[RT][QB][4], float (&most)[RT][QB][4]) const {
			UNROLL
			for (int j = 0; j < 2 * QB; j++) {
				const float slack = terms[j / 2 * 8 + j % 2].slack;
				UNROLL
				for (int i = 0; i < 2 * RT; i++) {
					const int at = i % 2 * 2 + j % 2;
					most[i / 2][j / 2][at] = fmaf(slack, norm[i], sum[i / 2][j / 2][at]) + a.least;
				}
			}
		}

		uint32_t reached(const BoundArgs &a, const Term &t, int i, float most) const {
			const float score = most - 2 * fmaf(t.slack, norm[i], a.least), most_finite = 3.4028235e38f;
			return most <= most_finite && score >= -most_finite ? ordered(score) : 0;
		}
	};
};

struct RoundArgs {
	const float *queries; // [count, depth]
	uint8_t *rounded;     // likewise, of the rows' type
	float *slack;
	int count, depth;
	float part;           // (4 n + 64) u
	float grow, more, huge;
	int bf16; // the rows' type; f16 otherwise
	int pad;
};

DEVICE uint32_t pack(Half, float x, float y) { return pack_f16(x, y); }
DEVICE uint32_t pack(BHalf, float x, float y) { return pack_bf16(x, y); }

// round_queries rounds queries and makes their slack. A warp a query. q - q' is exact; three sums of squares have relative errors below
// (n/32 + 6) u, which grow outweighs, and squares of elements below 2^-63 may vanish, which more outweighs. A query of length huge, with
// which scores may overflow, has infinite slack.
template <class T>
DEVICE void round_queries(const RoundArgs &a) {
	const int query = block_x() * 4 + thread_index() / 32;
	if (query >= a.count) return;
	const Four *from = reinterpret_cast<const Four *>(a.queries + (long)query * a.depth);
	Quad *to = reinterpret_cast<Quad *>(a.rounded + (long)query * a.depth * 2);
	float exact = 0, rounded = 0, off = 0;
	for (int i = thread_index() % 32; i < a.depth / 8; i += 32) {
		const Four v[2] = {from[2 * i], from[2 * i + 1]};
		const Quad q = {{pack(T(), v[0].x[0], v[0].x[1]), pack(T(), v[0].x[2], v[0].x[3]), pack(T(), v[1].x[0], v[1].x[1]), pack(T(), v[1].x[2], v[1].x[3])}};
		to[i] = q;
		UNROLL
		for (int f = 0; f < 2; f++) {
			const Four w = widen(T(), q, f);
			UNROLL
			for (int c = 0; c < 4; c++) {
				const float d = w.x[c] - v[f].x[c];
				exact = fmaf(v[f].x[c], v[f].x[c], exact);
				rounded = fmaf(w.x[c], w.x[c], rounded);
				off = fmaf(d, d, off);
			}
		}
	}
	exact = warp_sum(exact), rounded = warp_sum(rounded), off = warp_sum(off);
	if (thread_index() % 32) return;
	const float size = sqrtf(exact) + sqrtf(rounded);
	a.slack[query] = size < a.huge ? fmaf(a.part, size, sqrtf(off)) * a.grow + a.more : bits_to_f32(0x7f800000u);
}

KERNEL(search_round, RoundArgs, 128) {
	if (a.bf16)
		round_queries<BHalf>(a);
	else
		round_queries<Half>(a);
}

#define BOUNDS(suffix, T)                                                                                                                     \
	KERNEL_FOR(2, search_bound_##suffix, BoundArgs, 256) { tile_scan<T, NormBound, 128, 3>(a, uint64_t(a.s.depth) * 2); }     \
	KERNEL_FOR(2, search_bound64_##suffix, BoundArgs, 256) { tile_scan<T, NormBound, 64, 4>(a, uint64_t(a.s.depth) * 2); }    \
	KERNEL_FOR(2, search_resident16_##suffix, BoundArgs, 256) { resident_scan<T, NormBound, 16, 4>(a, uint64_t(a.s.depth) * 2); } \
	KERNEL_FOR(2, search_resident64_##suffix, BoundArgs, 256) { resident_scan<T, NormBound, 64, 3>(a, uint64_t(a.s.depth) * 2); }

BOUNDS(f16, Half)
BOUNDS(bf16, BHalf)

struct NormArgs {
	const uint8_t *x;
	float *norms;
	uint64_t pitch;
	int lo, hi; // rows
	float grow; // what a norm is multiplied by
	float more; // and what is added then
	int bf16;   // the rows' type; f16 otherwise
	int pad;
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

KERNEL(search_norms, NormArgs, 128) {
	if (a.bf16)
		row_norms<BHalf>(a);
	else
		row_norms<Half>(a);
}
