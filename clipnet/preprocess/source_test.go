package preprocess

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"path/filepath"
	"slices"
	"testing"

	"isearle/runtime"
	"isearle/runtime/reference"
)

// resampled is what runtime's reference makes of a source: the crop's samples, [3, D, D].
func resampled(t *testing.T, p *Preprocessor, s *Source) []float32 {
	t.Helper()
	d, most := p.opts.Size, p.MaxTaps()
	plan := runtime.NewPlan("source")
	src, places := plan.New("src", runtime.U8, 1, len(s.Pix)), plan.New("places", runtime.I32, 1, 5)
	taps, norm := plan.New("taps", runtime.I32, 1, len(s.Taps)), plan.New("norm", runtime.F32, 3, 256)
	out := plan.New("out", runtime.F32, 1, 3*d*d)
	plan.Add(runtime.Resample{Src: src, Places: places, Taps: taps, Most: most, Norm: norm, Mid: plan.Temp("mid", runtime.U8, 1, 3*d*max(s.Width, s.Height)),
		Size: d, Out: out, Images: runtime.Fixed(1)})
	prog, err := reference.Device{}.Compile(plan)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	samples := make([]float32, 256)
	for v := range samples {
		samples[v] = float32(v)
	}
	first := int32(0)
	if s.ColumnsFirst {
		first = 1
	}
	got := make([]float32, 3*d*d)
	for _, err := range []error{prog.Buffer(src.Slot).WriteRaw(0, s.Pix), prog.Buffer(places.Slot).WriteI32(0, []int32{0, int32(s.Width), int32(s.Height), first, 0}),
		prog.Buffer(taps.Slot).WriteI32(0, s.Taps), prog.Buffer(norm.Slot).WriteF32(0, slices.Repeat(samples, 3)),
		prog.Run(context.Background()), prog.Buffer(out.Slot).ReadF32(0, got)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// A device that resizes a source by the operation's definition gives the crop, bit for bit, whatever the image and the options; one
// source's memory serves all.
func TestSourcesGiveTheCrop(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "modes", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no images: %v", err)
	}
	var s Source
	windows, crops := 0, 0
	for _, order := range []Order{RGBFirst, OpenAI} {
		for _, pad := range []Pad{PadNone, TargetPad} {
			for _, filter := range []Filter{Bicubic, Bilinear} {
				o := CLIP(16)
				o.Order, o.Pad, o.Filter = order, pad, filter
				p, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				for _, path := range paths {
					crop := make([]byte, p.CropBytes())
					if err, want := p.SourceFile(path, &s), p.CropFile(path, crop); err != nil || want != nil {
						if fmt.Sprint(err) != fmt.Sprint(want) {
							t.Errorf("%s: %v, want %v", path, err, want)
						}
						continue
					}
					if got := interleaved(resampled(t, p, &s)); !slices.Equal(got, crop) {
						t.Errorf("%s, order %v, pad %v, filter %d: %d of %d samples differ", path, order, pad, filter, differing(got, crop), len(crop))
					}
					if slices.Equal(s.Pix, crop) {
						crops++
					} else {
						windows++
					}
				}
			}
		}
	}
	if windows < 100 || crops < 20 {
		t.Errorf("%d images are resized by the device and %d are not", windows, crops)
	}
}

// interleaved makes planes of samples a crop.
func interleaved(x []float32) []byte {
	n := len(x) / 3
	b := make([]byte, len(x))
	for i := range n {
		for c := range 3 {
			b[3*i+c] = byte(x[c*n+i])
		}
	}
	return b
}

// Images of any shape come as the part that is needed while that fits a device's room, and as the crop beyond.
func TestSourceRoom(t *testing.T) {
	p, err := New(CLIP(32))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		w, h  int
		whole bool // the crop
	}{{40, 50, false}, {1024, 1000, false}, {1000, 1300, true}, {1023, 1024, false}, {3, 2900, true}, {32, 32, true}, {32, 300, false}, {1025, 1025, true}} {
		m := image.NewRGBA(image.Rect(0, 0, c.w, c.h))
		for i := range m.Pix {
			m.Pix[i] = byte(i*i>>3) | byte(0xff*(i%4/3)) // opaque
		}
		var data bytes.Buffer
		if err := png.Encode(&data, m); err != nil {
			t.Fatal(err)
		}
		var s Source
		if err := p.Source("image", data.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		crop := make([]byte, p.CropBytes())
		if err := p.Crop("image", data.Bytes(), crop); err != nil {
			t.Fatal(err)
		}
		if whole := s.Width == 32 && s.Height == 32; whole != c.whole || max(s.Width, s.Height) > MaxSource || len(s.Taps) != 2*32*(2+p.MaxTaps()) {
			t.Errorf("%d x %d: a source of %d x %d, %d taps", c.w, c.h, s.Width, s.Height, len(s.Taps))
		}
		if got := interleaved(resampled(t, p, &s)); !slices.Equal(got, crop) {
			t.Errorf("%d x %d: %d samples differ", c.w, c.h, differing(got, crop))
		}
	}
}

// LoadSources yields what SourceFile gives, in order.
func TestLoadSources(t *testing.T) {
	p, err := New(CLIP(9))
	if err != nil {
		t.Fatal(err)
	}
	paths, next := loadPaths(t, 3), 0
	for item := range p.LoadSources(context.Background(), slices.Values(paths), 3) {
		var want, copied Source
		wantErr := p.SourceFile(paths[next], &want)
		if item.Index != next || fmt.Sprint(item.Err) != fmt.Sprint(wantErr) || (item.Source == nil) != (wantErr != nil) {
			t.Fatalf("item %d of %s: %v, want %v", item.Index, item.Path, item.Err, wantErr)
		}
		next++
		if wantErr != nil {
			continue
		}
		copied.Set(item.Source)
		if fmt.Sprint(copied) != fmt.Sprint(want) || item.Pixels != nil || item.Crop != nil {
			t.Errorf("%s: another source than SourceFile's", item.Path)
		}
	}
	if next != len(paths) {
		t.Errorf("%d of %d items", next, len(paths))
	}
}
