//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
	"isearle/weights/half"
)

// withTile gives products of a half type one tile.
func withTile(t halfTile) func(tiles []halfTile, p productSize, processors int) halfTile {
	return func([]halfTile, productSize, int) halfTile { return t }
}

// The trial of warpgroups' products makes the product that it should, and on a device without them says no, at no cost.
func TestTrial(t *testing.T) {
	d := emulated(t, Options{})
	for _, dt := range []runtime.DType{runtime.BF16, runtime.F16} {
		for _, sum := range []bool{false, true} {
			if _, err := d.trial(dt, sum); err != nil { // the kernels are loaded
				t.Fatal(err)
			}
		}
	}
	before := d.free(t)
	if err := d.tryGroups(); err == nil || d.groups || d.lost() {
		t.Errorf("%v, products by warpgroups: %t, lost: %t", err, d.groups, d.lost())
	}
	if _, err := d.trialAttention(runtime.BF16, trialLong); err != nil {
		t.Fatal(err)
	}
	if err := d.tryGroupAttention(); err == nil || d.groupAttention || d.lost() {
		t.Errorf("%v, attention by warpgroups: %t, lost: %t", err, d.groupAttention, d.lost())
	}
	if after := d.free(t); after < before {
		t.Errorf("%d bytes are lost", before-after)
	}
	if x := []float32{1, 2}; differs(x, []float32{1.0005, 2}, 1e-3) != -1 || differs(x, []float32{1, 2.002}, 1e-3) != 1 || differs(x, []float32{1, float32(math.NaN())}, 1) != 1 {
		t.Error("results are compared wrongly")
	}
}

// Whatever the tile, a product has the same bits: those of the chain of products, and close to the sum in float64.
func TestTilesGiveEqualBits(t *testing.T) {
	d := emulated(t, Options{})
	const rows = 133
	before := d.count(t).BankConflicts
	defer func() {
		if n := d.count(t).BankConflicts - before; n != 0 {
			t.Errorf("%d matrices met in shared memory's banks", n)
		}
	}()
	for _, dt := range []runtime.DType{runtime.BF16, runtime.F16} {
		for _, shape := range [][2]int{{260, 80}, {37, 19}, {256, 40}} {
			t.Run(fmt.Sprintf("%s %dx%dx%d", dt, rows, shape[1], shape[0]), func(t *testing.T) {
				n, k := shape[0], shape[1]
				rng := rand.New(rand.NewPCG(5, uint64(n)))
				x, w := halfNumbers(rng, dt, rows*k), halfNumbers(rng, dt, n*k)
				first := d.multiply(t, dt, x, w, rows, n, k, multiplication{halfTiles[0], runtime.F32, false})
				checkProduct(t, first, x, w, rows, n, k, 1e-5)
				for _, tile := range halfTiles {
					for _, how := range []multiplication{{tile, runtime.F32, false}, {tile, runtime.F32, true}, {tile, dt, false}} {
						got := d.multiply(t, dt, x, w, rows, n, k, how)
						for i, want := range first {
							if how.out == dt {
								want = rounded(dt, want)
							}
							if got[i] != want {
								t.Fatalf("tile %dx%d, %s, added %t: element %d is %v, want %v", tile.m, tile.n, how.out, how.added, i, got[i], want)
							}
						}
					}
				}
			})
		}
	}
}

// The products by warpgroups, on a chip that makes them: every tile at odd shapes, close to the sum in float64, and all with equal bits.
func TestGroupTiles(t *testing.T) {
	if err := driver.Status(); err != nil {
		t.Skip(err)
	}
	d, err := open(0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if !d.groups {
		if d.noGroups != nil {
			t.Error(d.noGroups)
		}
		t.Skipf("%s makes no products by warpgroups", d.name)
	}
	rng := rand.New(rand.NewPCG(8, 9))
	for _, dt := range []runtime.DType{runtime.BF16, runtime.F16} {
		for _, s := range [][3]int{{1, 8, 8}, {133, 260, 80}, {300, 37, 1000}, {520, 768, 72}, {64, 520, 3072}, {5000, 1280, 136}, {700, 256, 1000}} {
			t.Run(fmt.Sprintf("%s %dx%dx%d", dt, s[0], s[1], s[2]), func(t *testing.T) {
				x, w := halfNumbers(rng, dt, s[0]*s[2]), halfNumbers(rng, dt, s[1]*s[2])
				checkProduct(t, d.multiply(t, dt, x, w, s[0], s[1], s[2], multiplication{groupTiles[0], runtime.F32, false}), x, w, s[0], s[1], s[2], 3e-5) // wgmma cuts its sums off
				for _, out := range []runtime.DType{runtime.F32, dt} {
					var first []float32
					for _, tile := range groupTiles {
						if tile.pair && s[1]%256 != 0 {
							continue
						}
						got := d.multiply(t, dt, x, w, s[0], s[1], s[2], multiplication{tile, out, out == runtime.F32})
						if first == nil {
							first = got
						}
						for i := range got {
							if math.Float32bits(got[i]) != math.Float32bits(first[i]) {
								t.Fatalf("tile %dx%d: element %d is %v, with %dx%d %v", tile.m, tile.n, i, got[i], groupTiles[0].m, groupTiles[0].n, first[i])
							}
						}
					}
				}
			})
		}
	}
}

// checkProduct compares with the sum in float64; each may be off by a part of the square root of its length.
func checkProduct(t *testing.T, got, x, w []float32, rows, n, k int, part float64) {
	t.Helper()
	for i := range rows {
		for j := range n {
			sum := 0.0
			for l := range k {
				sum += float64(x[i*k+l]) * float64(w[j*k+l])
			}
			if d := math.Abs(float64(got[i*n+j]) - sum); !(d <= part*math.Sqrt(float64(k))) {
				t.Fatalf("element %d, %d is %v, want %v", i, j, got[i*n+j], sum)
			}
		}
	}
}

// BenchmarkTiles times products of the towers' shapes with every tile, on a chip.
func BenchmarkTiles(b *testing.B) {
	if err := driver.Status(); err != nil {
		b.Skip(err)
	}
	d, err := open(0, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	tiles := halfTiles
	if d.groups {
		tiles = groupTiles
	}
	for _, rows := range []int{50, 257, 400, 1600, 2056, 8224, 12800, 65792} {
		for _, s := range []struct {
			in, out  int
			act      runtime.Activation
			residual bool
		}{{768, 768, runtime.Identity, true}, {768, 2304, runtime.Identity, false}, {768, 3072, runtime.QuickGELU, false}, {3072, 768, runtime.Identity, true}} {
			if rows%257 == 0 {
				s.in, s.out = s.in/3*4, s.out/3*4
			}
			for _, t := range tiles {
				if rows > 8000 && t.m < 128 || rows < 500 && t.m > 128 {
					continue
				}
				b.Run(fmt.Sprintf("%dx%dx%d/%dx%d", rows, s.out, s.in, t.m, t.n), func(b *testing.B) {
					d.benchmarkTile(b, t, rows, s.out, s.in, s.act, s.residual)
				})
			}
		}
	}
}

func (d *Device) benchmarkTile(b *testing.B, t halfTile, rows, n, k int, act runtime.Activation, residual bool) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := halfNumbers(rng, runtime.BF16, n*k)
	weight, err := d.Pack(runtime.Matrix{DType: runtime.F32, Rows: n, Cols: k, Data: runtime.Float32Bytes(w)}, runtime.PackOptions{DType: runtime.BF16})
	if err != nil {
		b.Fatal(err)
	}
	defer weight.Close()
	d.tile = withTile(t)
	defer func() { d.tile = chooseTile }()
	p := runtime.NewPlan("benchmark")
	dt := runtime.BF16
	if residual {
		dt = runtime.F32
	}
	in, out := p.New("x", runtime.BF16, rows, k), p.New("y", dt, rows, n)
	op := runtime.Linear{X: in, W: weight, Rows: runtime.Fixed(rows), Act: act, Out: out}
	if residual {
		op.Residual = out
	}
	p.Add(op)
	prog, err := d.Compile(p)
	if err != nil {
		b.Fatal(err)
	}
	defer prog.Close()
	x := halfNumbers(rng, runtime.BF16, min(rows*k, 1<<20))
	for at := 0; at < rows*k; at += len(x) {
		if err := prog.Buffer(in.Slot).WriteF32(at, x[:min(len(x), rows*k-at)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range b.N { // not b.Loop, whose clock would stop before the device has done what is queued
		if err := prog.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if err := d.do("wait", d.wait); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(2*float64(rows)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
}

// halfNumbers are random numbers that a half type holds.
func halfNumbers(rng *rand.Rand, dt runtime.DType, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = rounded(dt, float32(rng.NormFloat64()))
	}
	return x
}

// rounded is x in a half type.
func rounded(dt runtime.DType, x float32) float32 {
	if dt == runtime.F16 {
		return half.F16ToF32(half.F32ToF16(x))
	}
	return half.BF16ToF32(half.F32ToBF16(x))
}

// multiplication is how multiply makes a product: with a tile, in a type, added to what is there or not.
type multiplication struct {
	tile  halfTile
	out   runtime.DType
	added bool
}

// multiply returns x [rows, k] by w [n, k] transposed, added to zeros where it is added.
func (d *Device) multiply(t *testing.T, dt runtime.DType, x, w []float32, rows, n, k int, how multiplication) []float32 {
	t.Helper()
	weight, err := d.Pack(runtime.Matrix{DType: runtime.F32, Rows: n, Cols: k, Data: runtime.Float32Bytes(w)}, runtime.PackOptions{DType: dt})
	if err != nil {
		t.Fatal(err)
	}
	defer weight.Close()
	d.tile = withTile(how.tile)
	defer func() { d.tile = chooseTile }()
	p := runtime.NewPlan("multiply")
	in, out := p.New("x", runtime.F32, rows, k), p.New("y", how.out, rows, n)
	o := runtime.Linear{X: in, W: weight, Rows: runtime.Fixed(rows), Out: out}
	if how.added {
		o.Residual = out
	}
	p.Add(o)
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	y := make([]float32, rows*n)
	for _, err := range []error{prog.Buffer(in.Slot).WriteF32(0, x), prog.Buffer(out.Slot).WriteF32(0, y), prog.Run(t.Context()), prog.Buffer(out.Slot).ReadF32(0, y)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return y
}

// Few rows get small tiles, many large ones, and a chip with many multiprocessors smaller ones than one with few.
func TestChooseTile(t *testing.T) {
	for _, tt := range []struct {
		tiles      []halfTile
		size       productSize
		processors int
		m, n       int
	}{
		{halfTiles, productSize{1, 768, 768, false, false}, 132, 16, 32},
		{halfTiles, productSize{50, 768, 768, true, false}, 132, 16, 32},
		{halfTiles, productSize{256 * 50, 3072, 768, false, false}, 132, 128, 256},
		{halfTiles, productSize{64, 64, 64, false, false}, 2, 64, 64},
		{halfTiles, productSize{1 << 20, 1 << 12, 1 << 10, false, false}, 2, 128, 256},
		{groupTiles, productSize{50, 768, 768, true, true}, 132, 64, 16},
		{groupTiles, productSize{50, 3072, 768, false, true}, 132, 64, 64},
		{groupTiles, productSize{400, 768, 3072, true, true}, 132, 64, 64},
		{groupTiles, productSize{2056, 1024, 4096, true, true}, 132, 64, 128},
		{groupTiles, productSize{1600, 2304, 768, false, true}, 132, 128, 128},
		{groupTiles, productSize{256 * 257, 1024, 1024, true, false}, 132, 128, 128},
		{groupTiles, productSize{256 * 257, 1024, 1024, true, true}, 132, 256, 256},
		{groupTiles, productSize{256 * 257, 4096, 1024, false, true}, 132, 256, 256},
	} {
		if got := chooseTile(tt.tiles, tt.size, tt.processors); got.m != tt.m || got.n != tt.n {
			t.Errorf("%+v on %d: %dx%d, want %dx%d", tt.size, tt.processors, got.m, got.n, tt.m, tt.n)
		}
	}
}
