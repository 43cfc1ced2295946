// Package plot draws curves, such as a training's losses, as a picture: panels one above the other over a common horizontal
// axis.
package plot

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"slices"
	"strconv"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"

	"isearle/weights/atomicfile"
)

// Curve is a line through points, or with Dots the points alone; X and Y are as long as each other. Points that are not finite are
// left out. Low and High, if not nil, bound an interval at each point.
type Curve struct {
	Name      string
	X, Y      []float64
	Low, High []float64
	Dots      bool
}

// Panel is a plot of curves over a vertical axis of its own.
type Panel struct {
	Label  string // of the vertical axis
	Curves []Curve
}

// Figure is panels over a common horizontal axis.
type Figure struct {
	Title, XLabel string
	XNames        []string // if not nil, what stands at 0, 1, 2, .. instead of numbers
	Panels        []Panel
}

// ErrEmpty is returned for a figure without points.
var ErrEmpty = errors.New("nothing to plot")

// Lengths in pixels.
const (
	width     = 960
	height    = 300 // of a panel
	left      = 88
	right     = 40 // half of a long number
	title     = 20 // the title's baseline
	head      = 60 // above the first panel
	gap       = 60 // under each
	fontSize  = 13
	lineWidth = 2
	dotSize   = 3 // of points that stand alone
	tickGap   = 6
)

var (
	paper = color.White
	ink   = color.RGBA{0x20, 0x20, 0x20, 0xff}
	grid  = color.RGBA{0xe2, 0xe2, 0xe2, 0xff}
	// Okabe and Ito's colours, which the colour-blind tell apart.
	palette = []color.RGBA{{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff}, {0x56, 0xb4, 0xe9, 0xff}}
)

// Write draws the figure into a PNG file, which appears as a whole.
func (f Figure) Write(path string) error {
	m, err := f.Draw()
	if err != nil {
		return fmt.Errorf("plot %q: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, m) })
}

// Draw draws the figure.
func (f Figure) Draw() (*image.RGBA, error) {
	xs, ok := f.horizontal()
	if !ok {
		return nil, ErrEmpty
	}
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: fontSize, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, err
	}
	defer face.Close()
	c := canvas{image.NewRGBA(image.Rect(0, 0, width, head+len(f.Panels)*(height+gap))), face}
	draw.Draw(c, c.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	c.text(f.Title, left, title, ink)
	ticks := f.ticks(xs)
	for i, p := range f.Panels {
		top := head + i*(height+gap)
		c.panel(p, image.Rect(left, top, width-right, top+height), xs, ticks)
	}
	bottom := c.Bounds().Max.Y
	c.text(f.XLabel, (left+width-right-c.measure(f.XLabel))/2, bottom-6, ink)
	return c.RGBA, nil
}

// horizontal is the axis over all panels' points.
func (f Figure) horizontal() (axis, bool) {
	var x []float64
	for _, p := range f.Panels {
		for _, c := range p.Curves {
			for i := range c.X {
				if finite(c.X[i]) && finite(c.Y[i]) {
					x = append(x, c.X[i])
				}
			}
		}
	}
	if len(x) == 0 {
		return axis{}, false
	}
	a := axis{lo: slices.Min(x), hi: slices.Max(x)}
	if f.XNames != nil {
		return axis{-.5, float64(len(f.XNames)) - .5}, true
	}
	return a.widened(), true
}

// tick is a place on an axis with what is written there.
type tick struct {
	at   float64
	text string
}

// ticks are those of the horizontal axis.
func (f Figure) ticks(xs axis) (list []tick) {
	for i, name := range f.XNames {
		list = append(list, tick{float64(i), name})
	}
	if f.XNames != nil {
		return list
	}
	values, decimals := xs.ticks(10)
	for _, v := range values {
		list = append(list, tick{v, strconv.FormatFloat(v, 'f', decimals, 64)})
	}
	return list
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// vertical is a panel's axis, with room above and below.
func (p Panel) vertical() axis {
	a := axis{math.Inf(1), math.Inf(-1)}
	for _, c := range p.Curves {
		for i, y := range c.Y {
			if finite(y) && finite(c.X[i]) {
				a.lo, a.hi = min(a.lo, y), max(a.hi, y)
				if low, high, ok := c.interval(i); ok {
					a.lo, a.hi = min(a.lo, low), max(a.hi, high)
				}
			}
		}
	}
	if a.lo > a.hi {
		a = axis{0, 1}
	}
	room := (a.hi - a.lo) / 20
	return axis{a.lo - room, a.hi + room}.widened()
}

// interval is that of a point, if it has one.
func (c Curve) interval(i int) (low, high float64, ok bool) {
	if c.Low == nil || c.High == nil || !finite(c.Low[i]) || !finite(c.High[i]) {
		return 0, 0, false
	}
	return c.Low[i], c.High[i], true
}

// axis is a range of values.
type axis struct{ lo, hi float64 }

// widened makes room around a single value.
func (a axis) widened() axis {
	if a.hi-a.lo > 1e-12*max(math.Abs(a.lo), math.Abs(a.hi)) {
		return a
	}
	room := max(math.Abs(a.lo)/10, 1e-3)
	return axis{a.lo - room, a.hi + room}
}

// at is where a value lies between two pixels.
func (a axis) at(x float64, from, to int) float64 {
	return float64(from) + (x-a.lo)/(a.hi-a.lo)*float64(to-from)
}

// ticks are round values within the axis, about n of them, with as many decimals as tell them apart.
func (a axis) ticks(n int) (values []float64, decimals int) {
	rough := (a.hi - a.lo) / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(rough)))
	step := 10 * unit
	for _, k := range []float64{1, 2, 5} {
		if k*unit >= rough {
			step = k * unit
			break
		}
	}
	for k := math.Ceil(a.lo / step); k*step <= a.hi; k++ {
		values = append(values, k*step+0) // not -0
	}
	return values, max(0, int(-math.Floor(math.Log10(step)+1e-9)))
}

// canvas is a drawing under way.
type canvas struct {
	*image.RGBA
	face font.Face
}

func (c canvas) measure(s string) int { return font.MeasureString(c.face, s).Ceil() }

func (c canvas) text(s string, x, baseline int, col color.Color) {
	d := font.Drawer{Dst: c, Src: image.NewUniform(col), Face: c.face, Dot: fixed.P(x, baseline)}
	d.DrawString(s)
}

// panel draws a panel into a rectangle.
func (c canvas) panel(p Panel, r image.Rectangle, xs axis, ticks []tick) {
	ys := p.vertical()
	for _, t := range ticks {
		x := int(math.Round(xs.at(t.at, r.Min.X, r.Max.X)))
		draw.Draw(c, image.Rect(x, r.Min.Y, x+1, r.Max.Y), image.NewUniform(grid), image.Point{}, draw.Src)
		c.text(t.text, x-c.measure(t.text)/2, r.Max.Y+fontSize+tickGap, ink)
	}
	values, decimals := ys.ticks(6)
	for _, v := range values {
		y, s := int(math.Round(ys.at(v, r.Max.Y, r.Min.Y))), strconv.FormatFloat(v, 'f', decimals, 64)
		draw.Draw(c, image.Rect(r.Min.X, y, r.Max.X, y+1), image.NewUniform(grid), image.Point{}, draw.Src)
		c.text(s, r.Min.X-c.measure(s)-tickGap, y+fontSize/3, ink)
	}
	for _, edge := range []image.Rectangle{
		{r.Min, image.Pt(r.Min.X+1, r.Max.Y)}, {image.Pt(r.Min.X, r.Max.Y), image.Pt(r.Max.X, r.Max.Y+1)},
	} {
		draw.Draw(c, edge, image.NewUniform(ink), image.Point{}, draw.Src)
	}
	for i, curve := range p.Curves {
		c.line(curve, palette[i%len(palette)], r, xs, ys)
	}
	c.legend(p, r)
}

// legend writes the panel's label and its curves' names above it, at the right.
func (c canvas) legend(p Panel, r image.Rectangle) {
	const sample = 22
	x := r.Max.X
	for i := len(p.Curves) - 1; i >= 0; i-- {
		s := p.Curves[i].Name
		x -= c.measure(s)
		c.text(s, x, r.Min.Y-tickGap-4, ink)
		x -= sample + tickGap
		y := r.Min.Y - tickGap - 4 - fontSize/3
		draw.Draw(c, image.Rect(x, y-1, x+sample, y+lineWidth-1), image.NewUniform(palette[i%len(palette)]), image.Point{}, draw.Src)
		x -= 2 * tickGap
	}
	c.text(p.Label, x-c.measure(p.Label)-2*tickGap, r.Min.Y-tickGap-4, ink)
}

// line draws a curve, a dot at each point, and the intervals.
func (c canvas) line(curve Curve, col color.RGBA, r image.Rectangle, xs, ys axis) {
	v := vector.NewRasterizer(c.Bounds().Dx(), c.Bounds().Dy())
	var last [2]float64
	drawn := false
	for i := range curve.X {
		if !finite(curve.X[i]) || !finite(curve.Y[i]) {
			continue
		}
		at := [2]float64{xs.at(curve.X[i], r.Min.X, r.Max.X), ys.at(curve.Y[i], r.Max.Y, r.Min.Y)}
		if drawn && !curve.Dots {
			segment(v, last, at)
		}
		if curve.Dots {
			dot(v, at, dotSize)
		} else {
			dot(v, at, lineWidth)
		}
		if low, high, ok := curve.interval(i); ok {
			segment(v, [2]float64{at[0], ys.at(high, r.Max.Y, r.Min.Y)}, [2]float64{at[0], ys.at(low, r.Max.Y, r.Min.Y)})
		}
		last, drawn = at, true
	}
	v.Draw(c, c.Bounds(), image.NewUniform(col), image.Point{})
}

// segment adds a line from a to b. Segments and dots turn the same way, so that where they meet they do not cancel.
func segment(v *vector.Rasterizer, a, b [2]float64) {
	dx, dy := b[0]-a[0], b[1]-a[1]
	size := math.Hypot(dx, dy)
	if size == 0 {
		return
	}
	nx, ny := -dy/size*lineWidth/2, dx/size*lineWidth/2
	polygon(v, [][2]float64{{a[0] + nx, a[1] + ny}, {a[0] - nx, a[1] - ny}, {b[0] - nx, b[1] - ny}, {b[0] + nx, b[1] + ny}})
}

// dot adds an octagon about as wide as size.
func dot(v *vector.Rasterizer, a [2]float64, size float64) {
	r, k := 0.6*size, 0.45*size
	polygon(v, [][2]float64{{a[0] + r, a[1]}, {a[0] + k, a[1] + k}, {a[0], a[1] + r}, {a[0] - k, a[1] + k},
		{a[0] - r, a[1]}, {a[0] - k, a[1] - k}, {a[0], a[1] - r}, {a[0] + k, a[1] - k}})
}

func polygon(v *vector.Rasterizer, points [][2]float64) {
	v.MoveTo(float32(points[0][0]), float32(points[0][1]))
	for _, p := range points[1:] {
		v.LineTo(float32(p[0]), float32(p[1]))
	}
	v.ClosePath()
}
