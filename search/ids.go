package search

import (
	"bytes"
	"crypto/sha256"
	"hash/maphash"
	"math/bits"
)

// Digest is the first 16 bytes of the SHA-256 of what a row was made from: an image file's bytes, a caption. It tells, when
// a gallery is made again, which rows are still right. The zero Digest stands for none.
type Digest [16]byte

// DigestOf returns the digest of some content.
func DigestOf(content []byte) (d Digest) {
	sum := sha256.Sum256(content)
	copy(d[:], sum[:])
	return d
}

// idTable finds rows by id: open addressing over row numbers, four to eight bytes a row beside the ids themselves.
type idTable struct {
	g     *Gallery
	seed  maphash.Seed
	slots []uint32 // row + 1, 0 is empty
	first int      // of two rows with one id
	again int
}

func newIDTable(g *Gallery) *idTable {
	t := &idTable{g: g, seed: maphash.MakeSeed(), slots: make([]uint32, 1<<bits.Len(uint(g.rows+g.rows/2)))}
	for i := range g.rows {
		slot, row := t.slot(g.id(i))
		if row >= 0 {
			if t.again == 0 {
				t.first, t.again = row, i
			}
			continue
		}
		t.slots[slot] = uint32(i + 1)
	}
	return t
}

// slot is the place of an id and the row it holds, -1 if the id is not there.
func (t *idTable) slot(id []byte) (slot uint64, row int) {
	last := uint64(len(t.slots) - 1)
	for slot = maphash.Bytes(t.seed, id) & last; ; slot = (slot + 1) & last {
		row = int(t.slots[slot]) - 1
		if row < 0 || bytes.Equal(t.g.id(row), id) {
			return slot, row
		}
	}
}

func (t *idTable) find(id []byte) (row int, ok bool) {
	_, row = t.slot(id)
	return row, row >= 0
}

// duplicate returns two rows with one id.
func (t *idTable) duplicate() (first, again int, twice bool) { return t.first, t.again, t.again > 0 }
