package clipnet

import (
	"errors"
	"fmt"
	"io"

	"isearle/clipnet/preprocess"
	"isearle/runtime"
	"isearle/weights"
	"isearle/weights/safetensors"
)

// closers releases what was put on a device.
type closers []io.Closer

// Close closes all, and returns all errors.
func (c closers) Close() error {
	var errs []error
	for _, x := range c {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// loader puts a checkpoint's tensors on a device. The first error stops it and is kept.
type loader struct {
	dev   runtime.Device
	ckpt  *weights.CLIP
	owned *closers
	opts  Options
	err   error
}

// Options say how a tower's weights are packed.
type Options struct {
	// DType is the type that products are made in (see runtime.PackOptions); 0 means F32.
	DType runtime.DType
	// Grad packs the weights for backward passes too, which takes twice the memory.
	Grad bool
	// Batch is how many images most runs have, or more; 0 is 1. A device may choose by it how it multiplies, so that features of encoders
	// with other batches can differ in their last bits; those of one encoder do not.
	Batch int
	// Images makes the sources that an image encoder's EncodeSources takes; nil where that is not called.
	Images *preprocess.Preprocessor
}

// Elements are a floating-point tensor's as a device takes them: F32, F16 and BF16 as they are, F64 as F32.
func Elements(t safetensors.Tensor) (runtime.DType, []byte, error) {
	switch t.DType {
	case safetensors.F32:
		return runtime.F32, t.Data, nil
	case safetensors.F16:
		return runtime.F16, t.Data, nil
	case safetensors.BF16:
		return runtime.BF16, t.Data, nil
	}
	x, err := t.Float32s(nil)
	return runtime.F32, runtime.Float32Bytes(x), err
}

// tensor is a tensor of the checkpoint with n elements.
func (l *loader) tensor(name string, n int) (t safetensors.Tensor) {
	if l.err == nil {
		t, l.err = l.ckpt.Tensor(name)
	}
	if l.err == nil && t.Len() != n {
		l.err = fmt.Errorf("tensor %q has shape %v, want %d elements", name, t.Shape, n)
	}
	return t
}

// weight packs a whole matrix [out, in], whose products have least rows or more, for most part.
func (l *loader) weight(name string, out, in, least int) runtime.Weight {
	return l.rows(name, out, in, 0, out, least)
}

// rows packs n rows of a matrix [out, in] from row first on.
func (l *loader) rows(name string, out, in, first, n, least int) runtime.Weight {
	m := l.matrix(name, out, in, first, n)
	if l.err != nil {
		return nil
	}
	w, err := l.dev.Pack(m, runtime.PackOptions{DType: l.opts.DType, Grad: l.opts.Grad, Rows: least, Source: &source{l.ckpt, name, l.ckpt.Hold()}})
	if err != nil {
		l.err = fmt.Errorf("tensor %q: %w", name, err)
		return nil
	}
	*l.owned = append(*l.owned, w)
	return w
}

// matrix is n rows of a tensor [out, in] from row first on.
func (l *loader) matrix(name string, out, in, first, n int) (m runtime.Matrix) {
	var parts []safetensors.Tensor
	if l.err == nil {
		parts, l.err = l.ckpt.Parts(name)
	}
	m = runtime.Matrix{Rows: n, Cols: in}
	have, want := 0, n
	for _, t := range parts {
		dt, data, err := Elements(t)
		if err != nil {
			l.err = err
			return m
		}
		row, rows := in*dt.Size(), t.Len()/in
		have += t.Len()
		lo := min(first, rows)
		hi := min(lo+want, rows)
		if first, want = first-lo, want-(hi-lo); lo == hi {
			continue
		}
		if m.DType = dt; m.Data == nil {
			m.Data = data[lo*row : hi*row]
		} else {
			m.More = append(m.More, data[lo*row:hi*row])
		}
	}
	if l.err == nil && have != out*in {
		l.err = fmt.Errorf("tensor %q has %d elements, want %d", name, have, out*in)
	}
	return m
}

// source is a checkpoint's tensor, which stays where it is until its weight needs it no more.
type source struct {
	ckpt    *weights.CLIP
	name    string
	release func()
}

func (s *source) Drop() { s.ckpt.Drop(s.name) }

func (s *source) Release() {
	s.ckpt.Drop(s.name)
	s.release()
}

// vector puts n elements on the device as f32.
func (l *loader) vector(name string, n int) runtime.Buffer {
	return l.table(name, n, runtime.F32)
}

// leastBorrowed is the size of tables that are left where they are if the device can read them there; smaller ones would keep whole
// pages of a file in memory.
const leastBorrowed = 1 << 20

// table puts n elements on the device; dt 0 keeps the checkpoint's type.
func (l *loader) table(name string, n int, dt runtime.DType) runtime.Buffer {
	t := l.tensor(name, n)
	if l.err != nil {
		return nil
	}
	have, data, err := Elements(t)
	if err != nil {
		l.err = err
		return nil
	}
	if dt == 0 {
		dt = have
	}
	if d, ok := l.dev.(runtime.Borrower); ok && dt == have && len(data) >= leastBorrowed {
		if b, err := d.Borrow(dt, data, &source{l.ckpt, name, l.ckpt.Hold()}); err == nil {
			*l.owned = append(*l.owned, b)
			return b
		}
	}
	b, err := l.dev.Alloc(dt, n)
	if err != nil {
		l.err = fmt.Errorf("tensor %q: %w", name, err)
		return nil
	}
	*l.owned = append(*l.owned, b)
	defer l.ckpt.Drop(name)
	if dt == have {
		l.err = b.WriteRaw(0, data)
		return b
	}
	x, err := t.Float32s(nil)
	if err == nil {
		err = b.WriteF32(0, x)
	}
	l.err = err
	return b
}

// norm reads name.weight and name.bias.
func (l *loader) norm(name string, n int) norm {
	return norm{l.vector(name+".weight", n), l.vector(name+".bias", n)}
}

// tower reads the blocks of a transformer, whose sequences have least rows or more; in the last block only keys and values are of all rows,
// the others of one. Runs are of Options.Batch sequences.
func (l *loader) tower(t *tower, prefix string, width, layers, heads, mlp, least int, cfg weights.Config) {
	t.width, t.heads, t.mlp, t.eps = width, heads, mlp, float32(cfg.LayerNormEps)
	t.half = l.dev.Activations(l.opts.DType)
	t.act = runtime.GELU
	if cfg.Activation == weights.QuickGELU {
		t.act = runtime.QuickGELU
	}
	t.layers = make([]layer, layers)
	one := max(1, l.opts.Batch)
	least *= one
	for i := range t.layers {
		b, name := &t.layers[i], fmt.Sprintf("%sresblocks.%d.", prefix, i)
		b.ln1, b.ln2 = l.norm(name+"ln_1", width), l.norm(name+"ln_2", width)
		in := name + "attn.in_proj_weight"
		if i < layers-1 {
			b.qkv = l.weight(in, 3*width, width, least)
		} else {
			b.q, b.kv = l.rows(in, 3*width, width, 0, width, one), l.rows(in, 3*width, width, width, 2*width, least)
			least = one
		}
		b.qkvBias = l.vector(name+"attn.in_proj_bias", 3*width)
		b.out, b.outB = l.weight(name+"attn.out_proj.weight", width, width, least), l.vector(name+"attn.out_proj.bias", width)
		b.fc1, b.fc1B = l.weight(name+"mlp.c_fc.weight", mlp, width, least), l.vector(name+"mlp.c_fc.bias", mlp)
		b.fc2, b.fc2B = l.weight(name+"mlp.c_proj.weight", width, mlp, least), l.vector(name+"mlp.c_proj.bias", width)
	}
}
