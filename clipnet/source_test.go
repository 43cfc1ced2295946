package clipnet_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"isearle/clipnet"
	"isearle/clipnet/preprocess"
	"isearle/runtime"
	"isearle/runtime/cpu"
	"isearle/weights"
	"isearle/weights/golden"
)

// goldenSources are the golden images as sources, and as pixels.
func goldenSources(t *testing.T, p *preprocess.Preprocessor) (sources []preprocess.Source, pixels []float32) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(golden.Dir(t, "clip"), "images", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no images: %v", err)
	}
	px := make([]float32, p.PixelCount())
	for _, path := range paths {
		var s preprocess.Source
		if err := p.SourceFile(path, &s); err != nil {
			t.Fatal(err)
		}
		if err := p.File(path, px); err != nil {
			t.Fatal(err)
		}
		sources, pixels = append(sources, s), append(pixels, px...)
	}
	return sources, pixels
}

// firstModel is one of the golden models.
func firstModel(t *testing.T) *weights.CLIP {
	t.Helper()
	models := goldenModels(t)
	return models[slices.Min(slices.Collect(maps.Keys(models)))]
}

// Sources give the features of their pixels, bit for bit: the device resizes as the host does.
func TestEncodeSources(t *testing.T) {
	dev := device(t, cpu.Options{Threads: 2})
	for dir, m := range goldenModels(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			p, err := preprocess.New(preprocess.CLIP(m.Config.Vision.ImageSize))
			if err != nil {
				t.Fatal(err)
			}
			e, err := clipnet.NewImageEncoder(dev, m, clipnet.Options{Images: p})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			sources, pixels := goldenSources(t, p)
			got, want := make([]float32, len(sources)*e.Dim()), make([]float32, len(sources)*e.Dim())
			if err := e.Encode(context.Background(), want, pixels, len(sources)); err != nil {
				t.Fatal(err)
			}
			if err := e.EncodeSources(context.Background(), got, sources); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Error("other features than of the pixels")
			}
		})
	}
}

// Sources larger than what a program has room for on average are encoded in as many runs as it takes.
func TestEncodeLargeSources(t *testing.T) {
	dev := device(t, cpu.Options{Threads: 2})
	m := firstModel(t)
	p, err := preprocess.New(preprocess.CLIP(m.Config.Vision.ImageSize))
	if err != nil {
		t.Fatal(err)
	}
	e, err := clipnet.NewImageEncoder(dev, m, clipnet.Options{Images: p})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	data := bitmap(1020, 1023)
	sources := make([]preprocess.Source, 12)
	for i := range sources {
		if err := p.Source("large", data, &sources[i]); err != nil {
			t.Fatal(err)
		}
		if sources[i].Width < 1000 {
			t.Fatalf("a source of %d x %d", sources[i].Width, sources[i].Height)
		}
	}
	one, got := make([]float32, e.Dim()), make([]float32, len(sources)*e.Dim())
	if err := e.EncodeSources(context.Background(), one, sources[:1]); err != nil {
		t.Fatal(err)
	}
	runs := 0
	dev.Profile(func(e runtime.Event) {
		if e.Name == "resample" {
			runs++
		}
	})
	if err := e.EncodeSources(context.Background(), got, sources); err != nil {
		t.Fatal(err)
	}
	dev.Profile(nil)
	if runs < 2 || runs > 4 {
		t.Errorf("%d runs for %d images", runs, len(sources))
	}
	if !slices.Equal(got, slices.Repeat(one, len(sources))) {
		t.Error("features depend on how many images there are")
	}
}

// What is no source of the encoder's is refused before the device sees it.
func TestEncodeSourcesRefuses(t *testing.T) {
	dev := device(t, cpu.Options{Threads: 1})
	m := firstModel(t)
	p, err := preprocess.New(preprocess.CLIP(m.Config.Vision.ImageSize))
	if err != nil {
		t.Fatal(err)
	}
	other, err := preprocess.New(preprocess.CLIP(m.Config.Vision.ImageSize + 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clipnet.NewImageEncoder(dev, m, clipnet.Options{Images: other}); err == nil {
		t.Error("images of another size are accepted")
	}
	plain, err := clipnet.NewImageEncoder(dev, m, clipnet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	e, err := clipnet.NewImageEncoder(dev, m, clipnet.Options{Images: p})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var good preprocess.Source
	if err := p.Source("good", bitmap(50, 40), &good); err != nil {
		t.Fatal(err)
	}
	dst := make([]float32, e.Dim())
	if plain.EncodeSources(context.Background(), dst, []preprocess.Source{good}) == nil {
		t.Error("an encoder without Images takes sources")
	}
	if err := e.EncodeSources(context.Background(), dst, []preprocess.Source{good}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(s *preprocess.Source){
		"pixels":   func(s *preprocess.Source) { s.Pix = s.Pix[3:] },
		"side":     func(s *preprocess.Source) { s.Width, s.Height, s.Pix = 3000, 1, make([]byte, 9000) },
		"taps":     func(s *preprocess.Source) { s.Taps = s.Taps[1:] },
		"first":    func(s *preprocess.Source) { s.Taps[0] = -1 },
		"far":      func(s *preprocess.Source) { s.Taps[0] = 50 },
		"too many": func(s *preprocess.Source) { s.Taps[1] = int32(p.MaxTaps() + 1) },
	} {
		var s preprocess.Source
		s.Set(&good)
		change(&s)
		if e.EncodeSources(context.Background(), dst, []preprocess.Source{s}) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// bitmap is a BMP file of 24 bits a pixel.
func bitmap(w, h int) []byte {
	pitch := (3*w + 3) / 4 * 4
	b := append(make([]byte, 54), make([]byte, pitch*h)...)
	copy(b, "BM")
	b[10], b[14], b[26], b[28] = 54, 40, 1, 24
	b[18], b[19], b[22], b[23] = byte(w), byte(w>>8), byte(h), byte(h>>8)
	for i := range pitch * h {
		b[54+i] = byte(i * i >> 5)
	}
	return b
}

// Repeat gives an Encode's features again, and refuses where there was no such Encode.
func TestRepeat(t *testing.T) {
	ctx := context.Background()
	m := firstModel(t)
	e, err := clipnet.NewImageEncoder(device(t, cpu.Options{Threads: 2}), m, clipnet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Repeat(ctx, 1, 1); err == nil {
		t.Error("repeats what was never encoded")
	}
	pixels, features := make([]float32, 3*3*e.Size()*e.Size()), make([]float32, 3*e.Dim())
	for i := range pixels {
		pixels[i] = float32(i%7) - 3
	}
	if err := e.Encode(ctx, features, pixels, 3); err != nil {
		t.Fatal(err)
	}
	if err := e.Repeat(ctx, 3, 2); err != nil {
		t.Error(err)
	}
	if err := e.Repeat(ctx, 2, 1); err == nil {
		t.Error("repeats another number of images")
	}
}
