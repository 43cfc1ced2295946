// Package phi is the textual inversion network: it maps an image's CLIP feature to a pseudo-word token of CLIP's text
// transformer in one pass (SEARLE, arXiv 2303.15247; iSEARLE, arXiv 2405.02951). It owns the network's files, its
// forward pass on a device, and its training by distillation.
//
// The network takes the raw image feature, not normalised, and returns the pseudo-word, not normalised: Linear(d, h),
// GELU(erf), Linear(h, h), GELU, Linear(h, w), with dropout behind each GELU in training only; or it is the residual one of
// Arch.
package phi

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"isearle/runtime"
	"isearle/weights"
	"isearle/weights/safetensors"
	"isearle/weights/torch"
)

// Layer is one linear layer: y = W x + b.
type Layer struct {
	Out, In int
	W       []float32 // [Out, In]
	B       []float32 // [Out]
}

// Network is a stack of linear layers with an activation between them, or blocks of two around which its input is added.
type Network struct {
	Arch   Arch
	Act    runtime.Activation
	Layers []Layer // in the order of Arch
	// Meta is a safetensors file's metadata: the model it belongs to, how it was trained.
	Meta map[string]string
}

// In and Out are the sizes of the image feature and of the pseudo-word.
func (n *Network) In() int  { return n.Layers[0].In }
func (n *Network) Out() int { return n.Layers[len(n.Layers)-1].Out }

// MetaArch and MetaModel are keys of Meta: the architecture ("mlp" or "residual") and the hash of the CLIP that phi was trained for.
const (
	MetaArch  = "arch"
	MetaModel = "model_hash"
)

// ErrFormat is wrapped by the errors for files that are no phi.
var ErrFormat = errors.New("not a textual inversion network")

// source finds tensors by name.
type source func(name string) (safetensors.Tensor, bool)

// Open reads a phi from a safetensors file or from the official SEARLE checkpoint, {'epoch': .., 'Phi': state dict}.
func Open(path string) (*Network, error) {
	n, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("phi: open %q: %w", path, err)
	}
	return n, nil
}

func open(path string) (*Network, error) {
	head := make([]byte, 8)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	size, _ := f.Read(head)
	f.Close()
	if !torch.IsArchive(head[:size]) {
		st, err := safetensors.Open(path)
		if err != nil {
			return nil, err
		}
		defer st.Close()
		return build(st.Tensor, st.Metadata())
	}
	ckpt, err := torch.Open(path)
	if err != nil {
		return nil, err
	}
	defer ckpt.Close()
	return fromTorch(ckpt.Value())
}

// Parse reads a phi from the bytes of a safetensors file; name stands for it in errors.
func Parse(data []byte, name string) (*Network, error) {
	st, err := safetensors.Parse(data, name)
	if err != nil {
		return nil, fmt.Errorf("phi: %w", err)
	}
	n, err := build(st.Tensor, st.Metadata())
	if err != nil {
		return nil, fmt.Errorf("phi: %q: %w", name, err)
	}
	return n, nil
}

// fromTorch takes a state dict, or a dictionary that holds one under 'Phi' or 'phi'.
func fromTorch(value any) (*Network, error) {
	d, ok := value.(*torch.Dict)
	if !ok {
		return nil, fmt.Errorf("%w: the checkpoint is no dictionary", ErrFormat)
	}
	meta := map[string]string{}
	for _, key := range []string{"Phi", "phi"} {
		if state, ok := d.Get(key); ok {
			if epoch, ok := d.Get("epoch"); ok {
				meta["epoch"] = fmt.Sprint(epoch)
			}
			if d, ok = state.(*torch.Dict); !ok {
				return nil, fmt.Errorf("%w: %q is no state dict", ErrFormat, key)
			}
			break
		}
	}
	return build(func(name string) (safetensors.Tensor, bool) {
		v, _ := d.Get(name)
		t, ok := v.(*torch.Tensor)
		if !ok {
			return safetensors.Tensor{}, false
		}
		return t.Dense(name), true
	}, meta)
}

// layouts are the names that layers go by.
var layouts = []struct {
	act   runtime.Activation
	names []string
}{
	{runtime.GELU, []string{"layers.0", "layers.3", "layers.6"}},   // SEARLE
	{runtime.ReLU, []string{"layers.0.0", "layers.1.0", "fc_out"}}, // Pic2Word's IM2TEXT, two hidden layers
}

// build assembles the network from the first layout that the source has.
func build(get source, meta map[string]string) (*Network, error) {
	if _, ok := get(blockNames(0)[0] + ".weight"); ok {
		return buildResidual(get, meta)
	}
	for _, l := range layouts {
		if _, ok := get(l.names[0] + ".weight"); !ok {
			continue
		}
		n := &Network{Act: l.act, Meta: meta}
		for _, name := range l.names {
			layer, err := readLayer(get, name)
			if err != nil {
				return nil, err
			}
			if k := len(n.Layers); k > 0 && n.Layers[k-1].Out != layer.In {
				return nil, fmt.Errorf("%w: tensor %q takes %d elements, the layer before gives %d", ErrFormat, name+".weight", layer.In, n.Layers[k-1].Out)
			}
			n.Layers = append(n.Layers, layer)
		}
		return n, nil
	}
	return nil, fmt.Errorf("%w: no tensor %q", ErrFormat, layouts[0].names[0]+".weight")
}

func readLayer(get source, name string) (Layer, error) {
	w, ok := get(name + ".weight")
	if !ok || len(w.Shape) != 2 {
		return Layer{}, fmt.Errorf("%w: tensor %q is missing or no matrix", ErrFormat, name+".weight")
	}
	b, ok := get(name + ".bias")
	if !ok || len(b.Shape) != 1 || b.Shape[0] != w.Shape[0] {
		return Layer{}, fmt.Errorf("%w: tensor %q is missing or not of %d elements", ErrFormat, name+".bias", w.Shape[0])
	}
	l := Layer{Out: w.Shape[0], In: w.Shape[1]}
	if l.Out < 1 || l.In < 1 {
		return Layer{}, fmt.Errorf("%w: tensor %q has shape %v", ErrFormat, name+".weight", w.Shape)
	}
	var err error
	if l.W, err = w.Float32s(nil); err != nil {
		return Layer{}, err
	}
	l.B, err = b.Float32s(nil)
	return l, err
}

// names are the names of the layers in a file.
func (n *Network) names() ([]string, error) {
	if n.Arch == Residual {
		return residualNames(n.blocks()), nil
	}
	for _, l := range layouts {
		if l.act == n.Act && len(l.names) == len(n.Layers) {
			return l.names, nil
		}
	}
	return nil, fmt.Errorf("%d layers with %v have no layout", len(n.Layers), n.Act)
}

// Save writes the network as safetensors, atomically.
func (n *Network) Save(path string) error { return n.SaveAs(path, safetensors.F32) }

// SaveAs is Save with the numbers in F32, F16 or BF16, rounded to nearest even; one beyond the type's range is an error.
func (n *Network) SaveAs(path string, dt safetensors.DType) error {
	names, err := n.names()
	if err != nil {
		return fmt.Errorf("phi: save %q: %w", path, err)
	}
	var tensors []safetensors.Tensor
	for i, l := range n.Layers {
		tensors = append(tensors,
			safetensors.FromFloat32s(names[i]+".weight", l.W, l.Out, l.In),
			safetensors.FromFloat32s(names[i]+".bias", l.B, l.Out))
	}
	for i, t := range tensors {
		if tensors[i], err = weights.Cast(t, dt); err != nil {
			return fmt.Errorf("phi: save %q: %w", path, err)
		}
	}
	meta := map[string]string{MetaArch: n.Arch.String(), "in": strconv.Itoa(n.In()), "out": strconv.Itoa(n.Out())}
	for k, v := range n.Meta {
		meta[k] = v
	}
	if err := safetensors.WriteFile(path, tensors, meta); err != nil {
		return fmt.Errorf("phi: save: %w", err)
	}
	return nil
}
