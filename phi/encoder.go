package phi

import (
	"context"
	"fmt"
	"sync"
	"unsafe"

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
	rows := runtime.Dim{Cap: batch, Live: count}
	x := p.New("features", runtime.F32, batch, e.in)
	first, h := x, x
	biases := map[runtime.Slot][]float32{}
	for i, l := range n.Layers {
		w, err := dev.Pack(runtime.Matrix{DType: runtime.F32, Rows: l.Out, Cols: l.In, Data: bytesOf(l.W)}, runtime.PackOptions{})
		if err != nil {
			return err
		}
		e.weights = append(e.weights, w)
		bias := p.New("bias", runtime.F32, 1, l.Out)
		biases[bias.Slot] = l.B
		o := runtime.Linear{X: h, W: w, Bias: bias, Rows: rows}
		if i < len(n.Layers)-1 {
			o.Act, o.Out = n.Act, p.Temp("hidden", runtime.F32, batch, l.Out)
		} else {
			o.Out = p.New("words", runtime.F32, batch, l.Out)
		}
		p.Add(o)
		h = o.Out
	}
	prog, err := dev.Compile(p)
	if err != nil {
		return err
	}
	e.prog, e.count, e.x, e.y = prog, prog.Buffer(count.Slot), prog.Buffer(first.Slot), prog.Buffer(h.Slot)
	for s, b := range biases {
		if err := prog.Buffer(s).WriteF32(0, b); err != nil {
			return err
		}
	}
	return nil
}

// bytesOf is the memory of x.
func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

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
