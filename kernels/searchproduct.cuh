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
// A Bound says what is kept of the sums: its Terms of every query lie in shared memory, its Rows in registers, which make bounds of sums and, of a
// bound, what the score is certain to reach, as keys have it. later says that what passes is looked at again when all of it is known,
// which takes fewer instructions and more registers.
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
	for (int i = thread_index(); i < queries; i += 256) {
		if (query0 + i < a.s.count) {
			terms[i] = Bound::term(a, query0 + i);
			continue;
		}
		terms[i] = typename Bound::Term();
		terms[i].floor = bits_to_f32(0x7f800000u); // which no row of none reaches
	}
}

// keep appends what the bounds let pass. A warp takes the places of eight queries in every eight of its lanes' at once: lanes that share
// queries count what each has of which, and lane 4g + t asks for places for the g-th query of lanes t. So a warp waits for an atomic operation
// once for 32 queries, however many candidates there are.
template <class Bound, class Args, int RT, int QB, class S>
DEVICE void keep(const Args &a, const typename Bound::Term *terms, int row0, int query0, int wq, const typename Bound::template Rows<RT> &rows, S (&sum)[RT][QB][4]) {
	constexpr int R = 2 * RT, all = 2 * QB, Some = all < 8 ? all : 8; // rows of a thread, its queries, and how many of them at a time
	constexpr uint32_t some_rows = (1u << R) - 1;
	static_assert(Some * R <= 32 && all % Some == 0, "passed is a word");
	const int lane = thread_index() % 32, mine = lane / 4;
	float most[RT][QB][4];
	rows.bound(a, terms + wq + lane % 4 * 2, query0 + wq + lane % 4 * 2, sum, most);
	UNROLL
	for (int first = 0; first < all; first += Some) {
		uint32_t passed = 0; // R bits of each query
		UNROLL
		for (int j = first; j < first + Some; j++) {
			const int q = wq + 8 * (j / 2) + lane % 4 * 2 + j % 2;
			if (!Bound::later && query0 + q >= a.s.count) continue;
			const float floor = terms[q].floor;
			UNROLL
			for (int i = 0; i < R; i++) {
				if (most[i / 2][j / 2][i % 2 * 2 + j % 2] < floor) continue; // a NaN goes on
				const int row = row0 + 8 * i + lane / 4;
				if (!Bound::later && (row >= a.s.hi || skipped(a.s, row))) continue;
				passed |= 1u << ((j - first) * R + i);
			}
		}
		if (!warp_ballot(passed != 0)) continue;
		NO_UNROLL
		for (int b = 0; Bound::later && b < Some * R; b++) {
			if (!(passed >> b & 1)) continue;
			const int j = first + b / R, row = row0 + 8 * (b % R) + lane / 4;
			if (query0 + wq + 8 * (j / 2) + lane % 4 * 2 + j % 2 >= a.s.count || row >= a.s.hi || skipped(a.s, row)) passed &= ~(1u << b);
		}
		if (!warp_ballot(passed != 0)) continue;
		uint32_t counts[2] = {}, before[2] = {}; // bytes by query: of the lanes that share it, and of those in front of this one
		UNROLL
		for (int j = 0; j < Some; j++) counts[j / 4] |= uint32_t(bits_set(passed >> (j * R) & some_rows)) << 8 * (j % 4);
		UNROLL
		for (int d = 4; d < 32; d *= 2) {
			UNROLL
			for (int h = 0; h < (Some + 3) / 4; h++) {
				const uint32_t other = f32_to_bits(shuffle_xor(bits_to_f32(counts[h]), d));
				if (lane & d) before[h] += other;
				counts[h] += other;
			}
		}
		int base = 0;
		const int places = mine < Some ? int((mine < 4 ? counts[0] : counts[1]) >> 8 * (mine % 4) & 255) : 0;
		if (places) base = atomic_add(&a.s.counts[query0 + wq + 8 * ((first + mine) / 2) + lane % 4 * 2 + mine % 2], places);
		UNROLL
		for (int j = first; j < first + Some; j++) {
			const int query = query0 + wq + 8 * (j / 2) + lane % 4 * 2 + j % 2;
			int at = shuffle(base, 4 * (j - first) + lane % 4) + int(before[(j - first) / 4] >> 8 * ((j - first) % 4) & 255);
			UNROLL
			for (int i = 0; i < R; i++) {
				if (!(passed >> ((j - first) * R + i) & 1)) continue;
				const uint32_t least = rows.reached(a, terms[query - query0], i, most[i / 2][j / 2][i % 2 * 2 + j % 2]);
				store(a.s, query, at++, unscored_key(least, a.s.first + row0 + 8 * i + lane / 4));
			}
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
