//go:build unix

package pixel

import (
	"os"
	"syscall"
	"testing"
)

// fence returns memory for n bytes that ends, or begins, at a page of no access.
func fence(t *testing.T, size int) func(n int, last bool) []byte {
	t.Helper()
	page := os.Getpagesize()
	size = (size + page - 1) / page * page
	memory, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(memory) })
	inside := memory[page : page+size]
	for _, side := range [][]byte{memory[:page], memory[page+size:]} {
		if err := syscall.Mprotect(side, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return func(n int, last bool) []byte {
		if last {
			return inside[size-n : size : size]
		}
		return inside[:n:n]
	}
}

// TestNoAccessOutside runs every loop on memory that lies against pages of no access: a read or write outside would fault.
func TestNoAccessOutside(t *testing.T) {
	var f [4]func(n int, last bool) []byte
	for i := range f {
		f[i] = fence(t, 1<<16)
	}
	r := random(7)
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths {
			for _, last := range []bool{false, true} {
				k.H2V1(f[0](2*n, last), f[1](n, last))
				k.H2V2(f[0](2*n, last), f[1](n, last), f[2](n, last))
				k.RGB(f[0](3*n, last), f[1](n, last), f[2](n, last), f[3](n, last))
				k.Normalize(make([]float32, 3*n), n, f[1](3*n, last), NewScale([3]float32{}, [3]float32{1, 1, 1}))
				for channels := 1; channels <= 4; channels++ {
					z := randomResize(r, n, 1+r.IntN(20), 1+r.IntN(20))
					out := len(z.first)
					z.count[out-1] = min(n, z.size)
					z.first[out-1] = n - z.count[out-1]
					var rows RowTaps
					rows.Set(z.first, z.count, z.fixed, z.size)
					rows.Place(channels, 0, n)
					stride := channels*out + RowSlack
					height := 1 + r.IntN(6)
					k.Rows(f[0](height*stride, last), stride, f[1](height*channels*n, last), channels*n, height, &rows)
				}
				z := randomResize(r, 9, 1, 9)
				var columns Columns
				columns.Set(z.count, z.fixed, z.size)
				k.Column(f[0](n, last), f[1](n*z.count[0], last), n, columns.At(0))
			}
		}
		for groups := range 5 {
			coefs := make([]int16, 64*Group*groups)
			for _, last := range []bool{false, true} {
				k.IDCT(f[0](8*8*Group*groups, last), 8*Group*groups, coefs, new([64]uint16), groups)
			}
		}
	})
}
