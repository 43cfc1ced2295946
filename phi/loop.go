package phi

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"isearle/runtime"
)

// loop is what all trainings of a network have: epochs of steps over shuffled batches, loss curves, checkpoints.
type loop struct {
	net                     *Network // its sizes and first parameters
	examples, batch, epochs int
	step                    int // steps made
	history                 []Record
	identity                string         // tells trainings apart
	watch                   func(step int) // may be nil

	// order is an epoch's order of n examples, makeStep trains on a batch of them.
	order    func(epoch, n int) []int
	makeStep func(ctx context.Context, batch []int) (Losses, error)
	// params are those of the program that is compiled, each layer's weight and bias.
	params func() []param
}

// start writes the first parameters.
func (t *loop) start() error {
	for i, l := range t.net.Layers {
		for k, x := range [][]float32{l.W, l.B} {
			if err := t.params()[2*i+k].p.WriteF32(0, x); err != nil {
				return fmt.Errorf("phi: %w", err)
			}
		}
	}
	return nil
}

// regrow compiles the program anew in place of prog, and carries the state over.
func (t *loop) regrow(prog runtime.Program, compile func() error) error {
	state, err := t.state()
	if err != nil {
		return err
	}
	if err := prog.Close(); err != nil {
		return err
	}
	if err := compile(); err != nil {
		return err
	}
	return t.setState(state)
}

// Identity tells trainings apart: with as many epochs it is the same only where they end in the same bytes.
func (t *loop) Identity() string { return t.identity }

// StepsPerEpoch is the number of whole batches.
func (t *loop) StepsPerEpoch() int { return t.examples / t.batch }

// Done is the number of steps made, of all epochs.
func (t *loop) Done() int { return t.step }

// Epoch makes an epoch's steps and returns the means of its losses. After the last epoch it makes more, if asked.
func (t *loop) Epoch(ctx context.Context) (Losses, error) {
	var mean Losses
	n := t.StepsPerEpoch()
	order := t.order(t.step/n, t.examples)
	for k := range n {
		l, err := t.makeStep(ctx, order[k*t.batch:(k+1)*t.batch])
		if err != nil {
			return mean, fmt.Errorf("phi: epoch %d, step %d: %w", t.step/n+1, k+1, err)
		}
		mean.Total += l.Total / float64(n)
		mean.Distil += l.Distil / float64(n)
		mean.GPT += l.GPT / float64(n)
		if t.watch != nil {
			t.watch(t.step)
		}
	}
	t.history = append(t.history, Record{Epoch: t.step / n, Losses: mean})
	return mean, nil
}

// Network returns the network as trained so far.
func (t *loop) Network() (*Network, error) {
	n := &Network{Arch: t.net.Arch, Act: t.net.Act, Meta: maps.Clone(t.net.Meta)}
	for i, l := range t.net.Layers {
		l.W, l.B = make([]float32, len(l.W)), make([]float32, len(l.B))
		if err := errors.Join(t.params()[2*i].p.ReadF32(0, l.W), t.params()[2*i+1].p.ReadF32(0, l.B)); err != nil {
			return nil, fmt.Errorf("phi: %w", err)
		}
		n.Layers = append(n.Layers, l)
	}
	return n, nil
}
