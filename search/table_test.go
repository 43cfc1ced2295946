package search

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/runtime"
)

func table(t testing.TB, path string) *Table {
	t.Helper()
	x, err := OpenTable(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

// TestConvert goes through all formats and back: nothing is lost but what the format cannot hold.
func TestConvert(t *testing.T) {
	dir := t.TempDir()
	x := features(21, 37, 9)
	for _, from := range formats {
		meta := testMeta(9)
		if from != "g.isx" {
			meta = Meta{Dim: 9, Normalised: true, DType: runtime.F32}
		}
		source := filepath.Join(dir, from)
		write(t, source, meta, x)
		in := table(t, source)
		if in.Meta.Dim != 9 || !in.Meta.Normalised || in.Meta.Model != meta.Model {
			t.Errorf("%s: %+v", from, in.Meta)
		}
		for _, to := range formats {
			out := filepath.Join(dir, strings.TrimPrefix(from, "g.")+" to "+to)
			if err := Convert(context.Background(), in, out, in.Meta); err != nil {
				t.Fatal(err)
			}
			i := 0
			for r, err := range table(t, out).Rows() {
				if err != nil || r.ID != testID(i) || !equalBits(r.Feature, x[i]) {
					t.Fatalf("%s, row %d: %v, %v", out, i, r, err)
				}
				i++
			}
			if i != len(x) {
				t.Errorf("%s: %d rows", out, i)
			}
			if _, err := os.Stat(out + PartialSuffix); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: a journal is left", out)
			}
		}
	}
}

// TestConvertNormalises imports rows of any length as a normalised gallery, on request.
func TestConvertNormalises(t *testing.T) {
	dir := t.TempDir()
	raw, out := filepath.Join(dir, "raw.npy"), filepath.Join(dir, "g.isx")
	write(t, raw, Meta{Dim: 3, DType: runtime.F32}, [][]float32{{3, 0, 4}, {0, 0, -2}, {1, 1, 1}})
	in := table(t, raw)
	if in.Meta.Normalised {
		t.Error("rows of length 5 count as normalised")
	}
	if err := Convert(context.Background(), in, out, in.Meta); err != nil {
		t.Fatal(err)
	}
	if g := open(t, out); g.Meta().Normalised || !slices.Equal(g.Feature(0, nil), []float32{3, 0, 4}) {
		t.Errorf("as it is: %v", g.Feature(0, nil))
	}
	meta := in.Meta
	meta.Normalised, meta.Coarse, meta.DType = true, true, runtime.F16
	if err := Convert(context.Background(), in, out, meta); err != nil {
		t.Fatal(err)
	}
	g := open(t, out)
	if err := g.Verify(context.Background()); err != nil || !g.Meta().Normalised || !g.Meta().Coarse || math.Abs(float64(g.Feature(0, nil)[2])-0.8) > 1e-3 {
		t.Errorf("normalised: %v, %v", g.Feature(0, nil), err)
	}
}

func TestOpenTableRefusals(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	nan := npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", floats(1, 2, 3, float32(math.NaN())))
	put("short.ids.txt", []byte("a\n"))
	for want, path := range map[string]string{
		"no such file":                   filepath.Join(dir, "none.npy"),
		"no such file or directory":      filepath.Join(dir, "none.jsonl"),
		"the name must end in":           put("x.csv", nil),
		`row 1 ("1") is not finite`:      put("nan.npy", nan),
		"1 ids for 2 rows":               put("short.npy", nan),
		"line 2: a feature of dimension": put("ragged.jsonl", []byte(`{"id":"a","feature":[1]}`+"\n"+`{"id":"b","feature":[1,2]}`)),
		"the length of a header takes 8": put("empty.isx", nil),
	} {
		if _, err := OpenTable(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Base(path)) && !strings.Contains(err.Error(), "ids") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestConvertFails checks that a failing conversion leaves the old file and no journal.
func TestConvertFails(t *testing.T) {
	dir := t.TempDir()
	source, out := filepath.Join(dir, "twice.jsonl"), filepath.Join(dir, "g.isx")
	if err := os.WriteFile(source, []byte(strings.Repeat(`{"id":"a","feature":[1,0]}`+"\n", 2)), 0o666); err != nil {
		t.Fatal(err)
	}
	write(t, out, testMeta(2), features(1, 4, 2))
	old := read(t, out)
	in := table(t, source)
	if err := Convert(context.Background(), in, out, in.Meta); !errors.Is(err, ErrDuplicateID) {
		t.Errorf("two rows of one id: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Convert(ctx, in, out, in.Meta); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 2 || !bytes.Equal(read(t, out), old) {
		t.Errorf("left: %v", names)
	}
}

func ExampleConvert() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, "features.jsonl")
	if err := os.WriteFile(source, []byte(`{"id": "cat.jpg", "feature": [3, 4]}`), 0o666); err != nil {
		panic(err)
	}
	t, err := OpenTable(source)
	if err != nil {
		panic(err)
	}
	defer t.Close()
	meta := t.Meta
	meta.Normalised = true
	if err := Convert(context.Background(), t, filepath.Join(dir, "gallery.isx"), meta); err != nil {
		panic(err)
	}
	g, err := OpenGallery(filepath.Join(dir, "gallery.isx"))
	if err != nil {
		panic(err)
	}
	defer g.Close()
	fmt.Println(g.ID(0), g.Feature(0, nil))
	// Output: cat.jpg [0.6 0.8]
}
