package cpu

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"isearle/runtime"
)

// key holds a hit in one integer whose order is that of hits: a is better than b where a > b. The upper half is the score,
// the lower half the complement of the row.
type key uint64

// maxRow is the largest row a key holds.
const maxRow = math.MaxUint32

// ordered maps a score that is not NaN to an integer of the same order; both zeros are one.
func ordered(score float32) uint32 {
	b := math.Float32bits(score + 0) // -0 + 0 is +0
	if b>>31 == 1 {
		return ^b
	}
	return b | 1<<31
}

func unordered(o uint32) float32 {
	if o>>31 == 1 {
		return math.Float32frombits(o &^ (1 << 31))
	}
	return math.Float32frombits(^o)
}

func newKey(score float32, row uint32) key { return key(ordered(score))<<32 | key(^row) }

func (k key) score() float32   { return unordered(uint32(k >> 32)) }
func (k key) hit() runtime.Hit { return runtime.Hit{Row: int(^uint32(k)), Score: k.score()} }

// top collects the best k keys of a stream: up to 2k candidates, of which the better half stays when it is full, so that a
// key costs constant time and two keys of memory.
type top struct {
	k    int
	keys []key
	// floor is a score that the k-th best hit reaches: what lies below need not be added.
	floor float32
}

// topStart is the room a list begins with: enough for k = 64 without growing.
const topStart = 128

func (t *top) reset(k int) {
	t.k, t.floor = k, float32(math.Inf(-1))
	t.keys = slices.Grow(t.keys[:0], min(2*k, topStart))
}

// add takes a hit and reports whether the floor has been raised.
func (t *top) add(k key) bool {
	if len(t.keys) == cap(t.keys) && len(t.keys) < 2*t.k {
		t.keys = slices.Grow(t.keys, min(len(t.keys), 2*t.k-len(t.keys)))
	}
	t.keys = append(t.keys, k)
	if len(t.keys) < 2*t.k {
		return false
	}
	return t.settle()
}

// settle drops what is not among the best k and reports whether the floor has been raised.
func (t *top) settle() bool {
	if len(t.keys) < t.k {
		return false
	}
	selectBest(t.keys, t.k)
	t.keys = t.keys[:t.k]
	if s := t.keys[t.k-1].score(); s > t.floor {
		t.floor = s
		return true
	}
	return false
}

// selectBest moves the k best keys to the front, the worst of them last among them. 1 <= k <= len(a).
func selectBest(a []key, k int) {
	lo, hi, target := 0, len(a)-1, k-1
	// Hoare's selection takes linear time; where the values defeat its pivots, a sort bounds it.
	for budget := 2 * bits.Len(uint(len(a))); lo < hi; budget-- {
		if budget == 0 {
			sortBest(a[lo : hi+1])
			return
		}
		p := median(a[lo], a[lo+(hi-lo)/2], a[hi])
		i, j := lo, hi
		for i <= j {
			for a[i] > p {
				i++
			}
			for a[j] < p {
				j--
			}
			if i <= j {
				a[i], a[j] = a[j], a[i]
				i++
				j--
			}
		}
		// What lies between j and i equals p.
		switch {
		case target <= j:
			hi = j
		case target >= i:
			lo = i
		default:
			return
		}
	}
}

func median(a, b, c key) key { return max(min(a, b), min(max(a, b), c)) }

func sortBest(a []key) { slices.SortFunc(a, func(x, y key) int { return cmp.Compare(y, x) }) }
