package coco

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Annotations are those of an instances_*.json file that object composition needs.
type Annotations struct {
	Images      []ImageInfo  `json:"images"`
	Annotations []Annotation `json:"annotations"`
	Categories  []struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	} `json:"categories"`
}

// ImageInfo describes an image.
type ImageInfo struct {
	ID     int64  `json:"id"`
	File   string `json:"file_name"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

// Annotation is one object of an image.
type Annotation struct {
	ID       int64           `json:"id"`
	Image    int64           `json:"image_id"`
	Category int64           `json:"category_id"`
	Box      [4]float64      `json:"bbox"` // x, y, width, height
	Outline  json.RawMessage `json:"segmentation"`
}

// Corners are the left, top, right and bottom of the box.
func (a *Annotation) Corners() [4]float64 {
	return [4]float64{a.Box[0], a.Box[1], a.Box[0] + a.Box[2], a.Box[1] + a.Box[3]}
}

// Segmentation decodes the object's outline.
func (a *Annotation) Segmentation() (s Segmentation, err error) {
	if err = json.Unmarshal(a.Outline, &s); err != nil {
		err = fmt.Errorf("annotation %d: segmentation: %w", a.ID, err)
	}
	return s, err
}

// Check finds references to what is not there.
func (a *Annotations) Check() error {
	images, names := map[int64]bool{}, map[int64]bool{}
	for i, m := range a.Images {
		if m.Width < 1 || m.Height < 1 || m.File == "" {
			return fmt.Errorf("image %d (id %d): %q of %d x %d", i, m.ID, m.File, m.Width, m.Height)
		}
		if images[m.ID] {
			return fmt.Errorf("image %d: id %d occurs twice", i, m.ID)
		}
		images[m.ID] = true
	}
	for _, c := range a.Categories {
		names[c.ID] = true
	}
	for i, n := range a.Annotations {
		if !images[n.Image] {
			return fmt.Errorf("annotation %d (id %d): no image %d", i, n.ID, n.Image)
		}
		if !names[n.Category] {
			return fmt.Errorf("annotation %d (id %d): no category %d", i, n.ID, n.Category)
		}
	}
	return nil
}

// Choice is a row of the list of boxes: an object that a query shows, and what else is in the image.
type Choice struct {
	File   string     // of the image
	Box    [4]float64 // left, top, right, bottom
	Class  string
	Others []string
}

// The limits of a box's area: in pixels, as Pic2Word's code has it, and of the image.
const (
	minBoxPixels   = 0.05
	maxBoxFraction = 0.5
)

// Choose takes for each image that has one an object whose area w*h is above 0.05 pixels and below half the image's, at random but the
// same for a seed, and lists the classes of the others in their order. The list is in the order of file names.
func (a *Annotations) Choose(seed uint64) []Choice {
	names := map[int64]string{}
	for _, c := range a.Categories {
		names[c.ID] = c.Name
	}
	objects := map[int64][]*Annotation{}
	for i := range a.Annotations {
		n := &a.Annotations[i]
		objects[n.Image] = append(objects[n.Image], n)
	}
	var out []Choice
	for _, m := range a.Images {
		var candidates []*Annotation
		var classes []string
		for _, n := range objects[m.ID] {
			c := n.Corners()
			area := (c[2] - c[0]) * (c[3] - c[1])
			if area > minBoxPixels && area < maxBoxFraction*float64(m.Width*m.Height) {
				candidates = append(candidates, n)
			}
			if !slices.Contains(classes, names[n.Category]) {
				classes = append(classes, names[n.Category])
			}
		}
		if len(candidates) == 0 {
			continue
		}
		n := candidates[rand.New(rand.NewPCG(seed, uint64(m.ID))).IntN(len(candidates))]
		class := names[n.Category]
		out = append(out, Choice{m.File, n.Corners(), class, slices.DeleteFunc(classes, func(s string) bool { return s == class })})
	}
	slices.SortStableFunc(out, func(x, y Choice) int { return strings.Compare(x.File, y.File) })
	return out
}
