package gpt

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBan(t *testing.T) {
	for _, c := range []struct {
		history []int32
		n       int
		want    []int32
	}{
		{[]int32{1, 2, 1}, 0, nil},
		{[]int32{1, 2, 1}, 1, []int32{1, 2}},
		{[]int32{1, 2, 1}, 2, []int32{2}},
		{[]int32{1, 2, 1, 3, 1, 2, 1}, 2, []int32{2, 3}},
		{[]int32{1, 1}, 2, []int32{1}},
		{[]int32{1}, 2, nil},
		{[]int32{1}, 3, nil},
		{[]int32{1, 2, 3, 1, 2}, 3, []int32{3}},
		{[]int32{1, 2, 3, 2}, 3, nil},
	} {
		var s sampler
		if s.ban(c.history, c.n); !slices.Equal(s.banned, c.want) {
			t.Errorf("%v, %d: %v banned, want %v", c.history, c.n, s.banned, c.want)
		}
	}
}

// TestDistribution compares many draws with the softmax that they should follow.
func TestDistribution(t *testing.T) {
	logits := []float32{1, 3, -2, 3, 0.5, 2, 2.5}
	o := Sampling{Temperature: .5, TopK: 4, NoRepeat: 2, MaxLength: 9}
	history := []int32{0, 5, 0} // bans token 5; the best four are left of 3, 3, 2.5, 1, .5, -2
	want := make([]float64, len(logits))
	total := 0.0
	for _, i := range []int{0, 1, 3, 6} {
		want[i] = math.Exp(float64(logits[i]) / o.Temperature)
		total += want[i]
	}
	const draws = 200_000
	var s sampler
	r := rand.New(rand.NewPCG(3, 4))
	count := make([]float64, len(logits))
	for range draws {
		id, err := s.next(logits, history, o, r)
		if err != nil {
			t.Fatal(err)
		}
		count[id]++
	}
	for i := range logits {
		p := want[i] / total
		// Five standard deviations of a binomial count.
		if d := math.Abs(count[i] - draws*p); d > 5*math.Sqrt(draws*p*(1-p)) {
			t.Errorf("token %d was drawn %v times of %d, want about %v", i, count[i], draws, draws*p)
		}
	}
}

func TestThresholdAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		x := make([]float32, 1+r.IntN(60))
		for i := range x {
			x[i] = float32(r.IntN(20))
		}
		k := 1 + r.IntN(len(x)+3)
		s := sampler{banned: []int32{int32(r.IntN(len(x)))}}
		var rest []float32
		for i, v := range x {
			if int32(i) != s.banned[0] {
				rest = append(rest, v)
			}
		}
		slices.Sort(rest)
		want := float32(math.Inf(-1))
		if k < len(rest) {
			want = rest[len(rest)-k]
		}
		if got := s.threshold(x, k); got != want {
			t.Fatalf("%v without %v: the best %d reach down to %v, want %v", x, s.banned, k, got, want)
		}
	}
}

func TestNextErrors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, logits := range [][]float32{{1, nan}, {-inf, -inf}, {inf, 1}} {
		var s sampler
		if _, err := s.next(logits, []int32{0}, Sampling{}, nil); !errors.Is(err, ErrLogits) {
			t.Errorf("%v: error %v", logits, err)
		}
	}
	var s sampler
	if _, err := s.next([]float32{1, 2}, []int32{0, 0, 1, 0}, Sampling{NoRepeat: 2}, nil); !errors.Is(err, ErrLogits) {
		t.Errorf("all banned: error %v", err)
	}
}
