// What the kernels of a search share. A search streams slices of a gallery past its queries: a scan appends to a query's
// candidates every row that may be among its k best, a selection shrinks the candidates to the k best and raises the floor
// that the next slice is compared with. Everything stays on the device.
//
// A candidate is a key: one integer whose order is that of hits, above the score mapped to an unsigned number of the same
// order, below the complement of the row. Keys are distinct, so that the k best do not depend on the order of arrival, which
// is left to chance. 0 is nobody. Rows are fewer than 2^31; the highest bit of their complement is 0 in the key of a row that is still to
// be scored, which has above what its score is certain to reach, mapped likewise, or 0 where that is not known.
#pragma once

#include "ptx.cuh"

typedef uint64_t Key;

struct SearchArgs {
	const uint8_t *x;     // the chunk's rows, pitch bytes apart, zero behind the last dimension
	const float *queries; // [count, depth], zero behind the last dimension; depth is a multiple of 64
	const Key *floors;    // [count]: the k-th best key, 0 where there are fewer
	const uint32_t *skip; // bit r%32 of word r/32 says that the chunk's row r is not scanned; null skips none
	Key *keys;            // [count, room]
	int *counts;          // [count]: how many keys there are
	uint64_t pitch;       // a multiple of 16
	int lo, hi;           // the chunk's rows that are scanned
	int first;            // the chunk's row 0 in the gallery
	int count, depth, room;
};

// Four elements, and sixteen bytes, as they are loaded at once.
struct alignas(16) Four {
	float x[4];
};
struct alignas(16) Quad {
	uint32_t x[4];
};

// Element types in memory.
struct Half {
	uint16_t x;
};
struct BHalf {
	uint16_t x;
};
struct Code {
	int8_t x;
};

// widen returns elements 4i to 4i+3 of sixteen bytes; i is a constant once the loop around it is unrolled.
DEVICE Four widen(float, const Quad &q, int) {
	return {{bits_to_f32(q.x[0]), bits_to_f32(q.x[1]), bits_to_f32(q.x[2]), bits_to_f32(q.x[3])}};
}
DEVICE Four widen(Half, const Quad &q, int i) {
	const uint32_t a = q.x[2 * i], b = q.x[2 * i + 1];
	return {{f16_to_f32(uint16_t(a)), f16_to_f32(uint16_t(a >> 16)), f16_to_f32(uint16_t(b)), f16_to_f32(uint16_t(b >> 16))}};
}
DEVICE Four widen(BHalf, const Quad &q, int i) {
	const uint32_t a = q.x[2 * i], b = q.x[2 * i + 1];
	return {{bits_to_f32(a << 16), bits_to_f32(a & 0xffff0000u), bits_to_f32(b << 16), bits_to_f32(b & 0xffff0000u)}};
}
DEVICE Four widen(Code, const Quad &q, int i) {
	// 2^23 + n has n's bits at its end, and conversions of integers are slow.
	const uint32_t a = q.x[i] ^ 0x80808080u, base = 0x4b000000u;
	const float off = 8388608.0f + 128.0f;
	return {{bits_to_f32(base | (a & 255)) - off, bits_to_f32(base | (a >> 8 & 255)) - off, bits_to_f32(base | (a >> 16 & 255)) - off,
	         bits_to_f32(base | a >> 24) - off}};
}

// ordered maps a score that is no NaN to a number of the same order, never 0; both zeros are one.
DEVICE uint32_t ordered(float score) {
	const uint32_t b = f32_to_bits(score + 0.0f);
	return b >> 31 ? ~b : b | 0x80000000u;
}

DEVICE Key key_of(float score, int row) { return Key(ordered(score)) << 32 | ~uint32_t(row); }

// score_of is the score of a floor: what a row must reach to be among the best.
DEVICE float score_of(Key k) {
	const uint32_t o = uint32_t(k >> 32);
	if (!o) return bits_to_f32(0xff800000u);
	return bits_to_f32(o >> 31 ? o & 0x7fffffffu : ~o);
}

// unscored_key is the key of a row that is still to be scored; above is its upper half.
DEVICE Key unscored_key(uint32_t above, int row) { return Key(above) << 32 | (~uint32_t(row) & 0x7fffffffu); }
DEVICE bool is_unscored(Key k) { return k && !(uint32_t(k) >> 31); }
// row_of is the row of a key of either kind.
DEVICE int row_of(Key k) { return int(~uint32_t(k) & 0x7fffffffu); }

DEVICE bool skipped(const SearchArgs &a, int row) { return a.skip && a.skip[row / 32] >> row % 32 & 1; }

// store puts a candidate in its place; the host sees to it that there is room.
DEVICE void store(const SearchArgs &a, int query, int at, Key k) {
	if (at < a.room) a.keys[(long)query * a.room + at] = k;
}

// append adds candidates, one of each lane with add. Same lanes, 16 or 32, have the same query: they take their places together, since
// atomic operations on one number come one after the other. All lanes of the warp must call it.
template <int Same>
DEVICE void append(const SearchArgs &a, int query, bool add, Key k) {
	const uint32_t all = warp_ballot(add);
	if (!all) return;
	const int lane = thread_index() % 32, in = lane % Same;
	const uint32_t mine = Same == 32 ? all : all >> (lane - in) & 0xffffu;
	int at = 0;
	if (in == 0 && mine) at = atomic_add(&a.counts[query], bits_set(mine));
	at = shuffle(at, lane - in);
	if (add) store(a, query, at + bits_set(mine & ((1u << in) - 1)), k);
}

// offer appends the chunk's row with its score where there is one, unless the k best so far are better. A NaN passes no comparison. All lanes
// of the warp must call it, as for append.
template <int Same>
DEVICE void offer(const SearchArgs &a, int query, bool there, int row, float score, Key floor) {
	const bool pass = there && score >= score_of(floor) && !skipped(a, row);
	const Key k = pass ? key_of(score, a.first + row) : 0;
	append<Same>(a, query, pass && k > floor, k);
}

// A tile of scores in threads: thread (tr, tq) of Rows x Queries has RT rows tr + i*Rows and QT queries tq + j*Queries.
// Step bytes of a row are fetched at a time: neighbours of few rows, rather than a little of many, are what memory gives fastest.
template <class Type, int RT, int QT, int Rows, int Queries, int Step>
struct ScoreTile {
	typedef Type T;
	static constexpr int across = Rows, down = Queries, threads = Rows * Queries, rows = RT * Rows, queries = QT * Queries;
	static constexpr int step = Step;             // bytes of a row at a time
	static constexpr int granules = step / 16;
	static constexpr int deep = step / sizeof(T); // elements of a row at a time
	static constexpr int stages = 3, stage = rows * step + queries * deep * 4; // bytes of one
};

// Places in a stage. Eight threads that read 16 bytes each, of one column and eight rows, hit all banks.
template <class Tile>
DEVICE int x_at(int r, int g) {
	return r * Tile::step + (g ^ (Tile::step == 64 ? r / 2 % 4 : r % 8)) * 16;
}
template <class Tile>
DEVICE int q_at(int q, int g) {
	return Tile::rows * Tile::step + q * Tile::deep * 4 + (g ^ q % 4) * 16;
}

// fetch starts the copies of step s.
template <class Tile>
DEVICE void fetch(const SearchArgs &a, int row0, int query0, int s, uint8_t *mem) {
	for (int i = thread_index(); i < Tile::rows * Tile::granules; i += Tile::threads) {
		const int r = i / Tile::granules, g = i % Tile::granules;
		const uint64_t at = uint64_t(s) * Tile::step + g * 16;
		const bool there = row0 + r < a.hi && at < a.pitch;
		copy_async(mem + x_at<Tile>(r, g), a.x + (there ? uint64_t(row0 + r) * a.pitch + at : 0), there ? 16 : 0);
	}
	constexpr int fours = Tile::deep / 4;
	for (int i = thread_index(); i < Tile::queries * fours; i += Tile::threads) {
		const int q = i / fours, g = i % fours;
		const bool there = query0 + q < a.count && s * Tile::deep + g * 4 < a.depth;
		copy_async(mem + q_at<Tile>(q, g), a.queries + (there ? uint64_t(query0 + q) * a.depth + s * Tile::deep + g * 4 : 0), there ? 16 : 0);
	}
}

template <class Tile, int RT, int QT>
DEVICE void multiply(const uint8_t *mem, float (&score)[RT][QT]) {
	constexpr int fours = 4 / sizeof(typename Tile::T); // in 16 bytes
	const int tr = thread_index() % Tile::across, tq = thread_index() / Tile::across;
	for (int g = 0; g < Tile::granules; g++) {
		Quad raw[RT];
		UNROLL
		for (int i = 0; i < RT; i++) raw[i] = *reinterpret_cast<const Quad *>(mem + x_at<Tile>(tr + i * Tile::across, g));
		UNROLL
		for (int f = 0; f < fours; f++) {
			Four x[RT];
			UNROLL
			for (int i = 0; i < RT; i++) x[i] = widen(typename Tile::T(), raw[i], f);
			UNROLL
			for (int j = 0; j < QT; j++) {
				const Four q = *reinterpret_cast<const Four *>(mem + q_at<Tile>(tq + j * Tile::down, g * fours + f));
				UNROLL
				for (int c = 0; c < 4; c++) {
					UNROLL
					for (int i = 0; i < RT; i++) score[i][j] = fmaf(q.x[c], x[i].x[c], score[i][j]);
				}
			}
		}
	}
}

// scores computes one chain of fused multiply-adds for each row and query, dimensions ascending. mem is the block's shared
// memory: Tile::stages * Tile::stage bytes.
template <class Tile, int RT, int QT>
DEVICE void scores(const SearchArgs &a, int row0, int query0, uint8_t *mem, float (&score)[RT][QT]) {
	const int steps = int((a.pitch + Tile::step - 1) / Tile::step);
	for (int s = 0; s < Tile::stages - 1; s++) {
		if (s < steps) fetch<Tile>(a, row0, query0, s, mem + s * Tile::stage);
		copy_commit();
	}
	for (int s = 0; s < steps; s++) {
		copy_wait<Tile::stages - 2>();
		barrier();
		// What is overwritten now was read before the barrier.
		const int next = s + Tile::stages - 1;
		if (next < steps) fetch<Tile>(a, row0, query0, next, mem + next % Tile::stages * Tile::stage);
		copy_commit();
		multiply<Tile>(mem + s % Tile::stages * Tile::stage, score);
	}
}
