package clipnet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"isearle/runtime"
)

// sequence is a prompt in a batch: cut behind the token that is pooled, its first tokens possibly in the prefix cache.
type sequence struct {
	prompt Prompt
	pool   int // place that is pooled
	// cached rows of the prefix pool, from offset on, stand for the first tokens.
	offset, cached int
}

// sequence cuts a prompt behind its pooled token.
func (e *TextEncoder) sequence(p Prompt) sequence {
	s := sequence{prompt: p, pool: e.pooled(p.IDs)}
	s.prompt.IDs = p.IDs[:s.pool+1]
	return s
}

// textBatch is what one run of a text program computes.
type textBatch struct {
	seqs []sequence
	rows int // rows to compute
}

func (b *textBatch) add(s sequence) {
	b.seqs = append(b.seqs, s)
	b.rows += len(s.prompt.IDs) - s.cached
}

// textProgram is the compiled text transformer for one capacity.
type textProgram struct {
	graph *TextGraph
	prog  runtime.Program
	words runtime.Buffer
	out   runtime.Buffer
}

// program returns the smallest program that holds a batch. A capacity that there is no memory for is given up where
// others are left.
func (e *TextEncoder) program(b *textBatch, prefill bool) (*textProgram, error) {
	progs := e.programs
	if prefill {
		progs = e.prefills
	}
	for i, c := range e.capacities {
		if len(b.seqs) > c.seqs || b.rows > c.rows {
			continue
		}
		if progs[c] == nil {
			p, err := e.compile(c.seqs, c.rows, prefill)
			if errors.Is(err, runtime.ErrOutOfMemory) {
				e.giveUp(i)
			}
			if err != nil {
				return nil, err
			}
			progs[c] = p
		}
		return progs[c], nil
	}
	return nil, fmt.Errorf("%d sequences of %d rows exceed every program", len(b.seqs), b.rows)
}

// giveUp leaves capacity i and larger ones out that have no program yet, if others are left.
func (e *TextEncoder) giveUp(i int) {
	left := slices.Clone(e.capacities[:i])
	for _, c := range e.capacities[i:] {
		if e.programs[c] != nil && e.prefills[c] != nil {
			left = append(left, c)
		}
	}
	if len(left) > 0 {
		e.capacities = left
	}
}

// compile records and compiles the text tower for a capacity.
func (e *TextEncoder) compile(seqs, rows int, prefill bool) (*textProgram, error) {
	p := runtime.NewPlan(fmt.Sprintf("text %d x %d", seqs, rows))
	words := p.New("pseudo-words", runtime.F32, rows, e.Width())
	tp := &textProgram{graph: e.record(p, seqs, rows, words, false, prefill)}
	prog, err := e.dev.Compile(p)
	if err != nil {
		return nil, err
	}
	tp.prog, tp.words = prog, prog.Buffer(words.Slot)
	if !prefill {
		tp.out = prog.Buffer(tp.graph.Features.Slot)
	}
	if err := tp.graph.Bind(prog); err != nil {
		prog.Close()
		return nil, err
	}
	return tp, nil
}

// run lays a batch out and computes it. words [.., width] are the pseudo-words that the prompts refer to.
func (t *textProgram) run(ctx context.Context, b *textBatch, words []float32, width int) error {
	used := 0
	err := t.graph.layout(b, func(word int) (int, error) {
		used++
		return used - 1, t.words.WriteF32((used-1)*width, words[word*width:(word+1)*width])
	})
	if err != nil {
		return err
	}
	return t.prog.Run(ctx)
}
