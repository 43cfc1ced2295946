package cpu

import (
	"testing"
	"unsafe"

	"isearle/runtime"
)

// Blocks are zero, aligned and apart, and a region lasts as long as anything in it is held.
func TestHeap(t *testing.T) {
	var h heap
	sizes := []int{0, 1, leastBlock - 1, leastBlock, leastBlock + 1, regionSize / 2, regionSize/2 + 1, 3 * regionSize / 2}
	var held []*block
	for i, n := range sizes {
		b := h.alloc(n)
		if len(b.mem) != n || cap(b.mem) != n {
			t.Fatalf("%d bytes: got %d of %d", n, len(b.mem), cap(b.mem))
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(b.mem))); at%cacheLine != 0 {
			t.Errorf("%d bytes start %d bytes behind a cache line", n, at%cacheLine)
		}
		for j, v := range b.mem {
			if v != 0 {
				t.Fatalf("%d bytes: byte %d is %d", n, j, v)
			}
			b.mem[j] = byte(i + 1)
		}
		held = append(held, b)
	}
	for i, b := range held {
		for j, v := range b.mem {
			if v != byte(i+1) {
				t.Fatalf("block %d of %d bytes: byte %d is block %d's", i, len(b.mem), j, v-1)
			}
		}
	}
	regions := map[*region]bool{}
	for _, b := range held {
		if b.from != nil {
			regions[b.from] = true
		}
		b.hold()
		b.release()
		b.release()
		if b.mem != nil {
			t.Error("a block that nobody holds has memory")
		}
	}
	h.close()
	for r := range regions {
		if r.refs != 0 || r.mem != nil {
			t.Errorf("a region with %d holds is left", r.refs)
		}
	}
}

// A Program goes on with a weight and a buffer that were closed after it was compiled; closing it gives the memory back.
func TestClosedWeight(t *testing.T) {
	const n = 256
	dev, err := Open(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	data := make([]float32, n*n)
	for i := range n {
		data[i*n+i] = float32(i)
	}
	w, err := dev.Pack(runtime.Matrix{DType: runtime.F32, Rows: n, Cols: n, Data: runtime.Float32Bytes(data)}, runtime.PackOptions{Grad: true})
	if err != nil {
		t.Fatal(err)
	}
	ones, err := dev.Alloc(runtime.F32, n*n)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 1
	}
	if err := ones.WriteF32(0, data); err != nil {
		t.Fatal(err)
	}
	p := runtime.NewPlan("closed")
	y := p.New("y", runtime.F32, n, n)
	p.Add(runtime.Linear{X: p.Use("x", ones, n, n), W: w, Rows: runtime.Dim{Cap: n}, Out: y})
	prog, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	w.Close()
	ones.Close()
	if err := prog.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, n)
	if err := prog.Buffer(y.Slot).ReadF32(5*n, got); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v != float32(i) {
			t.Fatalf("column %d is %g", i, v)
		}
	}
	r := dev.heap.now
	prog.Close()
	prog.Close()
	if r != nil && r.refs != 1 {
		t.Errorf("the region has %d holds, should have the heap's only", r.refs)
	}
}
