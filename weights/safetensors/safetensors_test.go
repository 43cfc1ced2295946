package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"isearle/weights/golden"
	"isearle/weights/mmap"
)

// file puts a header and n bytes of data together.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

func TestParse(t *testing.T) {
	f, err := Parse(file(`{"b":{"dtype":"F32","shape":[2,1],"data_offsets":[2,10]},`+
		`"__metadata__":{"format":"pt"},"a":{"shape":[2],"data_offsets":[0,2],"dtype":"U8"},`+
		`"none":{"dtype":"F16","shape":[3,0],"data_offsets":[10,10]},"scalar":{"dtype":"F64","shape":[],"data_offsets":[10,18]}}   `, 18), "x")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for x := range f.All() {
		names = append(names, x.Name)
	}
	if want := []string{"a", "b", "none", "scalar"}; !slices.Equal(names, want) || f.Len() != 4 {
		t.Errorf("names %v, want %v", names, want)
	}
	b, ok := f.Tensor("b")
	if !ok || b.DType != F32 || !slices.Equal(b.Shape, []int{2, 1}) || !bytes.Equal(b.Data, []byte{2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("b is %+v", b)
	}
	if s, _ := f.Tensor("scalar"); s.Len() != 1 || len(s.Data) != 8 {
		t.Errorf("scalar is %+v", s)
	}
	if _, ok := f.Tensor("c"); ok {
		t.Error("a tensor that is not there")
	}
	if m := f.Metadata(); !maps.Equal(m, map[string]string{"format": "pt"}) {
		t.Errorf("metadata %v", m)
	}
}

func TestParseRefuses(t *testing.T) {
	one := func(s string) []byte { return file(`{"a":`+s+`}`, 4) }
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "the file has 0 bytes"},
		{"seven bytes", make([]byte, 7), "the file has 7 bytes"},
		{"huge header", binary.LittleEndian.AppendUint64(nil, 1<<62), "beyond the limit"},
		{"header over the limit", binary.LittleEndian.AppendUint64(nil, maxHeader+1), "beyond the limit"},
		{"truncated header", file(`{"a":`, 0)[:10], "truncated"},
		{"no object", file(`["a"]`, 0), "does not begin with '{'"},
		{"cut JSON", file(`{"a":{"dtype":"U8"`, 0), "unexpected EOF"},
		{"bad JSON", file(`{"a" "b"}`, 0), "invalid character"},
		{"two objects", file(`{} {}`, 0), "text behind"},
		{"invalid UTF-8", file("{\"\xff\":1}", 0), "not UTF-8"},
		{"duplicate tensor", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, 4), `"a" occurs twice`},
		{"duplicate metadata", file(`{"__metadata__":{},"__metadata__":{}}`, 0), "occurs twice"},
		{"duplicate metadata key", file(`{"__metadata__":{"k":"1","k":"2"}}`, 0), `"k" occurs twice`},
		{"metadata of numbers", file(`{"__metadata__":{"k":1}}`, 0), "not a string"},
		{"metadata array", file(`{"__metadata__":[]}`, 0), "not a JSON object"},
		{"tensor array", one(`[]`), "not a JSON object"},
		{"unknown key", one(`{"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":1}`), `unknown key "x"`},
		{"key twice", one(`{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}`), `"dtype" occurs twice`},
		{"no dtype", one(`{"shape":[4],"data_offsets":[0,4]}`), `"dtype" is missing`},
		{"no shape", one(`{"dtype":"U8","data_offsets":[0,4]}`), `"shape" is missing`},
		{"no offsets", one(`{"dtype":"U8","shape":[4]}`), `"data_offsets" is missing`},
		{"unknown dtype", one(`{"dtype":"F7","shape":[4],"data_offsets":[0,4]}`), `unknown dtype "F7"`},
		{"dtype number", one(`{"dtype":7,"shape":[4],"data_offsets":[0,4]}`), "dtype is not a string"},
		{"shape string", one(`{"dtype":"U8","shape":"4","data_offsets":[0,4]}`), "shape is not an array"},
		{"shape of strings", one(`{"dtype":"U8","shape":["4"],"data_offsets":[0,4]}`), "not a number"},
		{"negative shape", one(`{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}`), "not a whole number"},
		{"fractional shape", one(`{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}`), "not a whole number"},
		{"rank 65", one(`{"dtype":"U8","shape":[4` + strings.Repeat(",1", 64) + `],"data_offsets":[0,4]}`), "more than 64"},
		{"shape overflow", one(`{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}`), "overflows"},
		{"dimension overflow", one(`{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}`), "not a whole number"},
		{"one offset", one(`{"dtype":"U8","shape":[4],"data_offsets":[4]}`), "not a range"},
		{"three offsets", one(`{"dtype":"U8","shape":[4],"data_offsets":[0,4,4]}`), "more than 2"},
		{"offsets reversed", one(`{"dtype":"U8","shape":[4],"data_offsets":[4,0]}`), "not a range"},
		{"wrong size", one(`{"dtype":"U16","shape":[4],"data_offsets":[0,4]}`), "takes 8 bytes, data_offsets give it 4"},
		{"truncated data", file(`{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]}}`, 4), "truncated"},
		{"gap at the start", file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}`, 4), "leaving a gap after 0"},
		{"gap", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3), "leaving a gap after 1"},
		{"overlap", file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, 4), "before the end (3)"},
		{"rest", file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}`, 4), "1 bytes behind the last tensor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.data, "bad.safetensors")
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("got %v, want a FormatError", err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "bad.safetensors") {
				t.Errorf("got %q, want it to say %q and the file", err, c.want)
			}
		})
	}
}

func TestWriteRoundTrip(t *testing.T) {
	var in []Tensor
	for d := Bool; d <= C64; d++ {
		for _, shape := range [][]int{{}, {3}, {2, 0}, {5, 7}} {
			n, _ := byteSize(d, shape)
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(i*7 + int(d))
			}
			in = append(in, Tensor{Name: fmt.Sprintf("%v<%v>", d, shape), DType: d, Shape: shape, Data: data})
		}
	}
	meta := map[string]string{"b": "ü<&>", "a": ""}
	var buf, again bytes.Buffer
	if err := errors.Join(Write(&buf, in, meta), Write(&again, in, meta)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), again.Bytes()) {
		t.Error("two runs differ")
	}
	f, err := Parse(buf.Bytes(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if f.Len() != len(in) || !maps.Equal(f.Metadata(), meta) {
		t.Errorf("%d tensors, metadata %v", f.Len(), f.Metadata())
	}
	for _, want := range in {
		got, ok := f.Tensor(want.Name)
		if !ok || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%s: got %+v", want.Name, got)
		}
	}
	base := int64(binary.LittleEndian.Uint64(buf.Bytes())) + 8
	if base%dataAlignment != 0 {
		t.Errorf("data begins at %d", base)
	}
	for x := range f.All() {
		at := uintptr(unsafe.Pointer(unsafe.SliceData(x.Data))) - uintptr(unsafe.Pointer(unsafe.SliceData(buf.Bytes())))
		if len(x.Data) > 0 && int(at)%x.DType.Size() != 0 {
			t.Errorf("%s at %d is not aligned", x.Name, at)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	ok := Tensor{Name: "a", DType: U8, Shape: []int{2}, Data: []byte{1, 2}}
	short, long, bad, neg, meta := ok, ok, ok, ok, ok
	short.Data, long.Data = []byte{1}, []byte{1, 2, 3}
	bad.DType, neg.Shape, meta.Name = Invalid, []int{-2}, metadataKey
	for name, in := range map[string][]Tensor{"twice": {ok, ok}, "short": {short}, "long": {long}, "dtype": {bad}, "negative": {neg}, "reserved": {meta}} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := WriteFile(path, in, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a file is left", name)
		}
	}
}

func TestConversions(t *testing.T) {
	le := binary.LittleEndian
	f64 := Tensor{Name: "f64", DType: F64, Shape: []int{2}, Data: le.AppendUint64(le.AppendUint64(nil, math.Float64bits(1.5)), math.Float64bits(-1e-3))}
	f32 := FromFloat32s("f32", []float32{1.5, -1e-3}, 2)
	f16 := Tensor{Name: "f16", DType: F16, Shape: []int{2}, Data: []byte{0x00, 0x3e, 0x00, 0xc0}}
	bf16 := Tensor{Name: "bf16", DType: BF16, Shape: []int{2}, Data: []byte{0xc0, 0x3f, 0x00, 0xc0}}
	for _, c := range []struct {
		in   Tensor
		want []float32
	}{{f64, []float32{1.5, -1e-3}}, {f32, []float32{1.5, -1e-3}}, {f16, []float32{1.5, -2}}, {bf16, []float32{1.5, -2}}} {
		if got, err := c.in.Float32s(nil); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v", c.in.Name, got, err)
		}
		if _, err := c.in.Int64s(nil); err == nil {
			t.Errorf("%s as integers: no error", c.in.Name)
		}
	}
	if v, ok := f32.Float32View(); !ok || v[0] != 1.5 {
		t.Errorf("view %v, %v", v, ok)
	}
	if _, ok := f16.Float32View(); ok {
		t.Error("a view of F16 as F32")
	}
	for d, want := range map[DType]int64{Bool: 0xfe, U8: 0xfe, I8: -2, I16: -2, U16: 0xfffe, I32: -2, U32: 0xfffffffe, I64: -2} {
		in := Tensor{Name: d.String(), DType: d, Shape: []int{1}, Data: []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}[:d.Size()]}
		if got, err := in.Int64s(nil); err != nil || got[0] != want {
			t.Errorf("%v: %v, %v", d, got, err)
		}
		if _, err := in.Float32s(nil); err == nil {
			t.Errorf("%v as floats: no error", d)
		}
	}
	if got := FromInt64s("i", []int64{-5, 7}, 2); !bytes.Equal(got.Data[8:9], []byte{7}) {
		t.Errorf("FromInt64s: %v", got.Data)
	}
	big := Tensor{Name: "u", DType: U64, Shape: []int{1}, Data: bytes.Repeat([]byte{0xff}, 8)}
	if _, err := big.Int64s(nil); err == nil {
		t.Error("2^64-1 as int64: no error")
	}
}

func TestIndex(t *testing.T) {
	dir := t.TempDir()
	a, b := FromFloat32s("a", []float32{1}, 1), FromFloat32s("b", []float32{2}, 1)
	stray := FromFloat32s("a", []float32{3}, 1)
	err := errors.Join(WriteFile(filepath.Join(dir, "m-1.safetensors"), []Tensor{a}, map[string]string{"format": "pt"}),
		WriteFile(filepath.Join(dir, "m-2.safetensors"), []Tensor{b, stray}, nil))
	if err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, "m"+IndexSuffix)
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(index, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"metadata":{"total_size":8},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}`)
	f, err := OpenIndex(index)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := f.Tensor("a")
	if v, _ := x.Float32s(nil); f.Len() != 2 || v[0] != 1 || f.Metadata()["format"] != "pt" {
		t.Errorf("a = %v of %d tensors", v, f.Len())
	}
	f.Prefetch(x.Data)
	f.Drop(x.Data)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		`{`:                       "unexpected end",
		`{"weight_map":{}}`:       "no weight_map",
		`{"weight_map":{"a":3}}`:  "cannot unmarshal",
		`{"weight_map":{"a":""}}`: "refusing the shard",
		`{"weight_map":{"a":"../m-1.safetensors"}}`:                                  "refusing the shard",
		`{"weight_map":{"a":"sub/m-1.safetensors"}}`:                                 "refusing the shard",
		`{"weight_map":{"a":"..\\m-1.safetensors"}}`:                                 "refusing the shard",
		`{"weight_map":{"a":"/etc/passwd"}}`:                                         "refusing the shard",
		`{"weight_map":{"a":".."}}`:                                                  "refusing the shard",
		`{"weight_map":{"a":"m-3.safetensors"}}`:                                     "no such file",
		`{"weight_map":{"a":"m-1.safetensors","b":"m-1.safetensors"}}`:               `tensor "b" is not in its shard`,
		`{"weight_map":{"a":"m-1.safetensors","b":"m` + `.safetensors.index.json"}}`: "m.safetensors.index.json",
	} {
		put(text)
		if _, err := OpenIndex(index); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// TestGoldenFiles reads every safetensors file of the sets, and writes it again.
func TestGoldenFiles(t *testing.T) {
	err := filepath.WalkDir(golden.Dir(t, "clip"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".safetensors" {
			return err
		}
		f, err := Open(path)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer f.Close()
		var buf bytes.Buffer
		if err := Write(&buf, slices.Collect(f.All()), f.Metadata()); err != nil {
			t.Error(err)
		}
		g, err := Parse(buf.Bytes(), "copy")
		if err != nil {
			t.Fatal(err)
		}
		for want := range f.All() {
			got, _ := g.Tensor(want.Name)
			if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%s: %s differs", path, want.Name)
			}
		}
		if g.Len() != f.Len() || !maps.Equal(g.Metadata(), f.Metadata()) {
			t.Errorf("%s: %d tensors of %d", path, g.Len(), f.Len())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"k":"v"}}`, 8))
	f.Add(file(`{"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}`, 2))
	f.Add(file(`{"__metadata__":{}}`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := Parse(data, "fuzz")
		if err != nil {
			return
		}
		total := 0
		for a := range x.All() {
			if len(a.Data) != a.Len()*a.DType.Size() {
				t.Fatalf("%s: %d bytes for %v %v", a.Name, len(a.Data), a.DType, a.Shape)
			}
			total += len(a.Data)
			if a.DType.IsFloat() {
				if _, err := a.Float32s(nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		if total+8+int(binary.LittleEndian.Uint64(data)) != len(data) {
			t.Fatalf("%d bytes of tensors in a file of %d", total, len(data))
		}
		if err := Write(new(bytes.Buffer), slices.Collect(x.All()), x.Metadata()); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"weight_map":{"a":"m-1.safetensors"}}`))
	f.Add([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"../x","b":"y"}}`))
	shard := file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4)
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := ParseIndex(data, "fuzz", memoryShards(t, shard))
		if err == nil && x.Len() != 1 {
			t.Fatalf("%d tensors", x.Len())
		}
	})
}

// memoryShards serves the same content under every name, and fails the test for a name with a directory in it.
func memoryShards(t *testing.T, content []byte) func(string) (*mmap.File, error) {
	return func(name string) (*mmap.File, error) {
		if name != filepath.Base(name) || name == "." || name == ".." || strings.ContainsAny(name, `/\`) {
			t.Fatalf("asked for %q", name)
		}
		return mmap.FromBytes(name, content), nil
	}
}
