package simd

import (
	"fmt"
	"testing"
)

// eachSetBenchmark runs f for every set of this machine.
func eachSetBenchmark(b *testing.B, f func(b *testing.B, k *Kernels)) {
	for _, k := range All() {
		b.Run(k.Name, func(b *testing.B) { f(b, k) })
	}
}

// BenchmarkGemm is a product with packed panels at the shapes of ViT-B/32, one thread: rows in blocks of 208 over all panels.
func BenchmarkGemm(b *testing.B) {
	for _, s := range []struct{ m, n, k int }{{1600, 3072, 768}, {1600, 768, 3072}, {50, 3072, 768}, {50, 768, 768}, {4, 768, 768}, {1, 768, 768}} {
		b.Run(fmt.Sprintf("M%dN%dK%d", s.m, s.n, s.k), func(b *testing.B) {
			eachSetBenchmark(b, func(b *testing.B, k *Kernels) {
				x, w, y := random(1, s.m*s.k, 1), random(2, s.n*s.k, 1), make([]float32, s.m*s.n)
				for b.Loop() {
					for i := 0; i < s.m; i += 208 {
						multiply(k, y[i*s.n:], x[i*s.k:], w, min(208, s.m-i), s.n, s.k)
					}
				}
				b.ReportMetric(2*float64(s.m)*float64(s.n)*float64(s.k)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		})
	}
}

// multiply computes y = x*w with rows divided evenly over tiles.
func multiply(k *Kernels, y, x, w []float32, m, n, depth int) {
	tiles := (m + k.MR - 1) / k.MR
	for j := 0; j < n; j += k.NR {
		for t, i := 0, 0; t < tiles; t++ {
			rows := (m - i + tiles - t - 1) / (tiles - t)
			k.Gemm(y[i*n+j:], n, x[i*depth:], depth, rows, w[j*depth:], depth, false, nil)
			i += rows
		}
	}
}

// BenchmarkPack packs 1,024 rows of 512 from the second-level cache.
func BenchmarkPack(b *testing.B) {
	const n, depth = 1024, 512
	eachSetBenchmark(b, func(b *testing.B, k *Kernels) {
		dst, f32, f16 := make([]float32, k.NR*depth), random(1, n*depth, 1), make([]uint16, n*depth)
		for name, pack := range map[string]func(i int){
			"f32":  func(i int) { k.Pack(dst, f32[i*depth:], depth, k.NR, depth) },
			"f16":  func(i int) { k.PackF16(dst, f16[i*depth:], depth, k.NR, depth) },
			"bf16": func(i int) { k.PackBF16(dst, f16[i*depth:], depth, k.NR, depth) },
		} {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					for i := 0; i < n; i += k.NR {
						pack(i)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n*depth), "ns/elem")
			})
		}
	})
}

// BenchmarkVector runs the vector loops over one row in the first-level cache; bytes are those of y.
func BenchmarkVector(b *testing.B) {
	for _, n := range []int{77, 768, 3072} {
		eachSetBenchmark(b, func(b *testing.B, k *Kernels) {
			x, y, gamma, beta := random(1, n, 1), random(2, n, 1), random(3, n, 1), random(4, n, 1)
			for _, c := range []struct {
				name string
				run  func()
			}{
				{"layernorm", func() { k.LayerNorm(y, x, gamma, beta, 1e-5) }},
				{"softmax", func() { copy(y, x); k.Softmax(y, 1) }},
				{"gelu", func() { copy(y, x); k.TileGELU(y, k.NR, n/k.NR, beta, nil, 0) }},
				{"gelutanh", func() { copy(y, x); k.TileGELUTanh(y, k.NR, n/k.NR, beta, nil, 0) }},
				{"quickgelu", func() { copy(y, x); k.TileQuickGELU(y, k.NR, n/k.NR, beta, nil, 0) }},
				{"relu", func() { copy(y, x); k.TileReLU(y, k.NR, n/k.NR, beta, nil, 0) }},
				{"residual", func() { copy(y, x); k.TileBias(y, k.NR, n/k.NR, beta, gamma, k.NR) }},
				{"gelugrad", func() { k.GELUGrad(y, gamma, x) }},
				{"layernormgrad", func() { k.LayerNormGrad(y, gamma, x, beta, 0, 1) }},
				{"dot", func() { k.Dot(x, y) }},
			} {
				b.Run(fmt.Sprintf("%s/n%d", c.name, n), func(b *testing.B) {
					b.SetBytes(int64(4 * n))
					for b.Loop() {
						c.run()
					}
				})
			}
		})
	}
}
