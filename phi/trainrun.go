package phi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"slices"
)

// Record is an epoch's line of the loss curves.
type Record struct {
	Epoch int `json:"epoch"` // counted from 1
	Losses
	// Score is what RunOptions.Validate gave, nil after an epoch without.
	Score *float64 `json:"score,omitempty"`
}

// RunOptions say how a training to the end is watched and kept.
type RunOptions struct {
	Checkpoint string // a file; it is resumed if it is there, and stays when training ends
	Every      int    // epochs between checkpoints
	// Validate, if not nil, scores the network every ValidateEvery epochs, and after the last.
	Validate      func(context.Context, *Network) (float64, error)
	ValidateEvery int
	// Steps is told of every step, Saved of every checkpoint and of the one that training goes on from, with the epochs so far. They
	// may be nil.
	Steps func(done int)
	Saved func([]Record) error
}

// Run trains to the last epoch. A run that was killed goes on from its checkpoint and ends in the same bytes.
func (t *loop) Run(ctx context.Context, o RunOptions) error {
	if o.Every < 1 || o.Validate != nil && o.ValidateEvery < 1 {
		return fmt.Errorf("phi: a checkpoint every %d epochs, validation every %d", o.Every, o.ValidateEvery)
	}
	if err := t.goOn(o); err != nil {
		return err
	}
	t.watch = o.Steps
	defer func() { t.watch = nil }()
	for len(t.history) < t.epochs {
		if _, err := t.Epoch(ctx); err != nil {
			return err
		}
		n := len(t.history)
		if err := t.validate(ctx, o); err != nil {
			return err
		}
		if n%o.Every != 0 && n != t.epochs {
			continue
		}
		if err := t.Save(o.Checkpoint); err != nil {
			return err
		}
		if o.Saved != nil {
			if err := o.Saved(slices.Clone(t.history)); err != nil {
				return err
			}
		}
	}
	return nil
}

// goOn resumes the checkpoint if there is one.
func (t *loop) goOn(o RunOptions) error {
	if _, err := os.Stat(o.Checkpoint); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("phi: resume: %w", err)
	}
	if err := t.Resume(o.Checkpoint); err != nil {
		return err
	}
	if len(t.history) > t.epochs {
		return fmt.Errorf("phi: resume %q: it is of epoch %d already, beyond the %d that are asked for", o.Checkpoint, len(t.history), t.epochs)
	}
	if o.Steps != nil {
		o.Steps(t.step)
	}
	if o.Saved != nil {
		return o.Saved(slices.Clone(t.history))
	}
	return nil
}

// validate scores the network if it is time to.
func (t *loop) validate(ctx context.Context, o RunOptions) error {
	n := len(t.history)
	if o.Validate == nil || n%o.ValidateEvery != 0 && n != t.epochs {
		return nil
	}
	net, err := t.Network()
	if err != nil {
		return err
	}
	score, err := o.Validate(ctx, net)
	if err != nil {
		return fmt.Errorf("phi: validate after epoch %d: %w", n, err)
	}
	t.history[n-1].Score = &score
	return nil
}

// Subset chooses a fraction of n examples, at least one, in increasing order. Of one seed a smaller fraction is part of a larger.
func Subset(n int, fraction float64, seed uint64) []int {
	const stream = 1 << 63 // apart from those of training
	k := min(n, max(1, int(math.Round(fraction*float64(n)))))
	chosen := rand.New(rand.NewPCG(seed, stream)).Perm(n)[:k]
	slices.Sort(chosen)
	return chosen
}
