package phi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"isearle/runtime"
	"isearle/weights/safetensors"
)

// stateNames are the parts of a parameter's state in a checkpoint: value, first and second moment.
var stateNames = [...]string{"p", "m", "v"}

// state reads every parameter and its moments from the device, in the order of stateNames.
func (t *loop) state() ([][]float32, error) {
	var out [][]float32
	for _, p := range t.params() {
		for _, b := range p.buffers() {
			x := make([]float32, b.Len())
			if err := b.ReadF32(0, x); err != nil {
				return nil, err
			}
			out = append(out, x)
		}
	}
	return out, nil
}

func (p param) buffers() [len(stateNames)]runtime.Buffer { return [...]runtime.Buffer{p.p, p.m, p.v} }

func (t *loop) setState(state [][]float32) error {
	for i, p := range t.params() {
		for k, b := range p.buffers() {
			if err := b.WriteF32(0, state[i*len(stateNames)+k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// ErrOtherRun is wrapped by the error for a checkpoint of a training with other options or examples.
var ErrOtherRun = errors.New("the checkpoint is of a training with other options or examples")

// identify tells trainings apart: options, examples, and the phrases that are drawn from.
func (t *Trainer) identify() string {
	h := sha256.New()
	o := t.opts
	o.Epochs = 0 // more epochs go on from fewer
	json.NewEncoder(h).Encode(o)
	told := map[string]bool{}
	for _, e := range t.examples {
		fmt.Fprintf(h, "%q", e.Name)
		h.Write(runtime.Float32Bytes(e.Feature))
		h.Write(runtime.Float32Bytes(e.Token))
		if o.LambdaGPT == 0 {
			continue
		}
		for _, c := range t.concepts(e) {
			fmt.Fprintf(h, "%q", c)
			if c = strings.TrimSpace(c); !told[c] {
				told[c] = true
				fmt.Fprintf(h, "%q", t.phrases.Of(c))
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Save writes a checkpoint, atomically. Training that is resumed from it ends in the same bytes as training that was not
// interrupted.
func (t *loop) Save(path string) error {
	state, err := t.state()
	if err != nil {
		return fmt.Errorf("phi: checkpoint %q: %w", path, err)
	}
	var tensors []safetensors.Tensor
	for i, x := range state {
		name := fmt.Sprintf("%s%d", stateNames[i%len(stateNames)], i/len(stateNames))
		tensors = append(tensors, safetensors.FromFloat32s(name, x, len(x)))
	}
	history, err := json.Marshal(t.history)
	if err != nil {
		return fmt.Errorf("phi: checkpoint %q: %w", path, err)
	}
	meta := map[string]string{"step": strconv.Itoa(t.step), "identity": t.identity, "history": string(history)}
	if err := safetensors.WriteFile(path, tensors, meta); err != nil {
		return fmt.Errorf("phi: checkpoint: %w", err)
	}
	return nil
}

// Resume continues from a checkpoint of the same training.
func (t *loop) Resume(path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return fmt.Errorf("phi: resume: %w", err)
	}
	defer f.Close()
	if f.Metadata()["identity"] != t.identity {
		return fmt.Errorf("phi: resume %q: %w", path, ErrOtherRun)
	}
	step, err := strconv.Atoi(f.Metadata()["step"])
	if err != nil || step < 0 {
		return fmt.Errorf("phi: resume %q: step %q", path, f.Metadata()["step"])
	}
	var history []Record
	if err := json.Unmarshal([]byte(f.Metadata()["history"]), &history); err != nil {
		return fmt.Errorf("phi: resume %q: history: %w", path, err)
	}
	if len(history) != step/t.StepsPerEpoch() {
		return fmt.Errorf("phi: resume %q: a history of %d epochs for %d steps, %d an epoch", path, len(history), step, t.StepsPerEpoch())
	}
	state, err := t.state()
	if err != nil {
		return fmt.Errorf("phi: resume %q: %w", path, err)
	}
	for i := range state {
		name := fmt.Sprintf("%s%d", stateNames[i%len(stateNames)], i/len(stateNames))
		x, ok := f.Tensor(name)
		if !ok || x.Len() != len(state[i]) {
			return fmt.Errorf("phi: resume %q: tensor %q is missing or has not %d elements", path, name, len(state[i]))
		}
		if state[i], err = x.Float32s(state[i]); err != nil {
			return fmt.Errorf("phi: resume %q: %w", path, err)
		}
	}
	if err := t.setState(state); err != nil {
		return fmt.Errorf("phi: resume %q: %w", path, err)
	}
	t.step, t.history = step, history
	return nil
}
