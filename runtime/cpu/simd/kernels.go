package simd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
)

// Kernels is the set of inner loops for one instruction set. It has no state: any number of goroutines may use it.
type Kernels struct {
	// Name is "amx" (AVX-512, with products of words by tiles), "avx512", "avx512bf16" (which multiplies bfloat16 by an instruction of its own), "avx2", "neon" or "generic".
	Name string
	// MR is the largest row count of Gemm, NR the width of its panels.
	MR, NR int
	// WordRows is the largest row count of GemmBF16, GemmI8 and GemmPieces: MR, except with tiles.
	WordRows int
	// Tiles says that these take rows of words in tiles: 16 words of 16 rows, one row behind the other, are a tile; the tiles of 16 rows, one
	// behind the other, are lda words a row, a multiple of 16; then come those of the next 16 rows. See TileAt. There are 16 rows, or a
	// multiple of 32 (TallRows); what is in rows that the product does not have is read, but goes nowhere.
	Tiles bool
	// TileWork is the room that GemmBF16 and GemmI8 take for rows beside their results: none, except with tiles.
	TileWork func(rows int) int

	// Gemm computes a tile of a product with a packed panel: for i < rows (1 to MR) and j < NR,
	//
	//	c[i*ldc+j] = (acc ? c[i*ldc+j] : 0) + sum over p < k of a[i*lda+p]*b[p*NR+j]
	//
	// as one chain of multiply-adds in increasing p. next, which may be nil, is what the caller is going to read: it is brought to
	// the second-level cache meanwhile, as much of it as the panel is long.
	Gemm func(c []float32, ldc int, a []float32, lda, rows int, b []float32, k int, acc bool, next []float32)

	// Pack fills a panel, dst[p*NR+i] = src[i*stride+p] for i < rows (0 to NR) and p < k, with zeros for rows <= i < NR.
	Pack func(dst, src []float32, stride, rows, k int)
	// PackF16 is Pack from IEEE half precision.
	PackF16 func(dst []float32, src []uint16, stride, rows, k int)
	// PackBF16 is Pack from bfloat16.
	PackBF16 func(dst []float32, src []uint16, stride, rows, k int)

	// Scores computes the products of rows (1 to ScanRows) with queries (nq, 1 to ScanQueries), without packing:
	//
	//	dst[j*ScanRows+i] = sum over p < k of src[i*stride+p]*q[j*k+p]
	//
	// with the bits of Gemm. k is a multiple of ScanDepth. What dst holds for rows <= i < ScanRows is undefined. Rows i+ScanRows
	// are fetched ahead, whole where rows follow each other without gaps.
	Scores func(dst, src []float32, stride, rows int, q []float32, nq, k int)
	// ScoresF16 is Scores for rows in IEEE half precision.
	ScoresF16 func(dst []float32, src []uint16, stride, rows int, q []float32, nq, k int)
	// ScoresBF16 is Scores for rows in bfloat16.
	ScoresBF16 func(dst []float32, src []uint16, stride, rows int, q []float32, nq, k int)
	// Words hold elements narrower than 32 bits along the inner dimension of a product: 2 of bfloat16 or 4 of 8 bits, the first one
	// lowest. A panel of words is what Pack makes of rows of words, as if they were floats.

	// GemmBF16 computes a tile of a product of bfloat16 words: for i < rows (1 to WordRows) and j < NR,
	//
	//	c[i*ldc+j] = sum over p < words of a[i*lda+p].b[p*NR+j]
	//
	// by VDPBF16PS or TDPBF16PS in increasing p: sums in float32, the second element of a word before the first, and subnormal numbers, factors
	// and sums alike, flushed to zero. It is nil in a set that is faster with GemmWiden and Gemm, whose sums differ from these by
	// some roundings of float32: much less than the rounding of the factors. work has room for TileWork(rows); next is as for Gemm.
	GemmBF16 func(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, work, next []float32)
	// GemmWiden is Gemm with a panel of bfloat16 words, k being 2*words. It leaves the panel's floats in wide, for Gemm with more rows.
	GemmWiden func(c []float32, ldc int, a []float32, lda, rows int, b []uint32, words int, acc bool, wide, next []float32)
	// GemmI8 is GemmBF16 for words of unsigned bytes in a and signed ones in b, whose sums are exact 32-bit integers:
	//
	//	c[i*ldc+j] = aq[2*i]*bq[j]*(sum over p < words of a[i*lda+p].b[p*NR+j]) + aq[2*i+1]*bq[NR+j]
	//
	// so that with a[i] = scale*u + least (aq[2*i], aq[2*i+1]; see QuantiseU8), bq[j] the scale of column j and bq[NR+j] that times the
	// sum of its bytes, it is the product of what the bytes stand for. No operation is fused: all sets give the same bits.
	GemmI8 func(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, aq, bq, work, next []float32)
	// FastI8 says that GemmI8 has instructions of its own, and so takes far less time than Gemm.
	FastI8 bool
	// RoundPairs rounds x to bfloat16 words, ties to even. It writes whole blocks of 8 words, with zeros behind x.
	RoundPairs func(dst []uint32, x []float32)
	// Round rounds x to bfloat16 and leaves it in float32. dst may be x.
	Round func(dst, x []float32)
	// QuantiseU8 makes words of the bytes u = (x-least)/scale, rounded to nearest, where least is the minimum of x and scale 1/255 of
	// its span. A row that is not finite gets a scale that is not. It writes whole
	// blocks of 4 words; what is behind x is undefined.
	QuantiseU8 func(dst []uint32, x []float32) (scale, least float32)

	// Products of floats by pieces. A float of 24 bits is the sum of three of bfloat16, each of which is what those before left, rounded
	// to 8 bits: the second one is at most 2^-8 of the first, the third 2^-8 of the second. Of the nine products of two floats' pieces the
	// six largest are summed; what is left out is at most 2^-24 + 2^-32 of the floats' product, as much as rounding that to a float
	// can be off. (oneMKL's FLOAT_TO_BF16X3 is the same sum.) Both are nil in a set that has nothing faster than Gemm. Numbers of
	// more than 3.39e38 become infinite, and pieces below 2^-126 are zero. Elements go in steps of PieceStep.

	// GemmPieces computes a tile of a product by pieces, rows of a being those of PiecesOfRow and b a panel of floats: for i < rows (1 to
	// WordRows) and j < NR,
	//
	//	c[i*ldc+j] = (acc ? c[i*ldc+j] : 0) + sum over p < k of a[i,p]*b[p*NR+j]
	//
	// lda is in words. work has room for PieceWork(rows); next is as for Gemm. A row's bits do not depend on the number of rows, nor on where
	// a sum is cut, at a multiple of PieceStep.
	GemmPieces func(c []float32, ldc int, a []uint32, lda, rows int, b []float32, k int, acc bool, work, next []float32)
	// PieceWork is the room that GemmPieces takes for rows beside their results.
	PieceWork func(rows int) int
	// PiecesOfRow fills PieceWords words for each PieceStep elements of x or part of them, with zeros behind x: a row in tiles.
	PiecesOfRow func(dst []uint32, x []float32)

	// Gathered computes the products of ScanRows rows anywhere in src, given by their numbers, with one query:
	//
	//	dst[i] = sum over p < k of src[rows[i]*stride+p]*q[p]
	//
	// with the bits of Gemm. k is a multiple of ScanDepth. Rows next are fetched ahead.
	Gathered func(dst, src []float32, stride int, rows, next *[ScanRows]uint32, q []float32, k int)
	// GatheredF16 is Gathered for rows in IEEE half precision.
	GatheredF16 func(dst []float32, src []uint16, stride int, rows, next *[ScanRows]uint32, q []float32, k int)
	// GatheredBF16 is Gathered for rows in bfloat16.
	GatheredBF16 func(dst []float32, src []uint16, stride int, rows, next *[ScanRows]uint32, q []float32, k int)
	// FromF16 converts IEEE half precision: dst[i] = src[i].
	FromF16 func(dst []float32, src []uint16)
	// FromBF16 converts bfloat16.
	FromBF16 func(dst []float32, src []uint16)

	// Reached compares the rows of a tile with floors: bit j of marks[i] says that x[i*NR+j] is not below floors[j].
	Reached func(marks []uint32, x []float32, rows int, floors []float32)
	// Shift makes words of unsigned bytes, codes + 128, and returns the sum of the codes' squares. Their number is a multiple of
	// ScanDepth and below 1<<17.
	Shift func(dst []uint32, codes []int8) (squares int32)
	// Bounds computes upper bounds of the scores of ScanRows rows, of which 8-bit codes are known, for a query in 16 bits:
	//
	//	dst[i] = scale[i]*(Step*(sum over p < k of codes[i*stride+p]*q[p])) + |scale[i]|*Slack + loss[i]*Reach + Base
	//
	// and returns in bit i whether it is not below Floor, or whether |scale[i]|*Size + loss[i] is not below Limit. k is a
	// multiple of ScanDepth. The sum of |codes[i*stride+p]*q[p]| must be below 1<<31: it is exact. A bound rounds at most six
	// times.
	Bounds func(dst []float32, codes []int8, stride int, q []int16, k int, scale, loss []float32, b *BoundOf) uint64

	// LayerNorm writes dst = (x-mean)*rstd*gamma + beta in two passes, with the biased variance and rstd = 1/sqrt(var+eps).
	// dst may be x.
	LayerNorm func(dst, x, gamma, beta []float32, eps float32) (mean, rstd float32)

	// Bias computes y += bias; bias may be nil.
	Bias func(y, bias []float32)

	// Fetch brings a tile of rows of NR columns, ld apart, to the first-level cache.
	Fetch func(p []float32, ld, rows int)

	// The epilogues of a tile compute, for i < rows and j < NR,
	//
	//	y[i*ldy+j] = f(y[i*ldy+j] + bias[j]) + res[i*ldres+j]
	//
	// bias and res may be nil; res may be y. The error of f is bounded by the sum of the two figures stated, the second one
	// relative to f.

	// TileBias has the identity for f.
	TileBias func(y []float32, ldy, rows int, bias, res []float32, ldres int)
	// TileGELU has f(v) = v*(1+erf(v/sqrt 2))/2, to 8e-8 and 1.2e-7.
	TileGELU func(y []float32, ldy, rows int, bias, res []float32, ldres int)
	// TileGELUTanh has f(v) = v*(1+tanh(sqrt(2/pi)*(v+0.044715*v*v*v)))/2, to 1.5e-7 and 1.8e-7.
	TileGELUTanh func(y []float32, ldy, rows int, bias, res []float32, ldres int)
	// TileQuickGELU has f(v) = v*sigmoid(1.702*v), to 1.5e-7 and 1.8e-7.
	TileQuickGELU func(y []float32, ldy, rows int, bias, res []float32, ldres int)
	// TileReLU has f(v) = max(v, 0); NaN stays NaN.
	TileReLU func(y []float32, ldy, rows int, bias, res []float32, ldres int)

	// Softmax computes x[i] = exp(scale*(x[i]-max))/sum and returns the maximum of x and the sum of the exponentials, so that
	// scale*max + log(sum) is the logarithm of the sum of exp(scale*x). scale is positive. Exponentials are good to 1.2 units
	// in the last place; below exp(-87.33), where float32 becomes subnormal, they are zero.
	Softmax func(x []float32, scale float32) (max, sum float32)

	// GELUGrad computes dst[i] = dy[i]*d/dv gelu(v) at v = pre[i]. dst may be dy. So do GELUTanhGrad and QuickGELUGrad for
	// their activations. The derivatives are good to 4e-7.
	GELUGrad, GELUTanhGrad, QuickGELUGrad func(dst, dy, pre []float32)
	// LayerNormGrad adds to dx the gradient by x of layer norm with weight gamma, applied to dy, given the mean and rstd of x:
	// with g = dy*gamma and h = (x-mean)*rstd, dx += rstd*(g - average(g) - h*average(g*h)).
	LayerNormGrad func(dx, dy, x, gamma []float32, mean, rstd float32)
	// SoftmaxGrad computes dp[i] = scale*p[i]*(dp[i] - sum over j of p[j]*dp[j]) for p, the result of Softmax.
	SoftmaxGrad func(dp, p []float32, scale float32)

	// Dot returns the sum of x[i]*y[i].
	Dot func(x, y []float32) float32
}

// Three pieces of PieceStep elements are PieceWords words.
const (
	PieceStep  = 32
	PieceWords = 3 * PieceStep / 2
)

// TileRows is the number of rows of a tile, and of its words.
const TileRows = 16

// TallRows is the number of rows in tiles that a product of rows reads.
func TallRows(rows int) int {
	if rows <= TileRows {
		return TileRows
	}
	return (rows + 2*TileRows - 1) / (2 * TileRows) * (2 * TileRows)
}

// TileAt is the place of word w, a multiple of 16, of row i among rows of lda words in tiles.
func TileAt(i, w, lda int) int { return i/TileRows*TileRows*lda + (w+i%TileRows)*TileRows }

// Scatter copies a row to rows in tiles, from its first word on: 16 words to each tile.
func Scatter(dst, row []uint32) {
	for len(row) > TileRows {
		copy(dst[:TileRows], row)
		dst, row = dst[TileRows*TileRows:], row[TileRows:]
	}
	copy(dst, row)
}

// PieceSteps is the number of steps that n elements take.
func PieceSteps(n int) int { return (n + PieceStep - 1) / PieceStep }

// EnvCPU names the environment variable that overrides the choice of Best and of Select("").
const EnvCPU = "ISEARLE_CPU"

// ErrUnsupported is the error of Select for a set of kernels that this machine or this build cannot run.
var ErrUnsupported = errors.New("not supported by this machine or build")

// sets lists what this machine runs, the fastest first.
var sets = sync.OnceValue(func() []*Kernels {
	var all []*Kernels
	for _, raw := range machineSets() {
		all = append(all, checked(raw))
	}
	return append(all, checked(generic))
})

// All returns every set this machine can run, the fastest first.
func All() []*Kernels { return append([]*Kernels(nil), sets()...) }

// Best returns the set that ISEARLE_CPU names, or the fastest this machine has when that is empty or names none. A program
// calls Select("") once to tell its user of a name that is wrong.
func Best() *Kernels {
	if k, err := Select(""); err == nil {
		return k
	}
	return sets()[0]
}

// Select returns the set called name: amx, avx512, avx512bf16, avx2, neon or generic. The empty name is the value of ISEARLE_CPU, or
// the fastest set when that is empty too. An unknown name is an error, and so is a set this machine or build has not (ErrUnsupported).
func Select(name string) (*Kernels, error) {
	from := ""
	if name == "" {
		name, from = os.Getenv(EnvCPU), EnvCPU+"="
	}
	if name == "" {
		return sets()[0], nil
	}
	var have []string
	for _, k := range sets() {
		if k.Name == name {
			return k, nil
		}
		have = append(have, k.Name)
	}
	switch name {
	case "amx", "avx512", "avx512bf16", "avx2", "neon":
		return nil, fmt.Errorf("simd: kernels %s%s: %w (there are %s)", from, name, ErrUnsupported, strings.Join(have, ", "))
	}
	return nil, fmt.Errorf("simd: kernels %s%q: no such set (there are %s)", from, name, strings.Join(have, ", "))
}
