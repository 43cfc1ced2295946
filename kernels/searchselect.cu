// searchselect: what becomes of a query's candidates (search.cuh).
//
// search_rescore: the exact score of every candidate that a scan by bounds has let pass. Grid: x a query, y parts of its
// candidates. A thread takes a candidate and copies its row to shared memory, 128 bytes at a time, 256 bytes ahead of the chain of
// fused multiply-adds. Bytes: dim*sizeof(T) a candidate; candidates are few. Where the rows are on the host, x are those that
// search_wanted has listed, or a part of the list, and candidates whose rows are elsewhere are left as they are.
//
// search_wanted lists the rows of a slice that any query's candidates are still to be scored with, each once, in whatever order: the list's
// length, then rows of the slice, and for these rows their places in the list. Bytes: 8 a candidate, 4 to 12 for one to be scored.
//
// search_select: the k best of each query's candidates move to the front, in whatever order, and the floor becomes the worst
// of them. A block a query. First come the lowest and the highest score, then, again and again, the range that the k-th largest key must
// lie in is cut into 2,048 parts, keys are counted in each, and the part that it lies in is the next range. Candidates are a tail of scores, which
// spreads over the range: each part has few, so that two counts are the rule, and threads seldom count in the same place, which
// would be one after the other. Keys are distinct, so the set is determined. Bytes: 8 a candidate and pass, of which there are four.
//
// search_narrow: the same while some of the candidates, by the bounds of searchbound.cu, are still to be scored. It takes for their scores
// what these are certain to reach, and so finds a floor that at least k rows reach: what may reach it stays, which is little more than k. The others
// need never be scored. Where more than most stay, it scores them itself and selects.
//
// search_sort: the candidates of each query, at most size of them, best first (bitonic sort in shared memory), the k best to a list of
// their own; 0 behind the last.
#include "search.cuh"

// add_products continues a row's score by 16 bytes of it.
template <class T>
DEVICE float add_products(float score, const Quad &raw, const float *q) {
	UNROLL
	for (int f = 0; f < 4 / int(sizeof(T)); f++) {
		const Four v = widen(T(), raw, f), w = *reinterpret_cast<const Four *>(q + 4 * f);
		UNROLL
		for (int c = 0; c < 4; c++) score = fmaf(w.x[c], v.x[c], score);
	}
	return score;
}

// chain is a row's score.
template <class T>
DEVICE float chain(const uint8_t *x, const float *q, uint64_t pitch) {
	const Quad *row = reinterpret_cast<const Quad *>(x);
	float score = 0;
	NO_UNROLL
	for (int i = 0; i < int(pitch / 16); i++) score = add_products<T>(score, row[i], q + i * (16 / sizeof(T)));
	return score;
}

// chain_ahead is chain with two pieces of 128 bytes on their way while a third is multiplied: registers for them would leave too few threads.
// Each thread has pieces of its own in mem, so that no thread waits for another. Eight threads that read 16 bytes each hit all banks.
static constexpr int rescore_threads = 128, piece = 128, pieces = 3;
template <class T>
DEVICE float chain_ahead(const uint8_t *x, const float *q, uint64_t pitch, uint8_t *mem) {
	constexpr int each = 16 / sizeof(T), granules = piece / 16;
	const int n = int(pitch / 16), steps = (n + granules - 1) / granules, t = thread_index();
	auto place = [&](int s, int g) { return mem + (s % pieces * rescore_threads + t) * piece + (g ^ t % 8) * 16; };
	auto fetch = [&](int s) {
		UNROLL
		for (int g = 0; g < granules; g++) {
			const int i = s * granules + g;
			if (i < n) copy_async(place(s, g), x + uint64_t(i) * 16, 16);
		}
		copy_commit();
	};
	float score = 0;
	for (int s = 0; s < pieces - 1; s++) fetch(s);
	for (int s = 0; s < steps; s++) {
		copy_wait<pieces - 2>();
		fetch(s + pieces - 1);
		UNROLL
		for (int g = 0; g < granules; g++) {
			const int i = s * granules + g;
			if (i < n) score = add_products<T>(score, *reinterpret_cast<const Quad *>(place(s, g)), q + i * each);
		}
	}
	return score;
}

struct RescoreArgs {
	SearchArgs s;
	const int *places; // by row of the slice, of its place in the list; null where x are the chunk's rows
	int lo;            // the slice's first row in the chunk
	int from, to;      // places whose rows are at x
	int parts;         // of a query's candidates
};

// unscored calls f with every candidate of a query that has no score yet and its row of the chunk.
template <class F>
DEVICE void unscored(const SearchArgs &a, int parts, F f) {
	const int query = block_x(), n = a.counts[query] < a.room ? a.counts[query] : a.room;
	Key *keys = a.keys + (long)query * a.room;
	for (int i = block_y() * rescore_threads + thread_index(); i < n; i += parts * rescore_threads)
		if (is_unscored(keys[i])) f(keys[i], row_of(keys[i]) - a.first);
}

// exact_key is the key of a row that has been scored; 0 where a floor is better.
DEVICE Key exact_key(float score, int row, Key floor) {
	const Key k = score == score ? key_of(score, row) : 0;
	return k > floor ? k : 0;
}

template <class T>
DEVICE void rescore(const RescoreArgs &r) {
	SHARED(uint8_t, mem);
	const SearchArgs &a = r.s;
	const int query = block_x();
	const Key floor = a.floors[query];
	unscored(a, r.parts, [&](Key &k, int row) {
		int at = row;
		if (r.places) {
			at = r.places[row - r.lo];
			if (at < r.from || at >= r.to) return;
			at -= r.from;
		}
		const float s = chain_ahead<T>(a.x + uint64_t(at) * a.pitch, a.queries + (long)query * a.depth, a.pitch, mem);
		k = exact_key(s, row + a.first, floor);
	});
}

KERNEL(search_rescore_f32, RescoreArgs, rescore_threads) { rescore<float>(a); }
KERNEL(search_rescore_f16, RescoreArgs, rescore_threads) { rescore<Half>(a); }
KERNEL(search_rescore_bf16, RescoreArgs, rescore_threads) { rescore<BHalf>(a); }

struct WantedArgs {
	SearchArgs s;
	int *marks;  // by row of the slice: how many want it; 0 before
	int *places; // by row of the slice
	int *list;   // its length, 0 before, and then the rows
	int lo;      // the slice's first row in the chunk
	int parts;   // of a query's candidates
};

KERNEL(search_wanted, WantedArgs, rescore_threads) {
	unscored(a.s, a.parts, [&](Key, int row) {
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
	int threads; // of a block: a multiple of 256, of search_sort any
	int size;    // of search_sort: keys that it has shared memory for, a power of two
};

// A block's shared memory in a selection.
static constexpr int bins = 2048, bins_each = 8, most_warps = 32;
struct Selection {
	int histogram[bins];
	int sums[bins / bins_each], groups[16];
	uint32_t lows[most_warps], highs[most_warps];
	int known[most_warps], unscored[most_warps];
	int kept, pad;
};

// Chosen are a query's candidates as a block goes through them.
struct Chosen {
	Key *keys;
	int n, k, threads;
};

// reach finds the last of N counts that reaches need together with those behind it, 0 if none does, and takes those behind it
// from need.
template <int N>
DEVICE int reach(const int *counts, int &need) {
	int c[N], at = N - 1;
	UNROLL
	for (int i = 0; i < N; i++) c[i] = counts[i];
	UNROLL
	for (int i = N - 1; i > 0; i--) {
		if (at != i || c[i] >= need) continue;
		need -= c[i];
		at = i - 1;
	}
	return at;
}

// each calls f with four keys a thread at a time, 0 behind the last, so that their loads are on their way together.
template <class F>
DEVICE void each(const Chosen &c, F f) {
	for (int from = 0; from < c.n; from += 4 * c.threads) {
		Key four[4];
		UNROLL
		for (int u = 0; u < 4; u++) {
			const int i = from + u * c.threads + thread_index();
			four[u] = i < c.n ? c.keys[i] : 0;
		}
		f(four);
	}
}

// spread finds the least and the largest upper half of keys that have one, how many these are, and whether a row is still to be scored.
DEVICE void spread(const Chosen &c, Selection &s, uint32_t &low, uint32_t &high, int &known, bool &unscored) {
	uint32_t lo = ~0u, hi = 0;
	int n = 0;
	bool some = false;
	each(c, [&](const Key(&four)[4]) {
		UNROLL
		for (int u = 0; u < 4; u++) {
			const uint32_t above = uint32_t(four[u] >> 32);
			some |= is_unscored(four[u]);
			if (!above) continue;
			n++;
			lo = above < lo ? above : lo;
			hi = above > hi ? above : hi;
		}
	});
	UNROLL
	for (int d = 16; d > 0; d /= 2) {
		const uint32_t l = f32_to_bits(shuffle_xor(bits_to_f32(lo), d)), h = f32_to_bits(shuffle_xor(bits_to_f32(hi), d));
		lo = l < lo ? l : lo;
		hi = h > hi ? h : hi;
		n += int(f32_to_bits(shuffle_xor(bits_to_f32(uint32_t(n)), d)));
	}
	const bool any = warp_ballot(some) != 0;
	const int t = thread_index(), w = t / 32;
	if (t % 32 == 0) s.lows[w] = lo, s.highs[w] = hi, s.known[w] = n, s.unscored[w] = any;
	barrier();
	low = ~0u, high = 0, known = 0, unscored = false;
	for (int i = 0; i < c.threads / 32; i++) {
		low = s.lows[i] < low ? s.lows[i] : low;
		high = s.highs[i] > high ? s.highs[i] : high;
		known += s.known[i];
		unscored |= s.unscored[i] != 0;
	}
}

// threshold finds a number that exactly the k largest of the keys reach; their upper halves are low to high, and there are k at least.
DEVICE Key threshold(const Chosen &c, Selection &s, uint32_t low, uint32_t high) {
	const int t = thread_index();
	Key base = Key(low) << 32, width = (Key(high - low) << 32) | 0xffffffffu;
	int need = c.k, shift = 32 - 10;
	while (width >> shift >= bins) shift++;
	for (;;) {
		for (int i = t; i < bins; i += c.threads) s.histogram[i] = 0;
		barrier();
		each(c, [&](const Key(&four)[4]) {
			UNROLL
			for (int u = 0; u < 4; u++)
				if (four[u] - base <= width) atomic_increment(&s.histogram[(four[u] - base) >> shift]);
		});
		barrier();
		if (t < bins / bins_each) {
			int sum = 0;
			UNROLL
			for (int i = 0; i < bins_each; i++) sum += s.histogram[bins_each * t + i];
			s.sums[t] = sum;
		}
		barrier();
		if (t < 16) {
			int sum = 0;
			UNROLL
			for (int i = 0; i < 16; i++) sum += s.sums[16 * t + i];
			s.groups[t] = sum;
		}
		barrier();
		const int group = 16 * reach<16>(s.groups, need);
		const int eight = bins_each * (group + reach<16>(s.sums + group, need));
		const int bin = eight + reach<bins_each>(s.histogram + eight, need);
		const int here = s.histogram[bin];
		barrier();
		base += Key(bin) << shift;
		if (here == need || shift == 0) return base;
		width = (Key(1) << shift) - 1;
		shift = shift < 11 ? 0 : shift - 11;
	}
}

// compact moves keys that stay to the front and returns how many they are.
template <class F>
DEVICE int compact(const Chosen &c, Selection &s, F stays) {
	if (thread_index() == 0) s.kept = 0;
	each(c, [&](const Key(&four)[4]) {
		bool stay[4];
		UNROLL
		for (int u = 0; u < 4; u++) stay[u] = four[u] && stays(four[u]);
		barrier(); // places in front of all that are still to be read are free
		UNROLL
		for (int u = 0; u < 4; u++)
			if (stay[u]) c.keys[atomic_increment(&s.kept)] = four[u];
	});
	barrier();
	return s.kept;
}

// best leaves the k best of candidates that are scored, and raises the floor.
DEVICE void best(const Chosen &c, Selection &s, uint32_t low, uint32_t high, int known, Key *floor, int *count) {
	const Key limit = known > c.k ? threshold(c, s, low, high) : 1;
	const int kept = compact(c, s, [&](Key k) { return k >= limit; });
	// The worst of them: a limit is below all of them and above all others, so that a floor that is a key has to be found.
	Key worst = ~Key(0);
	for (int i = thread_index(); i < kept; i += c.threads) worst = c.keys[i] < worst ? c.keys[i] : worst;
	uint32_t above = uint32_t(worst >> 32), below = uint32_t(worst);
	UNROLL
	for (int d = 16; d > 0; d /= 2) {
		const uint32_t a = f32_to_bits(shuffle_xor(bits_to_f32(above), d)), b = f32_to_bits(shuffle_xor(bits_to_f32(below), d));
		if (a < above || (a == above && b < below)) above = a, below = b;
	}
	const int t = thread_index();
	if (t % 32 == 0) s.highs[t / 32] = above, s.lows[t / 32] = below;
	barrier();
	if (t != 0) return;
	for (int i = 1; i < c.threads / 32; i++)
		if (s.highs[i] < above || (s.highs[i] == above && s.lows[i] < below)) above = s.highs[i], below = s.lows[i];
	*count = kept;
	if (kept == c.k) *floor = Key(above) << 32 | below;
}

KERNEL(search_select, SelectArgs, 1024) {
	SHARED(Selection, s);
	const int query = block_x();
	const Chosen c = {a.keys + (long)query * a.room, a.counts[query] < a.room ? a.counts[query] : a.room, a.k, a.threads};
	if (c.n < a.k) return;
	uint32_t low, high;
	int known;
	bool unscored;
	spread(c, *s, low, high, known, unscored);
	best(c, *s, low, high, known, a.floors + query, a.counts + query);
}

struct NarrowArgs {
	SearchArgs s;
	const float *norms; // by row of the chunk
	const float *slack; // by query
	Key *floors;
	float least;
	int k, most, threads;
	int bf16; // what rows are of, which are of f16 otherwise
	int pad;
};

KERNEL(search_narrow, NarrowArgs, 1024) {
	SHARED(Selection, s);
	const int query = block_x();
	Chosen c = {a.s.keys + (long)query * a.s.room, a.s.counts[query] < a.s.room ? a.s.counts[query] : a.s.room, a.k, a.threads};
	Key *floor = a.floors + query, raised = *floor;
	int *count = a.s.counts + query;
	if (c.n < a.k) return;
	uint32_t low, high;
	int known;
	bool unscored;
	spread(c, *s, low, high, known, unscored);
	if (!unscored) return best(c, *s, low, high, known, floor, count);
	if (known >= c.k) {
		const Key limit = threshold(c, *s, low, high);
		const uint32_t above = uint32_t(limit >> 32);
		const float score = score_of(limit), slack = a.slack[query];
		if (Key(above) << 32 > raised) raised = Key(above) << 32;
		c.n = compact(c, *s, [&](Key k) {
			const uint32_t reached = uint32_t(k >> 32);
			if (reached >= above) return true;
			if (!is_unscored(k)) return false;
			return !reached || !(score_of(k) + 2 * fmaf(slack, a.norms[row_of(k) - a.s.first], a.least) < score);
		});
	}
	if (c.n > a.most) {
		for (int i = thread_index(); i < c.n; i += c.threads) {
			const Key k = c.keys[i];
			if (!is_unscored(k)) continue;
			const int row = row_of(k);
			const uint8_t *x = a.s.x + uint64_t(row - a.s.first) * a.s.pitch;
			const float *q = a.s.queries + (long)query * a.s.depth;
			const float score = a.bf16 ? chain<BHalf>(x, q, a.s.pitch) : chain<Half>(x, q, a.s.pitch);
			c.keys[i] = exact_key(score, row, raised);
		}
		barrier();
		spread(c, *s, low, high, known, unscored);
		if (thread_index() == 0) *floor = raised;
		return best(c, *s, low, high, known, floor, count);
	}
	if (thread_index() == 0) *count = c.n, *floor = raised;
}

KERNEL(search_sort, SelectArgs, 1024) {
	SHARED(Key, s);
	const int query = block_x(), n = a.counts[query] < a.size ? a.counts[query] : a.size;
	int size = 1;
	while (size < n) size *= 2;
	for (int i = thread_index(); i < size; i += a.threads) s[i] = i < n ? a.keys[(long)query * a.room + i] : 0;
	barrier();
	for (int width = 2; width <= size; width *= 2) {
		for (int d = width / 2; d > 0; d /= 2) {
			for (int p = thread_index(); p < size / 2; p += a.threads) {
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
	for (int i = thread_index(); i < a.k; i += a.threads) a.out[(long)query * a.k + i] = i < n ? s[i] : 0;
}
