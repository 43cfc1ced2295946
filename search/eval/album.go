package eval

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/image/draw"

	"isearle/clipnet/preprocess"
)

// album is the folder of a report's pictures, each stored once and small.
type album struct {
	dir   string
	files map[string]string // path to the file within dir
}

func newAlbum(dir string) *album { return &album{dir, map[string]string{}} }

// thumbSide is the longer side of the pictures, twice what the page shows, for dense screens.
const thumbSide = 200

// picture returns the path of a small copy, "" for what cannot be drawn.
func (a *album) picture(m Image) string {
	if f, ok := a.files[m.Path]; ok {
		return f
	}
	name := path.Join(pictureFolder, fmt.Sprintf("%04d.png", len(a.files)))
	if err := thumbnail(filepath.Join(a.dir, filepath.FromSlash(name)), m.Path); err != nil {
		name = ""
	}
	a.files[m.Path] = name
	return name
}

func thumbnail(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	m, err := preprocess.Decode(from, data, 0)
	if err != nil {
		return err
	}
	w, h, rgb := m.Width, m.Height, m.RGB()
	src := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		copy(src.Pix[4*i:], rgb[3*i:3*i+3])
		src.Pix[4*i+3] = 255
	}
	out := src
	if long := max(w, h); long > thumbSide {
		out = image.NewRGBA(image.Rect(0, 0, max(1, w*thumbSide/long), max(1, h*thumbSide/long)))
		draw.ApproxBiLinear.Scale(out, out.Bounds(), src, src.Bounds(), draw.Src, nil)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, out); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o666)
}
