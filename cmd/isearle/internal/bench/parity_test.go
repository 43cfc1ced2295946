//go:build cuda

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"isearle/clipnet"
	"isearle/runtime"
	"isearle/runtime/cpu"
	"isearle/runtime/cuda"
	"isearle/weights"
)

// TestParity compares the GPU with the CPU device on random models of the shapes that ISEARLE_PARITY names (vit-b-32,vit-l-14):
// features in f32 within 1e-5 of the CPU's, each at length one, in f16 and bf16 with a cosine of at least 0.9995.
func TestParity(t *testing.T) {
	shapes := os.Getenv("ISEARLE_PARITY")
	if shapes == "" {
		t.Skip("gpu-check.sh runs this")
	}
	host, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	gpu, err := cuda.Open(0, cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer gpu.Close()
	for _, shape := range strings.Split(shapes, ",") {
		for _, dt := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
			t.Run(fmt.Sprintf("%s/%s", shape, dt), func(t *testing.T) { parity(t, host, gpu, shape, dt) })
		}
	}
}

func parity(t *testing.T, host, gpu runtime.Device, shape string, dt runtime.DType) {
	want, dim, err := bothTowers(host, shape, runtime.F32)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := bothTowers(gpu, shape, dt)
	if errors.Is(err, runtime.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	worst, least := 0.0, 1.0
	for r := 0; r < len(want); r += dim {
		var ww, gg, wg float64
		for i := r; i < r+dim; i++ {
			w, g := float64(want[i]), float64(got[i])
			ww, gg, wg = ww+w*w, gg+g*g, wg+w*g
		}
		least = min(least, wg/math.Sqrt(ww*gg))
		for i := r; i < r+dim; i++ {
			worst = max(worst, math.Abs(float64(got[i])-float64(want[i]))/math.Sqrt(ww))
		}
	}
	t.Logf("largest difference %.3g of a feature's length, smallest cosine %.7f, %d features", worst, least, len(want)/dim)
	if dt == runtime.F32 && !(worst <= 1e-5) || !(least >= 0.9995) {
		t.Error("the GPU's features are not the CPU's")
	}
}

// tinyShape is for the emulated driver.
func tinyShape() weights.Config {
	c, _ := Shapes("vit-b-32")
	c.Vision = weights.Vision{ImageSize: 32, PatchSize: 16, Width: 64, Layers: 2, Heads: 2, MLP: 128}
	c.Text.Width, c.Text.Heads, c.Text.MLP, c.Text.Layers, c.EmbedDim = 64, 2, 128, 2, 32
	c.Preprocess.Resize = c.Vision.ImageSize
	return c
}

// bothTowers returns features of five images and five prompts: 1, then 4 together.
func bothTowers(dev runtime.Device, shape string, dt runtime.DType) (out []float32, dim int, err error) {
	cfg, ok := Shapes(shape)
	if shape == "tiny" {
		cfg, ok = tinyShape(), true
	}
	if !ok {
		return nil, 0, fmt.Errorf("no shape %q", shape)
	}
	m, err := Random(cfg)
	if err != nil {
		return nil, 0, err
	}
	defer m.Close()
	images, err := clipnet.NewImageEncoder(dev, m, clipnet.Options{DType: dt})
	if err != nil {
		return nil, 0, err
	}
	defer images.Close()
	texts, err := clipnet.NewTextEncoder(dev, m, clipnet.Options{DType: dt})
	if err != nil {
		return nil, 0, err
	}
	defer texts.Close()
	dim = images.Dim()
	rng := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 4} {
		features := make([]float32, 2*n*dim)
		pixels := normal(rng, n*3*images.Size()*images.Size())
		if err := images.Encode(context.Background(), features[:n*dim], pixels, n); err != nil {
			return nil, 0, err
		}
		if err := texts.Encode(context.Background(), features[n*dim:], prompts(cfg, n), nil); err != nil {
			return nil, 0, err
		}
		out = append(out, features...)
	}
	return out, dim, nil
}
