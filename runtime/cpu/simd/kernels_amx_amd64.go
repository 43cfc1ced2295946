//go:build !noasm

package simd

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

const (
	amxTile = 16          // rows of a tile, and words of 64 bytes, which are a tile's row
	amxRows = 2 * amxTile // of a product
)

// amxSet is AVX-512 with products of words by AMX (Intel since Sapphire Rapids).
func amxSet(avx512 Kernels) Kernels {
	k := avx512
	k.Name, k.WordRows, k.GemmBF16, k.GemmI8, k.FastI8 = "amx", amxRows, gemmPairsAMX, gemmQuadsAMX, true
	return k
}

func hasAMX() bool {
	x := cpu.X86
	return x.HasAMXTile && x.HasAMXBF16 && x.HasAMXInt8 && x.HasAVX512BF16 && permitTiles()
}

// amxConfig describes the tiles for rows of a product and words of its inner dimension: palette 1, a row's bytes from byte 16 on in 16
// bits, and numbers of rows from byte 48 on. A tile without rows has no bytes either.
func amxConfig(rows, words int) (cfg [64]byte) {
	cfg[0] = 1
	set := func(tile, rows, bytes int) {
		if rows > 0 {
			cfg[16+2*tile], cfg[48+tile] = byte(bytes), byte(rows)
		}
	}
	for i, high := range [2]int{min(rows, amxTile), max(0, rows-amxTile)} {
		set(2*i, high, 4*amxTile)
		set(2*i+1, high, 4*amxTile)
		set(4+i, high, 4*words)
		set(6+i, words, 4*amxTile)
	}
	return cfg
}

// cut is a product's whole steps of 16 words and what is left of them, and how many lines of next each step asks for.
func cut(words int, next []float32) (steps, left int, ahead *float32, lines int) {
	steps, left = words/amxTile, words%amxTile
	if len(next) > 0 && steps > 0 {
		ahead, lines = &next[0], (len(next)/amxTile+steps-1)/steps
	}
	return steps, left, ahead, lines
}

// The products call the assembly by its name: through a variable, what it is given would have to be on the heap.

func gemmPairsAMX(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, next []float32) {
	multiply := func(words, from, steps int, acc bool, ahead *float32, lines int) {
		cfg := amxConfig(rows, words)
		if rows > amxTile {
			tilesBF16x2AMX(&cfg, &c[0], ldc, &a[from], lda, &b[from*amxRows], steps, acc, ahead, lines)
		} else {
			tilesBF16x1AMX(&cfg, &c[0], ldc, &a[from], lda, &b[from*amxRows], steps, acc, ahead, lines)
		}
	}
	steps, left, ahead, lines := cut(words, next)
	if steps > 0 {
		multiply(amxTile, 0, steps, false, ahead, lines)
	}
	if left > 0 {
		multiply(left, words-left, 1, steps > 0, nil, 0)
	}
}

// gemmQuadsAMX has the integers in c until they are scaled.
func gemmQuadsAMX(c []float32, ldc int, a []uint32, lda, rows int, b []uint32, words int, aq, bq, next []float32) {
	sums := (*int32)(unsafe.Pointer(&c[0]))
	multiply := func(words, from, steps int, acc bool, ahead *float32, lines int) {
		cfg := amxConfig(rows, words)
		if rows > amxTile {
			tilesI8x2AMX(&cfg, sums, ldc, &a[from], lda, &b[from*amxRows], steps, acc, ahead, lines)
		} else {
			tilesI8x1AMX(&cfg, sums, ldc, &a[from], lda, &b[from*amxRows], steps, acc, ahead, lines)
		}
	}
	steps, left, ahead, lines := cut(words, next)
	if steps > 0 {
		multiply(amxTile, 0, steps, false, ahead, lines)
	}
	if left > 0 {
		multiply(left, words-left, 1, steps > 0, nil, 0)
	}
	scaleSumsAMX(&c[0], ldc, rows, &aq[0], &bq[0])
}

func peaksAMX(p *Peaks) {
	cfg := amxConfig(amxRows, amxTile)
	counted := func(loop func(*[64]byte, int), products int) func(int) int {
		return func(n int) int {
			if n < 1 {
				return 0
			}
			loop(&cfg, n)
			return n * 4 * amxTile * amxTile * amxTile * products * 2
		}
	}
	p.BF16, p.I8 = counted(peakBF16AMX, 2), counted(peakI8AMX, 4)
}
