//go:build !noasm

package simd

import "golang.org/x/sys/cpu"

// wideTile, pairsTile and quadsTile are the loops for one height of tile.
type (
	wideTile  func(c *float32, ldc int, a *float32, lda int, b *uint32, words int, acc bool, wide, next *float32, step int)
	pairsTile func(c *float32, ldc int, a *uint32, lda int, b *uint32, words int, next *float32, step int)
	quadsTile func(c *float32, ldc int, a *uint32, lda int, b *uint32, words int, aq, bq, next *float32, step int)
)

// gemmWiden is GemmWiden by the tiles of 1, 2, ... rows.
func gemmWiden(tiles []wideTile) func(c []float32, ldc int, a []float32, lda, rows int, b []uint32, words int, acc bool, wide, next []float32) {
	return func(c []float32, ldc int, a []float32, lda, rows int, b []uint32, words int, acc bool, wide, next []float32) {
		ahead, step := spread(&c[0], next, 2*words)
		tiles[rows-1](&c[0], ldc, &a[0], lda, &b[0], words, acc, &wide[0], ahead, step)
	}
}

// gemmPairs is GemmBF16 by the tiles of 1, 2, ... rows.
func gemmPairs(tiles []pairsTile) func(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, _, next []float32) {
	return func(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, _, next []float32) {
		ahead, step := spread(&c[0], next, words)
		tiles[rows-1](&c[0], ldc, &a[0], lda, &b[0], words, ahead, step)
	}
}

// gemmQuads is GemmI8 by the tiles of 1, 2, ... rows.
func gemmQuads(tiles []quadsTile) func(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, aq, bq, _, next []float32) {
	return func(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, aq, bq, _, next []float32) {
		ahead, step := spread(&c[0], next, words)
		tiles[rows-1](&c[0], ldc, &a[0], lda, &b[0], words, &aq[0], &bq[0], ahead, step)
	}
}

var (
	wideAVX512 = []wideTile{gemmWiden1AVX512, gemmWiden2AVX512, gemmWiden3AVX512, gemmWiden4AVX512, gemmWiden5AVX512,
		gemmWiden6AVX512, gemmWiden7AVX512, gemmWiden8AVX512, gemmWiden9AVX512, gemmWiden10AVX512, gemmWiden11AVX512,
		gemmWiden12AVX512, gemmWiden13AVX512}
	wideAVX2 = []wideTile{gemmWiden1AVX2, gemmWiden2AVX2, gemmWiden3AVX2, gemmWiden4AVX2, gemmWiden5AVX2, gemmWiden6AVX2}

	pairsAVX512 = []pairsTile{gemmBF16x1AVX512, gemmBF16x2AVX512, gemmBF16x3AVX512, gemmBF16x4AVX512,
		gemmBF16x5AVX512, gemmBF16x6AVX512, gemmBF16x7AVX512, gemmBF16x8AVX512, gemmBF16x9AVX512,
		gemmBF16x10AVX512, gemmBF16x11AVX512, gemmBF16x12AVX512, gemmBF16x13AVX512}
	quadsAVX512 = []quadsTile{gemmI8x1AVX512, gemmI8x2AVX512, gemmI8x3AVX512, gemmI8x4AVX512, gemmI8x5AVX512, gemmI8x6AVX512,
		gemmI8x7AVX512, gemmI8x8AVX512, gemmI8x9AVX512, gemmI8x10AVX512, gemmI8x11AVX512, gemmI8x12AVX512, gemmI8x13AVX512}
	quadsNativeAVX512 = []quadsTile{gemmI8Native1AVX512, gemmI8Native2AVX512, gemmI8Native3AVX512, gemmI8Native4AVX512,
		gemmI8Native5AVX512, gemmI8Native6AVX512, gemmI8Native7AVX512, gemmI8Native8AVX512, gemmI8Native9AVX512,
		gemmI8Native10AVX512, gemmI8Native11AVX512, gemmI8Native12AVX512, gemmI8Native13AVX512}
	quadsAVX2 = []quadsTile{gemmI8x1AVX2, gemmI8x2AVX2, gemmI8x3AVX2, gemmI8x4AVX2, gemmI8x5AVX2, gemmI8x6AVX2}
)

// words adds to a set what makes and multiplies words.
func (k Kernels) words(wide []wideTile, quads []quadsTile, roundPairs func(dst *uint32, x []float32),
	quantise func(dst *uint32, x []float32) (scale, least float32)) Kernels {
	k.GemmWiden, k.GemmI8 = gemmWiden(wide), gemmQuads(quads)
	k.RoundPairs = func(dst []uint32, x []float32) { roundPairs(&dst[0], x) }
	k.QuantiseU8 = func(dst []uint32, x []float32) (scale, least float32) { return quantise(&dst[0], x) }
	return k
}

func avx2Words() Kernels { return setAVX2.words(wideAVX2, quadsAVX2, roundPairsAVX2, quantiseAVX2) }

// avx512Words takes bytes' products from AVX512_VNNI (Cascade Lake, Zen 4) where the machine has it; sums are the same without.
func avx512Words(vnni bool) Kernels {
	quads := quadsAVX512
	if vnni {
		quads = quadsNativeAVX512
	}
	k := setAVX512.words(wideAVX512, quads, roundPairsAVX512, quantiseAVX512)
	k.FastI8 = vnni
	return k
}

// avx512Sets are AVX-512 without and with VDPBF16PS, the faster one first. AMD's cores and Intel's Cooper Lake do two of
// these for two multiply-adds, which is twice the arithmetic. Intel's since Golden Cove leave bfloat16 to AMX and do one where
// they do four multiply-adds (measured on Emerald Rapids): there it is faster to widen the factors.
func avx512Sets() []Kernels {
	plain := avx512Words(cpu.X86.HasAVX512VNNI)
	if !cpu.X86.HasAVX512BF16 {
		return []Kernels{plain}
	}
	native := plain
	native.Name, native.GemmBF16 = "avx512bf16", gemmPairs(pairsAVX512)
	if hasAMX() {
		return []Kernels{amxSet(plain), plain, native}
	}
	const cooperLake = 0x55
	if _, b, _, _ := cpuid(0, 0); b == 'G'|'e'<<8|'n'<<16|'u'<<24 { // of GenuineIntel
		if a, _, _, _ := cpuid(1, 0); a>>4&15|a>>12&0xf0 != cooperLake {
			return []Kernels{plain, native}
		}
	}
	return []Kernels{native, plain}
}
