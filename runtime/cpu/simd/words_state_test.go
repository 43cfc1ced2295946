package simd

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// TestGemmBF16NotFinite checks that a NaN or an infinity in a row, the last word's too, reaches that row's results and no other's.
func TestGemmBF16NotFinite(t *testing.T) {
	eachWordSet(t, func(t *testing.T, k *Kernels) {
		if k.GemmBF16 == nil {
			t.Skip("this set widens")
		}
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
			for _, depth := range []int{1, 15, 16, 33} {
				a, b, c := words(1, k.WordRows*depth, pairOf), words(2, depth*k.NR, pairOf), make([]float32, k.WordRows*k.NR)
				row, work := k.WordRows/2, make([]float32, k.TileWork(k.WordRows))
				a[row*depth+depth-1] = pairOf(bad, 1)
				in, lda := arranged(k, a, k.WordRows, depth, depth)
				k.GemmBF16(c, k.NR, in, lda, k.WordRows, b, depth, work, nil)
				for i, v := range c {
					if finite := v-v == 0; finite == (i/k.NR == row) {
						t.Fatalf("%g in row %d of depth %d: row %d has %g", bad, row, depth, i/k.NR, v)
					}
				}
			}
		}
	})
}

// TestWordsAcrossThreads checks that products keep their bits while goroutines are moved between threads: tiles are state of a thread.
func TestWordsAcrossThreads(t *testing.T) {
	const depth, routines, turns = 77, 8, 2000
	eachWordSet(t, func(t *testing.T, k *Kernels) {
		a, b, aq, bq := words(1, k.WordRows*depth, quadOf), words(2, depth*k.NR, quadOf), random(3, 2*k.WordRows, 1), random(4, 2*k.NR, 1)
		want, work := make([]float32, k.WordRows*k.NR), make([]float32, k.TileWork(k.WordRows))
		in, lda := arranged(k, a, k.WordRows, depth, depth)
		k.GemmI8(want, k.NR, in, lda, k.WordRows, b, depth, aq, bq, work, nil)
		turns := turns
		if k.Name == "generic" {
			turns = 20
		}
		wrong := make([]string, routines)
		var wait sync.WaitGroup
		for r := range routines {
			wait.Go(func() {
				got, work := make([]float32, len(want)), make([]float32, len(work))
				for turn := range turns {
					rows := 1 + (turn+r)%k.WordRows
					k.GemmI8(got, k.NR, in, lda, rows, b, depth, aq, bq, work, nil)
					if !slices.Equal(got[:rows*k.NR], want[:rows*k.NR]) {
						wrong[r] = fmt.Sprintf("turn %d of goroutine %d differs", turn, r)
					}
					if turn%16 == 0 {
						runtime.Gosched()
					}
				}
			})
		}
		for range 10 {
			runtime.GC()
		}
		wait.Wait()
		for _, w := range wrong {
			if w != "" {
				t.Error(w)
			}
		}
	})
}
