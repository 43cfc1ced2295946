package gpt

import (
	"errors"
	"fmt"
	"io"

	"isearle/runtime"
)

// cache keeps the keys and values of sequences under way: a slot of length rows for each, one pool of all slots a layer.
type cache struct {
	slots, length   int
	k, v            []runtime.Buffer
	prefill, decode *graph
	owned           []io.Closer
}

const (
	// defaultBatch is how many sequences share a step: enough rows for a product to be bound by arithmetic, not by reading
	// the weights.
	defaultBatch = 64
	// cacheBytes bounds the memory of keys and values; larger models get fewer slots.
	cacheBytes = 1 << 30
	// prefillSeqs and prefillRows bound one run over prompts.
	prefillSeqs, prefillRows = 8, 256
)

func (c *cache) rows() int { return c.slots * c.length }

func (c *cache) base(slot int) int { return slot * c.length }

// open returns a cache for sequences of at most length tokens.
func (m *Model) openCache(length int) (*cache, error) {
	if m.cache != nil && m.cache.length == length {
		return m.cache, nil
	}
	if err := m.cache.close(); err != nil {
		return nil, err
	}
	m.cache = nil
	perSlot := 2 * 4 * m.cfg.Layers * m.cfg.Width * length
	c := &cache{length: length, slots: max(1, min(m.batch, cacheBytes/perSlot))}
	if err := c.alloc(m); err != nil {
		return nil, errors.Join(fmt.Errorf("gpt: cache of %d sequences: %w", c.slots, err), c.close())
	}
	m.cache = c
	return c, nil
}

func (c *cache) alloc(m *Model) (err error) {
	for range m.layers {
		for _, pool := range []*[]runtime.Buffer{&c.k, &c.v} {
			b, err := m.dev.Alloc(runtime.F32, c.rows()*m.cfg.Width)
			if err != nil {
				return err
			}
			*pool, c.owned = append(*pool, b), append(c.owned, b)
		}
	}
	c.prefill, err = m.compile("prompts", capacity{seqs: min(c.slots, prefillSeqs), rows: max(c.length, prefillRows),
		outs: min(c.slots, prefillSeqs), copies: c.rows()}, c)
	if err != nil {
		return err
	}
	c.owned = append(c.owned, c.prefill.prog)
	if c.decode, err = m.compile("continue", capacity{seqs: c.slots, rows: c.slots, outs: c.slots, copies: c.slots}, c); err != nil {
		return err
	}
	c.owned = append(c.owned, c.decode.prog)
	return nil
}

func (c *cache) close() error {
	if c == nil {
		return nil
	}
	var errs []error
	for _, o := range c.owned {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}
