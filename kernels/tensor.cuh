// What kernels on the tensor units share: types, tiles in shared memory, fragments.
#pragma once

#include "operand.cuh"

// Type is BF16 or F16, the type of the factors; sums are f32.
template <int Type>
DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
	if (Type == BF16) mma_bf16(c, a, b0, b1);
	else mma_f16(c, a, b0, b1);
}

template <int Type>
DEVICE uint32_t pack(float x, float y) {
	return Type == BF16 ? pack_bf16(x, y) : pack_f16(x, y);
}

// Chunk is 16 bytes: 8 elements of a row.
struct alignas(16) Chunk {
	uint32_t words[4];
};
static constexpr int chunk_elements = 8;

// swizzle is where chunk c of a tile's row lies in the row, so that the rows of a fragment's 8 x 8 matrix are in different banks: the
// 8 groups of 16 bytes that shared memory gives at once. A row is a multiple of 64 bytes; of two rows to 128 bytes the chunks are
// mixed in fours.
template <int Chunks>
DEVICE int swizzle(int row, int c) {
	return Chunks % 8 == 0 ? c ^ (row & 7) : c ^ (row >> 1 & 3);
}

// tile_at is the address of a chunk of a tile.
template <int Chunks>
DEVICE uint16_t *tile_at(uint16_t *tile, int row, int c) {
	return tile + (row * Chunks + swizzle<Chunks>(row, c)) * chunk_elements;
}

// fragment_a loads A's fragment of rows [row, row+16) and chunks c, c+1 of a tile of rows of A.
template <int Chunks>
DEVICE void fragment_a(uint32_t (&f)[4], uint16_t *tile, int row, int c) {
	const int lane = thread_index() % 32;
	ldmatrix_x4(f, tile_at<Chunks>(tile, row + lane % 16, c + lane / 16));
}

// fragment_b loads B's fragments of two blocks of 8 columns, from a tile whose rows [row, row+16) are columns of B and whose chunks
// c, c+1 are its rows: words 0, 1 are the first block's, 2, 3 the second's.
template <int Chunks>
DEVICE void fragment_b(uint32_t (&f)[4], uint16_t *tile, int row, int c) {
	const int lane = thread_index() % 32;
	ldmatrix_x4(f, tile_at<Chunks>(tile, row + lane / 16 * 8 + lane % 8, c + lane / 8 % 2));
}

// fragment_bt is fragment_b for a tile whose rows [row, row+16) are rows of B and whose chunks c, c+1 are its columns.
template <int Chunks>
DEVICE void fragment_bt(uint32_t (&f)[4], uint16_t *tile, int row, int c) {
	const int lane = thread_index() % 32;
	ldmatrix_x4_trans(f, tile_at<Chunks>(tile, row + lane % 16, c + lane / 16));
}

// valid is the bytes of a chunk of a row of n elements from element j on, none in a row that is not live.
DEVICE int valid(bool live, int j, int n) {
	const int left = live ? 2 * (n - j) : 0;
	return left < 0 ? 0 : left > 16 ? 16 : left;
}

// row_chunk is the address of 8 elements of a row; where nothing is valid, of some memory.
DEVICE const uint16_t *row_chunk(const View &v, long i, long j, int bytes) {
	return static_cast<const uint16_t *>(v.data) + (bytes ? i * v.stride + j : 0);
}
