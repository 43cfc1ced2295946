package gpt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"sync"
)

// Sequence is a prompt to be continued with random numbers of its own.
type Sequence struct {
	Prompt []int32
	Rand   *rand.Rand // nil if the temperature is 0; not shared with another sequence
}

// ErrPrompt is wrapped by the error for a prompt that cannot be continued.
var ErrPrompt = errors.New("gpt: prompt cannot be continued")

// Generate continues sequences until their end-of-text token, which is kept, or the most tokens, and returns them with
// their prompts. Equal prompts that follow each other are computed once. A result depends on its own prompt and random
// numbers only.
func (m *Model) Generate(ctx context.Context, seqs []Sequence, o Sampling) ([][]int32, error) {
	if err := m.check(seqs, o); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	kv, err := m.openCache(o.MaxLength)
	if err != nil {
		return nil, err
	}
	var out [][]int32
	for group := range slices.Chunk(seqs, kv.slots) {
		b := batch{m: m, o: o, kv: kv}
		done, err := b.generate(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("gpt: generate: %w", err)
		}
		out = append(out, done...)
	}
	return out, nil
}

func (m *Model) check(seqs []Sequence, o Sampling) error {
	if err := o.check(m.cfg); err != nil {
		return err
	}
	for i, s := range seqs {
		if n := len(s.Prompt); n < 1 || n >= o.MaxLength {
			return fmt.Errorf("%w: sequence %d has %d tokens, 1 to %d are possible", ErrPrompt, i, n, o.MaxLength-1)
		}
		for _, id := range s.Prompt {
			if id < 0 || int(id) >= m.cfg.Vocab {
				return fmt.Errorf("%w: sequence %d has the id %d, the vocabulary %d", ErrPrompt, i, id, m.cfg.Vocab)
			}
		}
	}
	return nil
}

// batch are sequences that are continued together, each in a slot of the cache.
type batch struct {
	m      *Model
	o      Sampling
	kv     *cache
	seqs   []Sequence
	out    [][]int32
	live   []int // slots under way
	logits []float32
}

func (b *batch) generate(ctx context.Context, seqs []Sequence) ([][]int32, error) {
	b.seqs = seqs
	for _, s := range seqs {
		b.out = append(b.out, slices.Grow(slices.Clone(s.Prompt), b.o.MaxLength-len(s.Prompt)))
	}
	if err := b.prompts(ctx); err != nil {
		return nil, err
	}
	for len(b.live) > 0 {
		g := b.kv.decode
		g.reset()
		for _, slot := range b.live {
			n, base := len(b.out[slot])-1, b.kv.base(slot)
			g.add(b.out[slot][n:], base, n, base)
		}
		rows := make([]int, len(b.live))
		for i := range rows {
			rows[i] = i
		}
		now := b.live
		b.live = nil
		if err := b.step(ctx, g, now, rows); err != nil {
			return nil, err
		}
	}
	return b.out, nil
}

// prompts computes the prompts into the cache and draws the first token of each sequence.
func (b *batch) prompts(ctx context.Context) error {
	g := b.kv.prefill
	g.reset()
	var slots, rows []int
	flush := func() error {
		err := b.step(ctx, g, slots, rows)
		slots, rows = nil, nil
		g.reset()
		return err
	}
	for i := 0; i < len(b.seqs); {
		prompt := b.seqs[i].Prompt
		j := i + 1
		for j < len(b.seqs) && slices.Equal(b.seqs[j].Prompt, prompt) {
			j++
		}
		if !g.room(len(prompt), j-i) {
			if err := flush(); err != nil {
				return err
			}
		}
		var bases []int
		for slot := i; slot < j; slot++ {
			bases = append(bases, b.kv.base(slot))
			slots, rows = append(slots, slot), append(rows, g.live.seqs)
		}
		g.add(prompt, 0, 0, bases...)
		i = j
	}
	return flush()
}

// step runs a graph and appends the next token to each slot, drawn from a row of logits. Slots that go on become live.
func (b *batch) step(ctx context.Context, g *graph, slots, rows []int) error {
	if err := g.run(ctx); err != nil {
		return err
	}
	vocab := b.m.cfg.Vocab
	b.logits = slices.Grow(b.logits[:0], g.live.outs*vocab)[:g.live.outs*vocab]
	if err := g.logits.ReadF32(0, b.logits); err != nil {
		return err
	}
	next, err := b.draw(slots, rows)
	if err != nil {
		return err
	}
	for i, slot := range slots {
		b.out[slot] = append(b.out[slot], next[i])
		if len(b.out[slot]) < b.o.MaxLength && !slices.Contains(b.m.cfg.EOS, next[i]) {
			b.live = append(b.live, slot)
		}
	}
	return nil
}

// draw chooses the next token of each slot; the rows of a batch are independent and shared among all cores.
func (b *batch) draw(slots, rows []int) ([]int32, error) {
	next, errs := make([]int32, len(slots)), make([]error, len(slots))
	workers := min(goruntime.GOMAXPROCS(0), len(slots))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var s sampler
			for i := w; i < len(slots); i += workers {
				logits := b.logits[rows[i]*b.m.cfg.Vocab:][:b.m.cfg.Vocab]
				next[i], errs[i] = s.next(logits, b.out[slots[i]], b.o, b.seqs[slots[i]].Rand)
			}
		})
	}
	wg.Wait()
	return next, errors.Join(errs...)
}
