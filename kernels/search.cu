// search: cosine scores of a slice of gallery rows, and which of them may be among the best. For query q and row i, not
// skipped, score = sum over the dimension, ascending, of Q[q, c] X[i, c], one chain of fused multiply-adds; what comes before
// the query's floor, that is its k-th best hit so far (higher score, or equal and a lower row), is appended to its candidates.
//
// Shapes: X [rows, dim] f32, f16 or bf16, Q f32 [queries, dim]; floors f32 and floor_rows [queries]; candidates [queries, room]
// pairs of score and row. room holds a whole slice, so nothing is lost; the order of candidates is left to chance and their
// set is not. A NaN passes no comparison and is never a candidate.
//
// Tiling: a block scores 128 rows, one a thread, for 8 queries, in slices of 32 dimensions through shared memory: X is read
// once for 8 queries, 2*8 FLOP an element. No score is written that is no candidate.
#include "operand.cuh"

struct SearchControl {
	int rows, queries, skips, pad;
};

struct Candidate {
	float score;
	int row;
};

struct SearchArgs {
	View x;
	const float *queries, *floors;
	const int *floor_rows;
	const uint32_t *skip;
	const SearchControl *control;
	Candidate *candidates;
	int *counts;
	int room, pad;
};

static constexpr int tile_rows = 128, tile_queries = 8, tile_depth = 32, row_pitch = tile_depth + 1;

KERNEL(search, SearchArgs, 128) {
	SHARED(float, xs);
	float *qs = xs + tile_rows * row_pitch;
	const int rows = a.control->rows, row0 = block_x() * tile_rows, query0 = block_y() * tile_queries, dim = a.x.cols;
	const int queries = a.control->queries - query0 < tile_queries ? a.control->queries - query0 : tile_queries;
	if (row0 >= rows || queries <= 0) return;
	const int t = thread_index(), row = row0 + t;
	float score[tile_queries] = {};
	for (int c0 = 0; c0 < dim; c0 += tile_depth) {
		const int depth = dim - c0 < tile_depth ? dim - c0 : tile_depth;
		for (int i = t; i < tile_rows * tile_depth; i += 128) {
			const int r = i / tile_depth, c = i % tile_depth;
			if (row0 + r < rows && c < depth) xs[r * row_pitch + c] = load(a.x, row0 + r, c0 + c);
		}
		for (int i = t; i < queries * tile_depth; i += 128) {
			const int q = i / tile_depth, c = i % tile_depth;
			if (c < depth) qs[i] = a.queries[(long)(query0 + q) * dim + c0 + c];
		}
		barrier();
		for (int c = 0; c < depth && row < rows; c++) {
			const float x = xs[t * row_pitch + c];
			UNROLL
			for (int q = 0; q < tile_queries; q++)
				if (q < queries) score[q] = fmaf(qs[q * tile_depth + c], x, score[q]);
		}
		barrier();
	}
	if (row >= rows || (a.control->skips && a.skip[row / 32] >> row % 32 & 1)) return;
	UNROLL
	for (int q = 0; q < tile_queries; q++) {
		const int query = query0 + q;
		if (q >= queries) continue;
		const float floor = a.floors[query];
		if (!(score[q] > floor || (score[q] == floor && row < a.floor_rows[query]))) continue;
		const Candidate found = {score[q], row};
		a.candidates[(long)query * a.room + atomic_increment(&a.counts[query])] = found;
	}
}
