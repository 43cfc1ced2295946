package preprocess

import (
	"errors"
	"testing"
)

// Whatever the bytes, decoding gives a whole image within the limit or an *Error that says why not.
func FuzzDecode(f *testing.F) {
	for _, data := range testFiles(f) {
		f.Add(data)
	}
	f.Add(hugePNG())
	const limit = 1 << 14
	p, err := New(Options{Size: 5, Order: OpenAI, Pad: TargetPad, Std: [3]float32{1, 1, 1}, MaxPixels: limit, ExifOrientation: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode("fuzz", data, limit)
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Name != "fuzz" || e.Kind == nil || e.Offset > int64(len(data)) {
				t.Errorf("%v", err)
			}
			return
		}
		if m.Width < 1 || m.Height < 1 || m.Width*m.Height > limit || len(m.Pix) != m.Width*m.Height*m.Mode.Bytes() {
			t.Errorf("%dx%d, mode %v, %d bytes", m.Width, m.Height, m.Mode, len(m.Pix))
		}
		if m.Mode == ModeP && m.Palette == nil {
			t.Error("no palette")
		}
		if err := p.Crop("fuzz", data, make([]byte, p.CropBytes())); err != nil {
			t.Errorf("decodes, but: %v", err)
		}
	})
}

func FuzzOrientation(f *testing.F) {
	f.Add([]byte("II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if v := orientation(data); v < 0 || v > 8 {
			t.Errorf("%d", v)
		}
	})
}
