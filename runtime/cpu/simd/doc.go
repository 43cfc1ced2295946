// Package simd holds the innermost loops of the CPU device: the register tile of the matrix product, the packing of its
// operand, the loops of a search, layer norm, softmax, the activations and their gradients. There is one set of them ([Kernels])
// for AVX-512, one for AVX2 with FMA, one for NEON and a portable one; [Best] chooses at start-up. The set avx512bf16 is that of
// AVX-512 but for products of bfloat16, which it makes by VDPBF16PS, and the set amx but for products of words, which it makes by AMX's
// tiles. The build tag noasm leaves the
// portable one only.
//
// Results are a function of the values and the length of a vector alone: never of alignment, of neighbouring rows or of how
// many rows are computed at once.
//
//   - Each output of Gemm is one chain of multiply-adds over k in increasing order.
//   - Sums over a vector run in fixed lanes: element i belongs to lane i%64 (LayerNorm, Dot, SoftmaxGrad) or i%16 (Softmax,
//     LayerNormGrad), and lanes are added by halves: lane i to lane i+w for w = 32, 16, 8, 4, 2, 1. A tail enters the same lanes with the same polynomials,
//     so a vector padded with elements that add zero has the bits of the unpadded one.
//
// Products of bytes (GemmI8) have the same bits in all sets.
//
// The AVX-512 and AVX2 sets share lanes, polynomials and roundings and give equal bits. The portable set rounds each product
// before it is added (no fused multiply-add), on every architecture. The NEON set is a product of its own, with the same bits,
// beside the portable loops.
//
// exp, and the sigmoid and erf built on it, are minimax polynomials (coefficients.go).
//
// Arguments are slices with the semantics of a loop over the first one named: a slice that is too short panics before anything
// is written, a longer one is used as far as needed. A destination may be the source where that is said, and must not overlap
// it otherwise. A call in assembly cannot be preempted, and so should be kept below some 100,000 elements or 10^7 multiply-adds.
package simd

//go:generate go run -C gen .
