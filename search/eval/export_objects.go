package eval

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"slices"
	"strings"

	"isearle/clipnet/preprocess"
	"isearle/search/eval/coco"
	"isearle/weights/demo"
)

const (
	// exportScenes is how many scenes are made, exportSide the side of a scene, two pictures wide, exportSeed what they are drawn by.
	exportScenes = 150
	exportSide   = 128
	exportSeed   = 7
	// inked is how far below white a pixel of an object is in some channel.
	inked = 8
)

// places are the left upper corners of two or three pictures in a scene.
var places = [][]image.Point{{{0, 32}, {64, 32}}, {{32, 0}, {0, 64}, {64, 64}}}

func (x *export) objects() error {
	type annotation struct {
		ID       int        `json:"id"`
		Image    int        `json:"image_id"`
		Category int        `json:"category_id"`
		Box      [4]float64 `json:"bbox"`
		Outline  any        `json:"segmentation"`
		Crowd    int        `json:"iscrowd"`
	}
	type category struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	var images []map[string]any
	var annotations []annotation
	var categories []category
	rng := rand.New(rand.NewPCG(exportSeed, 0))
	singles := x.singles()
	for scene := range exportScenes {
		id := scene + 1
		vendor := singles[scene%len(singles)]
		spots := places[scene%len(places)]
		canvas := image.NewNRGBA(image.Rect(0, 0, exportSide, exportSide))
		for i := range canvas.Pix {
			canvas.Pix[i] = 255
		}
		for n, k := range rng.Perm(len(vendor))[:len(spots)] {
			p := vendor[k]
			mask, err := paste(canvas, p, spots[n])
			if err != nil {
				return err
			}
			c := slices.IndexFunc(categories, func(c category) bool { return c.Name == p.Name })
			if c < 0 {
				c = len(categories)
				categories = append(categories, category{c + 1, p.Name})
			}
			annotations = append(annotations, annotation{len(annotations) + 1, id, c + 1, mask.Box(), outline(mask, len(annotations)), 0})
		}
		var b bytes.Buffer
		if err := png.Encode(&b, canvas); err != nil {
			return err
		}
		images = append(images, map[string]any{"id": id, "file_name": cocoName(id), "width": exportSide, "height": exportSide})
		if err := x.file("objects/val2017/"+cocoName(id), b.Bytes()); err != nil {
			return err
		}
	}
	return x.json("objects/annotations/instances_val2017.json",
		map[string]any{"images": images, "annotations": annotations, "categories": categories})
}

// singles are the pictures of one thing on white, for each vendor.
func (x *export) singles() (out [][]demo.Picture) {
	for _, vendor := range []string{"noto", "fluent-flat", "fluent-3d"} {
		var list []demo.Picture
		for _, p := range x.pictures {
			family := p.Attributes["family"]
			if p.Vendor == vendor && strings.HasSuffix(p.ID, "@white") && slices.Contains([]string{"nature", "food", "thing", "place"}, family) {
				list = append(list, p)
			}
		}
		out = append(out, list)
	}
	return out
}

// paste draws a picture and returns where its ink is.
func paste(canvas *image.NRGBA, p demo.Picture, at image.Point) (*coco.Mask, error) {
	m, err := preprocess.Decode(p.ID, p.Data, 0)
	if err != nil {
		return nil, err
	}
	w, h, rgb := m.Width, m.Height, m.RGB()
	if at.X+w > exportSide || at.Y+h > exportSide {
		return nil, fmt.Errorf("picture %s of %d x %d does not fit", p.ID, w, h)
	}
	mask := &coco.Mask{Width: exportSide, Height: exportSide, Pix: make([]bool, exportSide*exportSide)}
	any := false
	for i := range w * h {
		c := rgb[3*i : 3*i+3]
		if min(c[0], c[1], c[2]) > 255-inked {
			continue
		}
		px, py := at.X+i%w, at.Y+i/w
		copy(canvas.Pix[canvas.PixOffset(px, py):], c)
		mask.Pix[py*exportSide+px], any = true, true
	}
	if !any {
		return nil, errors.New("picture " + p.ID + " is white")
	}
	return mask, nil
}

// outline is the mask as COCO stores it: the box as a polygon, run lengths, or compressed run lengths in turn.
func outline(m *coco.Mask, n int) any {
	b := m.Box()
	size := [2]int{m.Height, m.Width}
	switch n % 3 {
	case 0:
		r, d := b[0]+b[2], b[1]+b[3]
		return [][]float64{{b[0], b[1], r, b[1], r, d, b[0], d}}
	case 1:
		return map[string]any{"size": size, "counts": m.Runs()}
	}
	return map[string]any{"size": size, "counts": coco.EncodeRuns(m.Runs())}
}
