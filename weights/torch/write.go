package torch

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"

	"isearle/weights/atomicfile"
	"isearle/weights/safetensors"
)

const (
	// storageAlignment is what torch aligns storages to inside an archive (caffe2/serialize/inline_container.cc,
	// kFieldAlignment), so that they can be used where they are mapped.
	storageAlignment = 64
	localHeaderSize  = 30 // of a zip entry, before its name
	paddingField     = "FB"
	rootDir          = "archive/"
	formatVersion    = "3\n"
)

// storageNames are the storage classes of the types that torch can load from typed storages.
var storageNames = map[safetensors.DType]string{
	safetensors.F64: "DoubleStorage", safetensors.F32: "FloatStorage", safetensors.F16: "HalfStorage",
	safetensors.BF16: "BFloat16Storage", safetensors.I64: "LongStorage", safetensors.I32: "IntStorage",
	safetensors.I16: "ShortStorage", safetensors.I8: "CharStorage", safetensors.U8: "ByteStorage",
	safetensors.Bool: "BoolStorage", safetensors.C64: "ComplexFloatStorage",
}

// WriteFile writes a state dict as Write does, and puts it in the place of path only when it is complete and durable.
func WriteFile[S safetensors.Source](path string, tensors []S, extra map[string][]byte) error {
	err := atomicfile.Write(path, func(w io.Writer) error { return Write(w, tensors, extra) })
	if err != nil {
		return fmt.Errorf("torch: %w", err)
	}
	return nil
}

// Write writes an archive that torch.load opens, with weights_only too, as an OrderedDict of the tensors in the order
// given. extra is kept beside it under extra/, where torch does not look. The same input gives the same bytes.
func Write[S safetensors.Source](w io.Writer, tensors []S, extra map[string][]byte) error {
	var p pickler
	if err := p.stateDict(sources(tensors)); err != nil {
		return err
	}
	a := archiveWriter{count: &counter{w: w}}
	a.zip = zip.NewWriter(a.count)
	if err := a.put("data.pkl", bytes.NewReader(p.out)); err != nil {
		return err
	}
	if err := a.put("byteorder", bytes.NewReader([]byte("little"))); err != nil {
		return err
	}
	for i, t := range tensors {
		if err := a.put("data/"+strconv.Itoa(i), t); err != nil {
			name, _, _ := t.Header()
			return fmt.Errorf("tensor %q: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if err := a.put(extraDir+name, bytes.NewReader(extra[name])); err != nil {
			return err
		}
	}
	if err := a.put("version", bytes.NewReader([]byte(formatVersion))); err != nil {
		return err
	}
	return a.zip.Close()
}

func sources[S safetensors.Source](tensors []S) []safetensors.Source {
	out := make([]safetensors.Source, len(tensors))
	for i, t := range tensors {
		out[i] = t
	}
	return out
}

// archiveWriter writes stored entries whose data is aligned.
type archiveWriter struct {
	zip   *zip.Writer
	count *counter
	// pending is the size of the data descriptor that archive/zip writes behind an entry when the next one begins.
	pending int64
}

const descriptorSize, descriptor64Size = 16, 24

func (a *archiveWriter) put(name string, content io.WriterTo) error {
	if err := a.zip.Flush(); err != nil {
		return err
	}
	name = rootDir + name
	start := a.count.n + a.pending + localHeaderSize + int64(len(name)) + 4 // 4: the extra field's own header
	pad := (storageAlignment - start%storageAlignment) % storageAlignment
	extra := append([]byte(paddingField), 0, 0)
	binary.LittleEndian.PutUint16(extra[2:], uint16(pad))
	extra = append(extra, bytes.Repeat([]byte("Z"), int(pad))...)
	w, err := a.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Extra: extra})
	if err != nil {
		return err
	}
	want := int64(-1)
	if t, ok := content.(safetensors.Source); ok {
		_, dtype, shape := t.Header()
		want = int64(dtype.Size())
		for _, n := range shape {
			want *= int64(n)
		}
	}
	n, err := content.WriteTo(w)
	a.pending = descriptorSize
	if n >= math.MaxUint32 {
		a.pending = descriptor64Size
	}
	if err == nil && want >= 0 && n != want {
		err = fmt.Errorf("%d bytes of data, its type and shape take %d", n, want)
	}
	return err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// pickler writes the few values a state dict is made of, in protocol 2.
type pickler struct{ out []byte }

func (p *pickler) op(ops ...byte) { p.out = append(p.out, ops...) }

func (p *pickler) global(module, name string) {
	p.out = append(p.out, opGlobal)
	p.out = append(p.out, module+"\n"+name+"\n"...)
}

func (p *pickler) str(s string) {
	p.out = binary.LittleEndian.AppendUint32(append(p.out, opBinUnicode), uint32(len(s)))
	p.out = append(p.out, s...)
}

func (p *pickler) int(n int) {
	switch {
	case n >= 0 && n < 256:
		p.op(opBinInt1, byte(n))
	case n >= 0 && n <= math.MaxInt32:
		p.out = binary.LittleEndian.AppendUint32(append(p.out, opBinInt), uint32(n))
	default:
		p.out = binary.LittleEndian.AppendUint64(append(p.out, opLong1, 8), uint64(n))
	}
}

func (p *pickler) ints(values []int) {
	p.op(opMark)
	for _, n := range values {
		p.int(n)
	}
	p.op(opTuple)
}

func (p *pickler) emptyDict() {
	p.global("collections", "OrderedDict")
	p.op(opEmptyTuple, opReduce)
}

func (p *pickler) stateDict(tensors []safetensors.Source) error {
	p.op(opProto, minProtocol)
	p.emptyDict()
	p.op(opMark)
	seen := make(map[string]bool)
	for i, t := range tensors {
		name, dtype, shape := t.Header()
		class, ok := storageNames[dtype]
		if !ok || seen[name] {
			return fmt.Errorf("tensor %q: %v has no storage class in torch, or the name is taken", name, dtype)
		}
		seen[name] = true
		p.str(name)
		p.tensor(class, i, shape)
	}
	p.op(opSetItems, opStop)
	return nil
}

// tensor writes _rebuild_tensor_v2(storage, 0, shape, stride, False, OrderedDict()).
func (p *pickler) tensor(class string, key int, shape []int) {
	stride := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		stride[i] = n
		n *= shape[i]
	}
	p.global("torch._utils", "_rebuild_tensor_v2")
	p.op(opMark, opMark)
	p.str("storage")
	p.global("torch", class)
	p.str(strconv.Itoa(key))
	p.str("cpu")
	p.int(n)
	p.op(opTuple, opBinPersID)
	p.int(0)
	p.ints(shape)
	p.ints(stride)
	p.op(opNewFalse)
	p.emptyDict()
	p.op(opTuple, opReduce)
}
