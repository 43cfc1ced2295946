package clipnet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"isearle/runtime"
	"isearle/weights"
)

// Prompt is a tokenised text for the text transformer: BOS, tokens, EOT, without padding.
type Prompt struct {
	IDs []int32
	// Pseudo maps places in IDs to pseudo-words: at place Pseudo[i].Place the token embedding is replaced.
	Pseudo []Pseudo
}

// word is the pseudo-word at a place, -1 if there is none.
func (p Prompt) word(place int) int {
	for _, s := range p.Pseudo {
		if s.Place == place {
			return s.Word
		}
	}
	return -1
}

// WithWord is the prompt with all its pseudo-words replaced by one.
func (p Prompt) WithWord(word int) Prompt {
	at := p.Pseudo
	p.Pseudo = make([]Pseudo, len(at))
	for i := range at {
		p.Pseudo[i] = Pseudo{Place: at[i].Place, Word: word}
	}
	return p
}

// Pseudo puts row Word of the pseudo-words given to Encode at a place of a prompt.
type Pseudo struct{ Place, Word int }

// ErrPrompt is wrapped by the error for a prompt that the text transformer cannot take.
var ErrPrompt = errors.New("clipnet: prompt does not fit the text transformer")

// textCapacity is that of a text encoder's program.
type textCapacity struct{ seqs, rows int }

// textCapacities are those of a text encoder's programs, ascending.
func textCapacities(dev runtime.Device) []textCapacity {
	b := runtime.Breadth(dev)
	return slices.Compact([]textCapacity{{1, 80}, {8, 256}, {64, 1280}, {64 * b, 1280 * b}})
}

// poolRows is how many rows of keys and values the prefix cache holds: the 24 templates of OTI and many phrases' heads.
const poolRows = 2048

// TextEncoder is CLIP's text transformer on a device. Sequences stop at their end-of-text token and are not padded: attention
// is causal, so nothing behind it matters. What stands before a prompt's first pseudo-word is computed once and its keys and
// values are kept. It is safe for concurrent use; calls run one after the other.
type TextEncoder struct {
	dev    runtime.Device
	cfg    weights.Config
	tower  tower
	tokens runtime.Buffer
	pos    runtime.Buffer
	owned  closers

	mu         sync.Mutex
	capacities []textCapacity // less those that the device had no memory for
	programs   map[textCapacity]*textProgram
	prefills   map[textCapacity]*textProgram
	cache      prefixCache
	batch      textBatch
}

// NewTextEncoder packs a checkpoint's text tower for a device. The checkpoint may be closed afterwards.
func NewTextEncoder(dev runtime.Device, c *weights.CLIP, o Options) (*TextEncoder, error) {
	e := &TextEncoder{dev: dev, cfg: c.Config, capacities: textCapacities(dev), programs: map[textCapacity]*textProgram{}, prefills: map[textCapacity]*textProgram{}}
	t := c.Config.Text
	l := loader{dev: dev, ckpt: c, owned: &e.owned, opts: o}
	l.tower(&e.tower, "transformer.", t.Width, t.Layers, t.Heads, t.MLP, 1, c.Config)
	e.tokens = l.table("token_embedding.weight", t.Vocab*t.Width, 0)
	e.pos = l.vector("positional_embedding", t.Context*t.Width)
	e.tower.final = l.norm("ln_final", t.Width)
	e.tower.proj = l.weight("text_projection", c.Config.EmbedDim, t.Width, 1)
	if l.err == nil {
		l.err = e.cache.open(e)
	}
	if l.err != nil {
		e.Close()
		return nil, fmt.Errorf("clipnet: load text tower: %w", l.err)
	}
	return e, nil
}

// Dim is the number of elements of a feature, Width that of a pseudo-word, Context the most tokens of a prompt.
func (e *TextEncoder) Dim() int     { return e.cfg.EmbedDim }
func (e *TextEncoder) Width() int   { return e.cfg.Text.Width }
func (e *TextEncoder) Context() int { return e.cfg.Text.Context }

// Encode writes the features of the prompts to dst [len(prompts), Dim]: raw, not normalised. words [n, Width] are the
// pseudo-words that the prompts refer to; nil if none does. Where the device has no memory for a large program, smaller ones take
// its work.
func (e *TextEncoder) Encode(ctx context.Context, dst []float32, prompts []Prompt, words []float32) error {
	if len(dst) != len(prompts)*e.Dim() || len(words)%e.Width() != 0 {
		return fmt.Errorf("clipnet: encode %d prompts: room for %d values and %d pseudo-word values, want %d and a multiple of %d",
			len(prompts), len(dst), len(words), len(prompts)*e.Dim(), e.Width())
	}
	for i, p := range prompts {
		if err := e.check(p, len(words)/e.Width()); err != nil {
			return fmt.Errorf("prompt %d: %w", i, err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for done := 0; done < len(prompts); {
		had := len(e.capacities)
		n, err := e.encode(ctx, dst[done*e.Dim():], prompts[done:], words)
		if errors.Is(err, runtime.ErrOutOfMemory) && len(e.capacities) < had {
			continue
		}
		if err != nil {
			return fmt.Errorf("clipnet: encode text: %w", err)
		}
		done += n
	}
	return nil
}

func (e *TextEncoder) check(p Prompt, words int) error {
	if len(p.IDs) == 0 || len(p.IDs) > e.Context() {
		return fmt.Errorf("%w: %d tokens, 1 to %d are possible", ErrPrompt, len(p.IDs), e.Context())
	}
	for i, id := range p.IDs {
		if id < 0 || int(id) >= e.cfg.Text.Vocab {
			return fmt.Errorf("%w: token %d has id %d, the vocabulary %d", ErrPrompt, i, id, e.cfg.Text.Vocab)
		}
	}
	for _, s := range p.Pseudo {
		if s.Place < 0 || s.Place >= len(p.IDs) || s.Word < 0 || s.Word >= words {
			return fmt.Errorf("%w: pseudo-word %d of %d at place %d of %d", ErrPrompt, s.Word, words, s.Place, len(p.IDs))
		}
	}
	return nil
}

// pooled is the place of the token whose row becomes the feature.
func (e *TextEncoder) pooled(ids []int32) int {
	best := 0
	for i, id := range ids {
		if e.cfg.Text.Pooling == weights.FirstEOT {
			if int(id) == e.cfg.Text.EOT {
				return i
			}
		} else if id > ids[best] {
			best = i
		}
	}
	return best
}

// most is the largest capacity there is.
func (e *TextEncoder) most() textCapacity { return e.capacities[len(e.capacities)-1] }

// encode takes as many prompts as the largest program holds, and returns how many.
func (e *TextEncoder) encode(ctx context.Context, dst []float32, prompts []Prompt, words []float32) (int, error) {
	most := e.most()
	b := &e.batch
	b.seqs, b.rows = b.seqs[:0], 0
	for _, p := range prompts {
		s := e.sequence(p)
		if len(b.seqs) == most.seqs || b.rows+len(s.prompt.IDs) > most.rows {
			break
		}
		b.add(s)
	}
	if err := e.cache.fill(e, b); err != nil {
		return 0, err
	}
	prog, err := e.program(b, false)
	if err != nil {
		return 0, err
	}
	if err := prog.run(ctx, b, words, e.Width()); err != nil {
		return 0, err
	}
	return len(b.seqs), prog.out.ReadF32(0, dst[:len(b.seqs)*e.Dim()])
}

// Close releases the device memory.
func (e *TextEncoder) Close() error {
	for _, progs := range []map[textCapacity]*textProgram{e.programs, e.prefills} {
		for _, p := range progs {
			p.prog.Close()
		}
	}
	return e.owned.Close()
}
