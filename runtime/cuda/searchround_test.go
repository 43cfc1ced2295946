//go:build cuda

package cuda

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"isearle/runtime"
)

// Every query is rounded to the nearest, and its slack is what its own rounding takes, and infinite where a score may overflow.
func TestRoundQueries(t *testing.T) {
	const nq, dim, depth, huge, zero, nan = 333, 100, 128, 17, 18, 19
	d := opened(t)
	for _, dt := range []runtime.DType{runtime.F16, runtime.BF16} {
		q := randomQueries(nq, dim, depth)
		q.padded[huge*depth] = 0x1p100
		clear(q.padded[zero*depth : (zero+1)*depth])
		q.padded[nan*depth+3] = float32(math.NaN())
		queries := make([]float32, 0, nq*dim)
		for i := range nq {
			queries = append(queries, q.padded[i*depth:][:dim]...)
		}
		x, err := shaped{d, func(s *searchShape) { s.tensorFrom = 2 }}.NewSearch(dim)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		s := x.(*search)
		if err := s.Begin(queries, nq, 1); err != nil {
			t.Fatal(err)
		}
		rounded, slack := make([]byte, 2*nq*depth), make([]float32, nq)
		if err := d.do("round", func() error {
			return errors.Join(s.roundQueries(dt), d.download(s.memory.rounded.ptr, len(rounded), func(piece []byte, off int) { copy(rounded[off:], piece) }),
				d.download(s.memory.slack.ptr, 4*nq, func(piece []byte, off int) { decode(slack[off/4:off/4+len(piece)/4], runtime.F32, piece) }))
		}); err != nil {
			t.Fatal(err)
		}
		want := make([]byte, len(rounded))
		encode(want, dt, q.padded)
		values := make([]float32, depth)
		for i := range nq {
			if i != nan && !bytes.Equal(rounded[2*i*depth:2*(i+1)*depth], want[2*i*depth:2*(i+1)*depth]) {
				t.Fatalf("%s: query %d is not rounded to the nearest", dt, i)
			}
			decode(values, dt, want[2*i*depth:2*(i+1)*depth])
			var size, off, other float64
			for j, v := range q.padded[i*depth : (i+1)*depth] {
				size += float64(v) * float64(v)
				other += float64(values[j]) * float64(values[j])
				off += (float64(v) - float64(values[j])) * (float64(v) - float64(values[j]))
			}
			least := math.Sqrt(off) + (4*dim+64)*0x1p-24*(math.Sqrt(size)+math.Sqrt(other))
			got, infinite := float64(slack[i]), i == huge || i == nan
			if infinite && !math.IsInf(got, 1) || !infinite && (got < least || got > least*(1+1e-4)+0x1p-50) {
				t.Fatalf("%s: query %d has slack %v; it takes %v", dt, i, got, least)
			}
		}
	}
}

func randomQueries(nq, dim, depth int) boundQueries {
	q := boundQueries{padded: make([]float32, nq*depth)}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range nq {
		for j := range dim {
			q.padded[i*depth+j] = float32(rng.NormFloat64())
		}
	}
	return q
}
