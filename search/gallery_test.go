package search

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isearle/runtime"
	"isearle/weights/safetensors"
)

// features returns n unit vectors that share a mean, as CLIP's do.
func features(seed uint64, n, dim int) [][]float32 {
	rng := rand.New(rand.NewPCG(seed, 9))
	out := make([][]float32, n)
	for i := range out {
		x := make([]float32, dim)
		for j := range x {
			x[j] = float32(rng.NormFloat64())
		}
		x[0] += float32(math.Sqrt(float64(dim)))
		unit(x, norm(x))
		out[i] = x
	}
	return out
}

func testMeta(dim int) Meta {
	return Meta{Model: Model{Name: "test model", Hash: "0123456789abcdef0123"}, Size: 224, Pad: "targetpad:1.25", Order: "rgb", Dim: dim,
		Normalised: true, DType: runtime.F32, Tool: "isearle test"}
}

func testID(i int) string { return fmt.Sprintf("%c/image %d.jpg", 'a'+i%3, i) }

// write makes a file of features.
func write(t testing.TB, path string, meta Meta, x [][]float32) {
	t.Helper()
	w, err := Create(path, meta, WriterOptions{Restart: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i, f := range x {
		if err := w.Add(testID(i), DigestOf([]byte(testID(i))), f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string) *Gallery {
	t.Helper()
	g, err := OpenGallery(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func TestGalleryRoundTrip(t *testing.T) {
	for _, dt := range floatTypes {
		for _, coarse := range []bool{false, true} {
			for _, n := range []int{0, 1, 7, 8, 501} {
				t.Run(fmt.Sprintf("%s coarse=%t %d", dt, coarse, n), func(t *testing.T) {
					meta := testMeta(19)
					meta.DType, meta.Coarse = dt, coarse
					roundTrip(t, meta, features(1, n, 19))
				})
			}
		}
	}
}

func roundTrip(t *testing.T, meta Meta, x [][]float32) {
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, meta, x)
	g := open(t, path)
	if g.Meta() != meta || g.Len() != len(x) || g.Path() != path {
		t.Errorf("%d rows of %+v at %q", g.Len(), g.Meta(), g.Path())
	}
	if err := g.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	for i, want := range x {
		stored := make([]float32, meta.Dim)
		decode(stored, encode(nil, want, meta.DType), meta.DType)
		if got := g.Feature(i, nil); !equalBits(got, stored) {
			t.Fatalf("row %d is %v, want %v", i, got, stored)
		}
		if g.ID(i) != testID(i) || g.Digest(i) != DigestOf([]byte(testID(i))) {
			t.Fatalf("row %d: id %q, digest %x", i, g.ID(i), g.Digest(i))
		}
		if row, ok := g.Row(testID(i)); !ok || row != i {
			t.Fatalf("%q is row %d, %t", testID(i), row, ok)
		}
	}
	if row, ok := g.Row("nowhere"); ok {
		t.Errorf("a missing id is row %d", row)
	}
	checkLayout(t, path)
}

func equalBits(a, b []float32) bool {
	return bytes.Equal(encode(nil, a, runtime.F32), encode(nil, b, runtime.F32))
}

// checkLayout reads the header as anyone would: features begin at a multiple of 64 bytes, and all tensors at one of their
// elements.
func checkLayout(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	start := 8 + int(binary.LittleEndian.Uint64(data))
	f, err := safetensors.Parse(data, path)
	if err != nil {
		t.Fatal(err)
	}
	at := start
	for x := range f.All() {
		if at%x.DType.Size() != 0 || x.Name == "features" && at%64 != 0 {
			t.Errorf("%s begins at %d", x.Name, at)
		}
		at += len(x.Data)
	}
	if at != len(data) {
		t.Errorf("tensors end at %d of %d", at, len(data))
	}
}

// parts are the tensors and metadata of a small gallery that tests break.
type parts struct {
	tensors  map[string]safetensors.Tensor
	metadata map[string]string
}

func goodParts(t testing.TB) parts {
	meta := testMeta(4)
	meta.Coarse = true
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, meta, features(3, 5, 4))
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := parts{tensors: map[string]safetensors.Tensor{}, metadata: f.Metadata()}
	for x := range f.All() {
		x.Data = bytes.Clone(x.Data)
		if x.Name != "padding" {
			p.tensors[x.Name] = x
		}
	}
	return p
}

func (p parts) bytes(t testing.TB) []byte {
	t.Helper()
	var list []safetensors.Tensor
	for _, name := range []string{"id_ends", "features", "scale", "loss", "mean", "codes", "digests", "ids"} {
		if x, ok := p.tensors[name]; ok {
			list = append(list, x)
		}
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, list, p.metadata); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// drop leaves a tensor out, reshape gives it another type and shape of as many bytes, put changes a 32-bit element.
func (p parts) drop(name string) { delete(p.tensors, name) }

func (p parts) reshape(name string, dt safetensors.DType, shape ...int) {
	x := p.tensors[name]
	x.DType, x.Shape = dt, shape
	p.tensors[name] = x
}

func (p parts) put(name string, i int, v float64) {
	binary.LittleEndian.PutUint32(p.tensors[name].Data[4*i:], math.Float32bits(float32(v)))
}

func (p parts) putEnd(i int, v int64) {
	binary.LittleEndian.PutUint64(p.tensors["id_ends"].Data[8*i:], uint64(v))
}

// TestGalleryRefusals breaks a gallery in every way and expects an error that says how.
func TestGalleryRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(p parts)
		want  string
	}{
		"no metadata":      {func(p parts) { delete(p.metadata, keyFormat) }, "not a gallery"},
		"version":          {func(p parts) { p.metadata[keyVersion] = "2" }, `version "2"`},
		"dim text":         {func(p parts) { p.metadata[keyDim] = "x" }, `dim is "x"`},
		"dim other":        {func(p parts) { p.metadata[keyDim] = "5" }, "[5 4], the metadata says [n 5]"},
		"normalised":       {func(p parts) { p.metadata[keyNormalised] = "perhaps" }, `normalised is "perhaps"`},
		"size":             {func(p parts) { p.metadata[keySize] = "-2" }, `image_size is "-2"`},
		"no features":      {func(p parts) { p.drop("features") }, `no tensor "features"`},
		"features I32":     {func(p parts) { p.reshape("features", safetensors.I32, 5, 4) }, "features are I32"},
		"features 1-D":     {func(p parts) { p.reshape("features", safetensors.F32, 20) }, "features are [20]"},
		"no ids":           {func(p parts) { p.drop("ids") }, `no tensor "ids"`},
		"no id_ends":       {func(p parts) { p.drop("id_ends") }, `no tensor "id_ends"`},
		"id_ends type":     {func(p parts) { p.reshape("id_ends", safetensors.F64, 5) }, "id_ends is F64 [5], not I64 [5]"},
		"id_ends negative": {func(p parts) { p.putEnd(0, -1) }, "id_ends: row 0"},
		"id_ends falling":  {func(p parts) { p.putEnd(2, 3) }, "id_ends: row 2"},
		"id_ends beyond":   {func(p parts) { p.putEnd(4, 1<<40) }, "id_ends: row 4"},
		"id_ends short":    {func(p parts) { p.putEnd(4, int64(len(p.tensors["ids"].Data)-1)) }, "the last id ends at"},
		"empty id":         {func(p parts) { p.putEnd(0, 0) }, "row 0 has an empty id"},
		"same ids":         {func(p parts) { copy(p.tensors["ids"].Data[52:], testID(0)) }, `rows 0 and 4 have the same id "a/image 0.jpg"`},
		"digests shape":    {func(p parts) { p.reshape("digests", safetensors.U8, 16, 5) }, "digests is U8 [16 5], not U8 [5 16]"},
		"no scale":         {func(p parts) { p.drop("scale") }, `no tensor "scale"`},
		"codes shape":      {func(p parts) { p.reshape("codes", safetensors.I8, 4, 5) }, "codes is I8 [4 5], not I8 [5 4]"},
		"negative loss":    {func(p parts) { p.put("loss", 3, -0.1) }, "loss: element 3 is -0.1"},
		"infinite scale":   {func(p parts) { p.put("scale", 1, math.Inf(1)) }, "scale: element 1 is +Inf"},
		"NaN mean":         {func(p parts) { p.put("mean", 2, math.NaN()) }, "mean: element 2 is NaN"},
		"NaN feature":      {func(p parts) { p.put("features", 13, math.NaN()) }, `row 3 ("a/image 3.jpg") is not finite`},
		"long feature":     {func(p parts) { p.put("features", 6, 3) }, `row 1 ("b/image 1.jpg") has length 3`},
		"wrong loss":       {func(p parts) { p.put("loss", 2, 0) }, "the coarse copy of row 2"},
	} {
		p := goodParts(t)
		c.spoil(p)
		g, err := ParseGallery(p.bytes(t), "broken.isx")
		if err == nil {
			err = g.Verify(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"broken.isx"`) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestCheckFindsNaN puts a NaN where opening does not look, and expects Check to name the row.
func TestCheckFindsNaN(t *testing.T) {
	for _, dt := range floatTypes {
		meta := testMeta(8)
		meta.DType = dt
		path := filepath.Join(t.TempDir(), "g.isx")
		write(t, path, meta, features(5, 10_000, 8))
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.Parse(data, path)
		if err != nil {
			t.Fatal(err)
		}
		x, _ := f.Tensor("features")
		copy(x.Data[(7001*8+5)*dt.Size():], encode(nil, []float32{float32(math.NaN())}, dt))
		g, err := ParseGallery(data, path)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Check(context.Background()); err == nil || !strings.Contains(err.Error(), "row 7001") {
			t.Errorf("%s: %v", dt, err)
		}
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		if err := g.Check(cancelled); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

func TestCheckModel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, testMeta(4), features(3, 5, 4))
	g := open(t, path)
	for _, c := range []struct {
		m  Model
		ok bool
	}{
		{g.Meta().Model, true},
		{Model{Name: "renamed", Hash: "0123456789abcdef0123"}, true},
		{Model{Name: "test model", Hash: "fedcba9876543210"}, false},
		{Model{Name: "test model"}, true},
		{Model{Name: "other"}, false},
		{Model{}, true},
	} {
		err := g.CheckModel(c.m)
		var mismatch *ModelMismatchError
		if (err == nil) != c.ok || err != nil && !errors.As(err, &mismatch) {
			t.Errorf("%v: %v", c.m, err)
		}
		if mismatch != nil {
			for _, part := range []string{path, "test model", c.m.Name, "0123456789abcdef"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		}
	}
}

func FuzzGallery(f *testing.F) {
	p := goodParts(f)
	f.Add(p.bytes(f))
	p.drop("codes")
	f.Add(p.bytes(f))
	p.putEnd(2, 3)
	f.Add(p.bytes(f))
	p.reshape("features", safetensors.F16, 10, 4)
	f.Add(p.bytes(f))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := ParseGallery(data, "fuzz.isx")
		if err != nil {
			return
		}
		// Not Verify and Row: coverage that depends on goroutines and hash seeds leads the fuzzer astray.
		x := make([]float32, g.Meta().Dim)
		for i := range g.Len() {
			_ = g.verifyRow(i, x)
			g.ID(i)
			g.Digest(i)
		}
		g.Chunk(0, g.Len())
	})
}
