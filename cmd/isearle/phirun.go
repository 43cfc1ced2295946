package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"isearle/phi"
)

// epochs is a training of phi, by distillation or on triplets.
type epochs interface {
	StepsPerEpoch() int
	Run(ctx context.Context, o phi.RunOptions) error
}

// runEpochs trains to the last of count epochs, with progress. After each checkpoint it tells the loss and what say adds to it, and
// hands the curve to keep.
func runEpochs(ctx context.Context, s *session, t epochs, count int, o phi.RunOptions, say func(phi.Record) string, keep func([]phi.Record) error) error {
	progress := s.console.Start("steps", count*t.StepsPerEpoch())
	defer progress.Stop()
	done := 0
	o.Steps = func(n int) { progress.Add(n - done); done = n }
	_, err := os.Stat(o.Checkpoint)
	goingOn := err == nil
	o.Saved = func(curve []phi.Record) error {
		if len(curve) == 0 {
			return nil
		}
		r := curve[len(curve)-1]
		text := fmt.Sprintf("epoch %d of %d: loss %.4f", r.Epoch, count, r.Total) + say(r)
		if goingOn {
			text, goingOn = "going on after "+text, false
		}
		s.notef("%s", text)
		return keep(curve)
	}
	return t.Run(ctx, o)
}

// describeTraining writes into a network how it came to be.
func describeTraining(n *phi.Network, eng *engine, method string, options any, examples int) error {
	text, err := json.Marshal(options)
	if err != nil {
		return err
	}
	model := eng.Model()
	n.Meta[phi.MetaModel], n.Meta["model"] = model.Hash, model.Name
	n.Meta["method"], n.Meta["options"] = method, string(text)
	n.Meta["examples"] = strconv.Itoa(examples)
	return nil
}

// keepNetwork writes a network, and removes the checkpoint when it stands.
func keepNetwork(n *phi.Network, path, checkpoint string) error {
	if err := n.Save(path); err != nil {
		return err
	}
	if err := os.Remove(checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
