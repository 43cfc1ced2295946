//go:build cuda

package cuda_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"isearle/clipnet"
	"isearle/clipnet/preprocess"
	"isearle/runtime"
	"isearle/runtime/cpu"
	"isearle/runtime/cuda"
	"isearle/weights"
	"isearle/weights/golden"
)

// dtypes are the types of the CUDA device's products; the CPU device's are f32.
var dtypes = []runtime.DType{runtime.F32, runtime.BF16, runtime.F16}

// halfCosine is the least cosine of a feature, its products made in a half type, with the CPU device's.
const halfCosine = 0.9995

// within is the largest difference of a feature from the CPU device's, the features being of length one.
const within = 1e-5

// models opens every CLIP of the golden set.
func models(t *testing.T) map[string]*weights.CLIP {
	t.Helper()
	root := golden.Dir(t, "clip")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]*weights.CLIP{}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(root, e.Name(), "feat_text.npy")); err != nil {
			continue
		}
		c, err := weights.Open(filepath.Join(root, e.Name()), weights.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		m[e.Name()] = c
	}
	if len(m) == 0 {
		t.Fatalf("no model in %s", root)
	}
	return m
}

// agree compares features row by row: in f32 element by element, each row at length one, else by their cosine.
func agree(t *testing.T, dt runtime.DType, got, want []float32, dim int) {
	t.Helper()
	for r := 0; dt != runtime.F32 && r < len(want); r += dim {
		if c := cosine(got[r:r+dim], want[r:r+dim]); !(c >= halfCosine) {
			t.Errorf("row %d: the cosine with the CPU device's is %v", r/dim, c)
		}
	}
	if dt != runtime.F32 {
		return
	}
	for r := 0; r < len(want); r += dim {
		length := 0.0
		for _, v := range want[r : r+dim] {
			length += float64(v) * float64(v)
		}
		for i := r; i < r+dim; i++ {
			if d := math.Abs(float64(got[i])-float64(want[i])) / math.Sqrt(length); !(d <= within) {
				t.Fatalf("row %d, feature %d: %v, the CPU device has %v", r/dim, i-r, got[i], want[i])
			}
		}
	}
}

// both are the CPU device and the GPU.
func both(t *testing.T) [2]runtime.Device {
	t.Helper()
	gpu := open(t, cuda.Options{})
	host, err := cpu.Open(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close(); gpu.Close() })
	return [2]runtime.Device{host, gpu}
}

// compareAll compares the features that encode makes on the GPU, in every type, with those of the CPU device in f32.
func compareAll(t *testing.T, encode func(t *testing.T, d runtime.Device, m *weights.CLIP, name string, o clipnet.Options) (features []float32, dim int)) {
	devs := both(t)
	for name, m := range models(t) {
		want, dim := encode(t, devs[0], m, name, clipnet.Options{})
		for _, dt := range dtypes {
			t.Run(name+"/"+dt.String(), func(t *testing.T) {
				got, _ := encode(t, devs[1], m, name, clipnet.Options{DType: dt})
				agree(t, dt, got, want, dim)
			})
		}
	}
}

// TestGoldenImages encodes the first of the golden pixels on both devices.
func TestGoldenImages(t *testing.T) {
	const images = 2
	px := golden.NPY(t, filepath.Join(golden.Dir(t, "clip"), "pixels_std.npy"))
	n := min(images, px.Shape[0])
	compareAll(t, func(t *testing.T, d runtime.Device, m *weights.CLIP, _ string, o clipnet.Options) ([]float32, int) {
		e, err := clipnet.NewImageEncoder(d, m, o)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		out := make([]float32, n*e.Dim())
		if err := e.Encode(context.Background(), out, px.F32[:n*len(px.F32)/px.Shape[0]], n); err != nil {
			t.Fatal(err)
		}
		return out, e.Dim()
	})
}

// TestGoldenSources has the GPU resize images of several sizes and shapes. The features are those of the host's pixels, bit for bit, and
// agree with the CPU device's.
func TestGoldenSources(t *testing.T) {
	// The last is of a palette, which the host resizes where colours are converted last.
	names := []string{"images/01_portrait_420.jpg", "images/03_gray.png", "images/10_verywide.png", "images/11_palette.png"}
	compareAll(t, func(t *testing.T, d runtime.Device, m *weights.CLIP, _ string, o clipnet.Options) ([]float32, int) {
		pre := preprocess.CLIP(m.Config.Vision.ImageSize)
		pre.Order = preprocess.OpenAI
		p, err := preprocess.New(pre)
		if err != nil {
			t.Fatal(err)
		}
		o.Images = p
		e, err := clipnet.NewImageEncoder(d, m, o)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		sources, pixels := make([]preprocess.Source, len(names)), make([]float32, len(names)*p.PixelCount())
		for i, name := range names {
			path := filepath.Join(golden.Dir(t, "clip"), name)
			if err := errors.Join(p.SourceFile(path, &sources[i]), p.File(path, pixels[i*p.PixelCount():][:p.PixelCount()])); err != nil {
				t.Fatal(err)
			}
		}
		out := make([]float32, len(names)*e.Dim())
		if !runtime.Resamples(d) {
			err = e.Encode(context.Background(), out, pixels, len(names))
		} else if err = e.EncodeSources(context.Background(), out, sources); err == nil {
			sameAsPixels(t, e, out, pixels)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out, e.Dim()
	})
}

// sameAsPixels checks that an encoder gives the same bits for pixels.
func sameAsPixels(t *testing.T, e *clipnet.ImageEncoder, got, pixels []float32) {
	t.Helper()
	want := make([]float32, len(got))
	if err := e.Encode(context.Background(), want, pixels, len(got)/e.Dim()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Error("the features of sources are not those of their pixels")
	}
}

// TestGoldenText encodes the golden prompts, and those with pseudo-words, twice: the second time their prefixes are cached.
func TestGoldenText(t *testing.T) {
	root := golden.Dir(t, "clip")
	ids := golden.NPY(t, filepath.Join(root, "text_ids_small_pad0.npy"))
	injected := golden.NPY(t, filepath.Join(root, "inject_ids_small_pad0.npy"))
	places := golden.NPY(t, filepath.Join(root, "inject_pos.npy"))
	var plain, pseudo []clipnet.Prompt
	for i := range ids.Shape[0] {
		plain = append(plain, clipnet.Prompt{IDs: ids.Ints(i)})
	}
	for i := range injected.Shape[0] {
		pseudo = append(pseudo, clipnet.Prompt{IDs: injected.Ints(i), Pseudo: []clipnet.Pseudo{{Place: int(places.I32[i]), Word: i}}})
	}
	compareAll(t, func(t *testing.T, d runtime.Device, m *weights.CLIP, name string, o clipnet.Options) (out []float32, dim int) {
		words := golden.NPY(t, filepath.Join(root, name, "inject_vectors.npy"))
		e, err := clipnet.NewTextEncoder(d, m, o)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		encode := func(p []clipnet.Prompt, words []float32) {
			dst := make([]float32, len(p)*e.Dim())
			if err := e.Encode(context.Background(), dst, p, words); err != nil {
				t.Fatal(err)
			}
			out = append(out, dst...)
		}
		encode(plain, nil)
		for range 2 {
			encode(pseudo, words.F32)
		}
		return out, e.Dim()
	})
}
