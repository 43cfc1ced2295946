package cpu

import (
	"fmt"
	"sync"
	"testing"

	"isearle/runtime"
	"isearle/weights/half"
)

const benchRows, benchDim, benchK = 100_000, 512, 50

var benchGallery = sync.OnceValues(func() (runtime.Chunk, []float32) { return clustered(benchRows, benchDim) })

// BenchmarkSearch scans 100,000 rows of 512 with k = 50. GB/s are those of the storage that a scan without a coarse copy
// reads, so that both kinds compare.
func BenchmarkSearch(b *testing.B) {
	f32, values := benchGallery()
	f16 := runtime.Chunk{DType: runtime.F16, Rows: benchRows, Data: alignedBytes(2 * benchRows * benchDim)}
	half.EncodeF16(f16.Data, as[float32](f32.Data))
	exact := f32
	exact.Coarse = nil
	for _, c := range []struct {
		name  string
		chunk runtime.Chunk
	}{{"f32", exact}, {"f16", f16}, {"f32+i8", f32}} {
		for _, nq := range []int{1, 3, 8, 32, 256} {
			b.Run(fmt.Sprintf("%s/batch=%d", c.name, nq), func(b *testing.B) { benchSearch(b, c.chunk, values[:nq*benchDim], nq) })
		}
	}
}

func benchSearch(b *testing.B, c runtime.Chunk, queries []float32, nq int) {
	d, err := Open(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	s, err := d.NewSearch(benchDim)
	if err != nil {
		b.Fatal(err)
	}
	hits, counts := make([]runtime.Hit, nq*benchK), make([]int, nq)
	b.SetBytes(int64(len(c.Data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Begin(queries, nq, benchK); err != nil {
			b.Fatal(err)
		}
		if err := s.Feed(0, c); err != nil {
			b.Fatal(err)
		}
		if err := s.Finish(hits, counts); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(c.Rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(c.Rows)*float64(nq)*float64(b.N)/b.Elapsed().Seconds(), "scores/s")
}
