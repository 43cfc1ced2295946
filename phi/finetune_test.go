package phi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isearle/clipnet"
	"isearle/clipnet/tokenizer"
	"isearle/runtime"
	"isearle/weights"
	"isearle/weights/demo"
)

// tuneWorld is the text tower inside the program, and triplets of random features.
type tuneWorld struct {
	text *clipnet.TextEncoder
	tok  *tokenizer.Tokenizer
	dev  runtime.Device
}

func newTuneWorld(t *testing.T) tuneWorld {
	t.Helper()
	dev := openCPU(t)
	fsys, err := demo.Model()
	if err != nil {
		t.Fatal(err)
	}
	ckpt, err := weights.OpenFS(fsys, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	tok, err := tokenizer.LoadFS(fsys)
	if err != nil {
		t.Fatal(err)
	}
	text, err := clipnet.NewTextEncoder(dev, ckpt, clipnet.Options{Grad: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { text.Close() })
	return tuneWorld{text, tok, dev}
}

// triplets have features of CLIP's kind of size; every third has two targets, some prompts two pseudo-words.
func (w tuneWorld) triplets(n, targets int) (list []Triplet) {
	r := rand.New(rand.NewPCG(5, 6))
	feature := func() []float32 {
		x := make([]float32, w.text.Dim())
		for j := range x {
			x[j] = float32(r.NormFloat64())
		}
		return x
	}
	for i := range n {
		x := Triplet{Name: fmt.Sprint(i), Reference: feature(), Prompt: tokenizer.Prompt{Pieces: []string{"a photo of ", " that is " + strings.Repeat("very ", i%3) + "red"}}}
		if i%4 == 1 {
			x.Prompt.Pieces = []string{"a photo of ", " ", " that is blue"}
		}
		for range targets {
			x.Targets = append(x.Targets, feature())
		}
		list = append(list, x)
	}
	return list
}

// loss is the formula: the network in float64, the text tower's features, the contrastive loss in float64.
func (w tuneWorld) loss(t *testing.T, n *Network, list []Triplet, masks [][]float32, hidden int, tau float64) float64 {
	t.Helper()
	var prompts []clipnet.Prompt
	var words []float32
	var targets []Example
	for i, x := range list {
		ids, places, _, err := w.tok.AppendPrompt(nil, nil, x.Prompt, tokenizer.HF, w.text.Context())
		if err != nil {
			t.Fatal(err)
		}
		p := clipnet.Prompt{IDs: ids}
		for _, at := range places {
			p.Pseudo = append(p.Pseudo, clipnet.Pseudo{Place: int(at), Word: i})
		}
		prompts = append(prompts, p)
		var mine [][]float32
		for _, m := range masks {
			mine = append(mine, m[i*hidden:(i+1)*hidden])
		}
		for _, v := range direct(n, x.Reference, mine) {
			words = append(words, float32(v))
		}
		targets = append(targets, Example{Token: x.Targets[0]})
	}
	features := make([]float32, len(prompts)*w.text.Dim())
	if err := w.text.Encode(context.Background(), features, prompts, words); err != nil {
		t.Fatal(err)
	}
	var composed [][]float64
	for i := range list {
		var f []float64
		for _, v := range features[i*w.text.Dim() : (i+1)*w.text.Dim()] {
			f = append(f, float64(v))
		}
		composed = append(composed, f)
	}
	return infoNCE(targets, composed, tau)
}

// The gradient through network, text tower and loss must be the loss's finite difference, along itself and along random
// directions of every parameter.
func TestTuningGradient(t *testing.T) {
	w := newTuneWorld(t)
	for _, a := range []Arch{MLP, Residual} {
		t.Run(a.String(), func(t *testing.T) {
			const hidden = 24
			o := TuneDefaults()
			o.Batch, o.Dropout, o.Tau = 5, .3, .2
			list := w.triplets(o.Batch, 1)
			net := newNetwork(a, w.text.Dim(), hidden, w.text.Width(), 3)
			tu, err := NewTuner(w.dev, w.text, w.tok, tokenizer.HF, net, list, o)
			if err != nil {
				t.Fatal(err)
			}
			defer tu.Close()
			var masks [][]float32
			for k, m := range tu.plan.masks {
				masks = append(masks, make([]float32, m.Len()))
				tu.choices.mask(0, k, o.Dropout, masks[k])
			}
			got, err := tu.makeStep(context.Background(), []int{0, 1, 2, 3, 4})
			if err != nil {
				t.Fatal(err)
			}
			loss := func() float64 { return w.loss(t, net, list, masks, hidden, o.Tau) }
			if want := loss(); math.Abs(got.Total-want) > 1e-4 {
				t.Fatalf("loss %v, want %v", got.Total, want)
			}
			r := rand.New(rand.NewPCG(1, 1))
			for i, l := range net.Layers {
				for k, x := range [][]float32{l.W, l.B} {
					g := read(t, tu.plan.params[2*i+k].g)
					size := norm(g)
					if size < 1e-6 {
						t.Fatalf("layer %d, part %d: the gradient is %v long", i, k, size)
					}
					along := scaled(g, 1/size)
					checkSlope(t, fmt.Sprintf("layer %d, part %d, along the gradient", i, k), x, along, size, size, loss)
					other := make([]float32, len(g))
					for j := range other {
						other[j] = float32(r.NormFloat64())
					}
					for j, v := range scaled(other, 1/norm(other)) {
						other[j] = v + along[j]/2 // a purely random direction is all but orthogonal to the gradient
					}
					checkSlope(t, fmt.Sprintf("layer %d, part %d, elsewhere", i, k), x, other, dot(g, other), size, loss)
				}
			}
		})
	}
}

// checkSlope compares a slope with the central difference of the loss along a direction of x.
func checkSlope(t *testing.T, what string, x, direction []float32, want, size float64, loss func() float64) {
	t.Helper()
	const h = 1.0 / 64
	old := append([]float32(nil), x...)
	at := func(s float32) float64 {
		for j := range x {
			x[j] = old[j] + s*direction[j]
		}
		return loss()
	}
	got := (at(h) - at(-h)) / (2 * h)
	copy(x, old)
	if math.Abs(got-want) > 2e-4+.02*size {
		t.Errorf("%s: slope %v, the gradient says %v (its length is %v)", what, got, want, size)
	}
}

func norm(x []float32) float64 { return math.Sqrt(dot(x, x)) }

func dot(x, y []float32) (s float64) {
	for j := range x {
		s += float64(x[j]) * float64(y[j])
	}
	return s
}

func scaled(x []float32, by float64) []float32 {
	out := make([]float32, len(x))
	for j, v := range x {
		out[j] = float32(float64(v) * by)
	}
	return out
}

// Triplets must be learnt, longer prompts than expected included; a run that is cut short goes on to the same bytes.
func TestTuning(t *testing.T) {
	w := newTuneWorld(t)
	o := TuneDefaults()
	o.Batch, o.Epochs, o.LR, o.Dropout = 6, 8, 3e-3, 0
	list := w.triplets(13, 2)
	for i := range list {
		list[i].Prompt.Pieces[1] += strings.Repeat(" and it is here", 5)
	}
	net := newNetwork(MLP, w.text.Dim(), 32, w.text.Width(), 3)
	stop := errors.New("stop")
	run := func(path string, saves int) ([]byte, []Record, error) {
		tu, err := NewTuner(w.dev, w.text, w.tok, tokenizer.HF, net, list, o)
		if err != nil {
			t.Fatal(err)
		}
		defer tu.Close()
		var curve []Record
		err = tu.Run(context.Background(), RunOptions{Checkpoint: path, Every: 3, Saved: func(r []Record) error {
			curve = r
			if saves--; saves == 0 {
				return stop
			}
			return nil
		}})
		n, e := tu.Network()
		if e != nil {
			t.Fatal(e)
		}
		out := filepath.Join(t.TempDir(), "phi.safetensors")
		if e = n.Save(out); e != nil {
			t.Fatal(e)
		}
		data, e := os.ReadFile(out)
		if e != nil {
			t.Fatal(e)
		}
		return data, curve, err
	}
	dir := t.TempDir()
	want, curve, err := run(filepath.Join(dir, "whole"), -1)
	if err != nil {
		t.Fatal(err)
	}
	if len(curve) != 8 || !(curve[7].Total < curve[0].Total-.3) {
		t.Errorf("losses %+v", curve)
	}
	if _, _, err := run(filepath.Join(dir, "cut"), 1); !errors.Is(err, stop) {
		t.Fatalf("error %v", err)
	}
	if got, _, err := run(filepath.Join(dir, "cut"), -1); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the resumed run ends in other bytes, or fails: %v", err)
	}
	list[2].Targets[0][7]++
	if _, _, err := run(filepath.Join(dir, "whole"), -1); !errors.Is(err, ErrOtherRun) {
		t.Errorf("a checkpoint of other triplets: %v", err)
	}
}

func TestTunerRefuses(t *testing.T) {
	w := newTuneWorld(t)
	good := newNetwork(MLP, w.text.Dim(), 8, w.text.Width(), 3)
	for name, c := range map[string]struct {
		spoil func(net **Network, list []Triplet, o *TuneOptions)
		want  string
	}{
		"few":       {func(_ **Network, _ []Triplet, o *TuneOptions) { o.Batch = 9 }, "batch of 9"},
		"batch":     {func(_ **Network, _ []Triplet, o *TuneOptions) { o.Batch = 1 }, "batch of 1"},
		"rate":      {func(_ **Network, _ []Triplet, o *TuneOptions) { o.LR = math.NaN() }, "learning rate"},
		"dropout":   {func(_ **Network, _ []Triplet, o *TuneOptions) { o.Dropout = 1 }, "dropout"},
		"network":   {func(n **Network, _ []Triplet, _ *TuneOptions) { *n = newNetwork(MLP, 3, 4, 5, 1) }, "maps 3 elements to 5"},
		"targets":   {func(_ **Network, l []Triplet, _ *TuneOptions) { l[1].Targets = nil }, `"1" (1): no targets`},
		"dimension": {func(_ **Network, l []Triplet, _ *TuneOptions) { l[2].Reference = l[2].Reference[1:] }, "127 elements"},
		"infinite":  {func(_ **Network, l []Triplet, _ *TuneOptions) { l[0].Targets[0][3] = float32(math.Inf(1)) }, "not finite"},
		"no $":      {func(_ **Network, l []Triplet, _ *TuneOptions) { l[0].Prompt.Pieces = l[0].Prompt.Pieces[:1] }, "no pseudo-word"},
	} {
		net, list, o := good, w.triplets(3, 1), TuneDefaults()
		o.Batch = 2
		c.spoil(&net, list, &o)
		if _, err := NewTuner(w.dev, w.text, w.tok, tokenizer.HF, net, list, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
