package phi

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"isearle/runtime"
)

// batch is how many features one run of the encoder takes.
const batch = 32

// Encoder is a Network on a device. It is safe for concurrent use; calls run one after the other.
type Encoder struct {
	in, out int
	mu      sync.Mutex
	prog    runtime.Program
	weights []runtime.Weight
	count   runtime.Buffer
	x, y    runtime.Buffer
}

// NewEncoder packs a network for a device.
func NewEncoder(dev runtime.Device, n *Network) (*Encoder, error) {
	e := &Encoder{in: n.In(), out: n.Out()}
	if err := e.compile(dev, n); err != nil {
		e.Close()
		return nil, fmt.Errorf("phi: load: %w", err)
	}
	return e, nil
}

func (e *Encoder) compile(dev runtime.Device, n *Network) error {
	p := runtime.NewPlan("phi")
	count := p.New("count", runtime.I32, 1, 1)
	x := p.New("features", runtime.F32, batch, e.in)
	constants := map[runtime.Slot][]float32{}
	var layers []runtime.Linear
	for _, l := range n.Layers {
		w, err := dev.Pack(runtime.Matrix{DType: runtime.F32, Rows: l.Out, Cols: l.In, Data: runtime.Float32Bytes(l.W)}, runtime.PackOptions{})
		if err != nil {
			return err
		}
		e.weights = append(e.weights, w)
		bias := p.New("bias", runtime.F32, 1, l.Out)
		constants[bias.Slot] = l.B
		layers = append(layers, runtime.Linear{W: w, Bias: bias, Rows: runtime.Dim{Cap: batch, Live: count}})
	}
	words := p.New("words", runtime.F32, batch, e.out)
	if n.Arch == Residual {
		norm := newNorm(p, e.in)
		constants[norm.Gamma.Slot] = ones(e.in)
		recordBlocks(p, layers, n, x, words, norm)
	} else {
		recordChain(p, layers, n, x, words)
	}
	prog, err := dev.Compile(p)
	if err != nil {
		return err
	}
	e.prog, e.count, e.x, e.y = prog, prog.Buffer(count.Slot), prog.Buffer(x.Slot), prog.Buffer(words.Slot)
	for s, b := range constants {
		if err := prog.Buffer(s).WriteF32(0, b); err != nil {
			return err
		}
	}
	return nil
}

// recordChain records an MLP.
func recordChain(p *runtime.Plan, layers []runtime.Linear, n *Network, x, words runtime.View) {
	for i, o := range layers {
		o.X, o.Out = x, words
		if i < len(layers)-1 {
			o.Act, o.Out = n.Act, p.Temp("hidden", runtime.F32, batch, n.Layers[i].Out)
		}
		p.Add(o)
		x = o.Out
	}
}

// recordBlocks records a Residual network.
func recordBlocks(p *runtime.Plan, layers []runtime.Linear, n *Network, x, words runtime.View, norm runtime.Norm) {
	for k := range n.blocks() {
		up, down := layers[2*k], layers[2*k+1]
		up.X, up.Norm, up.Act, up.Out = x, norm, n.Act, p.Temp("hidden", runtime.F32, batch, n.Layers[2*k].Out)
		down.X, down.Residual, down.Out = up.Out, x, p.Temp("stream", runtime.F32, batch, n.In())
		p.Add(up)
		p.Add(down)
		x = down.Out
	}
	head := layers[len(layers)-1]
	head.X, head.Norm, head.Out = x, norm, words
	p.Add(head)
}

// newNorm makes a normalisation over n elements without weights of its own: its Gamma must be filled with ones.
func newNorm(p *runtime.Plan, n int) runtime.Norm {
	return runtime.Norm{Gamma: p.New("ones", runtime.F32, 1, n), Beta: p.New("zeros", runtime.F32, 1, n), Eps: normEps}
}

func ones(n int) []float32 { return slices.Repeat([]float32{1}, n) }

// In and Out are the sizes of the image feature and of the pseudo-word.
func (e *Encoder) In() int  { return e.in }
func (e *Encoder) Out() int { return e.out }

// Invert writes the pseudo-words of n raw image features [n, In] to dst [n, Out].
func (e *Encoder) Invert(ctx context.Context, dst, features []float32, n int) error {
	if len(features) != n*e.in || len(dst) != n*e.out {
		return fmt.Errorf("phi: invert %d features: %d values and room for %d, want %d and %d", n, len(features), len(dst), n*e.in, n*e.out)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := 0; i < n; i += batch {
		b := min(batch, n-i)
		if err := e.run(ctx, dst[i*e.out:(i+b)*e.out], features[i*e.in:(i+b)*e.in], b); err != nil {
			return fmt.Errorf("phi: invert: %w", err)
		}
	}
	return nil
}

func (e *Encoder) run(ctx context.Context, dst, features []float32, n int) error {
	if err := e.count.WriteI32(0, []int32{int32(n)}); err != nil {
		return err
	}
	if err := e.x.WriteF32(0, features); err != nil {
		return err
	}
	if err := e.prog.Run(ctx); err != nil {
		return err
	}
	return e.y.ReadF32(0, dst)
}

// Close releases the device memory.
func (e *Encoder) Close() error {
	if e.prog != nil {
		e.prog.Close()
	}
	for _, w := range e.weights {
		w.Close()
	}
	return nil
}
