package preprocess

import (
	"math"
	"testing"

	"isearle/clipnet/preprocess/internal/pixel"
)

func TestParsePad(t *testing.T) {
	for s, want := range map[string]Pad{
		"none": PadNone, "targetpad": 1.25, "targetpad:1.25": 1.25, "targetpad:1": 1, "targetpad:2.5": 2.5,
	} {
		got, err := ParsePad(s)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
		if again, err := ParsePad(got.String()); err != nil || again != got {
			t.Errorf("%q reads back as %v, %v", got, again, err)
		}
	}
	for _, s := range []string{"", "pad", "targetpad:", "targetpad:0.9", "targetpad:NaN", "targetpad:+Inf", "targetpad:x", "none:1"} {
		if got, err := ParsePad(s); err == nil {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}

func TestParseOrder(t *testing.T) {
	for _, o := range []Order{RGBFirst, OpenAI} {
		if got, err := ParseOrder(o.String()); err != nil || got != o {
			t.Errorf("%q: %v, %v", o, got, err)
		}
	}
	if _, err := ParseOrder("RGB"); err == nil {
		t.Error("RGB is read")
	}
}

func TestFilterFromPIL(t *testing.T) {
	for n, want := range map[int]Filter{2: Bilinear, 3: Bicubic} {
		if got, err := FilterFromPIL(n); err != nil || got != want {
			t.Errorf("%d: %v, %v", n, got, err)
		}
	}
	for _, n := range []int{-1, 0, 1, 4, 5} {
		if _, err := FilterFromPIL(n); err == nil {
			t.Errorf("%d is accepted", n)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"size 0":       func(o *Options) { o.Size = 0 },
		"size":         func(o *Options) { o.Size = maxSize + 1 },
		"pad":          func(o *Options) { o.Pad = .5 },
		"pad NaN":      func(o *Options) { o.Pad = Pad(math.NaN()) },
		"order":        func(o *Options) { o.Order = 9 },
		"filter":       func(o *Options) { o.Filter = 9 },
		"std 0":        func(o *Options) { o.Std[1] = 0 },
		"std NaN":      func(o *Options) { o.Std[2] = float32(math.NaN()) },
		"mean":         func(o *Options) { o.Mean[0] = float32(math.Inf(1)) },
		"pixel limit":  func(o *Options) { o.MaxPixels = -1 },
		"pad infinite": func(o *Options) { o.Pad = Pad(math.Inf(1)) },
	} {
		o := CLIP(224)
		if _, err := New(o); err != nil {
			t.Fatal(err)
		}
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// The sizes come from the rules in words: pad to 1.25, cut the long side to an integer, round halves to even.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		w, h, d int
		pad     Pad
		want    geometry
	}{
		{500, 400, 224, PadNone, geometry{500, 400, 0, 0, 500, 400, 280, 224, 28, 0, 224}},
		{500, 400, 224, 1.25, geometry{500, 400, 0, 0, 500, 400, 280, 224, 28, 0, 224}}, // exactly the ratio: no room
		{400, 501, 224, 1.25, geometry{400, 501, 0, 0, 400, 501, 224, 280, 0, 28, 224}}, // int((400.8-400)/2)
		{100, 300, 32, 1.25, geometry{100, 300, 70, 0, 240, 300, 32, 40, 0, 4, 32}},     // 240 = 300/1.25
		{301, 17, 32, 1.25, geometry{301, 17, 0, 111, 301, 239, 40, 32, 4, 0, 32}},      // int(111.9)
		{301, 17, 32, PadNone, geometry{301, 17, 0, 0, 301, 17, 566, 32, 267, 0, 32}},   // int(566.58)
		{33, 37, 32, PadNone, geometry{33, 37, 0, 0, 33, 37, 32, 35, 0, 2, 32}},         // 1.5 rounds to 2
		{33, 38, 31, PadNone, geometry{33, 38, 0, 0, 33, 38, 31, 35, 0, 2, 31}},         // 2
		{32, 33, 32, PadNone, geometry{32, 33, 0, 0, 32, 33, 32, 33, 0, 0, 32}},         // 0.5 rounds to 0
		{1, 1, 7, 1.25, geometry{1, 1, 0, 0, 1, 1, 7, 7, 0, 0, 7}},
		{10, 20, 5, 1, geometry{10, 20, 5, 0, 20, 20, 5, 5, 0, 0, 5}},
	} {
		o := CLIP(c.d)
		o.Pad = c.pad
		if got := o.plan(c.w, c.h); got != c.want {
			t.Errorf("%dx%d to %d, pad %v: %+v, want %+v", c.w, c.h, c.d, c.pad, got, c.want)
		}
	}
}

// The coefficients of a window with padding left out give the sums of the whole.
func TestTapsDropOnlyZeros(t *testing.T) {
	for _, f := range []Filter{Bicubic, Bilinear} {
		for _, c := range []struct{ in, out, pad int }{{60, 20, 15}, {20, 60, 6}, {33, 32, 10}, {400, 7, 150}} {
			real := c.in - 2*c.pad
			whole, cut := new(taps), new(taps)
			whole.set(f, c.in, c.out, 0, c.out, 0, c.in)
			cut.set(f, c.in, c.out, 2, c.out-3, c.pad, real)
			for i, n := range cut.count {
				j := i + 2
				sum := int32(0)
				for _, v := range whole.fixed[j*whole.size:][:whole.count[j]] {
					sum += v
				}
				if math.Abs(float64(sum)/(1<<pixel.FixedBits)-1) > 1e-5 {
					t.Errorf("coefficients of %d sum to %d", j, sum)
				}
				for x := range whole.count[j] {
					at := whole.first[j] + x - c.pad // in the image without its padding
					want := whole.fixed[j*whole.size+x]
					if at < 0 || at >= real {
						continue
					}
					k := at - cut.first[i]
					if k < 0 || k >= n || cut.fixed[i*cut.size+k] != want {
						t.Fatalf("filter %v, %+v: output %d, input %d: lost or changed", f, c, j, at)
					}
				}
			}
		}
	}
}
