package torch

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"isearle/weights/safetensors"
)

// global is a name that a pickle refers to. Nothing is ever looked up by it but the tables of this file.
type global struct{ module, name string }

func (g global) String() string { return g.module + "." + g.name }

// storage is a storage of an archive. An untyped one has no dtype: its elements are bytes.
type storage struct {
	dtype safetensors.DType
	data  []byte
}

// scriptPrefix begins the classes of a TorchScript archive.
const scriptPrefix = "__torch__."

// storageTypes gives the element type of torch's storage classes; Invalid marks the untyped one.
var storageTypes = map[global]safetensors.DType{
	{"torch", "DoubleStorage"}:          safetensors.F64,
	{"torch", "FloatStorage"}:           safetensors.F32,
	{"torch", "HalfStorage"}:            safetensors.F16,
	{"torch", "BFloat16Storage"}:        safetensors.BF16,
	{"torch", "LongStorage"}:            safetensors.I64,
	{"torch", "IntStorage"}:             safetensors.I32,
	{"torch", "ShortStorage"}:           safetensors.I16,
	{"torch", "CharStorage"}:            safetensors.I8,
	{"torch", "ByteStorage"}:            safetensors.U8,
	{"torch", "BoolStorage"}:            safetensors.Bool,
	{"torch", "ComplexFloatStorage"}:    safetensors.C64,
	{"torch.storage", "UntypedStorage"}: safetensors.Invalid,
}

// dtypes gives the torch.dtype objects.
var dtypes = map[global]safetensors.DType{
	{"torch", "float64"}: safetensors.F64, {"torch", "float32"}: safetensors.F32, {"torch", "float16"}: safetensors.F16,
	{"torch", "bfloat16"}: safetensors.BF16, {"torch", "int64"}: safetensors.I64, {"torch", "int32"}: safetensors.I32,
	{"torch", "int16"}: safetensors.I16, {"torch", "int8"}: safetensors.I8, {"torch", "uint8"}: safetensors.U8,
	{"torch", "uint16"}: safetensors.U16, {"torch", "uint32"}: safetensors.U32, {"torch", "uint64"}: safetensors.U64,
	{"torch", "bool"}: safetensors.Bool, {"torch", "complex64"}: safetensors.C64,
	{"torch", "float8_e4m3fn"}: safetensors.F8E4M3, {"torch", "float8_e5m2"}: safetensors.F8E5M2,
}

// functions are what REDUCE may call.
var functions = map[global]func(args Tuple) (any, error){
	{"collections", "OrderedDict"}:            newDict,
	{"torch._utils", "_rebuild_tensor_v2"}:    rebuildTensorV2,
	{"torch._utils", "_rebuild_tensor_v3"}:    rebuildTensorV3,
	{"torch._utils", "_rebuild_parameter"}:    firstOf[*Tensor],
	{"torch", "Size"}:                         firstOf[Tuple],
	{"torch.jit._pickle", "build_intlist"}:    firstOf[*list],
	{"torch.jit._pickle", "build_doublelist"}: firstOf[*list],
	{"torch.jit._pickle", "build_boollist"}:   firstOf[*list],
	{"torch.jit._pickle", "build_tensorlist"}: firstOf[*list],
	{"torch.jit._pickle", "restore_type_tag"}: firstOf[any],
}

// call runs the opcodes that name something, and those that use what was named.
func (m *machine) call(op byte) error {
	switch op {
	case opGlobal:
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		return m.pushGlobal(global{module, name})
	case opBinPersID:
		id, err := m.popN(1)
		if err != nil {
			return err
		}
		s, err := m.openStorage(id[0])
		if err != nil {
			return err
		}
		return m.push(s)
	}
	args, err := m.popN(2)
	if err != nil {
		return err
	}
	switch op {
	case opStackGlobal:
		module, ok1 := args[0].(string)
		name, ok2 := args[1].(string)
		if !ok1 || !ok2 {
			return fmt.Errorf("STACK_GLOBAL of a %s and a %s", kind(args[0]), kind(args[1]))
		}
		return m.pushGlobal(global{module, name})
	case opReduce:
		return m.reduce(args[0], args[1])
	case opNewObj:
		return m.newObject(args[0], args[1])
	}
	return m.build(args[0], args[1])
}

func (m *machine) pushGlobal(g global) error {
	if d, ok := dtypes[g]; ok {
		return m.push(d)
	}
	_, isStorage := storageTypes[g]
	_, isFunction := functions[g]
	isClass := m.env.script && strings.HasPrefix(g.module, scriptPrefix)
	if !isStorage && !isFunction && !isClass {
		return fmt.Errorf("refusing the global %q: a checkpoint may refer to tensors and dictionaries only", g.String())
	}
	return m.push(g)
}

func (m *machine) reduce(callable, args any) error {
	g, _ := callable.(global)
	f, ok := functions[g]
	if !ok {
		return fmt.Errorf("refusing to call %s", kind(callable))
	}
	tuple, ok := args.(Tuple)
	if !ok {
		return fmt.Errorf("%v is called with a %s, not a tuple", g, kind(args))
	}
	v, err := f(tuple)
	if err != nil {
		return fmt.Errorf("%v: %w", g, err)
	}
	return m.push(v)
}

func (m *machine) newObject(class, args any) error {
	g, ok := class.(global)
	if !ok || !strings.HasPrefix(g.module, scriptPrefix) {
		return fmt.Errorf("refusing to make an instance of %s", kind(class))
	}
	if tuple, ok := args.(Tuple); !ok || len(tuple) != 0 {
		return fmt.Errorf("an instance of %v is made with arguments", g)
	}
	return m.push(&Object{Class: g.String()})
}

// build gives an object its attributes. Those of an OrderedDict (a state dict's _metadata) are left out.
func (m *machine) build(object, state any) error {
	d, ok := state.(*Dict)
	if !ok {
		return fmt.Errorf("the state of %s is a %s, not a dict", kind(object), kind(state))
	}
	switch o := object.(type) {
	case *Object:
		o.State = d
	case *Dict:
	default:
		return fmt.Errorf("refusing to set attributes of a %s", kind(object))
	}
	return m.push(object)
}

// openStorage resolves a persistent id: ("storage", class, key, device, elements).
func (m *machine) openStorage(id any) (storage, error) {
	t, ok := id.(Tuple)
	if !ok || len(t) < 5 || t[0] != "storage" {
		return storage{}, errors.New("a persistent id that is not a storage")
	}
	class, ok1 := t[1].(global)
	key, ok2 := t[2].(string)
	n, ok3 := t[4].(int64)
	dtype, ok4 := storageTypes[class]
	if !ok1 || !ok2 || !ok3 || !ok4 || n < 0 {
		return storage{}, errors.New("a storage that is not (class, key, device, elements)")
	}
	if m.env.storage == nil {
		return storage{}, errors.New("a tensor outside an archive of torch.save")
	}
	data, err := m.env.storage(key)
	if err != nil {
		return storage{}, err
	}
	if n > math.MaxInt/8 || int(n)*max(dtype.Size(), 1) != len(data) {
		return storage{}, fmt.Errorf("storage %q has %d bytes, not %d elements of %v", key, len(data), n, class)
	}
	return storage{dtype, data}, nil
}

// line reads up to the next newline.
func (m *machine) line() (string, error) {
	n := bytes.IndexByte(m.in[m.at:], '\n')
	if n < 0 {
		return "", errors.New("a name without an end: the pickle is truncated")
	}
	s := string(m.in[m.at : m.at+n])
	m.at += n + 1
	return s, nil
}

func newDict(args Tuple) (any, error) {
	if len(args) != 0 {
		return nil, errors.New("arguments are not read")
	}
	return &Dict{}, nil
}

// firstOf returns the first argument, which must have type T. The rest only matters to torch.
func firstOf[T any](args Tuple) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("no arguments")
	}
	if v, ok := args[0].(T); ok {
		return v, nil
	}
	return nil, fmt.Errorf("a %s", kind(args[0]))
}

// rebuildTensorV2 takes (storage, offset, shape, stride, requires_grad, hooks, ...).
func rebuildTensorV2(args Tuple) (any, error) {
	if len(args) < 6 {
		return nil, fmt.Errorf("%d arguments", len(args))
	}
	s, ok := args[0].(storage)
	if !ok || s.dtype == safetensors.Invalid {
		return nil, fmt.Errorf("a %s for a typed storage", kind(args[0]))
	}
	return newTensor(s.data, s.dtype, args[1:4])
}

// rebuildTensorV3 takes (storage, offset, shape, stride, requires_grad, hooks, dtype, ...) with an untyped storage.
func rebuildTensorV3(args Tuple) (any, error) {
	if len(args) < 7 {
		return nil, fmt.Errorf("%d arguments", len(args))
	}
	s, ok1 := args[0].(storage)
	d, ok2 := args[6].(safetensors.DType)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("a %s and a %s for a storage and a dtype", kind(args[0]), kind(args[6]))
	}
	return newTensor(s.data, d, args[1:4])
}

// maxRank is torch's own limit.
const maxRank = 64

// newTensor makes a tensor of (offset, shape, stride) after making sure that the storage holds every element.
func newTensor(data []byte, d safetensors.DType, where []any) (*Tensor, error) {
	offset, ok := where[0].(int64)
	if !ok || offset < 0 {
		return nil, errors.New("the offset is not a whole number")
	}
	shape, err := ints(where[1])
	if err != nil {
		return nil, fmt.Errorf("shape: %w", err)
	}
	stride, err := ints(where[2])
	if err != nil {
		return nil, fmt.Errorf("stride: %w", err)
	}
	if len(shape) != len(stride) {
		return nil, fmt.Errorf("shape %v and stride %v differ in length", shape, stride)
	}
	if slices.Contains(shape, 0) {
		return &Tensor{DType: d, Shape: shape, Stride: stride}, nil
	}
	n := len(data) / d.Size()
	count, last := 1, 0
	for i, dim := range shape {
		if count > n/dim || dim > 1 && stride[i] > (n-last)/(dim-1) {
			return nil, fmt.Errorf("shape %v with stride %v does not fit in a storage of %d elements", shape, stride, n)
		}
		count *= dim
		last += (dim - 1) * stride[i]
	}
	if offset > int64(n) || int(offset)+last >= n {
		return nil, fmt.Errorf("shape %v with stride %v at %d does not fit in a storage of %d elements", shape, stride, offset, n)
	}
	return &Tensor{DType: d, Shape: shape, Stride: stride, Data: data[int(offset)*d.Size() : (int(offset)+last+1)*d.Size()]}, nil
}

// ints reads a tuple of whole numbers.
func ints(v any) ([]int, error) {
	t, ok := v.(Tuple)
	if !ok || len(t) > maxRank {
		return nil, fmt.Errorf("not a tuple of at most %d numbers", maxRank)
	}
	out := make([]int, len(t))
	for i, x := range t {
		n, ok := x.(int64)
		if !ok || n < 0 || int64(int(n)) != n {
			return nil, fmt.Errorf("%v is not a whole number in range", x)
		}
		out[i] = int(n)
	}
	return out, nil
}
