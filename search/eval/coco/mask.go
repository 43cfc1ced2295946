// Package coco reads COCO's instance annotations and draws their segmentations as pycocotools does, and owns the list of boxes that
// object composition asks for.
package coco

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Mask says of each pixel, row by row from the top, whether it belongs to an object.
type Mask struct {
	Width, Height int
	Pix           []bool
}

// Segmentation is an object's outline: polygons, or run lengths column by column.
type Segmentation struct {
	Polygons [][]float64 // x, y, x, y, ...
	Runs     []int       // lengths of runs outside, inside, outside, ...; nil for polygons
	Size     [2]int      // height and width that Runs are for
}

// UnmarshalJSON implements json.Unmarshaler: a list of polygons, or an object of size and counts, which are numbers or COCO's
// compressed text.
func (s *Segmentation) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, &s.Polygons)
	}
	var rle struct {
		Size   [2]int          `json:"size"`
		Counts json.RawMessage `json:"counts"`
	}
	if err := json.Unmarshal(data, &rle); err != nil {
		return err
	}
	s.Size = rle.Size
	if len(rle.Counts) == 0 {
		return errors.New("segmentation without counts")
	}
	if rle.Counts[0] != '"' {
		return json.Unmarshal(rle.Counts, &s.Runs)
	}
	var text string
	if err := json.Unmarshal(rle.Counts, &text); err != nil {
		return err
	}
	var err error
	s.Runs, err = DecodeRuns(text)
	return err
}

// DecodeRuns reads COCO's compressed run lengths: characters from '0' of five bits each, lowest first, the sixth bit announcing
// another; the last one's fifth bit is the sign. From the fourth number on each is the difference to the one two before it.
func DecodeRuns(text string) ([]int, error) {
	runs := []int{}
	for i := 0; i < len(text); {
		var x int64
		for shift := uint(0); ; shift += 5 {
			if i == len(text) {
				return nil, errors.New("compressed counts end within a number")
			}
			c := int64(text[i]) - '0'
			if c < 0 || c > 63 || shift > 40 {
				return nil, fmt.Errorf("compressed counts: %q at offset %d", text[i], i)
			}
			i++
			x |= c & 31 << shift
			if c&32 == 0 {
				if c&16 != 0 {
					x |= -1 << (shift + 5)
				}
				break
			}
		}
		if n := len(runs); n > 2 {
			x += int64(runs[n-2])
		}
		if x < 0 || x > math.MaxInt32 {
			return nil, fmt.Errorf("compressed counts: a run of %d pixels before offset %d", x, i)
		}
		runs = append(runs, int(x))
	}
	return runs, nil
}

// maxPixels bounds the images that masks are drawn for.
const maxPixels = 1 << 28

// Mask draws the segmentation for an image of width x height.
func (s *Segmentation) Mask(width, height int) (*Mask, error) {
	if width < 1 || height < 1 || width > maxPixels/height {
		return nil, fmt.Errorf("a mask of %d x %d", width, height)
	}
	m := &Mask{width, height, make([]bool, width*height)}
	if s.Runs != nil {
		return m, m.addRuns(s)
	}
	if len(s.Polygons) == 0 {
		return nil, errors.New("no polygon")
	}
	for i, p := range s.Polygons {
		if len(p) < 6 || len(p)%2 != 0 {
			return nil, fmt.Errorf("polygon %d has %d numbers", i, len(p))
		}
		if err := m.addPolygon(p); err != nil {
			return nil, fmt.Errorf("polygon %d: %w", i, err)
		}
	}
	return m, nil
}

func (m *Mask) addRuns(s *Segmentation) error {
	if s.Size != [2]int{m.Height, m.Width} {
		return fmt.Errorf("run lengths for %d x %d, the image has %d x %d", s.Size[1], s.Size[0], m.Width, m.Height)
	}
	at := 0
	for i, n := range s.Runs {
		if n < 0 || n > len(m.Pix)-at {
			return fmt.Errorf("run %d of %d pixels leads out of the image", i, n)
		}
		if i%2 == 1 {
			m.fill(at, at+n)
		}
		at += n
	}
	if at != len(m.Pix) {
		return fmt.Errorf("run lengths of %d pixels, the image has %d", at, len(m.Pix))
	}
	return nil
}

// fill sets pixels lo to hi-1, counted down the columns.
func (m *Mask) fill(lo, hi int) {
	for i := lo; i < hi; i++ {
		m.Pix[i%m.Height*m.Width+i/m.Height] = true
	}
}

// polygonScale is how much finer than pixels pycocotools walks a boundary.
const polygonScale = 5

// point is a point of the fine grid.
type point struct{ x, y int }

// addPolygon draws a polygon by COCO's rule (maskApi.c, rleFrPoly): the boundary is walked on a grid five times as fine; wherever
// the walk crosses the middle of a column of pixels, inside and outside change from the next row's middle on.
func (m *Mask) addPolygon(xy []float64) error {
	corners := make([]point, len(xy)/2)
	for i := range corners {
		x, y := xy[2*i], xy[2*i+1]
		// Far outside there is nothing to draw, and the walk would be long.
		if limit := float64(4 * (m.Width + m.Height)); !(math.Abs(x) <= limit && math.Abs(y) <= limit) {
			return fmt.Errorf("corner %d at %v, %v is far out of the image", i, x, y)
		}
		corners[i] = point{int(polygonScale*x + .5), int(polygonScale*y + .5)}
	}
	var changes []int
	var last point
	for i, from := range corners {
		walk(from, corners[(i+1)%len(corners)], func(p point) {
			if p.x != last.x && (i > 0 || p != from) {
				changes = m.change(changes, last, p)
			}
			last = p
		})
	}
	slices.Sort(changes)
	for i := 0; i < len(changes); i += 2 {
		end := len(m.Pix)
		if i+1 < len(changes) {
			end = changes[i+1]
		}
		m.fill(changes[i], end)
	}
	return nil
}

// change appends the place, counted down the columns, where a step of the walk changes inside and outside, if it does.
func (m *Mask) change(changes []int, from, to point) []int {
	x := to.x - 1
	if to.x < from.x {
		x = to.x
	}
	if x < 0 || x%polygonScale != polygonScale/2 || x/polygonScale > m.Width-1 {
		return changes
	}
	y := (float64(min(from.y, to.y))+.5)/polygonScale - .5
	row := int(math.Ceil(min(max(y, 0), float64(m.Height))))
	return append(changes, x/polygonScale*m.Height+row)
}

// walk visits the grid points of an edge from a to b, both included, one along its longer side each.
func walk(a, b point, visit func(point)) {
	dx, dy := abs(b.x-a.x), abs(b.y-a.y)
	if dx == 0 && dy == 0 {
		visit(a)
		return
	}
	// The points of an edge do not depend on its direction.
	flip := dx >= dy && a.x > b.x || dx < dy && a.y > b.y
	if flip {
		a, b = b, a
	}
	n := max(dx, dy)
	for d := 0; d <= n; d++ {
		t := d
		if flip {
			t = n - d
		}
		if dx >= dy {
			slope := float64(b.y-a.y) / float64(dx)
			visit(point{a.x + t, int(float64(a.y) + slope*float64(t) + .5)})
		} else {
			slope := float64(b.x-a.x) / float64(dy)
			visit(point{int(float64(a.x) + slope*float64(t) + .5), a.y + t})
		}
	}
}

func abs(x int) int {
	if x < 0 {
		return -x
	}
	return x
}

// Runs are the lengths of the mask's runs, outside first, column by column.
func (m *Mask) Runs() []int {
	runs, last := []int{0}, false
	for i := range m.Pix {
		if v := m.Pix[i%m.Height*m.Width+i/m.Height]; v != last {
			runs, last = append(runs, 0), v
		}
		runs[len(runs)-1]++
	}
	return runs
}

// EncodeRuns is the reverse of DecodeRuns.
func EncodeRuns(runs []int) string {
	var out []byte
	for i, x := range runs {
		if i > 2 {
			x -= runs[i-2]
		}
		for {
			c := byte(x & 31)
			x >>= 5
			// The number ends where the rest is only the sign.
			if done := x == 0 && c&16 == 0 || x == -1 && c&16 != 0; done {
				out = append(out, c+'0')
				break
			}
			out = append(out, (c|32)+'0')
		}
	}
	return string(out)
}

// Box is the smallest box around the mask: left, top, width, height.
func (m *Mask) Box() (box [4]float64) {
	left, top, right, bottom := m.Width, m.Height, 0, 0
	for i, in := range m.Pix {
		if in {
			x, y := i%m.Width, i/m.Width
			left, top, right, bottom = min(left, x), min(top, y), max(right, x+1), max(bottom, y+1)
		}
	}
	if right == 0 {
		return box
	}
	return [4]float64{float64(left), float64(top), float64(right - left), float64(bottom - top)}
}
