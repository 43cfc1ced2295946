// searchselect: what becomes of a query's candidates (search.cuh).
//
// search_rescore: the exact score of every candidate that a scan by bounds has let pass. Grid: x a query, y parts of its
// candidates. A thread takes a candidate and reads its row, 16 bytes at a time, eight loads ahead of the chain of fused
// multiply-adds. Bytes: dim*sizeof(T) a candidate; candidates are few. Where the rows are on the host, x are those that
// search_wanted has listed, or a part of the list, and candidates whose rows are elsewhere are left as they are.
//
// search_wanted lists the rows of a slice that any query's candidates are still to be scored with, each once, in whatever order: the list's
// length, then rows of the slice, and for these rows their places in the list. Bytes: 8 a candidate, 4 to 12 for one to be scored.
//
// search_select: the k best of each query's candidates move to the front, in whatever order, and the floor becomes the worst
// of them. A block a query. The k-th largest key is found digit by digit of 8 bits, from the top, by counting the candidates
// of each digit among those that agree so far (radix selection); at most 8 passes, fewer where a digit's candidates are all
// taken. The digit is found in two steps of 16 counts, which are loaded at once: there are few candidates, and a walk along
// 256 counts would wait for shared memory longer than all the rest takes. Keys are distinct, so the set is determined.
// Bytes: 8 a candidate and pass.
//
// search_sort: the candidates of each query, at most room of them, best first (bitonic sort in shared memory), to a list of
// their own; 0 behind the last.
#include "search.cuh"

template <class T>
DEVICE float chain(const uint8_t *x, const float *q, uint64_t pitch) {
	constexpr int each = 16 / sizeof(T), ahead = 8;
	const Quad *row = reinterpret_cast<const Quad *>(x);
	const int n = int(pitch / 16);
	float score = 0;
	for (int i = 0; i < n; i += ahead) {
		Quad raw[ahead] = {};
		UNROLL
		for (int j = 0; j < ahead; j++)
			if (i + j < n) raw[j] = row[i + j];
		UNROLL
		for (int j = 0; j < ahead; j++) {
			if (i + j >= n) continue;
			UNROLL
			for (int f = 0; f < each / 4; f++) {
				const Four v = widen(T(), raw[j], f);
				const Four w = *reinterpret_cast<const Four *>(q + (i + j) * each + 4 * f);
				UNROLL
				for (int c = 0; c < 4; c++) score = fmaf(w.x[c], v.x[c], score);
			}
		}
	}
	return score;
}

static constexpr int candidate_parts = 4;

struct RescoreArgs {
	SearchArgs s;
	const int *places; // by row of the slice, of its place in the list; null where x are the chunk's rows
	int lo;            // the slice's first row in the chunk
	int from, to;      // places whose rows are at x
	int pad;
};

// unscored calls f with every candidate of a query that has no score yet and its row of the chunk.
template <class F>
DEVICE void unscored(const SearchArgs &a, F f) {
	const int query = block_x(), n = a.counts[query] < a.room ? a.counts[query] : a.room;
	Key *keys = a.keys + (long)query * a.room;
	for (int i = block_y() * 128 + thread_index(); i < n; i += candidate_parts * 128)
		if (!(keys[i] >> 32) && keys[i]) f(keys[i], int(~uint32_t(keys[i])) - a.first);
}

template <class T>
DEVICE void rescore(const RescoreArgs &r) {
	const SearchArgs &a = r.s;
	const int query = block_x();
	const Key floor = a.floors[query];
	unscored(a, [&](Key &k, int row) {
		int at = row;
		if (r.places) {
			at = r.places[row - r.lo];
			if (at < r.from || at >= r.to) return;
			at -= r.from;
		}
		const float s = chain<T>(a.x + uint64_t(at) * a.pitch, a.queries + (long)query * a.depth, a.pitch);
		const Key exact = s == s ? key_of(s, row + a.first) : 0;
		k = exact > floor ? exact : 0;
	});
}

KERNEL(search_rescore_f32, RescoreArgs, 128) { rescore<float>(a); }
KERNEL(search_rescore_f16, RescoreArgs, 128) { rescore<Half>(a); }
KERNEL(search_rescore_bf16, RescoreArgs, 128) { rescore<BHalf>(a); }

struct WantedArgs {
	SearchArgs s;
	int *marks;  // by row of the slice: how many want it; 0 before
	int *places; // by row of the slice
	int *list;   // its length, 0 before, and then the rows
	int lo;      // the slice's first row in the chunk
	int pad;
};

KERNEL(search_wanted, WantedArgs, 128) {
	unscored(a.s, [&](Key, int row) {
		row -= a.lo;
		if (atomic_increment(&a.marks[row])) return;
		const int at = atomic_increment(a.list);
		a.list[1 + at] = row;
		a.places[row] = at;
	});
}

struct SelectArgs {
	Key *keys, *floors;
	int *counts;
	Key *out; // of search_sort, [count, k]
	int room, k;
};

static constexpr int select_threads = 256;

// reach finds the last of 16 counts that reaches need together with those behind it, 0 if none does, and takes those behind it
// from need.
DEVICE int reach(const int *counts, int &need) {
	int c[16], at = 15;
	UNROLL
	for (int i = 0; i < 16; i++) c[i] = counts[i];
	UNROLL
	for (int i = 15; i > 0; i--) {
		if (at != i || c[i] >= need) continue;
		need -= c[i];
		at = i - 1;
	}
	return at;
}

// threshold finds a number that exactly the k largest of n keys reach, more than k of them being there. groups are 16
// counts of shared memory, of 16 digits each.
DEVICE Key threshold(const Key *keys, int n, int k, int *histogram, int *groups) {
	const int t = thread_index();
	Key prefix = 0, mask = 0;
	int need = k;
	for (int shift = 56; shift >= 0; shift -= 8) {
		histogram[t] = 0;
		barrier();
		for (int i = t; i < n; i += select_threads) {
			const Key key = keys[i];
			if ((key & mask) == prefix) atomic_increment(&histogram[key >> shift & 255]);
		}
		barrier();
		if (t < 16) {
			int sum = 0;
			UNROLL
			for (int i = 0; i < 16; i++) sum += histogram[16 * t + i];
			groups[t] = sum;
		}
		barrier();
		const int group = 16 * reach(groups, need);
		const int digit = group + reach(histogram + group, need);
		const int here = histogram[digit];
		barrier();
		prefix |= Key(digit) << shift;
		mask |= Key(255) << shift;
		if (here == need) break;
	}
	return prefix;
}

KERNEL(search_select, SelectArgs, select_threads) {
	SHARED(int, histogram);
	int *kept = histogram + 256;
	Key *least = reinterpret_cast<Key *>(histogram + 260);
	const int query = block_x(), t = thread_index(), n = a.counts[query] < a.room ? a.counts[query] : a.room;
	Key *keys = a.keys + (long)query * a.room;
	if (n < a.k) return;
	Key limit = n > a.k ? threshold(keys, n, a.k, histogram, reinterpret_cast<int *>(least)) : 1;
	if (!limit) limit = 1;
	if (t == 0) *kept = 0;
	Key worst = ~Key(0);
	// A key moves to a place in front of all that are still to be read.
	for (int i = t; i - t < n; i += select_threads) {
		const Key key = i < n ? keys[i] : 0;
		barrier();
		if (key < limit) continue;
		keys[atomic_increment(kept)] = key;
		if (key < worst) worst = key;
	}
	least[t] = worst;
	barrier();
	for (int d = select_threads / 2; d > 0; d /= 2) {
		if (t < d && least[t + d] < least[t]) least[t] = least[t + d];
		barrier();
	}
	if (t != 0) return;
	a.counts[query] = *kept;
	if (*kept == a.k) a.floors[query] = least[0];
}

KERNEL(search_sort, SelectArgs, select_threads) {
	SHARED(Key, s);
	const int query = block_x(), n = a.counts[query] < a.k ? a.counts[query] : a.k;
	int size = 1;
	while (size < n) size *= 2;
	for (int i = thread_index(); i < size; i += select_threads) s[i] = i < n ? a.keys[(long)query * a.room + i] : 0;
	barrier();
	for (int width = 2; width <= size; width *= 2) {
		for (int d = width / 2; d > 0; d /= 2) {
			for (int p = thread_index(); p < size / 2; p += select_threads) {
				const int i = p / d * 2 * d + p % d, j = i + d;
				const Key x = s[i], y = s[j];
				const bool descending = (i & width) == 0;
				if ((x < y) == descending) {
					s[i] = y;
					s[j] = x;
				}
			}
			barrier();
		}
	}
	for (int i = thread_index(); i < a.k; i += select_threads) a.out[(long)query * a.k + i] = i < n ? s[i] : 0;
}
