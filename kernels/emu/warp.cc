// What the lanes of a warp do together: shuffles, products of small matrices, loads of their fragments. Where an element lies is
// written from the PTX ISA's figures for mma.m16n8k16, mma.m16n8k32 and ldmatrix; package cuda's tests have the same layouts
// written again, from the formulas.
#include "worker.h"

#include <cstring>

namespace emu {

// word returns another lane's word.
static uint32_t word(uint32_t v, unsigned from) {
	Worker *w = current;
	if (from >= 32 || from + w->thread / 32 * 32 >= w->run->launch.block) w->fail(false, "shuffle from lane %u, which does not exist", from);
	Exchange &x = w->exchange();
	x.in[w->thread % 32][0] = v;
	w->collective(Shuffle);
	return x.in[from][0];
}

float shuffle_xor(float v, int mask) { return bits_to_f32(word(f32_to_bits(v), current->thread % 32 ^ unsigned(mask))); }

int shuffle(int v, int lane) { return int(word(uint32_t(v), unsigned(lane))); }

uint32_t ballot(bool p) {
	Worker *w = current;
	Exchange &x = w->exchange();
	x.in[w->thread % 32][0] = p;
	w->collective(Shuffle);
	uint32_t all = 0;
	for (unsigned lane = 0; lane < 32 && lane + w->thread / 32 * 32 < w->run->launch.block; lane++) all |= x.in[lane][0] << lane;
	return all;
}

// give hands a lane's pieces of a product over and returns its piece of the result.
template <class T>
static T multiply(const Words &a, uint64_t b, const T &c, void (*finish)(Exchange &)) {
	Worker *w = current;
	unsigned lane = w->thread % 32;
	Exchange &x = w->exchange();
	memcpy(x.in[lane], &a, 16);
	memcpy(x.in[lane] + 4, &b, 8);
	memcpy(x.in[lane] + 6, &c, 16);
	w->collective(MMA, finish);
	T d;
	memcpy(&d, x.out[lane], 16);
	return d;
}

// product16 multiplies A [16, 16] by B [16, 8]: lane 4g + t holds, of A's four words, rows g and g + 8 at columns 2t, then both
// rows at columns 2t + 8; of B column g at rows 2t and 2t + 8; of C rows g and g + 8 at columns 2t and 2t + 1.
template <float (*convert)(uint16_t)>
static void product16(Exchange &x) {
	float a[16][16], b[16][8], c[16][8];
	for (int lane = 0; lane < 32; lane++) {
		const int g = lane / 4, t = lane % 4;
		for (int i = 0; i < 4; i++) {
			const uint32_t word = x.in[lane][i];
			float *at = &a[g + i % 2 * 8][2 * t + i / 2 * 8];
			at[0] = convert(uint16_t(word)), at[1] = convert(uint16_t(word >> 16));
			c[g + i / 2 * 8][2 * t + i % 2] = bits_to_f32(x.in[lane][6 + i]);
		}
		for (int i = 0; i < 2; i++) {
			const uint32_t word = x.in[lane][4 + i];
			b[2 * t + 8 * i][g] = convert(uint16_t(word)), b[2 * t + 8 * i + 1][g] = convert(uint16_t(word >> 16));
		}
	}
	for (int i = 0; i < 16; i++)
		for (int k = 0; k < 16; k++)
			for (int j = 0; j < 8; j++) c[i][j] += a[i][k] * b[k][j];
	for (int lane = 0; lane < 32; lane++)
		for (int i = 0; i < 4; i++) memcpy(&x.out[lane][i], &c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2], 4);
}

// product8 multiplies A [16, 32] by B [32, 8] of bytes: as product16 with columns of A and rows of B in fours.
static void product8(Exchange &x) {
	int a[16][32], b[32][8], c[16][8];
	for (int lane = 0; lane < 32; lane++) {
		const int g = lane / 4, t = lane % 4;
		for (int i = 0; i < 4; i++) {
			for (int e = 0; e < 4; e++) a[g + i % 2 * 8][4 * t + i / 2 * 16 + e] = int8_t(x.in[lane][i] >> 8 * e);
			memcpy(&c[g + i / 2 * 8][2 * t + i % 2], &x.in[lane][6 + i], 4);
		}
		for (int i = 0; i < 2; i++)
			for (int e = 0; e < 4; e++) b[4 * t + 16 * i + e][g] = int8_t(x.in[lane][4 + i] >> 8 * e);
	}
	for (int i = 0; i < 16; i++)
		for (int k = 0; k < 32; k++)
			for (int j = 0; j < 8; j++) c[i][j] += a[i][k] * b[k][j];
	for (int lane = 0; lane < 32; lane++)
		for (int i = 0; i < 4; i++) memcpy(&x.out[lane][i], &c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2], 4);
}

static float from_bf16(uint16_t h) { return bits_to_f32(uint32_t(h) << 16); }

Floats mma_f16(Words a, uint64_t b, Floats c) { return multiply(a, b, c, product16<f16_to_f32>); }
Floats mma_bf16(Words a, uint64_t b, Floats c) { return multiply(a, b, c, product16<from_bf16>); }
Ints mma_s8(Words a, uint64_t b, Ints c) { return multiply(a, b, c, product8); }

static std::atomic<uint64_t> bank_conflicts{0};

uint64_t conflicts() { return bank_conflicts.load(std::memory_order_relaxed); }

// Shared memory gives 8 rows of 16 bytes at once if they are in different eighths of its 128 bytes of banks.
template <int Count>
static void count_conflicts(Exchange &x) {
	for (int m = 0; m < Count; m++) {
		unsigned banks = 0;
		for (int r = 0; r < 8; r++) banks |= 1u << (uintptr_t(x.rows[8 * m + r]) / 16 % 8);
		if (banks != 0xff) bank_conflicts.fetch_add(1, std::memory_order_relaxed);
	}
}

// Lane 8m + r names row r of matrix m; lane l gets elements 2(l%4) and 2(l%4) + 1 of row l/4 of every matrix, transposed of column
// l/4. Each lane is watched as the reader of what it gets, since the load orders no memory among the lanes.
Words ldmatrix(const void *row, int count, bool transposed) {
	Worker *w = current;
	const int lane = int(w->thread % 32);
	Exchange &x = w->exchange();
	x.rows[lane] = row;
	if (lane < 8 * count && uintptr_t(row) % 16) w->fail(true, "load of a matrix's row at %#zx, which is no multiple of 16", size_t(row));
	w->collective(LoadMatrix, count == 4 ? count_conflicts<4> : count == 2 ? count_conflicts<2> : count_conflicts<1>);
	Words out{};
	for (int m = 0; m < count; m++) {
		for (int e = 0; e < 2; e++) {
			const int i = transposed ? lane % 4 * 2 + e : lane / 4, j = transposed ? lane / 4 : lane % 4 * 2 + e;
			const uint8_t *p = static_cast<const uint8_t *>(x.rows[8 * m + i]) + 2 * j;
			if (!w->shared->holds(uintptr_t(p), 2)) w->fail(true, "load of a matrix outside shared memory");
			w->access(uintptr_t(p), 2, false);
			uint16_t h;
			memcpy(&h, p, 2);
			out.x[m] |= uint32_t(h) << 16 * e;
		}
	}
	return out;
}

void copy_async(void *to, const void *from, int n) {
	Worker *w = current;
	if (uintptr_t(to) % 16 || (n && uintptr_t(from) % 16) || n < 0 || n > 16)
		w->fail(true, "asynchronous copy of %d bytes from %#zx to %#zx", n, size_t(from), size_t(to));
	if (n) w->access(uintptr_t(from), size_t(n), false);
	Fiber &f = w->fibers[w->thread];
	Copy c{static_cast<uint8_t *>(to), f.group, {}};
	memcpy(c.data, from, size_t(n));
	w->sent(c.to, sizeof c.data);
	f.copies.push_back(c);
}

void copy_commit() { current->fibers[current->thread].group++; }

// Copies arrive at the last moment that the program allows, in the order they were sent.
void copy_wait(int pending) {
	Worker *w = current;
	Fiber &f = w->fibers[w->thread];
	size_t n = 0;
	for (; n < f.copies.size() && f.copies[n].group + unsigned(pending) < f.group; n++) {
		const Copy &c = f.copies[n];
		w->access(uintptr_t(c.to), sizeof c.data, true);
		memcpy(c.to, c.data, sizeof c.data);
	}
	f.copies.erase(f.copies.begin(), f.copies.begin() + long(n));
}

} // namespace emu
