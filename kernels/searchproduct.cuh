// Products of gallery rows and queries by the tensor units, for scans that bound scores (searchbound.cu, searchcodes.cu). Elements are
// of a half type or bytes: m16n8k16 takes 32 bytes of a row, and so does m16n8k32 of bytes, with the same bytes in the same lanes, so that
// copies and fragments are the same for all.
//
// A block has 128 rows and 256 threads. A stage has 128 bytes of each of its rows, as 8 granules of 16.
//
// tile_scan: a block has its rows and its queries, 128 bytes of both are a stage.
//
// resident_scan: the queries stay in shared memory, whole, and a block takes one group of 128 rows after the other; while it finishes one, the
// next one's bytes are on their way. So a row's bytes are all that moves, copies never stop, and what a block has to do before its
// first product and behind its last is done once.
//
// A Bound says what is kept of the sums: its Terms of every query lie in shared memory, its Rows in registers.
#pragma once

#include "search.cuh"

static constexpr int group = 128, step = 128, granules = step / 16; // rows of a block, bytes of a row in a stage

// place is where a stage has granule g of row r; see x_at.
DEVICE int place(int r, int g) { return r * step + (g ^ r % 8) * 16; }

DEVICE void mma(Half, float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { mma_f16(c, a, b0, b1); }
DEVICE void mma(BHalf, float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { mma_bf16(c, a, b0, b1); }
DEVICE void mma(Code, int (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { mma_s8(c, a, b0, b1); }

// SumOf is the type of the tensor units' sums.
template <class T>
struct SumOf {
	typedef float Type;
};
template <>
struct SumOf<Code> {
	typedef int Type;
};

// A warp's part of a block: Across warps share the rows, so many times 16, RT of them each; QB blocks of 8 queries.
template <int Queries>
struct WarpTile {
	static constexpr int across = Queries == 16 ? 8 : 4, RT = 8 / across, QB = Queries / 8 / (8 / across);
};

// fetch starts the copies of step s of N rows from row0 on, of which there are those in front of end.
template <int N>
DEVICE void fetch_step(const uint8_t *x, uint64_t pitch, int row0, int end, int s, uint8_t *mem) {
	const int r = thread_index() / granules, g = thread_index() % granules;
	const uint64_t at = uint64_t(s) * step + g * 16;
	const uint8_t *from = x + uint64_t(row0 + r) * pitch + at;
	const int rows = at < pitch ? end - row0 - r : 0;
	uint8_t *to = mem + place(r, g); // 32 rows on it is the same place in a row
	UNROLL
	for (int i = 0; i < N; i += 256 / granules) {
		if (N < 256 / granules && r >= N) break;
		const bool there = i < rows;
		copy_async(to + i * step, there ? from + i * pitch : x, there ? 16 : 0);
	}
}

// add_step adds the products of a stage: of a warp's rows from wr on in x and its queries from wq on in q.
template <class T, int RT, int QB>
DEVICE void add_step(const uint8_t *x, const uint8_t *q, int wr, int wq, typename SumOf<T>::Type (&sum)[RT][QB][4]) {
	const int lane = thread_index() % 32;
	UNROLL
	for (int k = 0; k < granules / 2; k++) {
		uint32_t f[RT][4];
		UNROLL
		for (int i = 0; i < RT; i++) ldmatrix_x4(f[i], x + place(wr + 16 * i + lane % 16, 2 * k + lane / 16));
		UNROLL
		for (int j = 0; j < QB; j += 2) {
			uint32_t b[4];
			ldmatrix_x4(b, q + place(wq + 8 * j + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
			UNROLL
			for (int i = 0; i < RT; i++) {
				mma(T(), sum[i][j], f[i], b[0], b[1]);
				mma(T(), sum[i][j + 1], f[i], b[2], b[3]);
			}
		}
	}
}

// terms_bytes is the shared memory of so many Terms, which keeps what lies behind it on whole banks.
template <class Bound>
constexpr int terms_bytes(int queries) {
	return (queries * int(sizeof(typename Bound::Term)) + 127) / 128 * 128;
}

// load_terms brings the terms of a block's queries to shared memory; a barrier has to follow.
template <class Bound, class Args>
DEVICE void load_terms(const Args &a, typename Bound::Term *terms, int query0, int queries) {
	for (int i = thread_index(); i < queries; i += 256)
		terms[i] = query0 + i < a.s.count ? Bound::term(a, query0 + i) : typename Bound::Term();
}

// keep appends what the bounds let pass.
template <class Bound, class Args, int RT, int QB, class S>
DEVICE void keep(const Args &a, const typename Bound::Term *terms, int row0, int query0, int wq, const typename Bound::template Rows<RT> &rows, S (&sum)[RT][QB][4]) {
	const int lane = thread_index() % 32;
	float most[RT][QB][4];
	rows.bound(a, terms + wq + lane % 4 * 2, query0 + wq + lane % 4 * 2, sum, most);
	UNROLL
	for (int j = 0; j < 2 * QB; j++) {
		const int q = wq + 8 * (j / 2) + lane % 4 * 2 + j % 2, query = query0 + q;
		if (query >= a.s.count) continue;
		const float floor = terms[q].floor;
		UNROLL
		for (int i = 0; i < 2 * RT; i++) {
			const int row = row0 + 8 * i + lane / 4;
			if (most[i / 2][j / 2][i % 2 * 2 + j % 2] < floor || row >= a.s.hi || skipped(a.s, row)) continue; // a NaN goes on
			append(a.s, query, ~uint32_t(a.s.first + row));
		}
	}
}

// tile_scan: grid x the queries, so that blocks which share rows run at about the same time, y the rows.
template <class T, class Bound, int Queries, int Stages, class Args>
DEVICE void tile_scan(const Args &a, uint64_t across) {
	typedef WarpTile<Queries> W;
	static constexpr int stage = (group + Queries) * step;
	SHARED(uint8_t, memory);
	typename Bound::Term *terms = reinterpret_cast<typename Bound::Term *>(memory);
	uint8_t *mem = memory + terms_bytes<Bound>(Queries);
	const int row0 = a.s.lo + block_y() * group, query0 = block_x() * Queries;
	const int warp = thread_index() / 32, wr = warp % W::across * 16 * W::RT, wq = warp / W::across * 8 * W::QB;
	const int steps = int((a.s.pitch + step - 1) / step);
	typename SumOf<T>::Type sum[W::RT][W::QB][4] = {};
	load_terms<Bound>(a, terms, query0, Queries);
	auto fetch = [&](int s) {
		uint8_t *to = mem + s % Stages * stage;
		fetch_step<group>(a.s.x, a.s.pitch, row0, a.s.hi, s, to);
		fetch_step<Queries>(a.queries, across, query0, a.s.count, s, to + group * step);
	};
	for (int s = 0; s < Stages - 1; s++) {
		if (s < steps) fetch(s);
		copy_commit();
	}
	for (int s = 0; s < steps; s++) {
		copy_wait<Stages - 2>();
		barrier();
		// What is overwritten now was read before the barrier.
		if (s + Stages - 1 < steps) fetch(s + Stages - 1);
		copy_commit();
		const uint8_t *x = mem + s % Stages * stage;
		add_step<T>(x, x + group * step, wr, wq, sum);
	}
	typename Bound::template Rows<W::RT> rows;
	rows.load(a, row0 + wr);
	keep<Bound>(a, terms, row0 + wr, query0, wq, rows, sum);
}

// resident_scan: grid x blocks, each of which takes every so many-th group of rows.
template <class T, class Bound, int Queries, int Stages, class Args>
DEVICE void resident_scan(const Args &a, uint64_t across) {
	typedef WarpTile<Queries> W;
	SHARED(uint8_t, memory);
	typename Bound::Term *terms = reinterpret_cast<typename Bound::Term *>(memory);
	uint8_t *queries = memory + terms_bytes<Bound>(Queries);
	const int warp = thread_index() / 32, wr = warp % W::across * 16 * W::RT, wq = warp / W::across * 8 * W::QB;
	const int steps = int((a.s.pitch + step - 1) / step);
	uint8_t *mem = queries + steps * Queries * step;
	const int stride = a.blocks * group;
	int ahead_row = a.s.lo + block_x() * group, ahead_step = 0, to = 0, from = 0; // what is fetched next, and where stages are filled and read
	auto fetch = [&] {
		if (ahead_row < a.s.hi) {
			fetch_step<group>(a.s.x, a.s.pitch, ahead_row, a.s.hi, ahead_step, mem + to * group * step);
			to = to + 1 == Stages ? 0 : to + 1;
			if (++ahead_step == steps) ahead_step = 0, ahead_row += stride;
		}
		copy_commit();
	};
	load_terms<Bound>(a, terms, 0, Queries);
	for (int s = 0; s < steps; s++) fetch_step<Queries>(a.queries, across, 0, a.s.count, s, queries + s * Queries * step);
	for (int s = 0; s < Stages - 1; s++) fetch();
	for (int row0 = a.s.lo + block_x() * group; row0 < a.s.hi; row0 += stride) {
		typename Bound::template Rows<W::RT> rows;
		rows.load(a, row0 + wr);
		typename SumOf<T>::Type sum[W::RT][W::QB][4] = {};
		for (int s = 0; s < steps; s++) {
			copy_wait<Stages - 2>();
			barrier();
			fetch();
			add_step<T>(mem + from * group * step, queries + s * Queries * step, wr, wq, sum);
			from = from + 1 == Stages ? 0 : from + 1;
		}
		keep<Bound>(a, terms, row0 + wr, 0, wq, rows, sum);
	}
}
