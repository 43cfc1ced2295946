package phi

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"isearle/runtime/cpu"
)

func openCPU(t *testing.T) *cpu.Device {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// randomExamples have features and pseudo-words that depend on each other.
func randomExamples(n, in, out int) (list []Example) {
	r := rand.New(rand.NewPCG(1, 2))
	for range n {
		e := Example{Feature: make([]float32, in), Token: make([]float32, out)}
		for j := range e.Feature {
			e.Feature[j] = float32(r.NormFloat64())
		}
		for j := range e.Token {
			e.Token[j] = e.Feature[j%in] * float32(1+j%3)
		}
		list = append(list, e)
	}
	return list
}

// direct is the network's formula in float64; masks are those behind each activation, nil for ones.
func direct(n *Network, x []float32, masks [][]float32) []float64 {
	s := make([]float64, len(x))
	for j, v := range x {
		s[j] = float64(v)
	}
	linear := func(i int, x []float64) []float64 {
		l := n.Layers[i]
		out := make([]float64, l.Out)
		for o := range out {
			out[o] = float64(l.B[o])
			for j, v := range x {
				out[o] += v * float64(l.W[o*l.In+j])
			}
		}
		return out
	}
	gelu := func(x []float64, k int) []float64 {
		for j, v := range x {
			x[j] = v * (1 + math.Erf(v/math.Sqrt2)) / 2
			if masks != nil {
				x[j] *= float64(masks[k][j])
			}
		}
		return x
	}
	last := len(n.Layers) - 1
	if n.Arch == MLP {
		for i := range last {
			s = gelu(linear(i, s), i)
		}
		return linear(last, s)
	}
	norm := func(x []float64) []float64 {
		mean, variance, out := 0.0, 0.0, make([]float64, len(x))
		for _, v := range x {
			mean += v / float64(len(x))
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / float64(len(x))
		}
		for j, v := range x {
			out[j] = (v - mean) / math.Sqrt(variance+1e-5)
		}
		return out
	}
	for i := 0; i < last; i += 2 {
		for j, v := range linear(i+1, gelu(linear(i, norm(s)), i/2)) {
			s[j] += v
		}
	}
	return linear(last, norm(s))
}

// Of both architectures the forward pass must be the formula's, in the encoder and behind a file.
func TestForwardIsTheFormula(t *testing.T) {
	dev := openCPU(t)
	for _, a := range []Arch{MLP, Residual} {
		t.Run(a.String(), func(t *testing.T) {
			const in, hidden, out, n = 13, 37, 11, 35
			net := newNetwork(a, in, hidden, out, 3)
			path := filepath.Join(t.TempDir(), "phi.safetensors")
			if err := net.Save(path); err != nil {
				t.Fatal(err)
			}
			back, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if back.Arch != a || back.Meta[MetaArch] != a.String() {
				t.Fatalf("architecture %v, %q", back.Arch, back.Meta[MetaArch])
			}
			e, err := NewEncoder(dev, back)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			var x []float32
			examples := randomExamples(n, in, out)
			for _, ex := range examples {
				x = append(x, ex.Feature...)
			}
			got := make([]float32, n*out)
			if err := e.Invert(context.Background(), got, x, n); err != nil {
				t.Fatal(err)
			}
			for i, ex := range examples {
				for j, want := range direct(net, ex.Feature, nil) {
					if math.Abs(float64(got[i*out+j])-want) > 1e-5 {
						t.Fatalf("row %d, element %d is %v, want %v", i, j, got[i*out+j], want)
					}
				}
			}
		})
	}
}

// infoNCE is the distillation loss in float64.
func infoNCE(a []Example, b [][]float64, tau float64) float64 {
	var j [][]float64
	unit := func(x []float64) []float64 {
		s := 0.0
		for _, v := range x {
			s += v * v
		}
		out := make([]float64, len(x))
		for i, v := range x {
			out[i] = v / math.Sqrt(s)
		}
		return out
	}
	for _, e := range a {
		x := make([]float64, len(e.Token))
		for i, v := range e.Token {
			x[i] = float64(v)
		}
		j = append(j, unit(x))
	}
	for _, x := range b {
		j = append(j, unit(x))
	}
	dot := func(x, y []float64) (s float64) {
		for i := range x {
			s += x[i] * y[i]
		}
		return s
	}
	loss := 0.0
	for i := range j {
		den := 0.0
		for k := range j {
			if k != i {
				den += math.Exp(dot(j[i], j[k]) / tau)
			}
		}
		loss -= dot(j[i], j[(i+len(a))%len(j)])/tau - math.Log(den)
	}
	return loss / float64(len(j))
}

// Every parameter's gradient must be the finite difference of the formula, dropout included.
func TestTrainingGradient(t *testing.T) {
	dev := openCPU(t)
	for _, a := range []Arch{MLP, Residual} {
		t.Run(a.String(), func(t *testing.T) {
			o := TrainDefaults()
			o.Batch, o.Hidden, o.LambdaGPT, o.Arch = 5, 7, 0, a
			examples := randomExamples(o.Batch, 6, 4)
			tr, err := NewTrainer(dev, nil, nil, 0, nil, examples, o)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			net, err := tr.Network()
			if err != nil {
				t.Fatal(err)
			}
			var masks [][]float32 // [layer][batch*hidden]
			for k, m := range tr.plan.masks {
				masks = append(masks, make([]float32, m.Len()))
				tr.choices.mask(0, k, o.Dropout, masks[k])
			}
			loss := func() float64 {
				var words [][]float64
				for i, e := range examples {
					var mine [][]float32
					for _, m := range masks {
						mine = append(mine, m[i*o.Hidden:(i+1)*o.Hidden])
					}
					words = append(words, direct(net, e.Feature, mine))
				}
				return infoNCE(examples, words, o.Tau)
			}
			got, err := tr.makeStep(context.Background(), []int{0, 1, 2, 3, 4})
			if err != nil {
				t.Fatal(err)
			}
			if want := loss(); math.Abs(got.Distil-want) > 1e-5 || got.GPT != 0 {
				t.Fatalf("losses %+v, want a distillation loss of %v", got, want)
			}
			for i, l := range net.Layers {
				for k, x := range [][]float32{l.W, l.B} {
					g := read(t, tr.plan.params[2*i+k].g)
					for j := range x {
						const h = 1.0 / 256
						old := x[j]
						x[j] = old + h
						up := loss()
						x[j] = old - h
						down := loss()
						x[j] = old
						if want := (up - down) / (2 * h); math.Abs(float64(g[j])-want) > 1e-4+1e-3*math.Abs(want) {
							t.Fatalf("layer %d, part %d, element %d: gradient %v, want %v", i, k, j, g[j], want)
						}
					}
				}
			}
		})
	}
}

// A run that is cut short after any checkpoint must end in the bytes of one that is not, its curves included.
func TestRunGoesOn(t *testing.T) {
	dev := openCPU(t)
	o := TrainDefaults()
	o.Batch, o.Hidden, o.LambdaGPT, o.Arch, o.Epochs, o.LR = 8, 16, 0, Residual, 6, 1e-2
	examples := randomExamples(40, 12, 5)
	stop := errors.New("stop")
	dir := t.TempDir()
	run := func(checkpoint string, epochs, saves int) ([]byte, []Record, error) {
		o.Epochs = epochs
		tr, err := NewTrainer(dev, nil, nil, 0, nil, examples, o)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		var history []Record
		err = tr.Run(context.Background(), RunOptions{Checkpoint: filepath.Join(dir, checkpoint), Every: 2, ValidateEvery: 3,
			Validate: func(_ context.Context, n *Network) (float64, error) { return float64(n.Layers[0].W[0]), nil },
			Saved: func(r []Record) error {
				history = r
				if saves--; saves == 0 {
					return stop
				}
				return nil
			}})
		n, e := tr.Network()
		if e != nil {
			t.Fatal(e)
		}
		path := filepath.Join(dir, "phi.safetensors")
		if err := n.Save(path); err != nil {
			t.Fatal(err)
		}
		data, e := os.ReadFile(path)
		if e != nil {
			t.Fatal(e)
		}
		return data, history, err
	}
	want, curve, err := run("whole", 6, -1)
	if err != nil {
		t.Fatal(err)
	}
	if len(curve) != 6 || curve[5].Epoch != 6 || curve[2].Score == nil || curve[3].Score != nil || curve[5].Total >= curve[0].Total {
		t.Errorf("curve %+v", curve)
	}
	for range 2 {
		if _, _, err := run("cut", 6, 2); !errors.Is(err, stop) {
			t.Fatalf("error %v", err)
		}
	}
	got, again, err := run("cut", 6, -1)
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b Record) bool {
		return a.Epoch == b.Epoch && a.Losses == b.Losses && (a.Score == nil) == (b.Score == nil) && (a.Score == nil || *a.Score == *b.Score)
	}
	if !slices.Equal(got, want) || !slices.EqualFunc(again, curve, same) {
		t.Error("the resumed run ends in other bytes")
	}
	if _, _, err := run("cut", 4, -1); err == nil {
		t.Error("a checkpoint beyond the last epoch was taken")
	}
	o.Arch = MLP
	if _, _, err := run("cut", 6, -1); !errors.Is(err, ErrOtherRun) {
		t.Errorf("a checkpoint of another architecture: %v", err)
	}
}

func TestSubset(t *testing.T) {
	small, large := Subset(1000, .1, 7), Subset(1000, .4, 7)
	if len(small) != 100 || len(large) != 400 || !slices.IsSorted(large) || len(slices.Compact(slices.Clone(large))) != 400 {
		t.Errorf("%d and %d of 1000", len(small), len(large))
	}
	for _, i := range small {
		if _, ok := slices.BinarySearch(large, i); !ok {
			t.Fatalf("%d is in a tenth and not in four tenths", i)
		}
	}
	if slices.Equal(small, Subset(1000, .1, 8)) || len(Subset(10, 1e-9, 1)) != 1 || len(Subset(10, 1, 1)) != 10 {
		t.Error("seed or bounds")
	}
}
