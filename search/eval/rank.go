package eval

import (
	"container/heap"
	"slices"
)

// Ranking is the answer to one query.
type Ranking struct {
	// Top are the gallery's rows, best first, without the excluded one; Scores are their cosines.
	Top    []int
	Scores []float32
	// Hits says which of Top are right.
	Hits []bool
	// Target is the rank of the first right answer of the query's list, from 1, and 0 if it has none.
	Target int
	// Group is the query's group in the order of the ranking, without the excluded row.
	Group []int
	// Right is the number of right answers in the gallery.
	Right int
}

// Rank orders a gallery by scores, the cosines of one query with its rows, down to depth.
func Rank(scores []float32, o Order, q *Query, depth int) Ranking {
	keys := make([]float32, len(scores))
	for i, s := range scores {
		keys[i] = o.key(s)
	}
	before := func(a, b int) bool { return keys[a] > keys[b] || keys[a] == keys[b] && a < b }
	r := Ranking{Top: best(keys, before, q.Exclude, depth), Right: len(q.Targets)}
	right := make(map[int]bool, len(q.Targets))
	for _, t := range q.Targets {
		right[t] = true
	}
	for _, i := range r.Top {
		r.Scores, r.Hits = append(r.Scores, scores[i]), append(r.Hits, right[i])
	}
	if len(q.Targets) > 0 {
		t := q.Targets[0]
		for i := range keys {
			if i != q.Exclude && before(i, t) {
				r.Target++
			}
		}
		r.Target++
	}
	for _, i := range q.Group {
		if i != q.Exclude {
			r.Group = append(r.Group, i)
		}
	}
	slices.SortFunc(r.Group, func(a, b int) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	return r
}

// best returns the first rows, at most n.
func best(keys []float32, before func(a, b int) bool, exclude, n int) []int {
	h := worstFirst{before: before}
	for i := range keys {
		switch {
		case i == exclude || n < 1:
		case len(h.rows) < n:
			heap.Push(&h, i)
		case before(i, h.rows[0]):
			h.rows[0] = i
			heap.Fix(&h, 0)
		}
	}
	out := make([]int, len(h.rows))
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = heap.Pop(&h).(int)
	}
	return out
}

// worstFirst is a heap whose root is the last of the best rows.
type worstFirst struct {
	rows   []int
	before func(a, b int) bool
}

func (h worstFirst) Len() int           { return len(h.rows) }
func (h worstFirst) Less(i, j int) bool { return h.before(h.rows[j], h.rows[i]) }
func (h worstFirst) Swap(i, j int)      { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }
func (h *worstFirst) Push(x any)        { h.rows = append(h.rows, x.(int)) }
func (h *worstFirst) Pop() any {
	last := len(h.rows) - 1
	x := h.rows[last]
	h.rows = h.rows[:last]
	return x
}
