// searchscan: exact scores of a slice of gallery rows, and which of them may be among the best. For query q and row i, not
// skipped, score = sum over the dimension, ascending, of Q[q, c] X[i, c], one chain of fused multiply-adds; what comes before
// the query's floor is appended to its candidates. No score is written that is no candidate.
//
// Shapes: X [rows, dim] f32, f16 or bf16; Q f32 [count, dim]; see search.cuh.
//
// Tiling: up to 8 queries, one block has 128 rows for all of them, a thread one: the gallery streams once through shared
// memory by asynchronous copies of 16 bytes, 256 neighbouring bytes a row, three stages deep. A row's dim*sizeof(T) bytes are read once for 2*dim*count FLOP: bound by memory up to
// 8 queries of f16. More queries: a block has 128 rows (64 of f16 and bf16) and 64 queries, a thread 8 x 4 (4 x 4): bound by
// shared memory, at two thirds of the f32 units' rate.
#include "search.cuh"

template <class T, int RT, int QT, int Rows, int Queries, int Step>
DEVICE void scan(const SearchArgs &a) {
	typedef ScoreTile<T, RT, QT, Rows, Queries, Step> Tile;
	SHARED(uint8_t, mem);
	const int row0 = a.lo + block_x() * Tile::rows, query0 = block_y() * Tile::queries;
	float score[RT][QT] = {};
	scores<Tile>(a, row0, query0, mem, score);
	const int tr = thread_index() % Rows, tq = thread_index() / Rows;
	UNROLL
	for (int j = 0; j < QT; j++) {
		const int query = query0 + tq + j * Queries;
		const bool there = query < a.count;
		const Key floor = there ? a.floors[query] : 0;
		UNROLL
		for (int i = 0; i < RT; i++) {
			const int row = row0 + tr + i * Rows;
			offer<Rows == 16 ? 16 : 32>(a, query, there && row < a.hi, row, score[i][j], floor);
		}
	}
}

#define SCANS(suffix, T, RT)                                                           \
	KERNEL(search_scan1_##suffix, SearchArgs, 128) { scan<T, 1, 1, 128, 1, 256>(a); }            \
	KERNEL(search_scan4_##suffix, SearchArgs, 128) { scan<T, 1, 4, 128, 1, 256>(a); }            \
	KERNEL_FOR(4, search_scan8_##suffix, SearchArgs, 128) { scan<T, 1, 8, 128, 1, 256>(a); }            \
	KERNEL_FOR(2, search_scanmany_##suffix, SearchArgs, 256) { scan<T, RT, 4, 16, 16, 64>(a); }

SCANS(f32, float, 8)
SCANS(f16, Half, 4)
SCANS(bf16, BHalf, 4)
