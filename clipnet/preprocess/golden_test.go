package preprocess

import (
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"isearle/weights/golden"
)

// goldenImages lists the set's images in name order.
func goldenImages(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "images"))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, "images", e.Name()))
	}
	if len(paths) == 0 {
		t.Fatal("no images")
	}
	return paths
}

// goldenOptions returns CLIP's options for arrays of [n, 3, S, S].
func goldenOptions(a golden.Array, pad Pad, order Order) Options {
	o := CLIP(a.Shape[len(a.Shape)-1])
	o.Pad, o.Order = pad, order
	return o
}

// checkPixels compares a file's pixels with the reference, bit for bit.
func checkPixels(t *testing.T, o Options, path string, want []float32) {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, p.PixelCount())
	if err := p.File(path, got); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d pixels, want %d", filepath.Base(path), len(got), len(want))
	}
	differ, worst := 0, 0.0
	for i, v := range got {
		if v != want[i] {
			differ++
			worst = max(worst, math.Abs(float64(v-want[i])))
		}
	}
	if differ > 0 {
		t.Errorf("%s, pad %v, order %v: %d of %d values differ, by up to %g", filepath.Base(path), o.Pad, o.Order, differ, len(want), worst)
	}
}

var pads = []struct {
	name string
	pad  Pad
}{{"std", PadNone}, {"targetpad", TargetPad}}

func TestGoldenPixelsOpenAIOrder(t *testing.T) {
	dir := golden.Dir(t, "clip")
	images := goldenImages(t, dir)
	for _, pad := range pads {
		want := golden.NPY(t, filepath.Join(dir, "pixels_"+pad.name+".npy"))
		if want.Shape[0] != len(images) {
			t.Fatalf("%d rows for %d images", want.Shape[0], len(images))
		}
		for i, path := range images {
			checkPixels(t, goldenOptions(want, pad.pad, OpenAI), path, want.Row(i))
		}
	}
}

func TestGoldenPixelsRGBFirst(t *testing.T) {
	dir := golden.Dir(t, "clip")
	images := goldenImages(t, dir)
	for _, pad := range pads {
		// The name of the array ends in the 0-based numbers of its images.
		matches, err := filepath.Glob(filepath.Join(dir, "pixels_"+pad.name+"_rgbfirst_*.npy"))
		if err != nil || len(matches) == 0 {
			t.Fatalf("no rgbfirst array of %s: %v", pad.name, err)
		}
		for _, path := range matches {
			want := golden.NPY(t, path)
			_, numbers, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".npy"), "rgbfirst_")
			for row, s := range strings.Split(numbers, "_") {
				i, err := strconv.Atoi(s)
				if err != nil || i >= len(images) || row >= want.Shape[0] {
					t.Fatalf("%s: image %q of %d", path, s, len(images))
				}
				if decodedMode(t, images[i]) == ModeI16 {
					continue // Pillow clips it here; keeping the high byte is checked in TestGoldenPixelsGray16
				}
				checkPixels(t, goldenOptions(want, pad.pad, RGBFirst), images[i], want.Row(row))
			}
		}
	}
}

func decodedMode(t *testing.T, path string) Mode {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(path, data, 0)
	if err != nil {
		t.Fatal(err)
	}
	return m.Mode
}

// The array's name gives the 1-based number of the 16-bit gray image; its two rows are without and with padding.
func TestGoldenPixelsGray16(t *testing.T) {
	dir := golden.Dir(t, "clip")
	images := goldenImages(t, dir)
	matches, err := filepath.Glob(filepath.Join(dir, "pixels_*gray16_shr8_std_targetpad.npy"))
	if err != nil || len(matches) == 0 {
		t.Fatalf("no gray16 array: %v", err)
	}
	for _, path := range matches {
		n := regexp.MustCompile(`pixels_(\d+)gray16`).FindStringSubmatch(filepath.Base(path))
		i, err := strconv.Atoi(n[1])
		if err != nil || i < 1 || i > len(images) {
			t.Fatalf("%s: image %q of %d", path, n[1], len(images))
		}
		want := golden.NPY(t, path)
		for row, pad := range pads {
			checkPixels(t, goldenOptions(want, pad.pad, RGBFirst), images[i-1], want.Row(row))
		}
	}
}

// readRGB reads a reference PNG with the standard library's decoder.
func readRGB(t *testing.T, path string) (w, h int, rgb []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	w, h = img.Bounds().Dx(), img.Bounds().Dy()
	for y := range h {
		for x := range w {
			r, g, b, _ := img.At(x, y).RGBA()
			rgb = append(rgb, uint8(r>>8), uint8(g>>8), uint8(b>>8))
		}
	}
	return w, h, rgb
}

// source finds the image file that a reference of the same stem was made from.
func source(t *testing.T, images []string, stem string) string {
	t.Helper()
	best := ""
	for _, path := range images {
		s := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		if strings.HasPrefix(stem, s) && len(s) > len(best) {
			best = path
		}
	}
	if best == "" {
		t.Fatalf("no image of %q", stem)
	}
	return best
}

func TestGoldenDecoded(t *testing.T) {
	dir := golden.Dir(t, "clip")
	images := goldenImages(t, dir)
	refs, err := filepath.Glob(filepath.Join(dir, "decoded", "*.png"))
	if err != nil || len(refs) == 0 {
		t.Fatalf("no decoded images: %v", err)
	}
	for _, ref := range refs {
		stem := strings.TrimSuffix(filepath.Base(ref), ".png")
		data, err := os.ReadFile(source(t, images, stem))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(stem, data, 0)
		if err != nil {
			t.Fatal(err)
		}
		gray16 := m.Mode == ModeI16
		w, h := m.Width, m.Height
		got := m.RGB()
		if gray16 { // the reference is Pillow's own conversion, which clips
			m, _ = Decode(stem, data, 0)
			m.rgbInto(got, m.Pix, false)
		}
		wantW, wantH, want := readRGB(t, ref)
		if w != wantW || h != wantH {
			t.Fatalf("%s: %dx%d, want %dx%d", stem, w, h, wantW, wantH)
		}
		if n := differing(got, want); n > 0 {
			t.Errorf("%s: %d of %d samples differ", stem, n, len(want))
		}
	}
}

func differing(got, want []byte) int {
	n := max(len(got), len(want)) - min(len(got), len(want))
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			n++
		}
	}
	return n
}

func TestGoldenCrops(t *testing.T) {
	dir := golden.Dir(t, "clip")
	images := goldenImages(t, dir)
	folders, err := filepath.Glob(filepath.Join(dir, "crop*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no crops: %v", err)
	}
	for _, folder := range folders {
		refs, err := filepath.Glob(filepath.Join(folder, "*.png"))
		if err != nil || len(refs) == 0 {
			t.Fatalf("no crops in %s: %v", folder, err)
		}
		for _, ref := range refs {
			stem := strings.TrimSuffix(filepath.Base(ref), ".png")
			w, _, want := readRGB(t, ref)
			o := CLIP(w)
			o.Order = OpenAI
			if strings.HasSuffix(stem, "_std") {
				o.Pad = PadNone
			}
			p, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, p.CropBytes())
			if err := p.CropFile(source(t, images, stem), got); err != nil {
				t.Fatal(err)
			}
			if n := differing(got, want); n > 0 {
				t.Errorf("%s: %d of %d samples differ", stem, n, len(want))
			}
		}
	}
}
