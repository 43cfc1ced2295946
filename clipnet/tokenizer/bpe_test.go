package tokenizer

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveMerge applies the merges one by one, looking at all pairs each time.
func naiveMerge(ranks map[[2]int32]int, products, symbols []int32) []int32 {
	for {
		best, at := len(products), -1
		for i := 1; i < len(symbols); i++ {
			if r, ok := ranks[[2]int32{symbols[i-1], symbols[i]}]; ok && r < best {
				best, at = r, i
			}
		}
		if at < 0 {
			return symbols
		}
		symbols[at-1] = products[best]
		symbols = slices.Delete(symbols, at, at+1)
	}
}

// Random merges over few symbols collide, overlap and make the same product in several ways.
func TestMerge(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		merges := 1 + rnd.IntN(60)
		table, ranks := newMergeTable(merges), map[[2]int32]int{}
		for range merges {
			pair := [2]int32{rnd.Int32N(12), rnd.Int32N(12)}
			product := rnd.Int32N(12)
			if _, double := ranks[pair]; double == table.add(pair[0], pair[1], product) {
				t.Fatalf("add(%v) says it is new: %v", pair, !double)
			} else if !double {
				ranks[pair] = len(ranks)
			}
		}
		for range 20 {
			symbols := make([]int32, rnd.IntN(3*shortWord))
			for i := range symbols {
				symbols[i] = rnd.Int32N(12)
			}
			want := naiveMerge(ranks, table.products, slices.Clone(symbols))
			if got := table.mergeLong(nil, slices.Clone(symbols), new(mergeQueue)); !slices.Equal(got, want) {
				t.Fatalf("by heap: %v gives %v, want %v", symbols, got, want)
			}
			if got := table.merge([]int32{5}, slices.Clone(symbols), new(mergeQueue)); !slices.Equal(got[1:], want) {
				t.Fatalf("%v gives %v, want %v", symbols, got, want)
			}
		}
	}
}

func TestByteSymbols(t *testing.T) {
	seen := map[rune]bool{}
	for b := range 256 {
		seen[byteSymbol(byte(b))] = true
	}
	// From GPT-2's encoder.json: space is Ġ, the line feed Ċ, the soft hyphen the last.
	if len(seen) != 256 || byteSymbol(' ') != 'Ġ' || byteSymbol('\n') != 'Ċ' || byteSymbol(0xAD) != 'Ń' || byteSymbol('a') != 'a' {
		t.Errorf("%d symbols, %c %c %c", len(seen), byteSymbol(' '), byteSymbol('\n'), byteSymbol(0xAD))
	}
	if o := byteOrder(); o[0] != '!' || o[255] != 0xAD || o['a'-'!'] != 'a' {
		t.Errorf("order %v", o)
	}
}
