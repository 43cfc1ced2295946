// searchcodes: which rows of a slice may be among the best, by a bound of their scores from a copy of the rows in bytes
// (runtime.Coarse), by products of bytes on the tensor units. Row x is m + c v + e with the gallery's mean m, a scale c, codes v and
// |e| <= L, its loss. A row whose bound does not reach a query's floor is passed by; the others are appended to its candidates, to be
// scored exactly by search_rescore. So hits and scores are those of searchscan.cu, bit for bit, from a half or a quarter of the
// bytes; of rows that lie on the host, those that are candidates are all that is copied.
//
// A query is q = h w + o + d with a step h, bytes w, |w| <= 127 each, and o, which has q's elements in up to four dimensions and is 0 elsewhere:
// those few in which CLIP's features are many times larger than in others would leave no bytes for the rest. The host computes
// |d| <= D, at most |q|. Let n <= 65536 be the dimension, V = 128 sqrt n >= |v|, u = 2^-24, tiny = 2^-149, g = (n+1)u / (1 - (n+1)u), and
// S the exact kernel's chain for q.x. While nothing overflows
//
//	q.x = q.m + c h (w.v) + c (o.v) + c (d.v) + q.e,    |d.v| <= D |v|,    |q.e| <= |q| L                              (1)
//	|S - q.x| <= g |q||x| + 2 n tiny,                   |x| <= |m| + |c||v| + L                                        (2)
//
// w.v is a sum of integers below 2^31, which is exact. From it, with s >= |c||v| (below), the kernel computes
//
//	y = h (w.v), then y + v_j o_j for each j of o;    bound = c y + (s slack + (L reach + base))                       (3)
//
// y is rounded at most six times (w.v to a float, its product, four sums) and all its partial results are below h|w||v| + |o||v| <=
// (2|q| + D)|v|, since h|w| <= |q| + D; so its error is below 6.1u (2|q| + D)|v| + 5 tiny, times |c|. The three sums of (3) round once each,
// results that are at most |base| + L reach, that and s slack, and that and |c||y|: together below
//
//	3.1u (|base| + L reach) + 2.1u s slack + 1.1u s (2|q| + D) + 3 tiny
//
// Of these, and of (1) and (2), with r = 64u and normal = 2^-126, far more than all the tinies:
//
//	S <= bound with    base  = q.m + g|q||m| + r (|q.m| + g|q||m|) + normal
//	                   slack = D + (g + r)(|q| + D) + normal
//	                   reach = |q| (1 + g + r)
//
// as r takes 3.1u of base and of L|q|, and (6.1 + 1.1)u (2|q| + D) + 2.1u slack <= 17u (|q| + D) of s; s is at least |c| where w.v or o.v is not
// 0, so that s normal outweighs |c| 5 tiny. The host computes them in f64 and rounds upwards. No partial sum of S or of (3) overflows
// while |q| V and |q| (|m| + |c|V + L) are below 2^125, as each is at most 4.2 times that: where the former is not known base is infinite, where
// the latter is not known for every query's |q| the row's L is taken for infinite, and then bounds are infinite or NaN, and the row is
// kept. So is a row whose scale or loss is no number.
//
// search_coderows: what (3) needs of a row: c, s, L and |c|V + L. The codes' squares, exact integers in a lane, are added by floats, of
// a relative error below 7u; 16u and tiny keep s above |c||v|. A warp a row: dim + 24 bytes.
//
// Tiling: searchproduct.cuh. B = dim bytes are a row:
//
//	kernel                operations for B bytes   stages         shared memory
//	search_codes16        2*dim*16                 4 of 16 KiB    64 KiB + 16 B + 384
//	search_codes64        2*dim*64                 3 of 16 KiB    48 KiB + 64 B + 1.3 KiB
//	search_codes          2*dim*128                3 of 32 KiB    96 KiB + 2.5 KiB
//
// An H100 makes 8,500 such operations a cycle and multiprocessor at most, by mma.sync some five eighths of that (arXiv 2402.13499), and its
// memory gives 13 bytes: up to 64 queries are bound by memory. In search_codes a warp has 256 mma for 512 dimensions, and behind
// them 64 sums a thread: an integer's conversion, five multiplications and additions, a comparison, up to four additions for o. Two
// blocks a multiprocessor do the one and the other at the same time.
#include "searchproduct.cuh"

struct alignas(16) CodeRow {
	float scale, size, loss, most; // c, s, L, |c|V + L
};

struct alignas(16) CodeQuery {
	float step, slack, reach, base;
	float apart[4]; // o
};

struct CodesArgs {
	SearchArgs s;           // x are the codes
	const uint8_t *queries; // w, [count, depth]
	const CodeRow *rows;    // by row of the chunk
	const CodeQuery *terms;
	float limit; // of |c|V + L
	int blocks;  // of a resident scan
	int apart;   // how many dimensions o has
	int dims[4]; // and which
	int pad;
};

// CodeBound is (3).
struct CodeBound {
	static constexpr bool later = false;
	struct Term {
		float step, slack, reach, base, floor;
	};
	static Term term(const CodesArgs &a, int query) {
		const CodeQuery q = a.terms[query];
		return {q.step, q.slack, q.reach, q.base, score_of(a.s.floors[query])};
	}

	template <int RT>
	struct Rows {
		float scale[2 * RT], size[2 * RT], loss[2 * RT];
		int row0;

		void load(const CodesArgs &a, int first) {
			row0 = first + thread_index() % 32 / 4;
			UNROLL
			for (int i = 0; i < 2 * RT; i++) {
				CodeRow r = {0, 0, 0, 0};
				if (row0 + 8 * i < a.s.hi) r = a.rows[row0 + 8 * i];
				scale[i] = r.scale, size[i] = r.size;
				loss[i] = r.most < a.limit ? r.loss : bits_to_f32(0x7f800000u);
			}
		}

		template <int QB>
		void bound(const CodesArgs &a, const Term *terms, int query, const int (&sum)[RT][QB][4], float (&most)[RT][QB][4]) const {
			UNROLL
			for (int j = 0; j < 2 * QB; j++) {
				const float step = terms[j / 2 * 8 + j % 2].step;
				UNROLL
				for (int i = 0; i < 2 * RT; i++) {
					const int at = i % 2 * 2 + j % 2;
					most[i / 2][j / 2][at] = step * float(sum[i / 2][j / 2][at]);
				}
			}
			NO_UNROLL
			for (int o = 0; o < a.apart; o++) {
				float v[2 * RT];
				UNROLL
				for (int i = 0; i < 2 * RT; i++)
					v[i] = row0 + 8 * i < a.s.hi ? float(int8_t(a.s.x[uint64_t(row0 + 8 * i) * a.s.pitch + a.dims[o]])) : 0.0f;
				UNROLL
				for (int j = 0; j < 2 * QB; j++) {
					const int n = query + j / 2 * 8 + j % 2;
					const float q = n < a.s.count ? a.terms[n].apart[o] : 0.0f;
					UNROLL
					for (int i = 0; i < 2 * RT; i++) {
						float &y = most[i / 2][j / 2][i % 2 * 2 + j % 2];
						y = fmaf(v[i], q, y);
					}
				}
			}
			UNROLL
			for (int j = 0; j < 2 * QB; j++) {
				const Term &t = terms[j / 2 * 8 + j % 2];
				UNROLL
				for (int i = 0; i < 2 * RT; i++) {
					float &y = most[i / 2][j / 2][i % 2 * 2 + j % 2];
					y = fmaf(scale[i], y, fmaf(size[i], t.slack, fmaf(loss[i], t.reach, t.base)));
				}
			}
		}

		// What codes know of a score is too little for a selection.
		uint32_t reached(const CodesArgs &, const Term &, int, float) const { return 0; }
	};
};

KERNEL_FOR(2, search_codes, CodesArgs, 256) { tile_scan<Code, CodeBound, 128, 3>(a, uint64_t(a.s.depth)); }
KERNEL_FOR(2, search_codes16, CodesArgs, 256) { resident_scan<Code, CodeBound, 16, 4>(a, uint64_t(a.s.depth)); }
KERNEL_FOR(2, search_codes64, CodesArgs, 256) { resident_scan<Code, CodeBound, 64, 3>(a, uint64_t(a.s.depth)); }

struct CodeRowArgs {
	const uint8_t *x;
	const float *scale, *loss;
	CodeRow *rows;
	uint64_t pitch;
	int lo, hi; // rows
	float spread; // V
	int pad;
};

KERNEL(search_coderows, CodeRowArgs, 128) {
	const int row = a.lo + block_x() * 4 + thread_index() / 32;
	if (row >= a.hi) return;
	const Quad *x = reinterpret_cast<const Quad *>(a.x + uint64_t(row) * a.pitch);
	int sum = 0;
	for (int i = thread_index() % 32; i < int(a.pitch / 16); i += 32) {
		const Quad raw = x[i];
		UNROLL
		for (int b = 0; b < 16; b++) {
			const int v = int8_t(raw.x[b / 4] >> 8 * (b % 4));
			sum += v * v;
		}
	}
	const float squares = warp_sum(float(sum));
	if (thread_index() % 32) return;
	const float c = a.scale[row], loss = a.loss[row], size = c < 0 ? -c : c;
	const float root = sqrtf(squares) * (1 + 16 * 0x1p-24f);
	a.rows[row] = {c, fmaf(size, root, 0x1p-149f), loss, fmaf(size, a.spread, loss)};
}
