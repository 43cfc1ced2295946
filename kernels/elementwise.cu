// multiply, gathersum, adamw and random: what is computed element by element.
//
//	multiply:   Out = X * Y
//	gathersum:  Dst[j] = sum over t from starts[j] to starts[j+1]-1, ascending, of Src[list[t]]
//	adamw:      runtime.AdamW, in its order of operations
//	random:     runtime.Random: Philox4x32-10 by row key, counter and seed; normals by Box and Muller, or a dropout mask
//
// Shapes: [M, n] throughout, f32 but for gathersum's Src. A warp a row, each element read and written once.
#include "operand.cuh"

struct MultiplyArgs {
	View x, y, out;
	Dim m;
};

KERNEL(multiply, MultiplyArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32;
	if (row >= extent(a.m)) return;
	for (int j = thread_index() % 32; j < a.out.cols; j += 32) store(a.out, row, j, load(a.x, row, j) * load(a.y, row, j));
}

struct GatherSumArgs {
	View src, dst;
	Table starts, list;
	Dim m;
};

KERNEL(gathersum, GatherSumArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32;
	if (row >= extent(a.m)) return;
	for (int j = thread_index() % 32; j < a.dst.cols; j += 32) {
		float s = 0.0f;
		for (int t = a.starts[row]; t < a.starts[row + 1]; t++) s += load(a.src, a.list[t], j);
		store(a.dst, row, j, s);
	}
}

struct AdamWArgs {
	View p, g, m, v, ema;
	const float *decay, *beta1, *rest1, *beta2, *rest2, *step, *scale, *eps, *keep, *rest;
	Dim rows;
};

KERNEL(adamw, AdamWArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32;
	if (row >= extent(a.rows)) return;
	for (int j = thread_index() % 32; j < a.p.cols; j += 32) {
		const float g = load(a.g, row, j);
		const float m = *a.beta1 * load(a.m, row, j) + *a.rest1 * g, v = *a.beta2 * load(a.v, row, j) + *a.rest2 * g * g;
		const float p = load(a.p, row, j) * *a.decay - *a.step * (m / (sqrtf(v) / *a.scale + *a.eps));
		store(a.p, row, j, p);
		store(a.m, row, j, m);
		store(a.v, row, j, v);
		if (a.ema.data) store(a.ema, row, j, *a.keep * load(a.ema, row, j) + *a.rest * p);
	}
}

struct RandomArgs {
	View out;
	const float *param;
	Table seed, counter, keys;
	Dim m;
	int kind, pad;
};

enum { Normal = 1, Keep = 2 }; // runtime.Distribution

// Section 3.3 of Salmon et al., SC 2011.
DEVICE void philox(uint32_t *c, uint32_t k0, uint32_t k1) {
	for (int i = 0; i < 10; i++) {
		const uint64_t x = (uint64_t)c[0] * 0xD2511F53u, y = (uint64_t)c[2] * 0xCD9E8D57u;
		const uint32_t c1 = c[1], c3 = c[3];
		c[0] = (uint32_t)(y >> 32) ^ c1 ^ k0;
		c[1] = (uint32_t)y;
		c[2] = (uint32_t)(x >> 32) ^ c3 ^ k1;
		c[3] = (uint32_t)x;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
}

// A uniform is (n + 0.5)/2^24, which f32 holds below a half only: above, its distance to one, which it holds, is used.
struct Uniform {
	float v;
	bool from_one;
};

DEVICE Uniform uniform(uint32_t x) {
	const uint32_t n = x >> 8;
	const bool far = n >= 1u << 23;
	return {((float)(far ? (1u << 24) - 1 - n : n) + 0.5f) * (1.0f / 16777216.0f), far};
}

DEVICE float normal(uint32_t x, uint32_t y, bool second) {
	const Uniform u = uniform(x), w = uniform(y);
	const float r = sqrtf(-2.0f * (u.from_one ? log1pf(-u.v) : logf(u.v)));
	if (second) return r * (w.from_one ? -sin_pi(2.0f * w.v) : sin_pi(2.0f * w.v));
	return r * cos_pi(2.0f * w.v);
}

KERNEL(random, RandomArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32;
	if (row >= extent(a.m)) return;
	const float param = *a.param;
	for (int j = thread_index() % 32 * 4; j < a.out.cols; j += 128) {
		uint32_t c[4] = {(uint32_t)a.keys[row], (uint32_t)a.counter[0], (uint32_t)a.counter[1], (uint32_t)j / 4};
		philox(c, (uint32_t)a.seed[0], (uint32_t)a.seed[1]);
		UNROLL
		for (int i = 0; i < 4; i++) {
			if (j + i >= a.out.cols) continue;
			float v;
			if (a.kind == Normal) {
				v = param * normal(c[i & 2], c[(i & 2) + 1], i & 1);
			} else {
				const Uniform u = uniform(c[i]);
				v = (u.from_one ? 1.0f - param >= u.v : u.v >= param) ? 1.0f / (1.0f - param) : 0.0f;
			}
			store(a.out, row, j + i, v);
		}
	}
}
