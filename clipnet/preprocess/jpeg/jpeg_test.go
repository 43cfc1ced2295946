package jpeg

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isearle/clipnet/preprocess/internal/pixel"
)

// decode decodes with a fresh decoder.
func decode(data []byte) (Config, []byte, error) {
	var d Decoder
	cfg, err := d.Open(data)
	if err != nil {
		return cfg, nil, err
	}
	dst := make([]byte, cfg.Width*cfg.Height*cfg.Model.Channels())
	return cfg, dst, d.Decode(dst)
}

// reference reads the pixels that Pillow decoded; CMYK stands in a PNG's RGBA channels.
func reference(t *testing.T, path string) (w, h, channels int, pix []byte) {
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
	switch img := img.(type) {
	case *image.Gray:
		return w, h, 1, img.Pix
	case *image.NRGBA:
		for i, v := range img.Pix {
			img.Pix[i] = ^v // Pillow inverts the inks
		}
		return w, h, 4, img.Pix
	case *image.RGBA: // a PNG without alpha
		for i := 0; i < len(img.Pix); i += 4 {
			pix = append(pix, img.Pix[i:i+3]...)
		}
		return w, h, 3, pix
	}
	t.Fatalf("%s: %T", path, img)
	return
}

// samples returns the names of the test images.
func samples(tb testing.TB) []string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "*.jpg"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no images: %v", err)
	}
	return paths
}

func TestPixelsAreLibjpegTurbos(t *testing.T) {
	var reused Decoder // one for all: nothing of one image may show in the next
	for _, path := range samples(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".jpg"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			w, h, channels, want := reference(t, path+".png")
			cfg, got, err := decode(data)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Width != w || cfg.Height != h || cfg.Model.Channels() != channels {
				t.Fatalf("%dx%d with %d channels, want %dx%d with %d", cfg.Width, cfg.Height, cfg.Model.Channels(), w, h, channels)
			}
			differ := 0
			for i := range want {
				if got[i] != want[i] {
					differ++
				}
			}
			if differ > 0 {
				t.Errorf("%d of %d samples differ", differ, len(want))
			}
			for _, reused.loops = range pixel.All() {
				if _, err := reused.Open(data); err != nil {
					t.Fatal(err)
				}
				again := make([]byte, len(got))
				if err := reused.Decode(again); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(again, got) {
					t.Errorf("a decoder that was used before gives other pixels (%s)", reused.loops.Name)
				}
			}
		})
	}
}

// A window has the pixels of the whole, and nothing outside is written.
func TestWindow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, path := range samples(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cfg, whole, err := decode(data)
		if err != nil {
			t.Fatal(err)
		}
		n := cfg.Model.Channels()
		for range 20 {
			x0, y0 := r.IntN(cfg.Width+1), r.IntN(cfg.Height+1)
			x1, y1 := x0+r.IntN(cfg.Width-x0+1), y0+r.IntN(cfg.Height-y0+1)
			var d Decoder
			if _, err := d.Open(data); err != nil {
				t.Fatal(err)
			}
			got := bytes.Repeat([]byte{0xA5}, len(whole))
			if err := d.DecodeWindow(got, x0, y0, x1, y1); err != nil {
				t.Fatal(err)
			}
			for i, v := range got {
				x, y := i/n%cfg.Width, i/n/cfg.Width
				want := uint8(0xA5)
				if x >= x0 && x < x1 && y >= y0 && y < y1 {
					want = whole[i]
				}
				if v != want {
					t.Fatalf("%s, window %d,%d to %d,%d: sample %d of pixel %d,%d is %d, should be %d", path, x0, y0, x1, y1, i%n, x, y, v, want)
				}
			}
		}
	}
}

// Cutting an image anywhere but in its end marker is an error that says so. Without the end marker a sequential image
// is whole, as it is for Pillow; a progressive one could have further scans.
func TestTruncatedIsRefused(t *testing.T) {
	for _, path := range samples(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(data) - 4 {
			_, _, err := decode(data[:n])
			if err == nil {
				t.Errorf("%s: the first %d of %d bytes decode", path, n, len(data))
				continue
			}
			je, ok := errors.AsType[*Error](err)
			if !ok || je.Offset < 0 || je.Offset > n {
				t.Errorf("%s cut to %d: %v", path, n, err)
			}
			if n > 3 && !errors.Is(err, ErrTruncated) {
				t.Errorf("%s cut to %d bytes: %v, want truncated", path, n, err)
			}
		}
		cfg, _, err := decode(data[:len(data)-2])
		if cfg.Progressive != (err != nil) {
			t.Errorf("%s without its end marker: %v", path, err)
		}
	}
}

// patched returns the file with a byte replaced, found by its offset from a marker.
func patched(t *testing.T, name string, marker byte, offset int, v byte) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte{0xFF, marker})
	if at < 0 {
		t.Fatalf("%s has no marker %#x", name, marker)
	}
	data[at+offset] = v
	return data
}

func TestErrorsNameTheirKind(t *testing.T) {
	whole := func(b ...byte) []byte { return append([]byte{0xFF, mSOI}, b...) }
	for _, c := range []struct {
		name string
		data []byte
		kind error
	}{
		{"empty", nil, ErrFormat},
		{"text", []byte("hello, world"), ErrFormat},
		{"two bytes", whole(), ErrTruncated},
		{"header only", whole(0xFF, mDQT), ErrTruncated},
		{"segment length 1", whole(0xFF, mDQT, 0, 1, 0), ErrCorrupt},
		{"end at once", whole(0xFF, mEOI), ErrCorrupt},
		{"arithmetic coding", patched(t, "raw_420.jpg", mSOF1, 1, 0xC9), ErrUnsupported},
		{"lossless", patched(t, "raw_420.jpg", mSOF1, 1, 0xC3), ErrUnsupported},
		{"12 bits", patched(t, "raw_420.jpg", mSOF1, 4, 12), ErrUnsupported},
		{"no rows", patched(t, "raw_420.jpg", mSOF1, 6, 0), ErrUnsupported},
		{"sampling 3 of 2", patched(t, "raw_420.jpg", mSOF1, 14, 0x31), ErrUnsupported},
		{"sampling 0", patched(t, "raw_420.jpg", mSOF1, 11, 0), ErrCorrupt},
		{"quantisation table 9", patched(t, "raw_420.jpg", mSOF1, 12, 9), ErrCorrupt},
		{"quantisation table 1, undefined", patched(t, "raw_420.jpg", mSOF1, 12, 1), ErrCorrupt},
		{"Huffman table 3, undefined", patched(t, "raw_420.jpg", mSOS, 6, 0x33), ErrCorrupt},
		{"unknown component", patched(t, "raw_420.jpg", mSOS, 5, 77), ErrCorrupt},
		{"Huffman counts", patched(t, "raw_420.jpg", mDHT, 5, 3), ErrCorrupt},
		{"band", patched(t, "progressive_420.jpg", mSOS, 12, 77), ErrCorrupt},
		{"restart marker", patched(t, "raw_restart_planes.jpg", mRST0, 1, mRST0+5), ErrCorrupt},
		{"restart marker gone", patched(t, "raw_restart_planes.jpg", mRST0, 1, mEOI), ErrCorrupt},
		{"65,535 pixels square in few bytes", patchedSize(t, "raw_420.jpg"), ErrTruncated},
	} {
		if _, _, err := decode(c.data); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
}

func patchedSize(t *testing.T, name string) []byte {
	t.Helper()
	data := patched(t, name, mSOF1, 5, 0xFF)
	at := bytes.Index(data, []byte{0xFF, mSOF1})
	for i := range 4 {
		data[at+5+i] = 0xFF
	}
	return data
}

// Open must not look at pixels, and Decode wants room for them.
func TestDecodeNeedsOpenAndRoom(t *testing.T) {
	var d Decoder
	if err := d.Decode(nil); err == nil {
		t.Error("Decode without Open succeeds")
	}
	data, err := os.ReadFile(samples(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := d.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(make([]byte, cfg.Width*cfg.Height*cfg.Model.Channels()-1)); err == nil {
		t.Error("Decode into too few bytes succeeds")
	}
}

// Bytes before a marker that belong to nothing are passed over.
func TestStrayBytesBetweenSegments(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "raw_420.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	_, want, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	stray := bytes.Replace(data, []byte{0xFF, mDHT}, []byte{0, 17, 0xFF, 0xFF, 0xFF, mDHT}, 2)
	stray = append(stray[:len(stray)-2], 0xFF, 0xFF, mEOI, 1, 2, 3)
	if _, got, err := decode(stray); err != nil || !bytes.Equal(got, want) {
		t.Errorf("with stray bytes: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, path := range samples(f) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first []byte
		var firstErr error
		for i, loops := range pixel.All() {
			d := Decoder{loops: loops}
			var pix []byte
			cfg, err := d.Open(data)
			if err == nil && cfg.Width*cfg.Height <= 1<<16 {
				pix = make([]byte, cfg.Width*cfg.Height*cfg.Model.Channels())
				err = d.Decode(pix)
			}
			if i == 0 {
				first, firstErr = pix, err
			} else if fmt.Sprint(err) != fmt.Sprint(firstErr) || err == nil && !bytes.Equal(pix, first) {
				t.Errorf("%s: %v, and %s: %v, or other pixels", pixel.All()[0].Name, firstErr, loops.Name, err)
			}
		}
		if firstErr == nil {
			return
		}
		je, ok := errors.AsType[*Error](firstErr)
		if !ok || je.Offset < 0 || je.Offset > len(data) || je.Reason == "" {
			t.Errorf("%v", firstErr)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"420_8x33", "progressive_420", "noise_q100_444"} {
		b.Run(name, func(b *testing.B) {
			data, err := os.ReadFile(filepath.Join("testdata", name+".jpg"))
			if err != nil {
				b.Fatal(err)
			}
			var d Decoder
			var dst []byte
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				cfg, err := d.Open(data)
				if err != nil {
					b.Fatal(err)
				}
				if dst == nil {
					dst = make([]byte, cfg.Width*cfg.Height*cfg.Model.Channels())
				}
				if err := d.Decode(dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
