package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"sync"
	"unsafe"

	"isearle/runtime"
	"isearle/search"
	"isearle/weights/half"
)

// SearchOptions say what a search is measured over.
type SearchOptions struct {
	Rows, Dims []int
	// Gallery is a .npy file of unit rows in place of random ones; Rows and Dims are then its own.
	Gallery string
	DTypes  []runtime.DType // of the rows
	TwoPass bool            // with a coarse copy too, where rows are F32
	K       int
}

// Search measures the exact search of galleries in memory.
func (b *Bench) Search(ctx context.Context, o SearchOptions) error {
	if o.Gallery != "" {
		a, err := search.OpenNPY(o.Gallery)
		if err != nil {
			return err
		}
		defer a.Close()
		rows := floats(a.Rows * a.Dim)
		parallel(a.Rows, func(i int) { a.Row(i, rows[i*a.Dim:(i+1)*a.Dim]) })
		return b.gallery(ctx, rows, a.Dim, o)
	}
	for _, dim := range o.Dims {
		for _, n := range o.Rows {
			rows := floats(n * dim)
			const block = 4096 // rows of one generator, so that the values do not depend on the cores
			parallel((n+block-1)/block, func(i int) {
				rng := rand.New(rand.NewPCG(3, uint64(i)))
				for lo := i * block; lo < min(n, (i+1)*block); lo++ {
					fill(rng, rows[lo*dim:(lo+1)*dim])
				}
			})
			if err := b.gallery(ctx, rows, dim, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// gallery measures searches of rows in every type, and with a coarse copy.
func (b *Bench) gallery(ctx context.Context, rows []float32, dim int, o SearchOptions) error {
	for _, dt := range o.DTypes {
		c := runtime.Chunk{DType: dt, Rows: len(rows) / dim, Data: converted(rows, dt), Fixed: true}
		if err := b.chunk(ctx, c, dim, o.K); err != nil {
			return err
		}
	}
	if !o.TwoPass {
		return nil
	}
	c := runtime.Chunk{DType: runtime.F32, Rows: len(rows) / dim, Data: runtime.Float32Bytes(rows), Fixed: true}
	c.Coarse = coarse(rows, dim)
	return b.chunk(ctx, c, dim, o.K)
}

// chunk measures searches of one chunk.
func (b *Bench) chunk(ctx context.Context, c runtime.Chunk, dim, k int) error {
	s, err := b.Device.NewSearch(dim)
	if err != nil {
		return err
	}
	defer s.Close()
	passes := 1
	if c.Coarse != nil {
		passes = 2
	}
	rng := rand.New(rand.NewPCG(4, 4))
	for _, n := range b.batches(1, 32, 256) {
		queries := make([]float32, n*dim)
		for i := range n {
			fill(rng, queries[i*dim:(i+1)*dim])
		}
		hits, counts := make([]runtime.Hit, n*k), make([]int, n)
		t := task{
			name: fmt.Sprintf("Search/rows=%d/dim=%d/dtype=%s/passes=%d/k=%d/batch=%d", c.Rows, dim, c.DType, passes, k, n),
			call: func() error {
				if err := s.Begin(queries, n, k); err != nil {
					return err
				}
				if err := s.Feed(0, c); err != nil {
					return err
				}
				return s.Finish(hits, counts)
			},
			items: float64(n), unit: "queries",
		}
		// How many operations and bytes the second pass takes depends on the values.
		if w := runtime.SearchWork(c, n, dim); passes == 1 {
			t.flop, t.bytes, t.dtype = w.FLOP, w.Bytes, runtime.F32
		}
		if err := b.run(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// fill makes x a random direction.
func fill(rng *rand.Rand, x []float32) {
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	search.Unit(x)
}

// converted is the memory of rows in a type.
func converted(rows []float32, dt runtime.DType) []byte {
	convert := map[runtime.DType]func(float32) uint16{runtime.F16: half.F32ToF16, runtime.BF16: half.F32ToBF16}[dt]
	if convert == nil {
		return runtime.Float32Bytes(rows)
	}
	out := make([]uint16, len(rows))
	const block = 1 << 16
	parallel((len(rows)+block-1)/block, func(i int) {
		for j := i * block; j < min(len(rows), (i+1)*block); j++ {
			out[j] = convert(rows[j])
		}
	})
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(out))), 2*len(out))
}

// coarse is the coarse copy of rows.
func coarse(rows []float32, dim int) *runtime.Coarse {
	n := len(rows) / dim
	c := &runtime.Coarse{Codes: make([]int8, len(rows)), Scale: make([]float32, n), Loss: make([]float32, n), Mean: make([]float32, dim)}
	for i, v := range rows {
		c.Mean[i%dim] += v / float32(n)
	}
	parallel(n, func(i int) {
		c.Scale[i], c.Loss[i] = search.QuantiseRow(c.Codes[i*dim:(i+1)*dim], rows[i*dim:(i+1)*dim], c.Mean)
	})
	return c
}

// parallel calls f for 0 to n-1 on all cores.
func parallel(n int, f func(i int)) {
	cores := goruntime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for c := range cores {
		wg.Go(func() {
			for i := n * c / cores; i < n*(c+1)/cores; i++ {
				f(i)
			}
		})
	}
	wg.Wait()
}
