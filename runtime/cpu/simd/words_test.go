package simd

import (
	"fmt"
	"math"
	"testing"
	"unsafe"
)

func eachWordSet(t *testing.T, f func(t *testing.T, k *Kernels)) {
	t.Helper()
	for _, k := range wordSets() {
		t.Run(k.Name, func(t *testing.T) { f(t, k) })
	}
}

// bits32 are the words of x, and floats32 the floats of words.
func bits32(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func floats32(x []uint32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// words returns n random words; shape turns the bits into what the words shall hold.
func words(seed uint64, n int, shape func(a, b float32) uint32) []uint32 {
	x, w := random(seed, 2*n, 1), make([]uint32, n)
	for i := range w {
		w[i] = shape(x[2*i], x[2*i+1])
	}
	return w
}

func pairOf(a, b float32) uint32 { return uint32(toBF16(a)) | uint32(toBF16(b))<<16 }

// quadOf are four bytes, the extremes often.
func quadOf(a, b float32) uint32 {
	switch x := math.Float32bits(a); {
	case x%5 == 0:
		return 0xffffffff
	case x%5 == 1:
		return 0x7f807f80
	default:
		return x*2654435761 ^ math.Float32bits(b)
	}
}

// elements are those of a word, and what they stand for in a product.
func pairElements(w uint32) []float64 {
	return []float64{float64(math.Float32frombits(w << 16)), float64(math.Float32frombits(w & 0xffff0000))}
}

// tileCase is one tile with its operands.
type tileCase struct {
	rows, words, lda, ldc int
}

func eachTile(k *Kernels, f func(c tileCase)) {
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 16, 33, 77, 192} {
		for _, rows := range someRows(k.WordRows) {
			f(tileCase{rows, n, n + rows%3, k.NR + rows%5})
		}
	}
}

// run computes the tile between guards and compares it with the exact sums and scales(i, j) of them.
func (tc tileCase) run(t *testing.T, k *Kernels, shape func(a, b float32) uint32, dot func(a, b uint32) (sum, size float64),
	gemm func(c []float32, a []uint32, lda int, b []uint32, next []float32), scaled func(sum float64, i, j int) (value, size float64)) {
	t.Helper()
	rows := words(1, (tc.rows-1)*tc.lda+tc.words, shape)
	in, lda := arranged(k, rows, tc.rows, tc.words, tc.lda)
	a := guard("a", floats32(in), 1)
	b := guard("b", floats32(words(2, tc.words*k.NR, shape)), 2)
	c := guard("c", random(3, (tc.rows-1)*tc.ldc+k.NR, 1), 3)
	before := clone(c.v)
	gemm(c.v, bits32(a.v), lda, bits32(b.v), b.v[tc.words%2*len(b.v):])
	for _, g := range []*guarded{a, b, c} {
		g.check(t)
	}
	want, size := make([]float64, len(before)), make([]float64, len(before))
	for i, v := range before {
		want[i] = float64(v)
	}
	for i := range tc.rows {
		for j := range k.NR {
			sum, s := 0.0, 0.0
			for p := range tc.words {
				v, d := dot(rows[i*tc.lda+p], bits32(b.v)[p*k.NR+j])
				sum, s = sum+v, s+d
			}
			v, d := scaled(sum, i, j)
			want[i*tc.ldc+j], size[i*tc.ldc+j] = v, (s+d)*epsilon
		}
	}
	near(t, fmt.Sprintf("%+v", tc), c.v, want, max(4, float64(tc.words)/2), func(i int) float64 { return size[i] })
}

// guardedWork is the room that a product of rows takes, which it checks at the end of the test.
func guardedWork(t *testing.T, k *Kernels, rows int) []float32 {
	g := guard("work", make([]float32, k.TileWork(rows)), 1)
	t.Cleanup(func() { g.check(t) })
	return g.v
}

// arranged are rows of words, lda apart, as a set takes them, and their lda.
func arranged(k *Kernels, a []uint32, rows, words, lda int) ([]uint32, int) {
	if !k.Tiles {
		return a, lda
	}
	most := (words + TileRows - 1) / TileRows * TileRows
	out := make([]uint32, tilesEnd(TallRows(rows), words, most))
	for i := range rows {
		Scatter(out[TileAt(i, 0, most):], a[i*lda:][:words])
	}
	return out, most
}

func TestGemmBF16(t *testing.T) {
	eachWordSet(t, func(t *testing.T, k *Kernels) {
		if k.GemmBF16 == nil {
			t.Skip("this set widens")
		}
		eachTile(k, func(c tileCase) {
			c.run(t, k, pairOf, func(a, b uint32) (sum, size float64) {
				x, y := pairElements(a), pairElements(b)
				return x[0]*y[0] + x[1]*y[1], math.Abs(x[0]*y[0]) + math.Abs(x[1]*y[1])
			}, func(dst []float32, a []uint32, lda int, b []uint32, next []float32) {
				k.GemmBF16(dst, c.ldc, a, lda, c.rows, b, c.words, guardedWork(t, k, c.rows), next)
			}, func(sum float64, _, _ int) (float64, float64) { return sum, 0 })
		})
	})
}

func TestGemmI8(t *testing.T) {
	eachWordSet(t, func(t *testing.T, k *Kernels) {
		aq, bq := random(6, 2*k.WordRows, 1), random(7, 2*k.NR, 1)
		eachTile(k, func(c tileCase) {
			c.run(t, k, quadOf, func(a, b uint32) (sum, size float64) {
				for s := 0; s < 32; s += 8 {
					sum += float64(a>>s&255) * float64(int8(b>>s))
				}
				return sum, 0
			}, func(dst []float32, a []uint32, lda int, b []uint32, next []float32) {
				k.GemmI8(dst, c.ldc, a, lda, c.rows, b, c.words, aq, bq, guardedWork(t, k, c.rows), next)
			}, func(sum float64, i, j int) (float64, float64) {
				x, y := float64(aq[2*i])*float64(bq[j])*sum, float64(aq[2*i+1])*float64(bq[k.NR+j])
				return x + y, math.Abs(x) + math.Abs(y)
			})
		})
	})
}

// TestWordRows checks that a row has the same bits in any tile, and that products of bytes have them in any set.
func TestWordRows(t *testing.T) {
	const depth, rows, width = 75, 70, 32
	a, w := words(1, rows*depth, quadOf), words(2, width*depth, quadOf)
	aq, column := random(3, 2*rows, 1), random(4, 2*width, 1)
	var first []float32
	eachWordSet(t, func(t *testing.T, k *Kernels) {
		work := make([]float32, k.TileWork(k.WordRows))
		pairs, bytes := make([]float32, rows*width), make([]float32, rows*width)
		pairsOf := func(x []uint32) []uint32 { // without numbers that are subnormal or not finite
			y := append([]uint32(nil), x...)
			for i := range y {
				y[i] = y[i]&0x9fff9fff | 0x20002000
			}
			return y
		}
		for tile := 1; tile <= min(rows, k.WordRows); tile++ {
			gotPairs, gotBytes := make([]float32, rows*width), make([]float32, rows*width)
			for j := 0; j < width; j += k.NR {
				panel, pairPanel := make([]uint32, depth*k.NR), make([]uint32, depth*k.NR)
				k.Pack(floats32(panel), floats32(w[j*depth:]), depth, k.NR, depth)
				k.Pack(floats32(pairPanel), floats32(pairsOf(w[j*depth:])), depth, k.NR, depth)
				bq := append(append([]float32(nil), column[j:j+k.NR]...), column[width+j:width+j+k.NR]...)
				for i := 0; i < rows; i += tile {
					n := min(tile, rows-i)
					in, lda := arranged(k, a[i*depth:], n, depth, depth)
					k.GemmI8(gotBytes[i*width+j:], width, in, lda, n, panel, depth, aq[2*i:], bq, work, nil)
					if k.GemmBF16 != nil {
						in, lda := arranged(k, pairsOf(a)[i*depth:], n, depth, depth)
						k.GemmBF16(gotPairs[i*width+j:], width, in, lda, n, pairPanel, depth, work, nil)
					}
				}
			}
			if tile == 1 {
				pairs, bytes = gotPairs, gotBytes
			}
			equalBits(t, fmt.Sprintf("pairs, %d rows at once", tile), gotPairs, pairs)
			equalBits(t, fmt.Sprintf("bytes, %d rows at once", tile), gotBytes, bytes)
		}
		if first == nil {
			first = bytes
		}
		equalBits(t, "bytes, against the first set", bytes, first)
	})
}

func TestRound(t *testing.T) {
	eachWordSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths {
			x := random(uint64(n), n, 1)
			for i := range x {
				switch i % 11 {
				case 2: // ties
					x[i] = math.Float32frombits(math.Float32bits(x[i])&^0xffff | 0x8000)
				case 4:
					x[i] = float32(math.Inf(1 - 2*(i&1)))
				case 6:
					x[i] = math.Float32frombits(0x7f800001 + uint32(i)<<31)
				case 8:
					x[i] = math.MaxFloat32
				case 10:
					x[i] *= 1e-39
				}
			}
			pairs := guard("pairs", make([]float32, (n+15)/16*8), 1)
			floats := guard("floats", make([]float32, n), 2)
			in := guard("x", x, n%3)
			k.RoundPairs(bits32(pairs.v), in.v)
			k.Round(floats.v, in.v)
			pairs.check(t)
			floats.check(t)
			for i := range 2 * len(pairs.v) {
				want := uint16(0)
				if i < n {
					want = toBF16(x[i])
					if got := math.Float32bits(floats.v[i]); got != uint32(want)<<16 {
						t.Fatalf("length %d: %#x becomes %#x, should be %#x0000", n, math.Float32bits(x[i]), got, want)
					}
				}
				if got := uint16(bits32(pairs.v)[i/2] >> (i % 2 * 16)); got != want {
					t.Fatalf("length %d: element %d is %#x, should be %#x", n, i, got, want)
				}
			}
		}
	})
}

// TestGemmWiden checks the panel of floats and, bit for bit, the product with it.
func TestGemmWiden(t *testing.T) {
	eachWordSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range []int{1, 2, 3, 4, 5, 77} {
			for rows := 1; rows <= k.MR; rows++ {
				for _, acc := range []bool{false, true} {
					lda, ldc := 2*n+rows%3, k.NR+rows%5
					a, b := guard("a", random(1, (rows-1)*lda+2*n, 1), 1), guard("b", floats32(words(2, n*k.NR, pairOf)), 2)
					before := random(3, (rows-1)*ldc+k.NR, 1)
					c, wide := guard("c", before, 3), guard("wide", make([]float32, 2*n*k.NR), 1)
					k.GemmWiden(c.v, ldc, a.v, lda, rows, bits32(b.v), n, acc, wide.v, b.v[n%2*len(b.v):])
					for _, g := range []*guarded{a, b, c, wide} {
						g.check(t)
					}
					for i, w := range bits32(b.v) {
						p, j := i/k.NR, i%k.NR
						if low, high := math.Float32bits(wide.v[2*p*k.NR+j]), math.Float32bits(wide.v[(2*p+1)*k.NR+j]); low != w<<16 || high != w&0xffff0000 {
							t.Fatalf("word %#x of row %d becomes %#x and %#x", w, p, low, high)
						}
					}
					k.Gemm(before, ldc, a.v, lda, rows, wide.v, 2*n, acc, nil)
					equalBits(t, fmt.Sprintf("%d rows, %d words, acc %v", rows, n, acc), c.v, before)
				}
			}
		}
	})
}

// TestQuantiseU8 checks the definition, the bits across sets, and that a row that is not finite shows.
func TestQuantiseU8(t *testing.T) {
	for _, n := range lengths[1:] {
		for _, kind := range []string{"normal", "positive", "constant", "tiny", "outlier"} {
			x := random(uint64(n), n, 1)
			for i := range x {
				switch kind {
				case "positive":
					x[i] = x[i]*x[i] + 3
				case "constant":
					x[i] = -2.5
				case "tiny":
					x[i] *= 1e-38
				}
			}
			if kind == "outlier" {
				x[n/2] = 300
			}
			first := make([]uint32, (n+15)/16*4)
			scale, least := quantiseU8Generic(first, x)
			for i, v := range x {
				u := float64(uint8(first[i/4] >> (i % 4 * 8)))
				if back := float64(least) + float64(scale)*u; math.Abs(back-float64(v)) > 0.501*float64(scale)+1e-6*math.Abs(float64(v)) {
					t.Fatalf("%s, length %d: element %d is %g, stands for %g; scale %g", kind, n, i, v, back, scale)
				}
			}
			eachWordSet(t, func(t *testing.T, k *Kernels) {
				dst, in := guard("dst", make([]float32, len(first)), 1), guard("x", x, n%3)
				s, l := k.QuantiseU8(bits32(dst.v), in.v)
				dst.check(t)
				if s != scale || l != least {
					t.Fatalf("%s, length %d: scale %g, least %g; should be %g, %g", kind, n, s, l, scale, least)
				}
				for i := range n {
					if got, want := uint8(bits32(dst.v)[i/4]>>(i%4*8)), uint8(first[i/4]>>(i%4*8)); got != want {
						t.Fatalf("%s, length %d: byte %d is %d, should be %d", kind, n, i, got, want)
					}
				}
			})
		}
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		for _, n := range []int{1, 16, 33} {
			x := random(1, n, 1)
			x[n-1] = bad
			eachWordSet(t, func(t *testing.T, k *Kernels) {
				if scale, _ := k.QuantiseU8(make([]uint32, 64), x); !math.IsNaN(float64(scale)) {
					t.Fatalf("a row of %d with %g has scale %g", n, bad, scale)
				}
			})
		}
	}
}

// BenchmarkGemmWords is a product with packed panels at the shapes of ViT-B/32, one thread, as BenchmarkGemm.
func BenchmarkGemmWords(b *testing.B) {
	for _, s := range []struct{ m, n, k int }{{1600, 3072, 768}, {1600, 768, 3072}, {50, 3072, 768}, {50, 768, 768}, {4, 768, 768}} {
		for _, k := range wordSets() {
			if k.Name == "generic" {
				continue
			}
			for _, bytes := range []bool{false, true} {
				per := 2
				if bytes {
					per = 4
				}
				depth := s.k / per
				x, w, y := words(1, TallRows(s.m)*depth, pairOf), words(2, s.n*depth, pairOf), make([]float32, s.m*s.n)
				work := make([]float32, k.TileWork(k.WordRows))
				scales := make([]float32, 128)
				if !bytes && k.GemmBF16 == nil {
					continue
				}
				b.Run(fmt.Sprintf("M%dN%dK%d/bytes=%t/%s", s.m, s.n, s.k, bytes, k.Name), func(b *testing.B) {
					for b.Loop() {
						for first := 0; first < s.m; first += 256 {
							m := min(256, s.m-first)
							tiles := (m + k.WordRows - 1) / k.WordRows
							for j := 0; j < s.n; j += k.NR {
								panel := w[j*depth : (j+k.NR)*depth]
								for t := range tiles {
									lo, hi := first+m*t/tiles, first+m*(t+1)/tiles
									var next []float32
									if j+k.NR < s.n {
										next = floats32(w[(j+k.NR)*depth:])[len(panel)*t/tiles : len(panel)*(t+1)/tiles]
									}
									if bytes {
										k.GemmI8(y[lo*s.n+j:], s.n, x[lo*depth:], depth, hi-lo, panel, depth, scales, scales, work, next)
									} else {
										k.GemmBF16(y[lo*s.n+j:], s.n, x[lo*depth:], depth, hi-lo, panel, depth, work, next)
									}
								}
							}
						}
					}
					b.ReportMetric(2*float64(s.m)*float64(s.n)*float64(s.k)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
				})
			}
		}
	}
}
