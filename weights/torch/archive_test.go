package torch

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/weights/golden"
	"isearle/weights/safetensors"
)

// pack makes an archive of entries in the order given: name, content.
func pack(t testing.TB, method uint16, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: entries[i], Method: method})
		if err == nil {
			_, err = io.WriteString(w, entries[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tensorPickle is a dictionary with one float tensor "x" that is described by numbers below 128.
func tensorPickle(n, offset int, shape, stride []int) string {
	var p pickler
	p.op(opProto, 2, opEmptyDict)
	p.str("x")
	p.global("torch._utils", "_rebuild_tensor_v2")
	p.op(opMark, opMark)
	p.str("storage")
	p.global("torch", "FloatStorage")
	p.str("0")
	p.str("cpu")
	p.int(n)
	p.op(opTuple, opBinPersID)
	p.int(offset)
	p.ints(shape)
	p.ints(stride)
	p.op(opNewFalse)
	p.emptyDict()
	p.op(opTuple, opReduce, opSetItem, opStop)
	return string(p.out)
}

func TestTensorBounds(t *testing.T) {
	storage := strings.Repeat("\x00\x00\x80\x3f", 6)
	for _, c := range []struct {
		n, offset     int
		shape, stride []int
		want          string // "" is fine
	}{
		{6, 0, []int{2, 3}, []int{3, 1}, ""},
		{6, 0, []int{3, 2}, []int{1, 3}, ""},
		{6, 5, []int{}, []int{}, ""},
		{6, 5, []int{1, 1}, []int{100, 100}, ""},
		{6, 100, []int{0}, []int{1}, ""},
		{5, 0, []int{2}, []int{1}, "24 bytes, not 5 elements"},
		{7, 0, []int{2}, []int{1}, "24 bytes, not 7 elements"},
		{1 << 62, 0, []int{2}, []int{1}, "24 bytes, not"},
		{6, 6, []int{}, []int{}, "does not fit"},
		{6, 1, []int{2, 3}, []int{3, 1}, "does not fit"},
		{6, 0, []int{7}, []int{1}, "does not fit"},
		{6, 0, []int{2}, []int{6}, "does not fit"},
		{6, 0, []int{100}, []int{0}, "does not fit"},
		{6, 0, []int{1 << 40, 1 << 40}, []int{0, 0}, "does not fit"},
		{6, 0, []int{2, 2}, []int{1 << 62, 1 << 62}, "does not fit"},
		{6, 1 << 62, []int{1}, []int{1}, "does not fit"},
		{6, 0, []int{2}, []int{1, 1}, "differ in length"},
		{6, -1, []int{1}, []int{1}, "offset"},
		{6, 0, []int{-1}, []int{1}, "not a whole number"},
	} {
		code := tensorPickle(c.n, c.offset, c.shape, c.stride)
		f, err := Parse(pack(t, zip.Store, "a/data.pkl", code, "a/data/0", storage), "x.pt")
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		x := get[*Tensor](t, f.Value().(*Dict), "x").Dense("x")
		if got, err := x.Float32s(nil); err != nil || slices.ContainsFunc(got, func(v float32) bool { return v != 1 }) {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

func TestArchives(t *testing.T) {
	code := tensorPickle(6, 0, []int{6}, []int{1})
	storage := strings.Repeat("\x00\x00\x80\x3f", 6)
	good := pack(t, zip.Deflate, "a/data.pkl", code, "a/data/0", storage, "a/byteorder", "little")
	f, err := Parse(good, "x.pt")
	if err != nil {
		t.Fatal(err)
	}
	if x := get[*Tensor](t, f.Value().(*Dict), "x"); string(x.Data) != storage {
		t.Errorf("deflated: %x", x.Data)
	}
	damaged := pack(t, zip.Store, "a/data.pkl", code, "a/data/0", storage)
	damaged[bytes.Index(damaged, []byte("storage"))] ^= 1
	bomb := tensorPickle(16<<20, 0, []int{1}, []int{1})
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "not a zip archive"},
		{"truncated", good[:len(good)-30], "damaged or truncated"},
		{"only the start", good[:4], "damaged or truncated"},
		{"no pickle", pack(t, zip.Store, "a/version", "3"), "data.pkl: offset 0: there is no such entry"},
		{"no directory", pack(t, zip.Store, "data.pkl", code), "outside the archive's one directory"},
		{"two directories", pack(t, zip.Store, "a/data.pkl", code, "b/data/0", storage), "two directories"},
		{"twice", pack(t, zip.Store, "a/data.pkl", code, "a/data.pkl", code), "occurs twice"},
		{"no storage", pack(t, zip.Store, "a/data.pkl", code), "data/0 is not in the archive"},
		{"big-endian", pack(t, zip.Store, "a/data.pkl", code, "a/byteorder", "big"), "only little-endian"},
		{"damaged pickle", damaged, "check sum"},
		{"bomb", pack(t, zip.Deflate, "a/data.pkl", bomb, "a/data/0", strings.Repeat("\x00", 64<<20)), "refusing to inflate"},
		{"pickle bomb", pack(t, zip.Deflate, "a/data.pkl", "\x80\x02"+strings.Repeat("]", 64<<20)), "refusing to inflate"},
	} {
		if _, err := Parse(c.in, "bad.pt"); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "bad.pt") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestLyingSizes changes the sizes in the central directory.
func TestLyingSizes(t *testing.T) {
	code := tensorPickle(6, 0, []int{6}, []int{1})
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		good := pack(t, method, "a/data.pkl", code, "a/data/0", strings.Repeat("\x00\x00\x80\x3f", 6))
		at := bytes.LastIndex(good, []byte("PK\x01\x02"))
		for _, field := range []int{20, 24, 42} { // compressed size, size, place of the local header
			for _, value := range []byte{0, 1, 23, 25, 255} {
				bad := slices.Clone(good)
				bad[at+field] = value
				if f, err := Parse(bad, "bad.pt"); err == nil {
					if x, ok := f.Value().(*Dict).Get("x"); !ok || len(x.(*Tensor).Data) != 24 {
						t.Errorf("method %d, byte %d = %d: %v", method, field, value, x)
					}
				}
			}
		}
	}
}

func TestWrite(t *testing.T) {
	in := []safetensors.Tensor{
		safetensors.FromFloat32s("w", count(24), 4, 6), safetensors.FromFloat32s("scalar", []float32{2}),
		safetensors.FromInt64s("i", []int64{-1, 300}, 2), {Name: "h", DType: safetensors.F16, Shape: []int{3}, Data: []byte{0, 60, 0, 64, 0, 66}},
		{Name: "empty", DType: safetensors.BF16, Shape: []int{0, 70000}}, safetensors.FromFloat32s("long", make([]float32, 70000), 70000),
	}
	extra := map[string][]byte{"config.json": []byte("{}")}
	path := filepath.Join(t.TempDir(), "x.pt")
	if err := WriteFile(path, in, extra); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := Write(&again, in, extra); err != nil {
		t.Fatal(err)
	}
	if first, _ := os.ReadFile(path); !bytes.Equal(first, again.Bytes()) {
		t.Error("two runs differ")
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	named, err := Flatten(f.Value())
	if err != nil || len(named) != len(in) {
		t.Fatalf("%d tensors, %v", len(named), err)
	}
	for i, want := range in {
		got := named[i].Tensor.Dense(named[i].Name)
		if got.Name != want.Name || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%s: %v %v", got.Name, got.DType, got.Shape)
		}
		if len(got.Data) > 0 && cap(got.Data) > 0 {
			entry := f.archive.entries[fmt.Sprint("data/", i)]
			if at, err := entry.DataOffset(); err != nil || at%storageAlignment != 0 {
				t.Errorf("%s: data at %d, %v", want.Name, at, err)
			}
		}
	}
	if x, err := f.Extra("config.json"); err != nil || string(x) != "{}" {
		t.Errorf("extra %q, %v", x, err)
	}
	if x, err := f.Extra("other"); err != nil || x != nil {
		t.Errorf("an extra that is not there: %q, %v", x, err)
	}
	for name, bad := range map[string][]safetensors.Tensor{
		"F8":    {{Name: "x", DType: safetensors.F8E4M3, Shape: []int{1}, Data: []byte{0}}},
		"twice": {in[0], in[0]},
		"short": {{Name: "x", DType: safetensors.F32, Shape: []int{2}, Data: make([]byte, 4)}},
	} {
		if err := Write(io.Discard, bad, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestGoldenArchives reads every archive of the set; the TorchScript ones have the same tensors as a safetensors file
// beside them.
func TestGoldenArchives(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(golden.Dir(t, "clip"), "*", "*.pt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, path := range paths {
		f, err := Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		defer f.Close()
		named, err := Flatten(f.Value())
		if err != nil || len(named) == 0 {
			t.Errorf("%s: %d tensors, %v", path, len(named), err)
		}
		other, err := safetensors.Open(filepath.Join(filepath.Dir(path), "model.safetensors"))
		if err != nil {
			continue // this model has no second form
		}
		defer other.Close()
		byName := make(map[string]*Tensor)
		for _, x := range named {
			byName[x.Name] = x.Tensor
		}
		for want := range other.All() {
			got, ok := byName[want.Name]
			if !ok {
				t.Errorf("%s: no %s", path, want.Name)
				continue
			}
			if d := got.Dense(want.Name); d.DType != want.DType || !slices.Equal(d.Shape, want.Shape) || !bytes.Equal(d.Data, want.Data) {
				t.Errorf("%s: %s differs", path, want.Name)
			}
		}
	}
}

func FuzzArchive(f *testing.F) {
	for _, name := range []string{"mixed.pt", "script.pt", "state_dict.pt"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(pack(f, zip.Deflate, "a/data.pkl", tensorPickle(6, 0, []int{6}, []int{1}), "a/data/0", strings.Repeat("\x00", 24)))
	f.Fuzz(func(t *testing.T, in []byte) {
		x, err := Parse(in, "fuzz")
		if err != nil {
			return
		}
		named, _ := Flatten(x.Value())
		for _, n := range named {
			n.Tensor.Dense(n.Name)
		}
		x.Extra("config.json")
	})
}
