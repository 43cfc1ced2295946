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

DEVICE int lookup(Table t, int i) { return t ? t[i] : i; }
