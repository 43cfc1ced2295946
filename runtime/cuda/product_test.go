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
func withTile(t halfTile) func(tiles []halfTile, rows, cols, processors int) halfTile {
	return func([]halfTile, int, int, int) halfTile { return t }
}

// The trial of warpgroups' products makes the product that it should, and on a device without them says no, at no cost.
func TestTrial(t *testing.T) {
	d := emulated(t, Options{})
	for _, dt := range []runtime.DType{runtime.BF16, runtime.F16} {
		if _, err := d.trial(dt); err != nil { // the kernels are loaded
			t.Fatal(err)
		}
	}
	before := d.free(t)
	if err := d.tryGroups(); err == nil || d.groups || d.lost() {
		t.Errorf("%v, products by warpgroups: %t, lost: %t", err, d.groups, d.lost())
	}
	if after := d.free(t); after < before {
		t.Errorf("%d bytes are lost", before-after)
	}
	if x := []float32{1, 2}; differs(x, []float32{1.0005, 2}) != -1 || differs(x, []float32{1, 2.002}) != 1 || differs(x, []float32{1, float32(math.NaN())}) != 1 {
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
		for _, shape := range [][2]int{{260, 80}, {37, 19}} {
			t.Run(fmt.Sprintf("%s %dx%dx%d", dt, rows, shape[1], shape[0]), func(t *testing.T) {
				n, k := shape[0], shape[1]
				rng := rand.New(rand.NewPCG(5, uint64(n)))
				x, w := halfNumbers(rng, dt, rows*k), halfNumbers(rng, dt, n*k)
				var first []float32
				for _, tile := range halfTiles {
					got := d.multiply(t, dt, x, w, rows, n, k, tile)
					if first == nil {
						first = got
						checkProduct(t, got, x, w, rows, n, k, 1e-5)
					}
					for i := range got {
						if math.Float32bits(got[i]) != math.Float32bits(first[i]) {
							t.Fatalf("tile %dx%d: element %d is %v, with %dx%d %v", tile.m, tile.n, i, got[i], halfTiles[0].m, halfTiles[0].n, first[i])
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
		for _, s := range [][3]int{{1, 8, 8}, {133, 260, 80}, {300, 37, 1000}, {520, 768, 72}, {64, 520, 3072}} {
			t.Run(fmt.Sprintf("%s %dx%dx%d", dt, s[0], s[1], s[2]), func(t *testing.T) {
				x, w := halfNumbers(rng, dt, s[0]*s[2]), halfNumbers(rng, dt, s[1]*s[2])
				var first []float32
				for _, tile := range groupTiles {
					got := d.multiply(t, dt, x, w, s[0], s[1], s[2], tile)
					if first == nil {
						first = got
						checkProduct(t, got, x, w, s[0], s[1], s[2], 3e-5) // wgmma cuts its sums off
					}
					for i := range got {
						if math.Float32bits(got[i]) != math.Float32bits(first[i]) {
							t.Fatalf("tile %dx%d: element %d is %v, with %dx%d %v", tile.m, tile.n, i, got[i], groupTiles[0].m, groupTiles[0].n, first[i])
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

// halfNumbers are random numbers that a half type holds.
func halfNumbers(rng *rand.Rand, dt runtime.DType, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		if x[i] = float32(rng.NormFloat64()); dt == runtime.F16 {
			x[i] = half.F16ToF32(half.F32ToF16(x[i]))
		} else {
			x[i] = half.BF16ToF32(half.F32ToBF16(x[i]))
		}
	}
	return x
}

// multiply returns x [rows, k] by w [n, k] transposed, made with a tile.
func (d *Device) multiply(t *testing.T, dt runtime.DType, x, w []float32, rows, n, k int, tile halfTile) []float32 {
	t.Helper()
	weight, err := d.Pack(runtime.Matrix{DType: runtime.F32, Rows: n, Cols: k, Data: runtime.Float32Bytes(w)}, runtime.PackOptions{DType: dt})
	if err != nil {
		t.Fatal(err)
	}
	defer weight.Close()
	d.tile = withTile(tile)
	defer func() { d.tile = chooseTile }()
	p := runtime.NewPlan("multiply")
	in, out := p.New("x", runtime.F32, rows, k), p.New("y", runtime.F32, rows, n)
	p.Add(runtime.Linear{X: in, W: weight, Rows: runtime.Fixed(rows), Out: out})
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	y := make([]float32, rows*n)
	for _, err := range []error{prog.Buffer(in.Slot).WriteF32(0, x), prog.Run(t.Context()), prog.Buffer(out.Slot).ReadF32(0, y)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return y
}

// Few rows get small tiles, many large ones, and a chip with many multiprocessors smaller ones than one with few.
func TestChooseTile(t *testing.T) {
	for _, tt := range []struct {
		rows, cols, processors int
		m, n                   int
	}{
		{1, 768, 132, 16, 32}, {50, 768, 132, 16, 32}, {256 * 50, 3072, 132, 128, 256}, {64, 64, 2, 64, 64}, {1 << 20, 1 << 12, 2, 128, 256},
	} {
		if got := chooseTile(halfTiles, tt.rows, tt.cols, tt.processors); got.m != tt.m || got.n != tt.n {
			t.Errorf("%d x %d on %d: %dx%d, want %dx%d", tt.rows, tt.cols, tt.processors, got.m, got.n, tt.m, tt.n)
		}
	}
}
