package preprocess

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// testFiles returns the images of testdata/modes.
func testFiles(tb testing.TB) map[string][]byte {
	tb.Helper()
	refs, err := filepath.Glob(filepath.Join("testdata", "modes", "*.*.png"))
	if err != nil || len(refs) == 0 {
		tb.Fatalf("no images: %v", err)
	}
	files := map[string][]byte{}
	for _, ref := range refs {
		path := strings.TrimSuffix(ref, ".png")
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		files[filepath.Base(path)] = data
	}
	return files
}

// pngChunk encodes one chunk.
func pngChunk(kind string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(append(b, kind...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// hugePNG is a header of 60,000 x 60,000 RGB pixels and hardly any data.
func hugePNG() []byte {
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 60000), 60000)
	b := append([]byte(pngMagic), pngChunk("IHDR", append(header, 8, pngRGB, 0, 0, 0))...)
	return append(b, pngChunk("IDAT", []byte{0x78, 0x9C, 1, 0, 0, 0xFF, 0xFF})...)
}

// patch returns a copy of data with bytes replaced from an offset on.
func patch(data []byte, offset int, b ...byte) []byte {
	out := append([]byte(nil), data...)
	copy(out[offset:], b)
	return out
}

func TestTooLargeIsRefusedBeforeAllocation(t *testing.T) {
	files := testFiles(t)
	vp8 := strings.Index(string(files["lossy.webp"]), "\x9d\x01\x2a")
	for _, c := range []struct {
		name string
		data []byte
		kind error
	}{
		{"PNG of 60,000 pixels square", hugePNG(), ErrTooLarge},
		{"GIF", patch(files["palette.gif"], 6, 0xFF, 0xFF, 0xFF, 0xFF), ErrTooLarge},
		{"BMP", patch(files["rgb.bmp"], 18, 0, 0, 1, 0, 0, 0, 1, 0), ErrTooLarge},
		{"BMP of the most negative height", patch(files["rgb.bmp"], 22, 0, 0, 0, 0x80), ErrTooLarge},
		{"WebP", patch(files["lossy.webp"], vp8+3, 0xFF, 0x3F, 0xFF, 0x3F), ErrTooLarge},
		{"WebP lossless", patch(files["lossless.webp"], 21, 0xFF, 0xFF, 0xFF, 0x0F), ErrTooLarge},
		{"WebP canvas", patch(files["animated.webp"], 24, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0), ErrTooLarge},
		{"PNG of too little data", patch(hugePNG()[:33], 16, pngSize(12000, 12000)...), ErrCorrupt},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(c.name, c.data, 0)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", c.name, n)
		}
	}
	_, err := Decode("big.png", hugePNG(), 0)
	for _, want := range []string{"big.png", "PNG", "60000x60000", "178956970"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func pngSize(w, h uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
}

// An image whose pixels cannot be in so few bytes is refused before memory for them is taken.
func TestImplausiblyShortIsTruncated(t *testing.T) {
	header := append(pngSize(10000, 10000), 8, pngRGB, 0, 0, 0)
	b := append([]byte(pngMagic), pngChunk("IHDR", header)...)
	b = append(b, pngChunk("IDAT", make([]byte, 1000))...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Decode("x.png", b, 0)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrTruncated) {
		t.Errorf("%v, want truncated", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

func TestMaxPixels(t *testing.T) {
	data := testFiles(t)["rgb.bmp"]
	m, err := Decode("rgb.bmp", data, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := m.Width * m.Height
	if _, err := Decode("rgb.bmp", data, n); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := Decode("rgb.bmp", data, n-1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
}

// A file cut short is refused with its name and where, or where only what follows the pixels is missing, decodes to the
// same pixels.
func TestTruncatedFiles(t *testing.T) {
	for name, data := range testFiles(t) {
		whole, err := Decode(name, data, 0)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(data); n += 1 + len(data)/200 {
			m, err := Decode(name, data[:n], 0)
			if err == nil {
				if differing(m.Pix, whole.Pix) > 0 {
					t.Errorf("%s cut to %d of %d bytes gives other pixels", name, n, len(data))
				}
				if n < len(data)/2 && n < len(data)-200 {
					t.Errorf("%s decodes from %d of %d bytes", name, n, len(data))
				}
				continue
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Name != name || e.Offset > int64(n) {
				t.Errorf("%s cut to %d: %v", name, n, err)
			}
		}
	}
}

func TestErrorKinds(t *testing.T) {
	files := testFiles(t)
	gray := files["color0_8bit.png"]
	for _, c := range []struct {
		name string
		data []byte
		kind error
		says string
	}{
		{"empty", nil, ErrTruncated, "empty"},
		{"one byte", []byte{0xFF}, ErrNotImage, "begins"},
		{"text", []byte("a text that is no image"), ErrNotImage, "a text"},
		{"PNG header checksum", patch(gray, 16, 1), ErrCorrupt, "checksum"},
		{"PNG pixel checksum", patch(gray, 60, 1, 2, 3), ErrCorrupt, "checksum"},
		{"PNG without pixels", append([]byte(pngMagic), append(pngChunk("IHDR", append(pngSize(1, 1), 8, 0, 0, 0, 0)), pngChunk("IEND", nil)...)...), ErrCorrupt, "before its pixels"},
		{"PNG of 3 bits", append([]byte(pngMagic), pngChunk("IHDR", append(pngSize(1, 1), 3, 0, 0, 0, 0))...), ErrCorrupt, "3 bits"},
		{"PNG palette missing", append([]byte(pngMagic), append(pngChunk("IHDR", append(pngSize(1, 1), 8, 3, 0, 0, 0)), pngChunk("IDAT", []byte{1})...)...), ErrCorrupt, "palette"},
		{"PNG without a header", append([]byte(pngMagic), pngChunk("IDAT", nil)...), ErrCorrupt, "before the header"},
		{"GIF without an image", append([]byte("GIF89a"), 1, 0, 1, 0, 0, 0, 0, ';'), ErrCorrupt, "no image"},
		{"BMP header", patch(files["rgb.bmp"], 14, 41), ErrUnsupported, "header of 41"},
		{"BMP depth", patch(files["rgb.bmp"], 28, 23), ErrUnsupported, "23 bits"},
		{"BMP width 0", patch(files["rgb.bmp"], 18, 0, 0, 0, 0), ErrCorrupt, "0x"},
		{"BigTIFF", []byte("II+\x00\x08\x00\x00\x00\x10\x00\x00\x00"), ErrUnsupported, "BigTIFF"},
		{"TIFF directory", []byte("II*\x00\xFF\xFF\xFF\xFF\x00\x00\x00\x00"), ErrTruncated, "directory"},
		{"WebP without an image", []byte("RIFF\x04\x00\x00\x00WEBP"), ErrTruncated, "before an image"},
		{"JPEG, arithmetic", arithmeticJPEG(t, files["gray.jpg"]), ErrUnsupported, "arithmetic"},
	} {
		_, err := Decode(c.name, c.data, 0)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: %v, want %v, %q", c.name, err, c.kind, c.says)
		}
	}
}

func arithmeticJPEG(t *testing.T, data []byte) []byte {
	t.Helper()
	at := strings.Index(string(data), "\xFF\xC0")
	if at < 0 {
		t.Fatal("no frame")
	}
	return patch(data, at+1, 0xC9)
}

func TestFileErrors(t *testing.T) {
	p, err := New(CLIP(8))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	crop := make([]byte, p.CropBytes())
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		path string
		kind error
	}{
		{write("empty.png", nil), ErrTruncated},
		{write("text.jpg", []byte("this is some text, not an image")), ErrNotImage},
		{write("huge.png", hugePNG()), ErrTooLarge},
		{filepath.Join(dir, "none.png"), os.ErrNotExist},
	} {
		err := p.CropFile(c.path, crop)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), filepath.Base(c.path)) {
			t.Errorf("%s: %v, want %v", c.path, err, c.kind)
		}
	}
	if err := p.CropFile(dir, crop); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: %v", err)
	}
	// Larger than the limit for a file of so few pixels: a sparse file.
	path := write("sparse.png", []byte(pngMagic+"\x00\x00\x00\x0dIHDR"))
	small := CLIP(8)
	small.MaxPixels = 1
	if p, err = New(small); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, maxFileBytes(1)+1); err != nil {
		t.Fatal(err)
	}
	if err := p.CropFile(path, crop); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a file over the limit: %v", err)
	}
	if err := p.CropFile(path, crop[1:]); err == nil {
		t.Error("too small a crop is accepted")
	}
	if err := p.File(path, nil); err == nil {
		t.Error("too few pixels are accepted")
	}
}
