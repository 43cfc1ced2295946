package bench

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isearle/clipnet/preprocess"
)

// Preprocess measures images from their files to pixels, decoded and prepared as SEARLE does for a model of 224 pixels, on as many
// threads as the device has: the given files, by their endings, or JPEGs and PNGs of 500 x 400 made for it.
func (b *Bench) Preprocess(ctx context.Context, files []string) error {
	if files == nil {
		dir, err := os.MkdirTemp("", "isearle-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if files, err = pictures(dir); err != nil {
			return fmt.Errorf("benchmark Preprocess: %w", err)
		}
	}
	o := preprocess.CLIP(224)
	o.Pad = preprocess.TargetPad
	p, err := preprocess.New(o)
	if err != nil {
		return err
	}
	groups := map[string][]string{}
	for _, f := range files {
		kind := strings.ToLower(strings.TrimPrefix(filepath.Ext(f), "."))
		groups[kind] = append(groups[kind], f)
	}
	kinds := make([]string, 0, len(groups))
	for kind := range groups {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		list, size := groups[kind], int64(0)
		for _, f := range list {
			info, err := os.Stat(f)
			if err != nil {
				return fmt.Errorf("benchmark Preprocess: %w", err)
			}
			size += info.Size()
		}
		err := b.run(ctx, task{
			name: fmt.Sprintf("Preprocess/format=%s/files=%d/bytes=%d", kind, len(list), size/int64(len(list))),
			call: func() error {
				for m := range p.Load(ctx, slices.Values(list), b.Threads) {
					if m.Err != nil {
						return m.Err
					}
				}
				return ctx.Err()
			},
			items: float64(len(list)), unit: "images",
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pictures writes 16 JPEGs of quality 90 and 4 PNGs, and returns their paths.
func pictures(dir string) (paths []string, err error) {
	for i := range 20 {
		var data bytes.Buffer
		name := fmt.Sprintf("%02d.jpg", i)
		if m := picture(500, 400, uint64(i)); i < 16 {
			err = jpeg.Encode(&data, m, &jpeg.Options{Quality: 90})
		} else {
			name = fmt.Sprintf("%02d.png", i)
			err = png.Encode(&data, m)
		}
		if err != nil {
			return nil, err
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data.Bytes(), 0o600); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// picture has a photograph's spectrum, about: waves whose amplitudes fall with their frequencies, edges and some noise.
func picture(w, h int, seed uint64) image.Image {
	rng := rand.New(rand.NewPCG(seed, 6))
	type wave struct{ x, y, phase, amplitude float64 }
	var waves [3][]wave
	for c := range waves {
		for f := 1.0; f < 200; f *= 1.5 {
			a := rng.Float64() * 2 * math.Pi
			waves[c] = append(waves[c], wave{f * math.Cos(a), f * math.Sin(a), rng.Float64() * 6, 60 / f})
		}
	}
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			var v [3]uint8
			for c := range v {
				s := 128 + 4*rng.NormFloat64()
				for _, k := range waves[c] {
					s += k.amplitude * math.Sin(2*math.Pi*(k.x*float64(x)/float64(w)+k.y*float64(y)/float64(w))+k.phase)
				}
				if (x/50+y/40)%5 == c { // edges
					s += 40
				}
				v[c] = uint8(min(255, max(0, s)))
			}
			m.SetRGBA(x, y, color.RGBA{v[0], v[1], v[2], 255})
		}
	}
	return m
}
