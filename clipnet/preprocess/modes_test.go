package preprocess

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The images of testdata/modes cover every format's pixel layouts; testdata/make.py made them and, with Pillow, four
// crops of each.
func TestModesAgainstPillow(t *testing.T) {
	refs, err := filepath.Glob(filepath.Join("testdata", "modes", "*.*.png"))
	if err != nil || len(refs) == 0 {
		t.Fatalf("no references: %v", err)
	}
	seen := map[Mode]bool{}
	for _, ref := range refs {
		path := strings.TrimSuffix(ref, ".png")
		t.Run(filepath.Base(path), func(t *testing.T) {
			w, d, want := readRGB(t, ref)
			if w != 4*d {
				t.Fatalf("reference of %dx%d", w, d)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m, err := Decode(path, data, 0)
			if err != nil {
				t.Fatal(err)
			}
			seen[m.Mode] = true
			for i, o := range []struct {
				order Order
				pad   Pad
			}{{OpenAI, PadNone}, {OpenAI, TargetPad}, {RGBFirst, PadNone}, {RGBFirst, TargetPad}} {
				opts := CLIP(d)
				opts.Order, opts.Pad = o.order, o.pad
				p, err := New(opts)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, p.CropBytes())
				if err := p.CropFile(path, got); err != nil {
					t.Fatal(err)
				}
				var tile []byte
				for y := range d {
					tile = append(tile, want[3*(y*w+i*d):][:3*d]...)
				}
				if n := differing(got, tile); n > 0 {
					t.Errorf("mode %v, order %v, pad %v: %d of %d samples differ", m.Mode, o.order, o.pad, n, len(tile))
				}
			}
		})
	}
	for m := Mode1; m <= ModeCMYK; m++ {
		if !seen[m] {
			t.Errorf("no image has mode %v", m)
		}
	}
}

// All three parts of a Preprocessor agree: a crop normalised by hand, Decode and File.
func TestPixelsAreNormalisedCrops(t *testing.T) {
	path := filepath.Join("testdata", "modes", "tall.png")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts := CLIP(7)
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	crop := make([]byte, p.CropBytes())
	fromData, fromFile := make([]float32, p.PixelCount()), make([]float32, p.PixelCount())
	for _, err := range []error{p.Crop("x", data, crop), p.Decode("x", data, fromData), p.File(path, fromFile)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	n := opts.Size * opts.Size
	for i, v := range crop {
		c := i % 3
		want := (float32(v)/255 - opts.Mean[c]) / opts.Std[c]
		at := c*n + i/3
		if fromData[at] != want || fromFile[at] != want {
			t.Fatalf("channel %d, pixel %d: %g and %g, want %g", c, i/3, fromData[at], fromFile[at], want)
		}
	}
}
