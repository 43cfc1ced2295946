package plot

import (
	"errors"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// covered reports whether a pixel has the first curve's blue in it.
func covered(got color.RGBA) bool { return int(got.B)-int(got.R) > 50 }

// A curve must pass where its values are, the first panel's above the second's.
func TestCurvesPassThroughTheirPoints(t *testing.T) {
	var x, up, down []float64
	for i := range 101 {
		x, up, down = append(x, float64(i)), append(up, float64(i)), append(down, 5-float64(i)/20)
	}
	f := Figure{Title: "test", XLabel: "step", Panels: []Panel{
		{"loss", []Curve{{Name: "up", X: x, Y: up}}},
		{"cosine", []Curve{{Name: "down", X: x, Y: down}}},
	}}
	path := filepath.Join(t.TempDir(), "curve.png")
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	m, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(m.At(x, y)).(color.RGBA) }
	const across = width - left - right
	for k := 1; k < 10; k++ { // the axes leave a twentieth above and below: a slope of 1/1.1
		px := left + k*across/10 + 3
		share := (float64(px-left)/across + .05) / 1.1
		for panel, s := range []float64{share, 1 - share} {
			py := head + panel*(height+gap) + height - int(math.Round(s*height))
			if c := at(px, py); !covered(c) {
				t.Errorf("panel %d: (%d, %d) is %v", panel, px, py, c)
			}
			if c := at(px, py+12); covered(c) {
				t.Errorf("panel %d: (%d, %d) below the curve is %v", panel, px, py+12, c)
			}
		}
	}
}

func TestOddInput(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		f     Figure
		empty bool
	}{
		"nothing":     {Figure{}, true},
		"no points":   {Figure{Panels: []Panel{{"a", []Curve{{Name: "b", X: nil, Y: nil}}}}}, true},
		"not finite":  {Figure{Panels: []Panel{{"a", []Curve{{Name: "b", X: []float64{1, 2}, Y: []float64{nan, math.Inf(1)}}}}}}, true},
		"one point":   {Figure{Panels: []Panel{{"a", []Curve{{Name: "b", X: []float64{0}, Y: []float64{0}}}}}}, false},
		"a constant":  {Figure{Panels: []Panel{{"a", []Curve{{Name: "b", X: []float64{1, 2}, Y: []float64{7, 7}}}}}}, false},
		"a gap":       {Figure{Panels: []Panel{{"a", []Curve{{Name: "b", X: []float64{1, 2, 3}, Y: []float64{7, nan, 8}}}}}}, false},
		"large":       {Figure{Panels: []Panel{{"a", []Curve{{Name: "b", X: []float64{1e300, 2e300}, Y: []float64{-1e-300, 1e-300}}}}}}, false},
		"empty panel": {Figure{Panels: []Panel{{"a", []Curve{{Name: "b", X: []float64{1}, Y: []float64{7}}}}, {"c", nil}}}, false},
	} {
		if _, err := c.f.Draw(); errors.Is(err, ErrEmpty) != c.empty {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Dots are not joined, names stand for numbers, intervals are drawn.
func TestDotsNamesIntervals(t *testing.T) {
	f := Figure{XNames: []string{"a", "b"}, Panels: []Panel{{"p", []Curve{
		{Name: "dots", X: []float64{0, 1}, Y: []float64{2, 2}, Dots: true},
		{Name: "interval", X: []float64{1}, Y: []float64{1}, Low: []float64{0}, High: []float64{2}}}}}}
	m, err := f.Draw()
	if err != nil {
		t.Fatal(err)
	}
	const across = width - left - right
	top := head + int(math.Round(height*.05/1.1)) // of the value 2
	if c := m.RGBAAt(left+across/4, top); !covered(c) {
		t.Errorf("the first dot is %v", c)
	}
	if c := m.RGBAAt(left+across/2, top); covered(c) {
		t.Errorf("between the dots there is %v", c)
	}
	if c := m.RGBAAt(left+across*3/4-1, head+height*3/4); c.R < 150 || c.B > 100 { // the second curve's orange
		t.Errorf("within the interval there is %v", c)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		a        axis
		n        int
		first    float64
		count    int
		decimals int
	}{
		{axis{0, 100}, 10, 0, 11, 0},
		{axis{0.31, 0.68}, 6, 0.4, 3, 1},
		{axis{-3, 3}, 6, -3, 7, 0},
		{axis{-.5, 1.2}, 3, 0, 2, 0},
		{axis{5.101, 5.109}, 6, 5.102, 4, 3},
	} {
		v, d := c.a.ticks(c.n)
		if len(v) != c.count || math.Abs(v[0]-c.first) > 1e-9 || slices.ContainsFunc(v, func(x float64) bool { return x == 0 && math.Signbit(x) }) || d != c.decimals {
			t.Errorf("%v: %v with %d decimals", c.a, v, d)
		}
	}
}
