package tokenizer

import "math"

// Ids and ranks have 21 bits, so that a pair and its rank fill one word of the table. CLIP has 49,408 ids.
const (
	idBits  = 21
	maxIDs  = 1 << idBits
	noMerge = math.MaxUint32
)

// mergeTable finds the rank and the product of a pair of adjacent symbols. It is an open-addressing hash table with
// linear probing, at most half full: eight bytes a slot, so that CLIP's 48,894 merges fill 1 MiB and a miss, the
// usual case, costs one access.
type mergeTable struct {
	slots    []uint64 // 1<<63 | left<<42 | right<<21 | rank, 0 when empty
	shift    uint8
	products []int32 // by rank
}

func newMergeTable(merges int) mergeTable {
	bits := uint8(1)
	for 1<<bits < 2*merges {
		bits++
	}
	return mergeTable{slots: make([]uint64, 1<<bits), shift: 64 - bits, products: make([]int32, 0, merges)}
}

func (m *mergeTable) slot(left, right int32) (key, at uint64) {
	pair := uint64(left)<<idBits | uint64(right)
	return 1<<63 | pair<<idBits, pair * 0x9E3779B97F4A7C15 >> m.shift // 2^64 / golden ratio (Knuth, vol. 3, 6.4)
}

// add enters the next merge and reports whether its pair is new. There is room for as many as newMergeTable was told.
func (m *mergeTable) add(left, right, product int32) bool {
	key, at := m.slot(left, right)
	for ; m.slots[at] != 0; at = (at + 1) & uint64(len(m.slots)-1) {
		if m.slots[at]&^(maxIDs-1) == key {
			return false
		}
	}
	m.slots[at] = key | uint64(len(m.products))
	m.products = append(m.products, product)
	return true
}

// rank returns the rank of the pair's merge, or noMerge.
func (m *mergeTable) rank(left, right int32) uint32 {
	key, at := m.slot(left, right)
	for {
		switch s := m.slots[at]; {
		case s&^(maxIDs-1) == key:
			return uint32(s & (maxIDs - 1))
		case s == 0:
			return noMerge
		}
		at = (at + 1) & uint64(len(m.slots)-1)
	}
}

// shortWord is the number of symbols up to which scanning all ranks for the best one beats a heap.
const shortWord = 48

// merge applies the merges to symbols, which it overwrites, until none is left, and appends the result to dst. Each
// step applies the merge of lowest rank, the leftmost of equals.
func (m *mergeTable) merge(dst, symbols []int32, q *mergeQueue) []int32 {
	n := len(symbols)
	if n > shortWord {
		return m.mergeLong(dst, symbols, q)
	}
	var ranks [shortWord]uint32
	for i := 1; i < n; i++ {
		ranks[i-1] = m.rank(symbols[i-1], symbols[i])
	}
	for n > 1 {
		best, at := uint32(noMerge), 0
		for i, r := range ranks[:n-1] {
			if r < best {
				best, at = r, i
			}
		}
		if best == noMerge {
			break
		}
		symbols[at] = m.products[best]
		copy(symbols[at+1:n-1], symbols[at+2:n])
		copy(ranks[at:n-2], ranks[at+1:n-1])
		n--
		if at > 0 {
			ranks[at-1] = m.rank(symbols[at-1], symbols[at])
		}
		if at < n-1 {
			ranks[at] = m.rank(symbols[at], symbols[at+1])
		}
	}
	return append(dst, symbols[:n]...)
}

// mergeQueue is the working memory of mergeLong: a binary heap of rank<<32 | position, lowest first, over a linked
// list of symbols.
type mergeQueue struct {
	heap       []uint64
	ranks      []uint32 // of the pair that starts at a position, noMerge where none does
	next, prev []int32
}

// mergeLong is merge in O(n log n).
func (m *mergeTable) mergeLong(dst, symbols []int32, q *mergeQueue) []int32 {
	n := int32(len(symbols))
	q.reset(len(symbols))
	rate := func(i int32) {
		q.ranks[i] = noMerge
		if i >= 0 && q.next[i] < n {
			if r := m.rank(symbols[i], symbols[q.next[i]]); r != noMerge {
				q.ranks[i] = r
				q.push(uint64(r)<<32 | uint64(i))
			}
		}
	}
	for i := range n {
		rate(i)
	}
	for len(q.heap) > 0 {
		top := q.pop()
		rank, i := uint32(top>>32), int32(uint32(top))
		if q.ranks[i] != rank {
			continue // one of the two symbols has been merged since
		}
		j := q.next[i]
		symbols[i] = m.products[rank]
		q.ranks[j] = noMerge
		q.next[i] = q.next[j]
		if q.next[i] < n {
			q.prev[q.next[i]] = i
		}
		rate(i)
		if q.prev[i] >= 0 {
			rate(q.prev[i])
		}
	}
	for i := int32(0); i < n; i = q.next[i] {
		dst = append(dst, symbols[i])
	}
	return dst
}

func (q *mergeQueue) reset(n int) {
	if cap(q.ranks) < n {
		q.ranks, q.next, q.prev = make([]uint32, n), make([]int32, n), make([]int32, n)
		q.heap = make([]uint64, 0, 3*n) // each of the at most n-1 merges rates two pairs anew
	}
	q.heap, q.ranks, q.next, q.prev = q.heap[:0], q.ranks[:n], q.next[:n], q.prev[:n]
	for i := range n {
		q.next[i], q.prev[i] = int32(i+1), int32(i-1)
	}
}

func (q *mergeQueue) push(x uint64) {
	q.heap = append(q.heap, x)
	i := len(q.heap) - 1
	for i > 0 && q.heap[(i-1)/2] > x {
		q.heap[i] = q.heap[(i-1)/2]
		i = (i - 1) / 2
	}
	q.heap[i] = x
}

func (q *mergeQueue) pop() uint64 {
	top, end := q.heap[0], len(q.heap)-1
	x := q.heap[end]
	q.heap = q.heap[:end]
	for i := 0; i < end; {
		child := 2*i + 1
		if child+1 < end && q.heap[child+1] < q.heap[child] {
			child++
		}
		if child >= end || x <= q.heap[child] {
			q.heap[i] = x
			break
		}
		q.heap[i] = q.heap[child]
		i = child
	}
	return top
}
