package gpt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"isearle/clipnet"
	"isearle/runtime"
	"isearle/weights/safetensors"
)

// norm is a layer normalisation's parameters on a device.
type norm struct{ gamma, beta runtime.Buffer }

// layer is a pre-norm block: x += Out . attention(LN1(x)); x += FC2 . act(FC1 . LN2(x)).
type layer struct {
	ln1, ln2           norm
	qkv, out, fc1, fc2 runtime.Weight
	qkvBias            runtime.Buffer // nil in GPT-Neo
	outB, fc1B, fc2B   runtime.Buffer
}

// maxConfig bounds config.json, which has a few kilobytes.
const maxConfig = 1 << 20

// readConfig reads the config.json of a directory.
func readConfig(dir string) (Config, error) {
	name := filepath.Join(dir, "config.json")
	f, err := os.Open(name)
	if err != nil {
		return Config{}, fmt.Errorf("gpt: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(data) > maxConfig {
		err = fmt.Errorf("more than %d bytes", maxConfig)
	}
	if err != nil {
		return Config{}, fmt.Errorf("gpt: read %s: %w", name, err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// openTensors opens model.safetensors or, where there is none, the shards of its index.
func openTensors(dir string) (*safetensors.File, error) {
	const name = "model.safetensors"
	f, err := safetensors.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		if index, e := safetensors.OpenIndex(filepath.Join(dir, name+".index.json")); !errors.Is(e, fs.ErrNotExist) {
			return index, e
		}
	}
	return f, err
}

// loader puts a checkpoint's tensors on a device. The first error stops it and is kept.
type loader struct {
	dev    runtime.Device
	file   *safetensors.File
	prefix string // of the transformer's tensors
	owned  *[]io.Closer
	err    error
}

// newLoader finds out whether names begin with "transformer.", as in models saved with their head.
func newLoader(dev runtime.Device, f *safetensors.File, owned *[]io.Closer) *loader {
	l := &loader{dev: dev, file: f, owned: owned}
	if _, ok := f.Tensor("transformer.wte.weight"); ok {
		l.prefix = "transformer."
	}
	return l
}

func (l *loader) fail(name string, err error) {
	if l.err == nil {
		l.err = fmt.Errorf("%s: tensor %q: %w", l.file.Name(), name, err)
	}
}

// raw is a tensor of the given shape as one of the runtime's floating-point types.
func (l *loader) raw(name string, shape ...int) (runtime.DType, []byte) {
	if l.err != nil {
		return 0, nil
	}
	t, ok := l.file.Tensor(name)
	if !ok {
		l.fail(name, errors.New("missing"))
		return 0, nil
	}
	if fmt.Sprint(t.Shape) != fmt.Sprint(shape) {
		l.fail(name, fmt.Errorf("shape %v, want %v", t.Shape, shape))
		return 0, nil
	}
	dt, data, err := clipnet.Elements(t)
	if err != nil {
		l.fail(name, err)
		return 0, nil
	}
	return dt, data
}

func (l *loader) drop(name string) {
	if t, ok := l.file.Tensor(name); ok {
		l.file.Drop(t.Data)
	}
}

// pack packs a matrix [out, in].
func (l *loader) pack(name string, dt runtime.DType, out, in int, data []byte) runtime.Weight {
	if l.err != nil {
		return nil
	}
	w, err := l.dev.Pack(runtime.Matrix{DType: dt, Rows: out, Cols: in, Data: data}, runtime.PackOptions{})
	if err != nil {
		l.fail(name, err)
		return nil
	}
	*l.owned = append(*l.owned, w)
	return w
}

// weight packs the tensor [out, in].
func (l *loader) weight(name string, out, in int) runtime.Weight {
	dt, data := l.raw(name, out, in)
	defer l.drop(name)
	return l.pack(name, dt, out, in, data)
}

// conv1D packs GPT-2's Conv1D, which holds the matrix transposed: [in, out].
func (l *loader) conv1D(name string, out, in int) runtime.Weight {
	dt, data := l.raw(name, in, out)
	if l.err != nil {
		return nil
	}
	defer l.drop(name)
	return l.pack(name, dt, out, in, transpose(data, in, out, dt.Size()))
}

// transpose turns [rows, cols] of elements of size bytes into [cols, rows], block by block for the caches' sake.
func transpose(data []byte, rows, cols, size int) []byte {
	const block = 32
	t := make([]byte, len(data))
	for i0 := 0; i0 < rows; i0 += block {
		for j0 := 0; j0 < cols; j0 += block {
			for j := j0; j < min(j0+block, cols); j++ {
				for i := i0; i < min(i0+block, rows); i++ {
					copy(t[(j*rows+i)*size:][:size], data[(i*cols+j)*size:])
				}
			}
		}
	}
	return t
}

// joined packs several matrices [out, in] one below the other.
func (l *loader) joined(out, in int, names ...string) runtime.Weight {
	var all []byte
	var kind runtime.DType
	for i, name := range names {
		dt, data := l.raw(name, out, in)
		if l.err != nil {
			return nil
		}
		if i > 0 && dt != kind {
			l.fail(name, fmt.Errorf("type %v, that of %q is %v", dt, names[0], kind))
			return nil
		}
		kind, all = dt, append(all, data...)
		l.drop(name)
	}
	return l.pack(strings.Join(names, ", "), kind, len(names)*out, in, all)
}

// buffer puts a tensor on the device; dt 0 keeps its type.
func (l *loader) buffer(name string, dt runtime.DType, shape ...int) runtime.Buffer {
	have, data := l.raw(name, shape...)
	if l.err != nil {
		return nil
	}
	if dt == 0 {
		dt = have
	}
	b, err := l.dev.Alloc(dt, len(data)/have.Size())
	if err != nil {
		l.fail(name, err)
		return nil
	}
	*l.owned = append(*l.owned, b)
	defer l.drop(name)
	if dt == have {
		err = b.WriteRaw(0, data)
	} else {
		x := make([]float32, b.Len())
		safetensors.DecodeFloat32(x, data, map[runtime.DType]safetensors.DType{runtime.F16: safetensors.F16, runtime.BF16: safetensors.BF16}[have])
		err = b.WriteF32(0, x)
	}
	if err != nil {
		l.fail(name, err)
	}
	return b
}

func (l *loader) vector(name string, n int) runtime.Buffer { return l.buffer(name, runtime.F32, n) }

func (l *loader) norm(name string, n int) norm {
	return norm{l.vector(name+".weight", n), l.vector(name+".bias", n)}
}

// layer reads block i.
func (l *loader) layer(c *Config, i int) layer {
	name, w := fmt.Sprintf("%sh.%d.", l.prefix, i), c.Width
	b := layer{ln1: l.norm(name+"ln_1", w), ln2: l.norm(name+"ln_2", w)}
	matrix, att := l.weight, name+"attn.attention."
	if c.Type == "gpt2" {
		matrix, att = l.conv1D, name+"attn."
		b.qkv, b.qkvBias = l.conv1D(att+"c_attn.weight", 3*w, w), l.vector(att+"c_attn.bias", 3*w)
		b.out, b.outB = l.conv1D(att+"c_proj.weight", w, w), l.vector(att+"c_proj.bias", w)
	} else {
		b.qkv = l.joined(w, w, att+"q_proj.weight", att+"k_proj.weight", att+"v_proj.weight")
		b.out, b.outB = l.weight(att+"out_proj.weight", w, w), l.vector(att+"out_proj.bias", w)
	}
	b.fc1, b.fc1B = matrix(name+"mlp.c_fc.weight", c.MLP, w), l.vector(name+"mlp.c_fc.bias", c.MLP)
	b.fc2, b.fc2B = matrix(name+"mlp.c_proj.weight", w, c.MLP), l.vector(name+"mlp.c_proj.bias", w)
	return b
}
