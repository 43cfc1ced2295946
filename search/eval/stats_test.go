package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestRank compares with a full stable sort.
func TestRank(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 7, 50, 257} {
		for _, order := range []Order{BySimilarity, ByDistance} {
			scores := make([]float32, n)
			for i := range scores {
				scores[i] = float32(rng.IntN(9)-4) / 8 // many ties
				if rng.IntN(3) == 0 {
					scores[i] += rng.Float32() * 1e-8 // equal after 1-s only
				}
			}
			want := make([]int, 0, n)
			exclude := rng.IntN(n+1) - 1
			for i := range n {
				if i != exclude {
					want = append(want, i)
				}
			}
			slices.SortStableFunc(want, func(a, b int) int {
				x, y := order.key(scores[a]), order.key(scores[b])
				switch {
				case x > y:
					return -1
				case x < y:
					return 1
				}
				return 0
			})
			if len(want) == 0 {
				continue
			}
			q := Query{Exclude: exclude, Targets: []int{want[len(want)/2], want[0]}, Group: slices.Clone(want)}
			rng.Shuffle(len(q.Group), func(i, j int) { q.Group[i], q.Group[j] = q.Group[j], q.Group[i] })
			for _, depth := range []int{0, 1, 10, n, 2 * n} {
				r := Rank(scores, order, &q, depth)
				k := min(depth, len(want))
				if !slices.Equal(r.Top, want[:k]) || !slices.Equal(r.Group, want) || r.Target != len(want)/2+1 {
					t.Fatalf("n %d, depth %d: top %v, group %v, target %d, want %v", n, depth, r.Top, r.Group, r.Target, want)
				}
				for i, row := range r.Top {
					if r.Hits[i] != slices.Contains(q.Targets, row) || r.Scores[i] != scores[row] {
						t.Fatalf("n %d: hit or score of rank %d is wrong", n, i+1)
					}
				}
			}
		}
	}
}

func TestDistanceTies(t *testing.T) {
	// 1 - s is 1 for both in f32, so the lower index comes first; by similarity the larger does.
	scores := []float32{1e-9, 2e-9}
	q := Query{Exclude: -1}
	if got := Rank(scores, ByDistance, &q, 2).Top; !slices.Equal(got, []int{0, 1}) {
		t.Errorf("by distance %v", got)
	}
	if got := Rank(scores, BySimilarity, &q, 2).Top; !slices.Equal(got, []int{1, 0}) {
		t.Errorf("by similarity %v", got)
	}
}

func TestAveragePrecision(t *testing.T) {
	hits := []bool{true, false, true, false, false}
	for _, c := range []struct {
		right, k int
		want     float64
	}{{2, 5, (1 + 2./3) / 2}, {4, 5, (1 + 2./3) / 4}, {9, 3, (1 + 2./3) / 3}, {2, 1, 1}, {0, 5, 0}, {2, 0, 0}, {3, 50, (1 + 2./3) / 3}} {
		if got := AveragePrecision(hits, c.right, c.k); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("AP@%d of %d right: %v, want %v", c.k, c.right, got, c.want)
		}
	}
}

// TestIntervals compares the bootstrap with the normal approximation, which is good for many queries.
func TestIntervals(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const n, resamples = 2000, 2000
	m := Measure{Name: "x", Values: make([]float64, n)}
	ranks := Measure{Name: "r", Stat: MedianRank, Values: make([]float64, n)}
	for i := range n {
		m.Values[i] = fraction(rng.Float64() < .3)
		ranks.Values[i] = float64(1 + rng.IntN(101))
	}
	m.Values[7] = math.NaN()
	samples := bootstrap([]Measure{m, ranks}, n, 5, 0, resamples)
	low, high := interval(samples[0])
	p := m.Value()
	half := 1.96 * math.Sqrt(p*(1-p)/n)
	if math.Abs(low-(p-half)) > half/8 || math.Abs(high-(p+half)) > half/8 {
		t.Errorf("interval %v to %v, normal %v to %v", low, high, p-half, p+half)
	}
	if low, high := interval(samples[1]); low > ranks.Value() || high < ranks.Value() || high-low > 15 || high == low {
		t.Errorf("median %v, interval %v to %v", ranks.Value(), low, high)
	}
	if m.Count() != n-1 {
		t.Errorf("%d queries count", m.Count())
	}
	again := bootstrap([]Measure{m, ranks}, n, 5, 0, resamples)
	if !slices.Equal(samples[0], again[0]) || !slices.Equal(samples[1], again[1]) {
		t.Error("the same seed gives other samples")
	}
}

// The interval of a mean is about 1.96 standard errors to either side.
func TestMeanInterval(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	values, sum := make([]float64, 400), 0.0
	for i := range values {
		values[i] = r.NormFloat64() * 10
		sum += values[i]
	}
	low, high := MeanInterval(values, 1, 4000)
	if mid := sum / 400; math.Abs(low-(mid-.98)) > .12 || math.Abs(high-(mid+.98)) > .12 {
		t.Errorf("mean %v, interval %v to %v", mid, low, high)
	}
	if low, high := MeanInterval([]float64{2, 2, 2}, 1, 10); low != 2 || high != 2 {
		t.Errorf("equal values: %v to %v", low, high)
	}
	if low, _ := MeanInterval(values, 1, 0); !math.IsNaN(low) {
		t.Errorf("without resamples: %v", low)
	}
}

func TestWeightedMedian(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		n := 1 + rng.IntN(12)
		values, times := make([]float64, n), make([]int, n)
		var all []float64
		for i := range n {
			values[i] = float64(1 + rng.IntN(9))
			times[i] = rng.IntN(4)
			for range times[i] {
				all = append(all, values[i])
			}
		}
		if len(all) == 0 {
			continue
		}
		if got, want := weightedMedian(values, sorted(values), times), MedianRank.of(all); got != want {
			t.Fatalf("%v times %v: %v, want %v", values, times, got, want)
		}
	}
}

// TestPairedTest compares with the exact sign test's tail, and checks that p values of equal methods are not small.
func TestPairedTest(t *testing.T) {
	// a is better in 9 of 10 queries that differ by one each: P(|S| >= 8) = 2 (C(10,0)+C(10,1)) / 2^10.
	const n, resamples = 10, 20000
	a, b := Measure{Name: "x"}, Measure{Name: "x"}
	for i := range n {
		a.Values, b.Values = append(a.Values, fraction(i > 0)), append(b.Values, fraction(i == 0))
	}
	d := &Dataset{Tasks: []Task{{}}}
	methods := func(m Measure) *MethodResult {
		return &MethodResult{Tasks: []TaskResult{{Rankings: make([]Ranking, n), Measures: []Measure{m}}}}
	}
	tests := pairedTests(d, methods(a), methods(b), 1, resamples)
	if len(tests) != 1 || math.Abs(tests[0].Difference-.8) > 1e-12 {
		t.Fatalf("%+v", tests)
	}
	if want := 2 * 11. / 1024; math.Abs(tests[0].P-want) > 4*math.Sqrt(want/resamples) {
		t.Errorf("p is %v, want about %v", tests[0].P, want)
	}
	if same := pairedTests(d, methods(a), methods(a), 1, 100); same[0].P != 1 || same[0].Difference != 0 {
		t.Errorf("a method against itself: %+v", same[0])
	}
}

func TestScorerPanels(t *testing.T) {
	// More rows than a panel, and queries that fill no whole batch: every score against a float64 sum.
	const dim, rows, queries = 5, scorePanel + 3, scoreQueries + 1
	rng := rand.New(rand.NewPCG(7, 8))
	fill := func(n int) []float32 {
		x := make([]float32, n*dim)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		return units(x, dim)
	}
	g, q := fill(rows), fill(queries)
	s, err := NewScorer(cpuDevice(t), g, dim)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	seen := 0
	err = s.Each(t.Context(), q, func(i int, scores []float32) error {
		seen++
		for _, row := range []int{0, 1, scorePanel - 1, scorePanel, rows - 1} {
			want := 0.0
			for k := range dim {
				want += float64(g[row*dim+k]) * float64(q[i*dim+k])
			}
			if math.Abs(float64(scores[row])-want) > 1e-6 {
				return fmt.Errorf("query %d, row %d: %v, want %v", i, row, scores[row], want)
			}
		}
		return nil
	})
	if err != nil || seen != queries {
		t.Errorf("%d queries: %v", seen, err)
	}
}

func TestParseMethods(t *testing.T) {
	all, err := ParseMethods("")
	if err != nil || len(all) != len(Methods()) {
		t.Errorf("%d methods: %v", len(all), err)
	}
	for list, word := range map[string]string{"phi,x": `"x"`, "phi,phi": "twice", ",": `""`} {
		if _, err := ParseMethods(list); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v", list, err)
		}
	}
}

func TestPublishedRows(t *testing.T) {
	for set, n := range map[string]int{"circo": 8, "cirr": 9, "fashioniq": 8, "domain": 0, "objects": 0} {
		rows := PublishedRows(set)
		if len(rows) != n {
			t.Errorf("%s: %d rows, want %d", set, len(rows), n)
		}
		for _, r := range rows {
			if len(r.Values) != len(r.Columns) || r.Source == "" || r.Backbone == "" || r.Split == "" {
				t.Errorf("%s: %+v", set, r)
			}
		}
	}
}
