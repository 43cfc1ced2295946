package phi_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"isearle/phi"
	"isearle/runtime/cpu"
	"isearle/weights/golden"
	"isearle/weights/safetensors"
)

func encoder(t *testing.T, n *phi.Network) *phi.Encoder {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	e, err := phi.NewEncoder(dev, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); dev.Close() })
	return e
}

func compare(t *testing.T, got, want []float32, tol float64) {
	t.Helper()
	for i, w := range want {
		if math.Abs(float64(got[i]-w)) > tol*max(1, math.Abs(float64(w))) {
			t.Fatalf("element %d is %v, want %v", i, got[i], w)
		}
	}
}

// The official network's forward pass.
func TestGoldenForward(t *testing.T) {
	dir := filepath.Join(golden.Dir(t, "cir"), "phi")
	n, err := phi.Open(filepath.Join(dir, "init.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(filepath.Join(dir, "eval_forward.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read := func(name string) []float32 {
		x, ok := f.Tensor(name)
		if !ok {
			t.Fatalf("no tensor %q", name)
		}
		v, err := x.Float32s(nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	in, want := read("input"), read("output")
	got := make([]float32, len(want))
	if err := encoder(t, n).Invert(context.Background(), got, in, len(in)/n.In()); err != nil {
		t.Fatal(err)
	}
	compare(t, got, want, 1e-5)
}

// testdata/searle.pt is {'epoch': 7, 'Phi': OrderedDict} as torch.save writes it; the output is PyTorch's.
func TestOfficialCheckpoint(t *testing.T) {
	n, err := phi.Open("testdata/searle.pt")
	if err != nil {
		t.Fatal(err)
	}
	if n.Meta["epoch"] != "7" || n.In() != 4 || n.Out() != 3 {
		t.Errorf("epoch %q, %d to %d", n.Meta["epoch"], n.In(), n.Out())
	}
	got := make([]float32, 3)
	if err := encoder(t, n).Invert(context.Background(), got, []float32{1, -2, 0.5, 3}, 1); err != nil {
		t.Fatal(err)
	}
	compare(t, got, []float32{-2.9797659, -2.4360741, -1.8923819}, 1e-6)
}

func TestSaveRoundTrip(t *testing.T) {
	n, err := phi.Open("testdata/searle.pt")
	if err != nil {
		t.Fatal(err)
	}
	n.Meta[phi.MetaModel] = "0123"
	path := filepath.Join(t.TempDir(), "phi.safetensors")
	if err := n.Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	back, err := phi.Parse(data, path)
	if err != nil {
		t.Fatal(err)
	}
	if back.Meta[phi.MetaModel] != "0123" || back.Act != n.Act {
		t.Errorf("metadata %v, activation %v", back.Meta, back.Act)
	}
	for i := range n.Layers {
		compare(t, back.Layers[i].W, n.Layers[i].W, 0)
		compare(t, back.Layers[i].B, n.Layers[i].B, 0)
	}
}

func TestOpenRefuses(t *testing.T) {
	write := func(tensors ...safetensors.Tensor) string {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := safetensors.WriteFile(path, tensors, nil); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tensor := func(name string, shape ...int) safetensors.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return safetensors.FromFloat32s(name, make([]float32, n), shape...)
	}
	for name, path := range map[string]string{
		"other tensors": write(tensor("conv.weight", 2, 2)),
		"no bias":       write(tensor("layers.0.weight", 2, 2)),
		"wrong bias":    write(tensor("layers.0.weight", 2, 2), tensor("layers.0.bias", 3)),
		"broken chain": write(tensor("layers.0.weight", 2, 2), tensor("layers.0.bias", 2), tensor("layers.3.weight", 2, 3), tensor("layers.3.bias", 2),
			tensor("layers.6.weight", 2, 2), tensor("layers.6.bias", 2)),
		"residual that cannot be added": write(tensor("blocks.0.up.weight", 5, 3), tensor("blocks.0.up.bias", 5), tensor("blocks.0.down.weight", 4, 5),
			tensor("blocks.0.down.bias", 4), tensor("head.weight", 2, 3), tensor("head.bias", 2)),
		"residual of a wrong head": write(tensor("blocks.0.up.weight", 5, 3), tensor("blocks.0.up.bias", 5), tensor("blocks.0.down.weight", 3, 5),
			tensor("blocks.0.down.bias", 3), tensor("head.weight", 2, 4), tensor("head.bias", 2)),
		"residual without a head": write(tensor("blocks.0.up.weight", 5, 3), tensor("blocks.0.up.bias", 5), tensor("blocks.0.down.weight", 3, 5),
			tensor("blocks.0.down.bias", 3)),
		"empty": write(tensor("layers.0.weight", 0, 2), tensor("layers.0.bias", 0)),
	} {
		if _, err := phi.Open(path); !errors.Is(err, phi.ErrFormat) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Whatever a file holds, it is refused with an error or is a network that fits together.
func FuzzParse(f *testing.F) {
	tensor := func(name string, shape ...int) safetensors.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return safetensors.FromFloat32s(name, make([]float32, n), shape...)
	}
	for _, list := range [][]safetensors.Tensor{
		{tensor("layers.0.weight", 3, 2), tensor("layers.0.bias", 3), tensor("layers.3.weight", 3, 3), tensor("layers.3.bias", 3),
			tensor("layers.6.weight", 2, 3), tensor("layers.6.bias", 2)},
		{tensor("blocks.0.up.weight", 5, 3), tensor("blocks.0.up.bias", 5), tensor("blocks.0.down.weight", 3, 5), tensor("blocks.0.down.bias", 3),
			tensor("head.weight", 2, 3), tensor("head.bias", 2)},
	} {
		path := filepath.Join(f.TempDir(), "seed.safetensors")
		if err := safetensors.WriteFile(path, list, map[string]string{"arch": "mlp"}); err != nil {
			f.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := phi.Parse(data, "fuzz")
		if err != nil {
			return
		}
		for i, l := range n.Layers {
			if l.In < 1 || l.Out < 1 || len(l.W) != l.In*l.Out || len(l.B) != l.Out {
				t.Errorf("layer %d: [%d, %d] with %d weights and %d biases", i, l.Out, l.In, len(l.W), len(l.B))
			}
			if i > 0 && n.Arch == phi.MLP && l.In != n.Layers[i-1].Out {
				t.Errorf("layer %d takes %d of %d", i, l.In, n.Layers[i-1].Out)
			}
		}
		if n.Arch == phi.Residual && n.Layers[len(n.Layers)-1].In != n.In() {
			t.Error("the head does not fit")
		}
		if err := n.Save(filepath.Join(t.TempDir(), "again.safetensors")); err != nil {
			t.Error(err)
		}
	})
}
