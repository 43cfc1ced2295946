// Package sheet draws contact sheets of composed queries: a row for each, with the reference, the change and the
// answers, the right ones framed.
package sheet

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	scale "golang.org/x/image/draw"
)

// Picture is a picture with a text under it. A right answer is framed.
type Picture struct {
	Image image.Image
	Text  string
	Right bool
}

// Row is a query and its answers, the best first.
type Row struct {
	Reference Picture
	Change    string // the relative caption
	Answers   []Picture
}

// Lengths in pixels.
const (
	side      = 112 // of a picture
	frame     = 5   // width of a right answer's frame
	gap       = 16  // between cells, and around all
	textWidth = 200 // of the change
	fontSize  = 13
	lineStep  = 16
	textLines = 2 // under a picture
	header    = 24
	rowStep   = side + 2*frame + textLines*lineStep + gap
)

var (
	paper = color.White
	ink   = color.RGBA{0x20, 0x20, 0x20, 0xff}
	faint = color.RGBA{0x77, 0x77, 0x77, 0xff}
	right = color.RGBA{0x18, 0x9a, 0x3c, 0xff}
	edge  = color.RGBA{0xd8, 0xd8, 0xd8, 0xff}
)

// sheet is a drawing under way.
type sheet struct {
	*image.RGBA
	face font.Face
}

// Draw draws the rows one under the other.
func Draw(rows []Row) (image.Image, error) {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("sheet: %w", err)
	}
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: fontSize, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, fmt.Errorf("sheet: %w", err)
	}
	defer face.Close()
	answers := 0
	for _, r := range rows {
		answers = max(answers, len(r.Answers))
	}
	s := sheet{image.NewRGBA(image.Rect(0, 0, answerX(answers), gap+header+len(rows)*rowStep)), face}
	draw.Draw(s, s.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	s.text("reference", gap, gap, side+2*frame, 1, faint)
	s.text("change", changeX(), gap, textWidth, 1, faint)
	for i := range answers {
		s.text(fmt.Sprint(i+1), answerX(i), gap, side, 1, faint)
	}
	for i, r := range rows {
		y := gap + header + i*rowStep
		s.picture(r.Reference, gap, y)
		s.text(r.Change, changeX(), y+side/3, textWidth, side/lineStep, ink)
		for j, p := range r.Answers {
			s.picture(p, answerX(j), y)
		}
	}
	return s.RGBA, nil
}

// changeX and answerX are the left edges of the columns.
func changeX() int      { return 2*gap + side + 2*frame }
func answerX(i int) int { return changeX() + textWidth + gap + i*(side+2*frame+gap) }

// picture draws p in a cell.
func (s sheet) picture(p Picture, x, y int) {
	cell := image.Rect(x, y, x+side+2*frame, y+side+2*frame)
	border, around := 1, edge
	if p.Right {
		border, around = frame, right
	}
	box := cell.Inset(frame)
	draw.Draw(s, box.Inset(-border), image.NewUniform(around), image.Point{}, draw.Src)
	draw.Draw(s, box, image.NewUniform(paper), image.Point{}, draw.Src)
	scale.CatmullRom.Scale(s, fit(p.Image.Bounds(), box), p.Image, p.Image.Bounds(), draw.Over, nil)
	s.text(p.Text, cell.Min.X, cell.Max.Y, cell.Dx(), textLines, ink)
}

// fit is the largest rectangle of b's proportions in the middle of box.
func fit(b, box image.Rectangle) image.Rectangle {
	long := max(b.Dx(), b.Dy(), 1)
	w, h := max(1, b.Dx()*box.Dx()/long), max(1, b.Dy()*box.Dy()/long)
	at := box.Min.Add(image.Pt((box.Dx()-w)/2, (box.Dy()-h)/2))
	return image.Rectangle{at, at.Add(image.Pt(w, h))}
}

// text draws words into lines of a width; what does not fit into n lines ends in an ellipsis.
func (s sheet) text(words string, x, y, width, n int, c color.Color) {
	for i, line := range s.wrap(words, width, n) {
		d := font.Drawer{Dst: s, Src: image.NewUniform(c), Face: s.face, Dot: fixed.P(x, y+i*lineStep+fontSize)}
		d.DrawString(line)
	}
}

// wrap breaks words into at most n lines.
func (s sheet) wrap(words string, width, n int) []string {
	var lines []string
	for word := range strings.FieldsSeq(words) {
		if i := len(lines) - 1; i >= 0 && s.width(lines[i]+" "+word) <= width {
			lines[i] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	if len(lines) > n {
		lines = append(lines[:n-1], lines[n-1]+"…")
	}
	for i := range lines {
		lines[i] = s.shorten(lines[i], width)
	}
	return lines
}

// shorten cuts a line to a width.
func (s sheet) shorten(line string, width int) string {
	for r := []rune(strings.TrimSuffix(line, "…")); s.width(line) > width && len(r) > 0; {
		r = r[:len(r)-1]
		line = string(r) + "…"
	}
	return line
}

func (s sheet) width(text string) int { return font.MeasureString(s.face, text).Ceil() }
