//go:build unix

package simd

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// fence holds pages between which an access faults.
type fence struct {
	memory []byte
	page   int
}

// newFence maps size bytes, rounded up to pages, with a page of no access on either side.
func newFence(t *testing.T, size int) *fence {
	t.Helper()
	page := os.Getpagesize()
	n := (size + page - 1) / page * page
	memory, err := syscall.Mmap(-1, 0, n+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(memory) })
	for _, side := range [][]byte{memory[:page], memory[n+page:]} {
		if err := syscall.Mprotect(side, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return &fence{memory, page}
}

// fenced copies v to the end of the pages, or to their beginning.
func fenced[T any](f *fence, v []T, last bool) []T {
	inside := f.memory[f.page : len(f.memory)-f.page]
	size := len(v) * int(unsafe.Sizeof(*new(T)))
	if last {
		inside = inside[len(inside)-size:]
	}
	if len(v) == 0 {
		return nil
	}
	out := unsafe.Slice((*T)(unsafe.Pointer(&inside[0])), len(v))
	copy(out, v)
	return out
}

// TestNoAccessOutside runs every loop on vectors that lie against pages of no access: a read or write outside would fault.
func TestNoAccessOutside(t *testing.T) {
	var f [5]*fence
	for i := range f {
		f[i] = newFence(t, 4*272*304)
	}
	eachWordSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths {
			if n > 300 {
				continue
			}
			for _, last := range []bool{false, true} {
				vector := func(i int) []float32 { return fenced(f[i], random(uint64(i), n, 1), last) }
				a, b, c, d := vector(0), vector(1), vector(2), vector(3)
				k.LayerNorm(a, b, c, d, 1e-5)
				k.LayerNormGrad(a, b, c, d, 0, 1)
				k.Softmax(a, 1)
				k.SoftmaxGrad(b, a, 1)
				k.Dot(c, d)
				k.Bias(a, b)
				for _, act := range activations {
					if act.grad != nil {
						act.grad(k)(d, c, b)
					}
				}
				for rows := 1; rows <= k.MR && n > 0; rows++ {
					x := fenced(f[0], random(1, rows*n, 1), last)
					y := fenced(f[1], random(2, rows*k.NR, 1), last)
					w := fenced(f[2], random(3, n*k.NR, 1), last)
					k.Gemm(y, k.NR, x, n, rows, w, n, false, w)
					k.Fetch(y, k.NR, rows)
					bias := fenced(f[3], random(4, k.NR, 1), last)
					for _, tile := range []tileFunc{k.TileBias, k.TileGELU, k.TileGELUTanh, k.TileQuickGELU, k.TileReLU} {
						tile(y, k.NR, rows, bias, y, k.NR)
						tile(y, k.NR, rows, nil, nil, 0)
					}
				}
				testPackFenced(k, f, n, last)
				testScanFenced(k, f, n, last)
				testWordsFenced(k, f, n, last)
			}
		}
	})
}

// testWordsFenced runs what makes and multiplies words; n is the number of elements and of words.
func testWordsFenced(k *Kernels, f [5]*fence, n int, last bool) {
	blocks := (n + 15) / 16
	k.RoundPairs(fenced(f[0], make([]uint32, 8*blocks), last), fenced(f[1], random(1, n, 1), last))
	k.Round(fenced(f[0], make([]float32, n), last), fenced(f[1], random(1, n, 1), last))
	k.QuantiseU8(fenced(f[0], make([]uint32, 4*blocks), last), fenced(f[1], random(1, n, 1), last))
	for _, rows := range someRows(k.WordRows) {
		if n == 0 {
			return
		}
		work := fenced(f[4], make([]float32, k.TileWork(rows)), last)
		in, lda := arranged(k, make([]uint32, rows*n), rows, n, n)
		a, b := fenced(f[0], in, last), fenced(f[1], make([]uint32, n*k.NR), last)
		c := fenced(f[2], make([]float32, rows*k.NR), last)
		q := fenced(f[3], make([]float32, 2*(k.NR+rows)), last)
		k.GemmI8(c, k.NR, a, lda, rows, b, n, q[:2*rows], q[2*rows:], work, c)
		k.GemmI8(c, k.NR, a, lda, rows, b, n, q[2*k.NR:], q[:2*k.NR], work, c)
		if k.GemmBF16 != nil {
			k.GemmBF16(c, k.NR, a, lda, rows, b, n, work, c)
		}
		if rows > k.MR {
			continue
		}
		k.GemmWiden(c, k.NR, fenced(f[0], make([]float32, 2*rows*n), last), 2*n, rows, b, n, true, fenced(f[3], make([]float32, 2*n*k.NR), last), c)
	}
}

func testPackFenced(k *Kernels, f [5]*fence, n int, last bool) {
	for rows := 1; rows <= k.NR; rows++ {
		w := fenced(f[0], make([]float32, n*k.NR), last)
		k.Pack(w, fenced(f[1], make([]float32, rows*n), last), n, rows, n)
		k.PackF16(w, fenced(f[1], make([]uint16, rows*n), last), n, rows, n)
		k.PackBF16(w, fenced(f[1], make([]uint16, rows*n), last), n, rows, n)
	}
}

func testScanFenced(k *Kernels, f [5]*fence, n int, last bool) {
	if n == 0 || n%ScanDepth != 0 {
		return
	}
	for rows := 1; rows <= ScanRows; rows++ {
		for nq := 1; nq <= ScanQueries; nq++ {
			dst, q := fenced(f[0], make([]float32, nq*ScanRows), last), fenced(f[1], make([]float32, nq*n), last)
			k.Scores(dst, fenced(f[2], make([]float32, rows*n), last), n, rows, q, nq, n)
			k.ScoresF16(dst, fenced(f[2], make([]uint16, rows*n), last), n, rows, q, nq, n)
			k.ScoresBF16(dst, fenced(f[2], make([]uint16, rows*n), last), n, rows, q, nq, n)
		}
	}
}
