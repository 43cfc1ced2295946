//go:build cuda

package cuda

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"isearle/clipnet"
	"isearle/weights"
	"isearle/weights/golden"
)

// Where there is no memory for an encoder's large program, smaller ones do its work, with the same bits and no leak.
func TestGoldenOutOfMemory(t *testing.T) {
	d := emulated(t, Options{})
	root := golden.Dir(t, "clip")
	models, err := filepath.Glob(filepath.Join(root, "*", "feat_text.npy"))
	if err != nil || len(models) == 0 {
		t.Fatalf("%v, %d models in %s", err, len(models), root)
	}
	m, err := weights.Open(filepath.Dir(models[0]), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ids := golden.NPY(t, filepath.Join(root, "text_ids_small_pad0.npy"))
	prompts := []clipnet.Prompt{{IDs: ids.Ints(0)}, {IDs: ids.Ints(1)}}
	px := golden.NPY(t, filepath.Join(root, "pixels_std.npy"))
	images := px.F32[:2*len(px.F32)/px.Shape[0]]
	before := d.free(t)
	var want []float32
	// The first allocation that fails is one of the program for 8 images, or of that for 8 prompts.
	for _, fail := range []string{"", "alloc:1", "alloc:3"} {
		got := encodeBoth(t, d, m, images, prompts, fail)
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: other features", fail)
		}
		for d.trim() { // arenas stay for the next program
		}
		if after := d.free(t); after != before {
			t.Errorf("%q: %d bytes are lost", fail, before-after)
		}
	}
}

// encodeBoth encodes two images and two prompts, while allocations fail.
func encodeBoth(t *testing.T, d *Device, m *weights.CLIP, images []float32, prompts []clipnet.Prompt, fail string) []float32 {
	t.Helper()
	ie, err := clipnet.NewImageEncoder(d, m, clipnet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	te, err := clipnet.NewTextEncoder(d, m, clipnet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(ie.Close(), te.Close()); err != nil {
			t.Error(err)
		}
	}()
	defer os.Unsetenv("ISEARLE_EMU_FAIL")
	out := make([]float32, 4*ie.Dim())
	for i, encode := range []func() error{
		func() error { return ie.Encode(context.Background(), out[:2*ie.Dim()], images, 2) },
		func() error { return te.Encode(context.Background(), out[2*ie.Dim():], prompts, nil) },
	} {
		t.Setenv("ISEARLE_EMU_FAIL", "")
		if err := d.do("look", func() error { return d.wait() }); err != nil { // the plan of failures is read by a call
			t.Fatal(err)
		}
		t.Setenv("ISEARLE_EMU_FAIL", fail)
		before := d.count(t)
		if err := encode(); err != nil {
			t.Fatalf("%q, encoder %d: %v", fail, i, err)
		}
		if after := d.count(t); fail != "" && after.Graphs-before.Graphs < 2 {
			t.Errorf("%q, encoder %d: %d runs, want two of one each", fail, i, after.Graphs-before.Graphs)
		}
	}
	return out
}
