//go:build cuda

package cuda

import (
	"encoding/binary"
	"math"
	"testing"

	"isearle/runtime"
)

// A gallery that is promised to stay the same is copied once, and later scans allocate nothing; when memory runs short it is
// given up, or streams from the beginning, and nothing is lost. The hits are the same each time.
func TestSearchKeepsRows(t *testing.T) {
	const dim, rows, k = 40, 700, 5
	d := emulated(t, Options{})
	c := runtime.Chunk{DType: runtime.F32, Rows: rows, Fixed: true}
	for i := range rows * dim {
		c.Data = binary.LittleEndian.AppendUint32(c.Data, math.Float32bits(float32(i*i%101)-50))
	}
	queries := make([]float32, 2*dim)
	for i := range queries {
		queries[i] = float32(i%7) - 3
	}
	before := d.free(t)
	x, err := d.NewSearch(dim)
	if err != nil {
		t.Fatal(err)
	}
	var first [2 * k]runtime.Hit
	scan := func(what, fail string) counters {
		t.Helper()
		if err := x.Begin(queries, 2, k); err != nil {
			t.Fatal(err)
		}
		start := d.count(t)
		t.Setenv("ISEARLE_EMU_FAIL", fail)
		var hits [2 * k]runtime.Hit
		if err := x.Feed(0, c); err != nil {
			t.Fatal(err)
		}
		t.Setenv("ISEARLE_EMU_FAIL", "")
		if err := x.Finish(hits[:], make([]int, 2)); err != nil {
			t.Fatal(err)
		}
		if first == [2 * k]runtime.Hit{} {
			first = hits
		}
		if hits != first {
			t.Errorf("%s: hits %v, first %v", what, hits, first)
		}
		end := d.count(t)
		return counters{Allocations: end.Allocations - start.Allocations, Copies: end.Copies - start.Copies}
	}
	scan("no memory to keep rows", "alloc:1") // and so they stream
	kept := scan("kept", "")
	again := scan("again", "")
	if again.Allocations != 0 || again.Copies >= kept.Copies {
		t.Errorf("a second scan allocates %d times and copies %d times, the one before %d", again.Allocations, again.Copies, kept.Copies)
	}
	if len(x.(*search).feed.kept) != 1 {
		t.Fatal("no rows are kept")
	}
	// Another allocation that fails takes the rows' memory.
	t.Setenv("ISEARLE_EMU_FAIL", "alloc:1")
	b, err := d.Alloc(runtime.F32, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.(*search).feed.kept) != 0 {
		t.Error("rows are kept while memory is short")
	}
	scan("given up", "")
	b.Close()
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if after := d.free(t); after != before {
		t.Errorf("%d bytes are lost", before-after)
	}
}
