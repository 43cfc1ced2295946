package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"isearle/runtime"
	"isearle/runtime/cpu"
)

func device(t testing.TB, threads int) runtime.Device {
	t.Helper()
	d, err := cpu.Open(cpu.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func index(t testing.TB, g *Gallery, dev runtime.Device) *Index {
	t.Helper()
	x, err := OpenIndex(context.Background(), g, dev, IndexOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

// naive scores all rows that a query may find with loops in f64, best first.
func naive(g *Gallery, query []float32, exclude []string, prefix string) []Result {
	var all []Result
	qn := norm(query)
	for i := range g.Len() {
		id := g.ID(i)
		if !strings.HasPrefix(id, prefix) || slices.Contains(exclude, id) {
			continue
		}
		x, s := g.Feature(i, nil), 0.0
		for j, v := range x {
			s += float64(v) * float64(query[j]) / qn
		}
		if n := norm(x); !g.meta.Normalised && n > 0 {
			s /= n
		}
		all = append(all, Result{ID: id, Row: i, Score: float32(s)})
	}
	slices.SortStableFunc(all, func(a, b Result) int { return cmp.Compare(b.Score, a.Score) })
	return all
}

// sameResults compares with the best k of the naive answer: each result has its row's score, each place has the right score,
// and equal scores are in order.
func sameResults(t *testing.T, what string, got, all []Result, k int) {
	t.Helper()
	const tol = 2e-6
	if len(got) != min(k, len(all)) {
		t.Fatalf("%s: %d results, want %d", what, len(got), min(k, len(all)))
	}
	scores := map[string]float32{}
	for _, r := range all {
		scores[r.ID] = r.Score
	}
	for i, r := range got {
		score, ok := scores[r.ID]
		if !ok || r.Rank != i+1 || math.Abs(float64(r.Score-score)) > tol || math.Abs(float64(r.Score-all[i].Score)) > tol {
			t.Fatalf("%s: result %d is %+v, want %+v", what, i, r, all[i])
		}
		delete(scores, r.ID)
		if i > 0 && !(runtime.Hit{Row: got[i-1].Row, Score: got[i-1].Score}).Before(runtime.Hit{Row: r.Row, Score: r.Score}) {
			t.Fatalf("%s: results %+v and %+v are in the wrong order", what, got[i-1], r)
		}
	}
}

func TestIndex(t *testing.T) {
	const n, dim = 700, 48
	x, queries := features(11, n, dim), features(12, 5, dim)
	for i := 1; i < n; i += 50 {
		copy(x[i], x[0]) // ties
	}
	queries = append(queries, x[0], x[30])
	for _, dt := range floatTypes {
		for _, kind := range []string{"plain", "coarse", "raw"} {
			t.Run(fmt.Sprintf("%s %s", dt, kind), func(t *testing.T) {
				meta, rows := testMeta(dim), x
				meta.DType, meta.Coarse, meta.Normalised = dt, kind == "coarse", kind != "raw"
				if kind == "raw" {
					rows = scaled(x)
				}
				path := filepath.Join(t.TempDir(), "g.isx")
				write(t, path, meta, rows)
				testIndex(t, open(t, path), queries)
			})
		}
	}
}

// scaled gives rows lengths of their own, one of them zero.
func scaled(x [][]float32) (out [][]float32) {
	for i, row := range x {
		row = slices.Clone(row)
		for j := range row {
			row[j] *= float32(i % 60)
		}
		out = append(out, row)
	}
	return out
}

func testIndex(t *testing.T, g *Gallery, queries [][]float32) {
	one, two := index(t, g, device(t, 1)), index(t, g, device(t, 2))
	two.setChunk(1) // as small as can be
	exclude := make([][]string, len(queries))
	for i := range exclude {
		exclude[i] = []string{testID(0), "nowhere", testID(30 + i), testID(0)}
	}
	for _, q := range []Query{
		{Features: queries, K: 1},
		{Features: queries, K: 10},
		{Features: queries, K: 10, Exclude: exclude},
		{Features: queries, K: 12, Prefix: "b/"},
		{Features: queries, K: 3, Prefix: "b/image 1", Exclude: exclude},
		{Features: queries, K: 3, Prefix: "none such"},
		{Features: queries, K: g.Len() + 100},
		{Features: queries[:1], K: 10},
		{K: 10},
	} {
		got, err := one.Search(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("k %d, prefix %q, exclude %t", q.K, q.Prefix, q.Exclude != nil)
		for i, f := range q.Features {
			var ex []string
			if q.Exclude != nil {
				ex = q.Exclude[i]
			}
			sameResults(t, fmt.Sprintf("%s, query %d", what, i), got[i], naive(g, f, ex, q.Prefix), q.K)
		}
		q.Exact = true
		again, err := two.Search(context.Background(), q)
		if err != nil || !slices.EqualFunc(got, again, slices.Equal) {
			t.Fatalf("%s: exact, on two threads: %v, %v, not %v", what, err, again, got)
		}
	}
}

// TestIndexTies checks that equal scores come in the order of rows, whatever is excluded.
func TestIndexTies(t *testing.T) {
	x := make([][]float32, 300)
	for i := range x {
		x[i] = []float32{0.6, 0.8}
	}
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, testMeta(2), x)
	got, err := index(t, open(t, path), device(t, 2)).Search(context.Background(), Query{
		Features: [][]float32{{3, 4}}, K: 4, Exclude: [][]string{{testID(1), testID(2)}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range []int{0, 3, 4, 5} {
		if r := got[0][i]; r.Row != row || r.ID != testID(row) || r.Rank != i+1 || math.Abs(float64(r.Score)-1) > 1e-6 {
			t.Errorf("result %d is %+v, want row %d", i, r, row)
		}
	}
}

// TestIndexBatches checks that what is asked together does not matter: more queries than one scan takes, and so many results
// that scans are smaller.
func TestIndexBatches(t *testing.T) {
	const n, dim = 50, 4
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, testMeta(dim), features(13, n, dim))
	x := index(t, open(t, path), device(t, 2))
	queries := features(14, maxBatch+30, dim)
	exclude := make([][]string, len(queries))
	exclude[maxBatch+3] = []string{testID(7)}
	all, err := x.Search(context.Background(), Query{Features: queries, K: 5, Exclude: exclude})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, maxBatch - 1, maxBatch, maxBatch + 3, maxBatch + 29} {
		one, err := x.Search(context.Background(), Query{Features: queries[i : i+1], K: 5, Exclude: exclude[i : i+1]})
		if err != nil || !slices.Equal(one[0], all[i]) {
			t.Errorf("query %d alone: %v, %v, not %v", i, err, one, all[i])
		}
	}
	big := &Index{g: &Gallery{rows: 1 << 20}}
	if hi, hits := big.batch(0, maxBatch, 1<<19, make([][]int, 100)); hi != maxHits>>19 || hits != 1<<19 {
		t.Errorf("a scan for %d results takes %d queries of %d hits", 1<<19, hi, hits)
	}
	if hi, hits := big.batch(98, maxBatch, 1<<30, make([][]int, 100)); hi < 99 || hits != 1<<20 {
		t.Errorf("a scan for all results ends at query %d, with %d hits", hi, hits)
	}
}

func TestIndexRefusals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, testMeta(3), features(15, 20, 3))
	x := index(t, open(t, path), device(t, 1))
	good := []float32{1, 0, 0}
	for want, q := range map[string]Query{
		"k is 0":                        {Features: [][]float32{good}},
		"query 1 has dimension 2":       {Features: [][]float32{good, {1, 0}}, K: 1},
		"query 0 has length 0":          {Features: [][]float32{{0, 0, 0}}, K: 1},
		"query 0 has length NaN":        {Features: [][]float32{{0, float32(math.NaN()), 0}}, K: 1},
		"1 lists of excluded ids for 2": {Features: [][]float32{good, good}, K: 1, Exclude: [][]string{nil}},
	} {
		if _, err := x.Search(context.Background(), q); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := x.Search(ctx, Query{Features: [][]float32{good}, K: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got, err := x.Search(context.Background(), Query{Features: [][]float32{good}, K: 1}); err != nil || len(got[0]) != 1 {
		t.Errorf("after a cancelled search: %v, %v", got, err)
	}
}

func TestIndexConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, testMeta(6), features(16, 200, 6))
	x := index(t, open(t, path), device(t, 2))
	queries := features(17, 8, 6)
	var want [8][]Result
	for i := range want {
		got, err := x.Search(context.Background(), Query{Features: queries[i : i+1], K: 9, Prefix: []string{"", "b/"}[i%2]})
		if err != nil {
			t.Fatal(err)
		}
		want[i] = got[0]
	}
	var wg sync.WaitGroup
	for i := range 8 * 4 {
		wg.Go(func() {
			i %= 8
			got, err := x.Search(context.Background(), Query{Features: queries[i : i+1], K: 9, Prefix: []string{"", "b/"}[i%2]})
			if err != nil || !slices.Equal(got[0], want[i]) {
				t.Errorf("query %d: %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestIndexEmptyGallery(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, testMeta(3), nil)
	got, err := index(t, open(t, path), device(t, 1)).Search(context.Background(), Query{Features: [][]float32{{1, 0, 0}}, K: 5})
	if err != nil || len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// scarce is a device whose searches have memory for few queries.
type scarce struct {
	runtime.Device
	most  int
	tries []int
}

func (d *scarce) NewSearch(dim int) (runtime.Search, error) {
	s, err := d.Device.NewSearch(dim)
	return &scarceSearch{s, d}, err
}

type scarceSearch struct {
	runtime.Search
	dev *scarce
}

func (s *scarceSearch) Begin(queries []float32, nq, k int) error {
	s.dev.tries = append(s.dev.tries, nq)
	if nq > s.dev.most {
		return fmt.Errorf("%d queries: %w", nq, runtime.ErrOutOfMemory)
	}
	return s.Search.Begin(queries, nq, k)
}

// Out of memory, half of the queries are tried, with the same results; that one is too much is an error.
func TestIndexOutOfMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, testMeta(8), features(21, 100, 8))
	g := open(t, path)
	dev := &scarce{Device: device(t, 1), most: 3}
	x := index(t, g, dev)
	q := Query{Features: features(22, 11, 8), K: 4}
	got, err := x.Search(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	want, err := index(t, g, dev.Device).Search(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("query %d: %v, want %v", i, got[i], want[i])
		}
	}
	if !slices.Equal(dev.tries, []int{11, 5, 2, 2, 2, 2, 2, 1}) {
		t.Errorf("batches of %v", dev.tries)
	}
	dev.most = 0
	if _, err := x.Search(context.Background(), q); !errors.Is(err, runtime.ErrOutOfMemory) {
		t.Errorf("error %v", err)
	}
}
