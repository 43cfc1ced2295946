package sheet

import (
	"image"
	"image/color"
	"image/draw"
	"testing"
)

func plain(w, h int, c color.Color) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(m, m.Bounds(), image.NewUniform(c), image.Point{}, draw.Src)
	return m
}

func TestDraw(t *testing.T) {
	red, blue := color.RGBA{0xff, 0, 0, 0xff}, color.RGBA{0, 0, 0xff, 0xff}
	rows := []Row{
		{Picture{Image: plain(64, 64, red), Text: "a reference"}, "is blue and has a name that is far too long for one line of the column",
			[]Picture{{Image: plain(64, 32, blue), Text: "first"}, {Image: plain(64, 64, red), Text: "second", Right: true}}},
		{Picture{Image: plain(1, 300, blue)}, "", []Picture{{Image: plain(64, 64, blue), Right: true}}},
	}
	m, err := Draw(rows)
	if err != nil {
		t.Fatal(err)
	}
	y := func(row int) int { return gap + header + row*rowStep }
	middle := func(x, row int) color.Color { return m.At(x+frame+side/2, y(row)+frame+side/2) }
	border := func(x, row int) color.Color { return m.At(x+1, y(row)+frame+side/2) }
	for _, c := range []struct {
		what      string
		got, want color.Color
	}{
		{"reference", middle(gap, 0), red},
		{"first answer", middle(answerX(0), 0), blue},
		{"above a wide picture", m.At(answerX(0)+frame+side/2, y(0)+frame+2), paper},
		{"border of a wrong answer", border(answerX(0), 0), paper},
		{"second answer", middle(answerX(1), 0), red},
		{"border of a right answer", border(answerX(1), 0), right},
		{"answer of the second row", middle(answerX(0), 1), blue},
		{"no second answer there", middle(answerX(1), 1), paper},
	} {
		if r, g, b, _ := c.got.RGBA(); [3]uint32{r, g, b} != rgb(c.want) {
			t.Errorf("%s is %v, want %v", c.what, c.got, c.want)
		}
	}
	if !inked(m, image.Rect(changeX(), y(0), changeX()+textWidth, y(0)+side)) {
		t.Error("the change is not written")
	}
	if inked(m, image.Rect(changeX(), y(1), changeX()+textWidth, y(1)+side)) {
		t.Error("an empty change is written")
	}
	if inked(m, image.Rect(changeX()+textWidth, y(0), answerX(0)-1, y(0)+side)) {
		t.Error("the change runs out of its column")
	}
}

func rgb(c color.Color) [3]uint32 {
	r, g, b, _ := c.RGBA()
	return [3]uint32{r, g, b}
}

// inked says whether something in the rectangle is not paper.
func inked(m image.Image, r image.Rectangle) bool {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if rgb(m.At(x, y)) != rgb(paper) {
				return true
			}
		}
	}
	return false
}

func TestDrawNothing(t *testing.T) {
	if _, err := Draw(nil); err != nil {
		t.Error(err)
	}
}
