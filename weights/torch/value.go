package torch

import (
	"fmt"
	"iter"
	"strconv"

	"isearle/weights/safetensors"
)

// The values of a pickle are: nil, bool, int64, float64, string, []byte, []any (a list), Tuple, *Dict, *Tensor, *Object
// and safetensors.DType (a torch.dtype). What the pickle shares is shared here; nothing contains itself.
type (
	// Tuple is a Python tuple.
	Tuple []any

	// Object is the state of an instance of a TorchScript class. Its class is a name and nothing more: no code belongs to
	// it.
	Object struct {
		Class string // as the archive spells it: __torch__.clip.model.CLIP
		State *Dict  // attributes; nil when the instance has none
	}

	// Tensor is an array somewhere in a storage. Element (i, j, ...) stands Stride[0]*i + Stride[1]*j + ... elements into
	// Data, which was checked to hold them all. Data is a view of the file wherever the archive stores it uncompressed.
	Tensor struct {
		DType  safetensors.DType
		Shape  []int // a scalar has none
		Stride []int // in elements, none negative, as long as Shape
		Data   []byte
	}
)

// Dict is a dictionary that keeps the order of insertion, as Python's does. Its keys are strings and int64s.
type Dict struct {
	keys   []any
	values []any
	index  map[any]int
}

// Len returns the number of entries; a nil Dict has none.
func (d *Dict) Len() int {
	if d == nil {
		return 0
	}
	return len(d.keys)
}

// Get returns the value of a key, a string or an int64.
func (d *Dict) Get(key any) (any, bool) {
	if d == nil {
		return nil, false
	}
	i, ok := d.index[key]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

// All gives keys and values in the order of insertion.
func (d *Dict) All() iter.Seq2[any, any] {
	return func(yield func(any, any) bool) {
		for i := range d.Len() {
			if !yield(d.keys[i], d.values[i]) {
				return
			}
		}
	}
}

func (d *Dict) set(key, value any) error {
	switch key.(type) {
	case string, int64:
	default:
		return fmt.Errorf("a dictionary key of type %s; strings and integers are read", kind(key))
	}
	if i, ok := d.index[key]; ok {
		d.values[i] = value
		return nil
	}
	if d.index == nil {
		d.index = make(map[any]int)
	}
	d.index[key] = len(d.keys)
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
	return nil
}

// IsDense says whether the elements stand in row-major order without gaps.
func (t *Tensor) IsDense() bool {
	n := 1
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] == 0 {
			return true
		}
		if t.Shape[i] != 1 && t.Stride[i] != n {
			return false
		}
		n *= t.Shape[i]
	}
	return true
}

// Dense returns the tensor in row-major order under a name: a view where it lies so, otherwise a copy.
func (t *Tensor) Dense(name string) safetensors.Tensor {
	out := safetensors.Tensor{Name: name, DType: t.DType, Shape: t.Shape}
	n, size := out.Len(), t.DType.Size()
	if t.IsDense() {
		out.Data = t.Data[:n*size]
		return out
	}
	out.Data = make([]byte, 0, n*size)
	at := make([]int, len(t.Shape))
	for range n {
		offset := 0
		for i, x := range at {
			offset += x * t.Stride[i]
		}
		out.Data = append(out.Data, t.Data[offset*size:(offset+1)*size]...)
		for i := len(at) - 1; i >= 0; i-- {
			if at[i]++; at[i] < t.Shape[i] {
				break
			}
			at[i] = 0
		}
	}
	return out
}

// Named is a tensor and the path that leads to it.
type Named struct {
	Name   string
	Tensor *Tensor
}

const (
	// A state dict is a few levels deep and has some thousand tensors. The limits keep shared structure, which a path
	// visits again and again, from growing beyond all measure.
	maxFlattenDepth  = 64
	maxFlattenVisits = 1 << 16
	maxNameLength    = 512
)

// Flatten returns the tensors under a value, named as a state dict names them: the keys of dictionaries, the attributes of
// objects and the positions in lists on the way to each, joined by dots. Other values are passed over.
func Flatten(value any) ([]Named, error) {
	f := flattener{left: maxFlattenVisits}
	if err := f.walk("", value, 0); err != nil {
		return nil, fmt.Errorf("torch: %w", err)
	}
	return f.out, nil
}

type flattener struct {
	out  []Named
	left int
}

func (f *flattener) walk(name string, value any, depth int) error {
	if f.left--; f.left < 0 || depth > maxFlattenDepth {
		return fmt.Errorf("more than %d values, or %d levels of them", maxFlattenVisits, maxFlattenDepth)
	}
	switch v := value.(type) {
	case *Tensor:
		f.out = append(f.out, Named{name, v})
	case *Object:
		return f.dict(name, v.State, depth)
	case *Dict:
		return f.dict(name, v, depth)
	case []any:
		for i, x := range v {
			if err := f.child(name, strconv.Itoa(i), x, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *flattener) dict(name string, d *Dict, depth int) error {
	for k, v := range d.All() {
		if err := f.child(name, fmt.Sprint(k), v, depth); err != nil {
			return err
		}
	}
	return nil
}

func (f *flattener) child(name, key string, value any, depth int) error {
	if name != "" {
		if len(name)+len(key) > maxNameLength {
			return fmt.Errorf("a name of more than %d bytes, which begins with %.40q", maxNameLength, key)
		}
		key = name + "." + key
	}
	return f.walk(key, value, depth+1)
}

// kind names the Python type of a value, for messages.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case []byte:
		return "bytes"
	case []any, *list:
		return "list"
	case Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *Tensor:
		return "Tensor"
	case *Object:
		return v.Class
	case storage:
		return "Storage"
	case global:
		return v.String()
	case safetensors.DType:
		return "torch.dtype"
	}
	return fmt.Sprintf("%T", v)
}
