//go:build cuda

package cuda

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"isearle/runtime"
)

// Every query's slack is what its own rounding takes, whichever goroutine has it, and infinite where a score may overflow.
func TestRoundQueries(t *testing.T) {
	const nq, dim, depth, huge = 333, 100, 128, 17
	for _, dt := range []runtime.DType{runtime.F16, runtime.BF16} {
		q := randomQueries(nq, dim, depth)
		q.padded[huge*depth] = 0x1p100
		rounded, slack := q.round(dt, dim, nq)
		want := make([]byte, len(rounded))
		encode(want, dt, q.padded)
		if !bytes.Equal(rounded, want) {
			t.Errorf("%s: queries are not rounded one by one", dt)
		}
		values := make([]float32, depth)
		for i := range nq {
			decode(values, dt, want[2*i*depth:])
			var size, off, other float64
			for j, v := range q.padded[i*depth : (i+1)*depth] {
				size += float64(v) * float64(v)
				other += float64(values[j]) * float64(values[j])
				off += (float64(v) - float64(values[j])) * (float64(v) - float64(values[j]))
			}
			least := math.Sqrt(off) + (4*dim+64)*0x1p-24*(math.Sqrt(size)+math.Sqrt(other))
			got := float64(slack[i])
			if i == huge && !math.IsInf(got, 1) || i != huge && (got < least || got > least*(1+1e-5)) {
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

func BenchmarkRoundQueries(b *testing.B) {
	const nq, dim = 1024, 512
	q := randomQueries(nq, dim, dim)
	for b.Loop() {
		q.round(runtime.F16, dim, nq)
	}
}
