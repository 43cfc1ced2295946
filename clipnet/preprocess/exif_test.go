package preprocess

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/png"
	"slices"
	"testing"
)

// exifBlock is a TIFF structure of one entry: the orientation.
func exifBlock(order binary.AppendByteOrder, mark string, v uint16) []byte {
	b := order.AppendUint16([]byte(mark), 42)
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 2)
	b = append(b, make([]byte, 12)...) // some other tag
	b = order.AppendUint16(order.AppendUint16(b, tagOrientation), 3)
	b = order.AppendUint16(order.AppendUint32(b, 1), v)
	return append(b, 0, 0, 0, 0, 0, 0)
}

func TestOrientation(t *testing.T) {
	for v := range uint16(12) {
		want := int(v)
		if v > 8 {
			want = 0
		}
		for _, b := range [][]byte{exifBlock(binary.LittleEndian, "II", v), exifBlock(binary.BigEndian, "MM", v)} {
			if got := orientation(b); got != want {
				t.Errorf("%q of %d: %d", b[:2], v, got)
			}
			if got := orientation(append([]byte("Exif\x00\x00"), b...)); got != want {
				t.Errorf("%q of %d behind JPEG's prefix: %d", b[:2], v, got)
			}
			for n := range 34 {
				if got := orientation(b[:n]); got != 0 {
					t.Errorf("%q cut to %d: %d", b[:2], n, got)
				}
			}
		}
	}
}

// Where the stored rows and columns belong, from the table of TIFF 6.0, tag 274.
var turned = map[int][]string{
	1: {"123", "456"}, 2: {"321", "654"}, 3: {"654", "321"}, 4: {"456", "123"},
	5: {"14", "25", "36"}, 6: {"41", "52", "63"}, 7: {"63", "52", "41"}, 8: {"36", "25", "14"},
}

func TestExifOrientationIsAnOption(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 3, 2))
	copy(img.Pix, "123456")
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		t.Fatal(err)
	}
	for v, rows := range turned {
		// The eXIf chunk goes behind the header.
		const header = len(pngMagic) + 25
		data := slices.Concat(buf.Bytes()[:header], pngChunk("eXIf", exifBlock(binary.BigEndian, "MM", uint16(v))), buf.Bytes()[header:])
		d := decoder{maxPixels: 100, wantExif: true}
		m, err := d.decode("x", data)
		if err != nil {
			t.Fatal(err)
		}
		if m.Width != len(rows[0]) || m.Height != len(rows) {
			t.Fatalf("orientation %d: %dx%d", v, m.Width, m.Height)
		}
		for y, row := range rows {
			if got := string(m.Pix[y*m.Width:][:m.Width]); got != row {
				t.Errorf("orientation %d, row %d: %s, want %s", v, y, got, row)
			}
		}
		if m, err = Decode("x", data, 0); err != nil || string(m.Pix) != "123456" {
			t.Errorf("orientation %d without the option: %v, %q", v, err, m.Pix)
		}
	}
}

// In a JPEG the block is an APP1 segment, in a WebP a chunk.
func TestExifInJPEGAndWebP(t *testing.T) {
	files := testFiles(t)
	block := exifBlock(binary.LittleEndian, "II", 6)
	jpg := files["cmyk.jpg"]
	app1 := append([]byte{0xFF, 0xE1, 0, byte(8 + len(block))}, "Exif\x00\x00"...)
	jpg = slices.Concat(jpg[:2], app1, block, jpg[2:])
	webp := slices.Concat(files["animated.webp"], []byte("EXIF"), binary.LittleEndian.AppendUint32(nil, uint32(len(block))), block)
	for name, data := range map[string][]byte{"JPEG": jpg, "WebP": webp} {
		plain, err := Decode(name, data, 0)
		if err != nil {
			t.Fatal(err)
		}
		d := decoder{maxPixels: 1 << 20, wantExif: true}
		m, err := d.decode(name, data)
		if err != nil {
			t.Fatal(err)
		}
		if m.Width != plain.Height || m.Height != plain.Width {
			t.Errorf("%s: %dx%d of %dx%d", name, m.Width, m.Height, plain.Width, plain.Height)
		}
	}
}
