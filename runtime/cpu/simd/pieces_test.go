package simd

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// eachPieceSet calls f for the sets that multiply by pieces.
func eachPieceSet(t *testing.T, f func(t *testing.T, k *Kernels)) {
	t.Helper()
	some := false
	for _, k := range All() {
		if k.GemmPieces != nil {
			some = true
			t.Run(k.Name, func(t *testing.T) { f(t, k) })
		}
	}
	if !some {
		t.Skip("no set of this machine multiplies by pieces")
	}
}

// spreadOut are random floats of many magnitudes.
func spreadOut(seed uint64, n int) []float32 {
	x, e := random(seed, n, 1), random(seed+100, n, 8)
	for i := range x {
		x[i] = float32(math.Ldexp(float64(x[i]), int(e[i])))
	}
	return x
}

// three are the pieces of a float, by its definition.
func three(v float32) (q [3]uint16) {
	for i := range q {
		b := (math.Float32bits(v) + 0x8000) &^ 0xffff
		q[i] = uint16(b >> 16)
		v -= math.Float32frombits(b)
	}
	return q
}

// TestPiecesOfRow checks the definition, and that pieces sum up to their float.
func TestPiecesOfRow(t *testing.T) {
	eachPieceSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range []int{1, 15, 16, 17, 31, 32, 33, 75, 128} {
			x := spreadOut(uint64(n), n)
			row, in := guard("row", make([]float32, tilesEnd(1, PieceSteps(n)*PieceWords, 0)), 1), guard("x", x, 2)
			k.PiecesOfRow(bits32(row.v), in.v)
			row.check(t)
			in.check(t)
			for p := range PieceSteps(n) * PieceStep {
				v, sum := float32(0), 0.0
				if p < n {
					v = x[p]
				}
				for q, want := range three(v) {
					sum += float64(math.Float32frombits(uint32(want) << 16))
					word := bits32(row.v)[(3*(p/PieceStep)+q)*256+p%16]
					if got := uint16(word >> (p % PieceStep / 16 * 16)); got != want {
						t.Fatalf("length %d: piece %d of element %d, %g, is %#x, should be %#x", n, q, p, v, got, want)
					}
				}
				if sum != float64(v) {
					t.Fatalf("the pieces of %g sum up to %g", v, sum)
				}
			}
		}
	})
}

// someRows are numbers of rows up to most: each of a tile or two, and those around whole tiles.
func someRows(most int) (rows []int) {
	for n := 1; n <= most; n++ {
		if n <= 66 || (n+1)%32 <= 2 {
			rows = append(rows, n)
		}
	}
	return rows
}

// TestGemmPieces checks products against sums in double precision, and that a row has the same bits in a tile of any height.
func TestGemmPieces(t *testing.T) {
	eachPieceSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range []int{1, 31, 32, 33, 64, 77, 128, 160, 320, 325} {
			steps := PieceSteps(n)
			lda := steps*PieceWords + n%3*TileRows
			x, w := spreadOut(1, k.WordRows*n), spreadOut(2, n*k.NR)
			a := make([]uint32, TallRows(k.WordRows)*lda)
			for i := range k.WordRows {
				k.PiecesOfRow(a[TileAt(i, 0, lda):], x[i*n:(i+1)*n])
			}
			sums, sizes := make([]float64, k.WordRows*k.NR), make([]float64, k.WordRows*k.NR)
			for i := range sums {
				for p := range n {
					v := float64(x[i/k.NR*n+p]) * float64(w[p*k.NR+i%k.NR])
					sums[i], sizes[i] = sums[i]+v, sizes[i]+math.Abs(v)
				}
			}
			var whole []float32
			for _, rows := range slices.Backward(someRows(k.WordRows)) {
				ldc := k.NR + rows%5
				before := random(3, (rows-1)*ldc+k.NR, 1)
				ga, gb := guard("a", floats32(a[:tilesEnd(TallRows(rows), steps*PieceWords, lda)]), 1), guard("b", w, 2)
				c, work := guard("c", before, 3), guard("work", make([]float32, k.PieceWork(rows)), 1)
				k.GemmPieces(c.v, ldc, bits32(ga.v), lda, rows, gb.v, n, false, work.v, w[:len(w)*(rows%2)])
				for _, g := range []*guarded{ga, gb, c, work} {
					g.check(t)
				}
				want, size := make([]float64, len(before)), make([]float64, len(before))
				for i, v := range before {
					want[i] = float64(v)
					if r, j := i/ldc, i%ldc; j < k.NR {
						want[i], size[i] = sums[r*k.NR+j], sizes[r*k.NR+j]*epsilon
					}
				}
				near(t, fmt.Sprintf("depth %d, %d rows", n, rows), c.v, want, 16, func(i int) float64 { return size[i] })
				if whole == nil {
					whole = slices.Clone(c.v)
				}
				for i := range rows {
					equalBits(t, fmt.Sprintf("depth %d: row %d of %d", n, i, rows), c.v[i*ldc:][:k.NR], whole[i*(k.NR+k.WordRows%5):][:k.NR])
				}
			}
		}
	})
}

// TestGemmPiecesCut checks that a sum which goes on has the bits of one, for any number of rows.
func TestGemmPiecesCut(t *testing.T) {
	eachPieceSet(t, func(t *testing.T, k *Kernels) {
		const n = 200
		lda := PieceSteps(n) * PieceWords
		a, w, work := make([]uint32, k.WordRows*lda), spreadOut(2, n*k.NR), make([]float32, k.PieceWork(k.WordRows))
		for i := range k.WordRows {
			k.PiecesOfRow(a[TileAt(i, 0, lda):], spreadOut(uint64(i), n))
		}
		for _, rows := range someRows(k.WordRows) {
			whole, parts := make([]float32, rows*k.NR), make([]float32, rows*k.NR)
			k.GemmPieces(whole, k.NR, a, lda, rows, w, n, false, work, nil)
			for from := 0; from < n; from += 2 * PieceStep {
				to := min(n, from+2*PieceStep)
				k.GemmPieces(parts, k.NR, a[TileAt(0, from/PieceStep*PieceWords, lda):], lda, rows, w[from*k.NR:], to-from, from > 0, work, nil)
			}
			equalBits(t, fmt.Sprintf("%d rows in parts", rows), parts, whole)
		}
	})
}

// TestGemmPiecesNotFinite checks that a NaN or an infinity in a row, or in the panel's last, reaches what it should and nothing else.
func TestGemmPiecesNotFinite(t *testing.T) {
	eachPieceSet(t, func(t *testing.T, k *Kernels) {
		for _, bits := range []uint32{0x7f800000, 0xff800000, 0x7fc00000, 0x7fffffff, 0x7f800001, 0xffffffff} {
			const n = 40
			lda := PieceSteps(n) * PieceWords
			a, work, c := make([]uint32, k.WordRows*lda), make([]float32, k.PieceWork(k.WordRows)), make([]float32, k.WordRows*k.NR)
			row, col := k.WordRows/2, k.NR/2
			for i := range k.WordRows {
				x := random(uint64(i), n, 1)
				if i == row {
					x[n-1] = math.Float32frombits(bits)
				}
				k.PiecesOfRow(a[TileAt(i, 0, lda):], x)
			}
			b := random(100, n*k.NR, 1)
			b[(n-1)*k.NR+col] = math.Float32frombits(bits)
			k.GemmPieces(c, k.NR, a, lda, k.WordRows, b, n, false, work, nil)
			for i, v := range c {
				if finite := v-v == 0; finite == (i/k.NR == row || i%k.NR == col) {
					t.Fatalf("%#x in row %d and column %d: row %d, column %d has %g", bits, row, col, i/k.NR, i%k.NR, v)
				}
			}
		}
	})
}

// BenchmarkGemmPieces is a product with packed panels of floats at the shapes of ViT-B/32, ViT-L/14 and a caption, one thread, the rows'
// pieces made in it; beside it is Gemm's.
func BenchmarkGemmPieces(b *testing.B) {
	for _, s := range []struct{ m, n, k int }{{200, 3072, 768}, {64, 768, 3072}, {200, 768, 3072}, {50, 3072, 768}, {50, 768, 3072}, {256, 4096, 1024}, {9, 2048, 512}} {
		for _, k := range All() {
			if k.GemmPieces == nil {
				continue
			}
			for _, pieces := range []bool{false, true} {
				b.Run(fmt.Sprintf("M%dN%dK%d/pieces=%t", s.m, s.n, s.k, pieces), func(b *testing.B) { benchmarkPieces(b, k, s.m, s.n, s.k, pieces) })
			}
		}
	}
}

func benchmarkPieces(b *testing.B, k *Kernels, m, n, depth int, pieces bool) {
	x, w, y := random(1, m*depth, 1), random(2, n*depth, 1), make([]float32, m*n)
	lda := depth / PieceStep * PieceWords
	a, work, tiles := make([]uint32, TallRows(m)*lda), make([]float32, k.PieceWork(m)), (m+k.MR-1)/k.MR
	for b.Loop() {
		for i := 0; i < m && pieces; i++ {
			k.PiecesOfRow(a[TileAt(i, 0, lda):], x[i*depth:(i+1)*depth])
		}
		for j := 0; j < n; j += k.NR {
			panel, next := w[j*depth:(j+k.NR)*depth], w[(j+k.NR)%n*depth:][:k.NR*depth]
			if pieces {
				k.GemmPieces(y[j:], n, a, lda, m, panel, depth, false, work, next)
				continue
			}
			for t := range tiles {
				lo, hi := m*t/tiles, m*(t+1)/tiles
				k.Gemm(y[lo*n+j:], n, x[lo*depth:], depth, hi-lo, panel, depth, false, next[len(next)*t/tiles:len(next)*(t+1)/tiles])
			}
		}
	}
	b.ReportMetric(2*float64(m)*float64(n)*float64(depth)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
}
