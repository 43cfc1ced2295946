package bpe

// chain is a word in the course of merging: a linked list of symbols, each at the place of its first byte, and a heap of
// the pairs that can be merged, so that a word of n bytes takes O(n log n).
type chain struct {
	m          *model
	ids        []int32
	prev, next []int32
	ranks      []int32  // of the pair that begins at a place, -1 where none does
	heap       []uint64 // rank<<32 | place, the lowest on top
	count      int
}

func newChain(m *model, word string) *chain {
	n := len(word)
	mem := make([]int32, 4*n)
	w := &chain{m: m, ids: mem[:n], prev: mem[n : 2*n], next: mem[2*n : 3*n], ranks: mem[3*n:], count: n}
	for i := range n {
		w.ids[i], w.prev[i], w.next[i] = m.leaves[word[i]], int32(i-1), int32(i+1)
	}
	for i := range n {
		w.rate(int32(i))
	}
	return w
}

// rate puts the pair that begins at place i on the heap, if there is a merge for it.
func (w *chain) rate(i int32) {
	w.ranks[i] = -1
	j := w.next[i]
	if int(j) >= len(w.ids) {
		return
	}
	if g, ok := w.m.merges[[2]int32{w.ids[i], w.ids[j]}]; ok {
		w.ranks[i] = g.rank
		w.push(uint64(g.rank)<<32 | uint64(i))
	}
}

// step merges the best pair and reports whether there was one.
func (w *chain) step() bool {
	for len(w.heap) > 0 {
		top := w.pop()
		i := int32(uint32(top))
		if w.ranks[i] != int32(top>>32) {
			continue // one of its symbols has been merged since
		}
		j := w.next[i]
		w.ids[i] = w.m.merges[[2]int32{w.ids[i], w.ids[j]}].product
		w.ranks[j] = -1
		w.next[i] = w.next[j]
		if k := int(w.next[i]); k < len(w.ids) {
			w.prev[k] = i
		}
		w.count--
		w.rate(i)
		if w.prev[i] >= 0 {
			w.rate(w.prev[i])
		}
		return true
	}
	return false
}

func (w *chain) push(x uint64) {
	w.heap = append(w.heap, x)
	for i := len(w.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if w.heap[up] <= w.heap[i] {
			return
		}
		w.heap[up], w.heap[i] = w.heap[i], w.heap[up]
		i = up
	}
}

func (w *chain) pop() uint64 {
	h := w.heap
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	w.heap = h
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c] < h[least] {
				least = c
			}
		}
		if least == i {
			return top
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
