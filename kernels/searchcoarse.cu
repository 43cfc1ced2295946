// searchcoarse: which rows of a slice may be among the best, for few queries, by a bound of their scores from a copy of the rows
// in bytes (runtime.Coarse): row x is m + c v + e with the gallery's mean m, a scale c, codes v and |e| <= L, its loss. A row whose
// bound does not reach a query's floor is passed by; the others are appended to its candidates, to be scored exactly by
// search_rescore. So hits and scores are those of searchscan.cu, bit for bit, from a half or a quarter of the bytes. searchcodes.cu
// does the same for many queries on the tensor units, with less certainty.
//
// Let n be the dimension, V = 128 sqrt n >= |v|, u = 2^-24, tiny = 2^-149, g = (n+1)u / (1 - (n+1)u), S the exact kernel's chain
// for q.x and s the same chain for q.v. While nothing overflows
//
//	q.x = q.m + c q.v + q.e,    |S - q.x| <= g|q||x| + 2n tiny,    |s - q.v| <= g|q|V + 2n tiny,    |x| <= |m| + |c|V + L
//
//	S <= q.m + g|q||m| + 2n tiny  +  c s + |c| (2g|q|V + 2n tiny)  +  L |q| (1 + g)
//	     `-------- base ---------'         `------ slack -------'      `- reach -'
//
// The host adds to each what the three roundings of this sum can take. Rows for which overflow is not excluded, and NaNs, are kept.
//
// Tiling: as searchscan.cu for few queries: a block has 256 rows, a thread 2, 128 bytes at a time, and up to 4 queries. dim + 8 bytes a row, 2*dim*count FLOP.
#include "search.cuh"

struct CoarseQuery {
	float base, slack, reach, limit; // limit: |c|V + L below it excludes overflow
};

struct CoarseArgs {
	SearchArgs s; // x are the codes
	const float *scale, *loss;
	const CoarseQuery *bounds;
	float spread; // V
	int pad;
};

template <int QT>
DEVICE void coarse(const CoarseArgs &a) {
	typedef ScoreTile<Code, 2, QT, 128, 1, 128> Tile;
	SHARED(uint8_t, mem);
	const int row0 = a.s.lo + block_x() * Tile::rows, query0 = block_y() * QT;
	float score[2][QT] = {};
	scores<Tile>(a.s, row0, query0, mem, score);
	UNROLL
	for (int i = 0; i < 2; i++) {
		const int row = row0 + thread_index() + i * 128;
		const bool there = row < a.s.hi && !skipped(a.s, row);
		const float c = there ? a.scale[row] : 0, loss = there ? a.loss[row] : 0, size = c < 0 ? -c : c;
		UNROLL
		for (int j = 0; j < QT; j++) {
			const int query = query0 + j;
			if (query >= a.s.count) break;
			const CoarseQuery q = a.bounds[query];
			const float most = fmaf(c, score[i][j], fmaf(size, q.slack, fmaf(loss, q.reach, q.base)));
			const bool below = most < score_of(a.s.floors[query]) && fmaf(size, a.spread, loss) < q.limit;
			append<32>(a.s, query, there && !below, unscored_key(0, a.s.first + row));
		}
	}
}

KERNEL(search_coarse1, CoarseArgs, 128) { coarse<1>(a); }
KERNEL_FOR(4, search_coarse4, CoarseArgs, 128) { coarse<4>(a); }
