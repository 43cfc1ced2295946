// Operands as kernels get them. Package cuda has the same structures: operand.go.
#pragma once

#include "ptx.cuh"

enum { F32 = 1, F16 = 2, BF16 = 3 }; // runtime.DType

// View is a matrix: element (i, j) is number i*stride + j of data, which is null where the operand is absent.
struct View {
	void *data;
	int rows, cols, stride, dtype;
};

// Table is a list of indices, null where absent.
typedef const int *Table;

// Dim is an extent: *live cut to [0, cap], or cap where live is null, times each.
struct Dim {
	const int *live;
	int cap, each;
};

// Norm is a layer normalisation's parameters; gamma is null where there is none.
struct Norm {
	const float *gamma, *beta;
	float eps;
	int pad;
};

DEVICE int extent(const Dim &d) {
	int n = d.cap;
	if (d.live) {
		n = *d.live;
		n = n < 0 ? 0 : n > d.cap ? d.cap : n;
	}
	return n * d.each;
}

DEVICE float load(const View &v, long i, long j) {
	const long at = i * v.stride + j;
	if (v.dtype == F32) return static_cast<const float *>(v.data)[at];
	const uint16_t h = static_cast<const uint16_t *>(v.data)[at];
	return v.dtype == F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

DEVICE void store(const View &v, long i, long j, float x) {
	const long at = i * v.stride + j;
	if (v.dtype == F32) static_cast<float *>(v.data)[at] = x;
	else static_cast<uint16_t *>(v.data)[at] = v.dtype == F16 ? f32_to_f16(x) : f32_to_bf16(x);
}

// Pair is two neighbours of a row, read or written at once.
struct alignas(8) Pair {
	float x, y;
};

DEVICE int lookup(Table t, int i) { return t ? t[i] : i; }

// store2 stores elements (i, j) and (i, j+1): together where pair says that they are aligned and within the matrix.
DEVICE void store2(const View &v, long i, long j, float x, float y, bool pair, bool second) {
	const long at = i * v.stride + j;
	if (!pair || !second) {
		store(v, i, j, x);
		if (second) store(v, i, j + 1, y);
	} else if (v.dtype == F32) {
		*reinterpret_cast<Pair *>(static_cast<float *>(v.data) + at) = {x, y};
	} else {
		*reinterpret_cast<uint32_t *>(static_cast<uint16_t *>(v.data) + at) = v.dtype == F16 ? pack_f16(x, y) : pack_bf16(x, y);
	}
}

// load2 is store2 the other way round.
DEVICE Pair load2(const View &v, long i, long j, bool pair, bool second) {
	const long at = i * v.stride + j;
	if (!pair || !second) return {load(v, i, j), second ? load(v, i, j + 1) : 0.0f};
	if (v.dtype == F32) return *reinterpret_cast<const Pair *>(static_cast<const float *>(v.data) + at);
	const uint32_t w = *reinterpret_cast<const uint32_t *>(static_cast<const uint16_t *>(v.data) + at);
	const uint16_t lo = (uint16_t)w, hi = (uint16_t)(w >> 16);
	return v.dtype == F16 ? Pair{f16_to_f32(lo), f16_to_f32(hi)} : Pair{bf16_to_f32(lo), bf16_to_f32(hi)};
}
