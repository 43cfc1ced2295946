package ablation

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"

	"golang.org/x/image/vector"

	"isearle/search"
	"isearle/search/eval"
)

// scene is a picture of the world of shapes: so many equal shapes, of exact size and place.
type scene struct {
	kind, colour, size, place, background, count int // indices below; count from 1
}

// The world of shapes. Its words are ones that the embedded model knows, its pictures are not.
var (
	shapeKinds   = []string{"circle", "square", "triangle", "diamond"}
	shapeColours = []string{"red", "green", "blue", "yellow", "purple"}
	shapeRGB     = []color.RGBA{{220, 40, 40, 255}, {40, 160, 60, 255}, {40, 80, 220, 255}, {240, 200, 30, 255}, {140, 60, 180, 255}}
	shapeSizes   = []string{"small", "large"}
	shapePlaces  = []string{"left", "right"}
	shapeGrounds = []string{"white", "black"}
	groundRGB    = []color.RGBA{{255, 255, 255, 255}, {0, 0, 0, 255}}
	shapeCounts  = []string{"one", "two", "three"}
)

func (c scene) id() string {
	return fmt.Sprintf("%s-%s-%s-%s-on-%s@%s", shapeCounts[c.count-1], shapeSizes[c.size], shapeColours[c.colour], shapeKinds[c.kind], shapeGrounds[c.background], shapePlaces[c.place])
}

// name is what a caption would call it.
func (c scene) name() string {
	s := ""
	if c.count > 1 {
		s = "s"
	}
	return fmt.Sprintf("%s %s %s %s%s on a %s background", shapeCounts[c.count-1], shapeSizes[c.size], shapeColours[c.colour], shapeKinds[c.kind], s, shapeGrounds[c.background])
}

// scenes are all there are.
func scenes() (list []scene) {
	for kind := range shapeKinds {
		for colour := range shapeColours {
			for size := range shapeSizes {
				for place := range shapePlaces {
					for background := range shapeGrounds {
						for count := 1; count <= len(shapeCounts); count++ {
							list = append(list, scene{kind, colour, size, place, background, count})
						}
					}
				}
			}
		}
	}
	return list
}

// draw draws the scene, side pixels wide and high: the shapes stand one above the other in the left or the right half.
func (c scene) draw(side int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	draw.Draw(m, m.Bounds(), image.NewUniform(groundRGB[c.background]), image.Point{}, draw.Src)
	v := vector.NewRasterizer(side, side)
	radius := float64(side) * []float64{.07, .13}[c.size]
	x := float64(side) * []float64{.27, .73}[c.place]
	for k := range c.count {
		y := float64(side) * (float64(k) + .5) / float64(c.count)
		corners, turn, r := 64, 0.0, radius
		switch shapeKinds[c.kind] {
		case "square":
			corners, turn, r = 4, math.Pi/4, radius*1.25
		case "triangle":
			corners, turn, r = 3, -math.Pi/2, radius*1.25
		case "diamond":
			corners, r = 4, radius*1.25
		}
		for i := range corners {
			a := turn + 2*math.Pi*float64(i)/float64(corners)
			px, py := float32(x+r*math.Cos(a)), float32(y+r*math.Sin(a))
			if i == 0 {
				v.MoveTo(px, py)
			} else {
				v.LineTo(px, py)
			}
		}
		v.ClosePath()
	}
	v.Draw(m, m.Bounds(), image.NewUniform(shapeRGB[c.colour]), image.Point{})
	return m
}

// change is an edit of a scene, and how a caption says it.
type change struct {
	what string
	make func(c scene, k int) (scene, string)
}

var changes = []change{
	{"colour", func(c scene, k int) (scene, string) {
		c.colour = (c.colour + 1 + k%(len(shapeColours)-1)) % len(shapeColours)
		return c, "is " + shapeColours[c.colour]
	}},
	{"kind", func(c scene, k int) (scene, string) {
		c.kind = (c.kind + 1 + k%(len(shapeKinds)-1)) % len(shapeKinds)
		return c, "is a " + shapeKinds[c.kind]
	}},
	{"background", func(c scene, _ int) (scene, string) {
		c.background = 1 - c.background
		return c, "is on a " + shapeGrounds[c.background] + " background"
	}},
	{"size", func(c scene, _ int) (scene, string) {
		c.size = 1 - c.size
		return c, "is " + shapeSizes[c.size]
	}},
	{"place", func(c scene, _ int) (scene, string) {
		c.place = 1 - c.place
		return c, "is on the " + shapePlaces[c.place]
	}},
	{"count", func(c scene, k int) (scene, string) {
		c.count = 1 + (c.count+k%2)%len(shapeCounts)
		return c, "is there " + []string{"once", "twice", "three times"}[c.count-1]
	}},
}

// shapeQueries is how many queries each kind of change has, shapeSide how large the pictures are.
const (
	shapeQueries = 12
	shapeSide    = 128
)

// ShapesWorld is a world of coloured shapes drawn here, with exact counts, places and sizes: far from anything that a model of photographs
// or of emoji was trained on. A query changes one thing, and one picture is right.
func ShapesWorld(ctx context.Context, e *search.Engine) (*World, error) {
	w := &World{Name: "the world of shapes"}
	list := scenes()
	row := map[scene]int{}
	for i, c := range list {
		row[c] = i
		w.Task.Gallery, w.Names = append(w.Task.Gallery, eval.Image{ID: c.id()}), append(w.Names, c.name())
	}
	raw := make([][]float32, len(list))
	for i, c := range list {
		var b bytes.Buffer
		if err := png.Encode(&b, c.draw(shapeSide)); err != nil {
			return nil, fmt.Errorf("ablation: %w", err)
		}
		var err error
		if raw[i], err = e.EmbedImage(ctx, c.id(), b.Bytes()); err != nil {
			return nil, fmt.Errorf("ablation: %w", err)
		}
		f := append([]float32(nil), raw[i]...)
		search.Unit(f)
		w.Unit = append(w.Unit, f...)
	}
	for n, ch := range changes {
		for k := range shapeQueries {
			from := (n*31 + k*len(list)/shapeQueries + 7*k) % len(list)
			to, caption := ch.make(list[from], k)
			w.Task.Queries = append(w.Task.Queries, eval.Query{ID: fmt.Sprintf("%s-%d", ch.what, k+1), Reference: w.Task.Gallery[from], Caption: caption, Texts: []string{caption},
				Prompts: append(eval.Query{}.Prompts, e.Prompt(caption)), Targets: []int{row[to]}, Exclude: from, Aspects: []string{ch.what}})
		}
	}
	w.Raw = func(_ context.Context, i int) ([]float32, error) { return raw[i], nil }
	return w, nil
}
