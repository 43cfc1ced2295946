package conform

import (
	"context"
	"fmt"
	"math"
	"testing"

	"isearle/runtime"
)

// cached is a sequence whose first rows may be cached in a pool.
type cached struct{ prefix, own int }

// Prefixes compares attention over sequences computed one by one, all keys their own, with the same sequences side by side and
// their first keys in a pool: forward and backward, the bits of the rows behind the prefix must be equal.
func Prefixes(t *testing.T, open func(threads int) runtime.Device) {
	d := open(2)
	defer d.Close()
	var seqs []cached
	for _, prefix := range []int{0, 1, 7, 31, 32, 33, 40} {
		for _, own := range []int{1, 3, 14, 40} {
			seqs = append(seqs, cached{prefix, own})
		}
	}
	for _, window := range []int{0, 9} {
		for _, size := range [][2]int{{2, 20}, {1, 64}} {
			prefixes(t, d, runtime.F32, seqs, size[0], size[1], window)
		}
	}
}

// HalfPrefixes is Prefixes for matrices of a half type.
func HalfPrefixes(t *testing.T, open func(threads int) runtime.Device, dt runtime.DType) {
	d := open(2)
	defer d.Close()
	var seqs []cached
	for _, prefix := range []int{0, 7, 64, 65} {
		for _, own := range []int{1, 14, 66} {
			seqs = append(seqs, cached{prefix, own})
		}
	}
	for _, window := range []int{0, 9} {
		for _, size := range [][2]int{{1, 20}, {1, 64}} {
			prefixes(t, d, dt, seqs, size[0], size[1], window)
		}
	}
}

func prefixes(t *testing.T, dev runtime.Device, dt runtime.DType, seqs []cached, heads, d, window int) {
	t.Run(fmt.Sprintf("%s window %d, %dx%d", dt, window, heads, d), func(t *testing.T) {
		got := cachedAttention(t, dev, dt, seqs, 0, heads, d, window, true)
		for s := range seqs {
			want := cachedAttention(t, dev, dt, seqs[s:s+1], s, heads, d, window, false)[0]
			for i, w := range want {
				if math.Float32bits(got[s][i]) != math.Float32bits(w) {
					t.Fatalf("%+v: element %d is %v with its prefix in a pool, %v without", seqs[s], i, got[s][i], w)
				}
			}
		}
	})
}

// cachedAttention returns for each sequence the rows behind its prefix of the output and of all gradients. Sequence s has the
// data of number first+s.
func cachedAttention(t *testing.T, dev runtime.Device, dt runtime.DType, seqs []cached, first, heads, d, window int, pooled bool) [][]float32 {
	b := newBuilder(t, dev, "prefix", len(seqs), len(seqs))
	w := heads * d
	var q, k, v, pk, pv, dout []float32
	var qpos, table []int32
	starts, qStarts := []int32{0}, []int32{0}
	for i, s := range seqs {
		data := func(name string) []float32 { return random(fmt.Sprint(name, first+i), (s.prefix+s.own)*w) }
		skip := 0
		if pooled {
			skip = s.prefix
			table = append(table, int32(len(pk)/w), int32(skip))
			pk, pv = append(pk, data("k")[:skip*w]...), append(pv, data("v")[:skip*w]...)
		}
		k, v = append(k, data("k")[skip*w:]...), append(v, data("v")[skip*w:]...)
		q, dout = append(q, data("q")[s.prefix*w:]...), append(dout, data("dout")[s.prefix*w:]...)
		for p := range s.own {
			qpos = append(qpos, int32(s.prefix+p))
		}
		starts, qStarts = append(starts, int32(len(k)/w)), append(qStarts, int32(len(q)/w))
	}
	matrix := func(name string, x []float32) runtime.View {
		m := b.Plan.New(name, dt, len(x)/w, w)
		b.floats[m.Slot] = x
		return m
	}
	o := runtime.Attention{Q: matrix("q", q), K: matrix("k", k), V: matrix("v", v), Heads: heads, Scale: 0.3, Causal: true, Window: window,
		Seqs: b.N, QStarts: b.Ints("qstarts", qStarts...), Starts: b.Ints("starts", starts...), QPos: b.Ints("qpos", qpos...), MaxKeys: 131,
		Out: b.out("out", dt, len(q)/w, w)}
	if pooled {
		o.PrefixK, o.PrefixV, o.Prefix = matrix("pk", pk), matrix("pv", pv), b.Ints("prefix", table...)
	}
	b.Plan.Add(o)
	b.Plan.Add(runtime.AttentionGrad{Attention: o, DOut: matrix("dout", dout), DQ: b.out("dq", dt, len(q)/w, w),
		DK: b.out("dk", dt, len(k)/w, w), DV: b.out("dv", dt, len(k)/w, w)})
	prog := b.compile()
	defer prog.Close()
	if err := prog.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	out := make([][]float32, len(seqs))
	for i, x := range b.read(prog) {
		for s := range seqs {
			lo, hi := int(qStarts[s])*w, int(qStarts[s+1])*w
			if i >= 2 { // DK and DV, of the own keys
				hi = int(starts[s+1]) * w
				lo = hi - seqs[s].own*w
			}
			out[s] = append(out[s], x[lo:hi]...)
		}
	}
	return out
}
