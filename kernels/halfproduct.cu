// halfproduct_*: matrix products of bf16 or f16 factors with f32 sums, on the tensor units.
//
//	C[m, n] = act(sum over k of A[m, k] B[n, k] + bias[n]) + R[m, n]
//
// pre receives the sum with its bias, in front of the activation. R may be C. M is an extent that the device holds.
//
// Shapes: A [M, K], B [N, K] of the kernel's type, rows aligned to 16 bytes; C, R, pre [M, N] f32, f16 or bf16; bias f32 [N].
//
// A sum is a chain of mma.m16n8k16 with k ascending from 0 in steps of 16, whatever the tile, so its bits depend on K and the
// type only. The last step is filled with zeros.
//
// Tiling: a block computes BM x BN of C, a warp WM x WN of it, from slices of 32 along K that a pipeline of cp.async brings to
// shared memory, S - 1 slices ahead. A slice's rows are 64 bytes, swizzled: neither the copies nor ldmatrix meet a bank twice.
//
//	            warps  S  shared  FLOP a byte from L2   ldmatrix bytes a step of a warp / its mma
//	128 x 256     8    4   96 KiB        85                4 KiB / 32
//	128 x 128     4    4   64 KiB        64                4 KiB / 32
//	64  x 64      4    4   32 KiB        32                2 KiB / 8
//	16  x 32      2    8   24 KiB        10.7              1 KiB / 2
//
// FLOP: 2 M N K. Bytes: A once for every BN columns of C and B once for every BM rows, from L2 but for the first; C, R and pre
// once. The small tile is for few rows, where the weights' bytes are the time: it spreads them over as many blocks as it can.
// A block of 64 x 64 a warp needs 16 operations of ldmatrix.x4 for 64 mma: half of shared memory's rate at the tensor units'
// full rate on sm_80, the copies a quarter.
//
// Results leave through shared memory, 16 rows of a warp at a time, so that a loop that is not unrolled over the registers
// applies bias, activation and residual to neighbours, two columns a lane, in whole sectors.
#include "epilogue.cuh"
#include "tensor.cuh"

struct HalfProductArgs {
	View a, b, c, r, pre;
	const float *bias;
	Dim m;
	int k, n, act, together; // so many neighbours of C, R and pre lie aligned from every multiple of it on: 4, 2 or 1
};

static constexpr int slice = 32, slice_chunks = slice / chunk_elements;

// Copies is a thread's part of the copies of a slice of Rows rows: one chunk of each row that is so many after the first. What does not
// change from slice to slice is computed once, since the tensor units leave few instructions between their own.
template <int Rows, int Threads>
struct Copies {
	static constexpr int count = Rows * slice_chunks / Threads, apart = Threads / slice_chunks;
	static_assert(count * Threads == Rows * slice_chunks && apart % 8 == 0, "whole chunks, rows swizzled alike");

	const uint16_t *from; // the first chunk's, in the next slice to send
	long step;            // elements from chunk to chunk
	int left, to;         // elements of the row from there on; the chunk's place in a tile
	uint32_t live;        // bit i: row i is not zeros
};

// copies are those of rows [first, first + Rows) of a matrix of `rows` rows of `depth` elements, from its first slice on.
template <int Rows, int Threads>
DEVICE Copies<Rows, Threads> copies(const View &v, int first, int rows, int depth) {
	using C = Copies<Rows, Threads>;
	const int row = thread_index() / slice_chunks, c = thread_index() % slice_chunks;
	C x;
	x.from = static_cast<const uint16_t *>(v.data) + (long)(first + row) * v.stride + c * chunk_elements;
	x.step = (long)C::apart * v.stride;
	x.left = depth - c * chunk_elements;
	x.to = (row * slice_chunks + swizzle<slice_chunks>(row, c)) * chunk_elements;
	x.live = 0;
	UNROLL
	for (int i = 0; i < C::count; i++) x.live |= (uint32_t)(first + row + i * C::apart < rows) << i;
	return x;
}

// send_slice sends the next slice to a tile.
template <int Rows, int Threads>
DEVICE void send_slice(Copies<Rows, Threads> &x, uint16_t *tile) {
	using C = Copies<Rows, Threads>;
	const int bytes = x.left >= chunk_elements ? 16 : x.left > 0 ? 2 * x.left : 0;
	UNROLL
	for (int i = 0; i < C::count; i++) copy_async(tile + x.to + i * C::apart * slice, x.from + i * x.step, x.live >> i & 1 ? bytes : 0);
	x.from += slice, x.left -= slice;
}

template <int Type, int BM, int BN, int WM, int WN, int Stages>
DEVICE void half_product(const HalfProductArgs &a) {
	static constexpr int across = BN / WN, threads = BM / WM * across * 32, mi = WM / 16, nj = WN / 8;
	SHARED(uint16_t, shared);
	const int m = extent(a.m), m0 = block_y() * BM, n0 = block_x() * BN;
	if (m0 >= m) return;
	const int warp = thread_index() / 32, wm = warp / across * WM, wn = warp % across * WN;
	const int slices = (a.k + slice - 1) / slice;
	const bool busy = m0 + wm < m && n0 + wn < a.n; // a warp whose results nobody wants only copies
	uint16_t *const as = shared, *const bs = shared + Stages * BM * slice;
	auto ca = copies<BM, threads>(a.a, m0, m, a.k);
	auto cb = copies<BN, threads>(a.b, n0, a.n, a.k);
	const auto send = [&](int s) {
		if (s < slices) {
			send_slice(ca, as + s % Stages * BM * slice);
			send_slice(cb, bs + s % Stages * BN * slice);
		}
		copy_commit();
	};
	for (int s = 0; s < Stages - 1; s++) send(s);
	float acc[mi][nj][4] = {};
	for (int s = 0; s < slices; s++) {
		copy_wait<Stages - 2>();
		barrier(); // slice s is there for all, and nobody reads slice s - 1 any more, whose place the next one takes
		send(s + Stages - 1);
		if (!busy) continue;
		uint16_t *const ta = as + s % Stages * BM * slice, *const tb = bs + s % Stages * BN * slice;
		UNROLL
		for (int c = 0; c < slice_chunks; c += 2) {
			uint32_t fa[mi][4], fb[nj / 2][4];
			UNROLL
			for (int i = 0; i < mi; i++) fragment_a<slice_chunks>(fa[i], ta, wm + 16 * i, c);
			UNROLL
			for (int j = 0; j < nj / 2; j++) fragment_b<slice_chunks>(fb[j], tb, wn + 16 * j, c);
			UNROLL
			for (int i = 0; i < mi; i++) {
				UNROLL
				for (int j = 0; j < nj; j++) multiply<Type>(acc[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
			}
		}
	}
	copy_wait<0>();
	barrier();
	if (!busy) return;
	float *const slab = reinterpret_cast<float *>(shared) + warp * slab_floats(WN);
	const End end = end_of<Type, WN>(a);
	UNROLL
	for (int i = 0; i < mi; i++) finish_slab<Type, WN>(a, end, acc[i], slab, m0 + wm + 16 * i, n0 + wn, m);
}

KERNEL(halfproduct_bf16_128x256, HalfProductArgs, 256) { half_product<BF16, 128, 256, 64, 64, 4>(a); }
KERNEL(halfproduct_bf16_128x128, HalfProductArgs, 128) { half_product<BF16, 128, 128, 64, 64, 4>(a); }
KERNEL(halfproduct_bf16_64x64, HalfProductArgs, 128) { half_product<BF16, 64, 64, 32, 32, 4>(a); }
KERNEL(halfproduct_bf16_16x32, HalfProductArgs, 64) { half_product<BF16, 16, 32, 16, 16, 8>(a); }
KERNEL(halfproduct_f16_128x256, HalfProductArgs, 256) { half_product<F16, 128, 256, 64, 64, 4>(a); }
KERNEL(halfproduct_f16_128x128, HalfProductArgs, 128) { half_product<F16, 128, 128, 64, 64, 4>(a); }
KERNEL(halfproduct_f16_64x64, HalfProductArgs, 128) { half_product<F16, 64, 64, 32, 32, 4>(a); }
KERNEL(halfproduct_f16_16x32, HalfProductArgs, 64) { half_product<F16, 16, 32, 16, 16, 8>(a); }
