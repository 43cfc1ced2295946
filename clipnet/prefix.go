package clipnet

import (
	"context"

	"isearle/runtime"
)

// prefixCache keeps the keys and values of tokens that stand before a pseudo-word: they do not depend on it. One pool of rows
// a layer; an entry is a run of rows, found by the exact tokens. When the pool is full it is emptied.
type prefixCache struct {
	k, v    []runtime.Buffer // by layer, [poolRows, width]
	entries map[string]prefixEntry
	used    int
	name    []byte // scratch for keys
}

type prefixEntry struct{ offset, n int }

// open allocates the pools.
func (c *prefixCache) open(e *TextEncoder) error {
	c.entries = map[string]prefixEntry{}
	for range e.tower.layers {
		for _, pool := range []*[]runtime.Buffer{&c.k, &c.v} {
			b, err := e.dev.Alloc(e.tower.half, poolRows*e.tower.width)
			if err != nil {
				return err
			}
			e.owned = append(e.owned, b)
			*pool = append(*pool, b)
		}
	}
	return nil
}

// views are the pools in a Plan.
func (c *prefixCache) views(p *runtime.Plan, width int) (k, v []runtime.View) {
	for i := range c.k {
		k = append(k, p.Use("prefix keys", c.k[i], poolRows, width))
		v = append(v, p.Use("prefix values", c.v[i], poolRows, width))
	}
	return k, v
}

// key is the exact tokens as a map key.
func key(dst []byte, ids []int32) []byte {
	for _, id := range ids {
		dst = append(dst, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
	}
	return dst
}

// prefixLen is how many tokens of a sequence may be cached: those before its first pseudo-word, if it has one.
func prefixLen(s sequence) int {
	n := 0
	for i, p := range s.prompt.Pseudo {
		if i == 0 || p.Place < n {
			n = p.Place
		}
	}
	return min(n, s.pool)
}

// fill points the batch's sequences to cached prefixes, and first computes those that are not there yet.
func (c *prefixCache) fill(e *TextEncoder, b *textBatch) error {
	if c.used+c.missing(b) > poolRows {
		clear(c.entries)
		c.used = 0
	}
	var todo textBatch
	for i := range b.seqs {
		s := &b.seqs[i]
		n := prefixLen(*s)
		if n == 0 {
			continue
		}
		c.name = key(c.name[:0], s.prompt.IDs[:n])
		entry, ok := c.entries[string(c.name)]
		if !ok {
			if c.used+n > poolRows {
				continue
			}
			entry = prefixEntry{c.used, n}
			c.entries[string(c.name)] = entry
			c.used += n
			if most := e.most(); len(todo.seqs) == most.seqs || todo.rows+n > most.rows {
				if err := e.prefill(&todo); err != nil {
					return err
				}
				todo = textBatch{}
			}
			todo.add(sequence{prompt: Prompt{IDs: s.prompt.IDs[:n]}, pool: n - 1, offset: entry.offset})
		}
		s.offset, s.cached = entry.offset, entry.n
		b.rows -= entry.n
	}
	if len(todo.seqs) == 0 {
		return nil
	}
	return e.prefill(&todo)
}

// missing is how many rows the batch's new prefixes take at most.
func (c *prefixCache) missing(b *textBatch) int {
	rows := 0
	for _, s := range b.seqs {
		n := prefixLen(s)
		c.name = key(c.name[:0], s.prompt.IDs[:n])
		if _, ok := c.entries[string(c.name)]; !ok {
			rows += n
		}
	}
	return rows
}

// prefill computes the keys and values of new prefixes into the pool. It is not cut short, so that no entry is without content.
func (e *TextEncoder) prefill(b *textBatch) error {
	p, err := e.program(b, true)
	if err == nil {
		row := 0
		for i := range b.seqs {
			s := &b.seqs[i]
			for j := range s.prompt.IDs {
				p.graph.appendTo.host[row] = int32(s.offset + j)
				row++
			}
			s.offset = 0
		}
		err = p.run(context.Background(), b, nil, e.Width())
	}
	if err != nil {
		clear(e.cache.entries) // entries without content must not be found
		e.cache.used = 0
	}
	return err
}
