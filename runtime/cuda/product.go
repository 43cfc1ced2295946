//go:build cuda

package cuda

import (
	"fmt"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// product is C = Act(A B^T + Bias) + R in the type of B; M rows, times Each where that is not 0.
type product struct {
	A, B, C, R, Pre view
	Bias            uint64
	M               runtime.Dim
	Each, K, N      int
	Act             runtime.Activation
	Transposed      bool // B is [K, N]
}

// factors sets B to a weight, or to a matrix in device memory, and returns the type that products with it are made in.
func (c *compiler) factors(p *product, w runtime.Weight, dense runtime.View) runtime.DType {
	if w == nil {
		p.B = c.view(dense)
		return runtime.F32
	}
	x := c.weight(w)
	stride := x.in
	if x.dt != runtime.F32 {
		stride = aligned(x.in)
	}
	p.B = view{uint64(x.ptr), c.i32(x.out), c.i32(x.in), c.i32(stride), int32(x.dt)}
	return x.dt
}

// backFactors is factors for the product with the transposed matrix.
func (c *compiler) backFactors(p *product, w runtime.Weight, dense runtime.View) {
	if c.factors(p, w, dense) == runtime.F32 {
		p.Transposed = true
		return
	}
	x := c.weight(w)
	if x.transposed == 0 {
		c.fail(fmt.Errorf("the weight is not packed for gradients: %w", runtime.ErrPlan))
	}
	p.B = view{uint64(x.transposed), c.i32(x.in), c.i32(x.out), c.i32(aligned(x.out)), int32(x.dt)}
}

// product launches a product.
func (c *compiler) product(p product) {
	p.Each = max(p.Each, 1)
	if dt := runtime.DType(p.B.DType); dt != runtime.F32 {
		c.halfProduct(p, dt)
		return
	}
	a := productArgs{A: p.A, B: p.B, C: p.C, R: p.R, Pre: p.Pre, Bias: p.Bias, M: c.dim(p.M, p.Each), K: fixed(p.K), N: c.i32(p.N), Act: int32(p.Act)}.straight()
	if p.Transposed {
		a.BRow, a.BCol = 1, int64(p.B.Stride)
	}
	c.f32Product(p.work(), a, p.M.Cap*p.Each)
}

type productArgs struct {
	A, B, C, R, Pre        view
	Bias                   uint64
	ARow, ACol, BRow, BCol int64
	M, K                   dim
	N, Act                 int32
}

// The tile of product.cu.
const (
	productTile   = 64
	productShared = 2 * 16 * (productTile + 4) * 4
)

// straight is p for A [M, K] and B [N, K] as they lie.
func (p productArgs) straight() productArgs {
	p.ARow, p.ACol, p.BRow, p.BCol = int64(p.A.Stride), 1, int64(p.B.Stride), 1
	return p
}

// f32Product launches C = A B^T with what p has besides; rows is the largest M.
func (c *compiler) f32Product(w kernelWork, p productArgs, rows int) {
	c.part(w, "product.cu", "product", driver.Config{
		Grid: [3]int{blocks(int(p.N), productTile), blocks(rows, productTile), 1}, Block: 256, Shared: productShared}, p)
}

type halfProductArgs struct {
	A, B, C, R, Pre view
	Bias            uint64
	M               dim
	K, N, Act       int32
	Together        int32
}

// size is what a tile is chosen by.
func (a halfProductArgs) size(rows int, dt runtime.DType) productSize {
	half := a.R.Data == 0 && a.C.DType == int32(dt) && a.Act <= int32(runtime.QuickGELU)
	sum := a.R.Data != 0 && a.R.DType == int32(runtime.F32) && a.C.DType == int32(runtime.F32) && a.Act == int32(runtime.Identity)
	return productSize{rows: rows, cols: int(a.N), depth: int(a.K), residual: a.R.Data != 0,
		plain: (half || sum) && a.Pre.Data == 0 && a.Together == 4 && a.N%256 == 0}
}

// halfTile is a tile of halfproduct.cu or groupproduct.cu.
type halfTile struct {
	m, n, threads, shared int
	pair                  bool // two blocks make it, half of the columns each, and take one tile after the other
	tileTime
}

// tileTime is what the tiles that a multiprocessor makes at once take, in nanoseconds. Nothing depends on it but the choice of tiles.
type tileTime struct {
	resident    int     // tiles at once
	alone, full float64 // for each number of K: of one tile on a multiprocessor, of as many as fit
	end         float64 // for what is not overlapped with other tiles' products: filling the pipeline, results
	residual    float64 // besides, for reading residuals and writing f32
}

// Tiles of halfproduct.cu: stages of slices, whose rows are 64 bytes. Their times are in proportion to what shared memory and the
// second-level cache let through, by the figures in the kernel's file.
var halfTiles = []halfTile{
	{128, 256, 256, 4 * (128 + 256) * 64, false, tileTime{1, 20, 20, 0, 0}}, {128, 128, 128, 4 * (128 + 128) * 64, false, tileTime{1, 10.53, 10.53, 0, 0}},
	{64, 64, 128, 4 * (64 + 64) * 64, false, tileTime{1, 4.2, 4.2, 0, 0}}, {16, 32, 64, 8 * (16 + 32) * 64, false, tileTime{1, 2.1, 2.1, 0, 0}},
}

// Tiles of groupproduct.cu: rows of 128 bytes, aligned to 1024, and two barriers a stage. Times are by BenchmarkTiles on an NVIDIA H200.
var groupTiles = []halfTile{
	groupTile(128, 128, 3, tileTime{2, 5.4, 12.5, 2600, 3500}),
	groupTile(64, 128, 4, tileTime{2, 3.85, 7.3, 4000, 600}),
	groupTile(64, 64, 12, tileTime{1, 2, 2.5, 2600, 700}),
	groupTile(64, 16, 16, tileTime{1, 1.6, 1.9, 2400, 600}),
	{256, 256, 384, 1024 + 4*((256+128)*128+16) + 8*16*40*4, true, tileTime{1, 10.5, 10.5, 3000, 3000}},
}

// pairStart is what a launch of pairs of blocks takes before the first products, in nanoseconds.
const pairStart = 4500

func groupTile(m, n, stages int, t tileTime) halfTile {
	return halfTile{m, n, 2*m + 32, 1024 + stages*((m+n)*128+16), false, t}
}

// productSize is what the choice of a tile depends on.
type productSize struct {
	rows, cols, depth int
	residual          bool
	plain             bool // it ends as HalfEnd or SumEnd of epilogue.cuh, with whole tiles of columns
}

// chooseTile returns the fastest tile. What a product gives does not depend on it.
func chooseTile(tiles []halfTile, p productSize, processors int) halfTile {
	best, least := tiles[0], 0.0
	for _, t := range tiles {
		if t.pair && !p.plain {
			continue
		}
		if time := t.time(p, processors); least == 0 || time < least {
			best, least = t, time
		}
	}
	return best
}

func (t halfTile) time(p productSize, processors int) float64 {
	n := blocks(p.rows, t.m) * blocks(p.cols, t.n)
	waves, slope, start := 1, t.alone, 0.0
	switch {
	case t.pair:
		waves, start = blocks(n, processors/2), pairStart
	case n > processors:
		waves, slope = blocks(n, processors*t.resident), t.full
	}
	time := float64(p.depth)*slope + t.end
	if p.residual {
		time += t.residual
	}
	return float64(waves)*time + start
}

// halfProduct launches a product on the tensor units; a left factor of another type, or whose rows are not aligned, is copied.
func (c *compiler) halfProduct(p product, dt runtime.DType) {
	rows := p.M.Cap * p.Each
	if !p.A.ready(dt) {
		x := c.scratchOf(dt, rows, p.K)
		c.rows(layerNormArgs{X: p.A, Out: x}, p.M, p.Each)
		p.A = x
	}
	a := halfProductArgs{A: p.A, B: p.B, C: p.C, R: p.R, Pre: p.Pre, Bias: p.Bias, M: c.dim(p.M, p.Each), K: c.i32(p.K), N: c.i32(p.N), Act: int32(p.Act)}
	a.Together = min(p.C.together(), p.R.together(), p.Pre.together())
	if c.dev.groups {
		c.groupProduct(p.work(), a, rows, dt)
		return
	}
	t := c.dev.tile(halfTiles, a.size(rows, dt), c.dev.multiprocessors)
	c.part(p.work(), "halfproduct.cu", "halfproduct_"+t.name(dt), t.launch(rows, p.N, c.dev.multiprocessors), a)
}

func (t halfTile) name(dt runtime.DType) string { return fmt.Sprintf("%s_%dx%d", dt, t.m, t.n) }

func (t halfTile) launch(rows, cols, processors int) driver.Config {
	if t.pair {
		return driver.Config{Grid: [3]int{2 * max(1, min(processors/2, blocks(cols, t.n)*blocks(rows, t.m))), 1, 1}, Block: t.threads, Shared: t.shared}
	}
	return driver.Config{Grid: [3]int{blocks(cols, t.n), blocks(rows, t.m), 1}, Block: t.threads, Shared: t.shared}
}

type groupProductArgs struct {
	A, B      driver.TensorMap
	C, R, Pre view
	Bias      uint64
	M         dim
	K, N, Act int32
	Together  int32
	_         [2]uint64 // the size is a multiple of the maps' alignment
}

// groupProduct launches a product by warpgroups. A's map has all rows that may be live.
func (c *compiler) groupProduct(w kernelWork, a halfProductArgs, rows int, dt runtime.DType) {
	t := c.dev.tile(groupTiles, a.size(rows, dt), c.dev.multiprocessors)
	g := groupProductArgs{C: a.C, R: a.R, Pre: a.Pre, Bias: a.Bias, M: a.M, K: a.K, N: a.N, Act: a.Act, Together: a.Together}
	if c.dry || rows == 0 {
		return
	}
	var err error
	boxA, boxB := t.m, t.n
	if t.pair {
		boxA, boxB = t.m/2, t.n/2
	}
	if g.A, err = a.A.tiles(dt, rows, a.K, boxA).Encode(); err == nil {
		g.B, err = a.B.tiles(dt, int(a.N), a.K, boxB).Encode()
	}
	if err != nil {
		c.fail(err)
		return
	}
	cfg := t.launch(rows, int(a.N), c.dev.multiprocessors)
	cfg.Aligned = true
	c.part(w, "groupproduct.cu", "groupproduct_"+t.name(dt), cfg, g)
}

// tiles is a matrix in boxes of so many rows and 128 bytes.
func (v view) tiles(dt runtime.DType, rows int, cols int32, box int) driver.Tiles {
	return driver.Tiles{BFloat16: dt == runtime.BF16, Data: cu.DevicePtr(v.Data), Rows: rows, Cols: int(cols), Stride: 2 * int(v.Stride), BoxRows: box, BoxCols: 64}
}

// together is how many neighbours of a row, from every multiple of it on, can be reached at once: 4, 2 or 1.
func (v view) together() int32 {
	for n := int32(4); n > 1; n /= 2 {
		if v.Data == 0 || v.Stride%n == 0 && v.Data%uint64(int(n)*runtime.DType(v.DType).Size()) == 0 {
			return n
		}
	}
	return 1
}
