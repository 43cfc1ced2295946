package eval

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"isearle/clipnet/preprocess"
	"isearle/clipnet/tokenizer"
	"isearle/search/eval/coco"
)

// region is an object that is cut out of an image.
type region struct {
	image  string
	masked string // the same image, white outside the object; "" to be drawn
	object *coco.Annotation
	box    [4]int // left, top, right, bottom
}

// LoadObjects reads annotations/instances_val2017.json and val2017, in dir or dir/coco. The boxes are those of the list that is given,
// else of coco_eval.csv where it exists, else chosen by the seed. A query is the object of its box cut out, from val2017_masked where
// the image is there, and asks for the whole image by "a photo of $ and CLASS and OTHERS".
func LoadObjects(dir string, o LoadOptions) (*Dataset, error) {
	if o.Split != "" && o.Split != "val" {
		return nil, fmt.Errorf("eval: object composition has no split %q, only val", o.Split)
	}
	dir, file, a, err := readAnnotations(dir)
	if err != nil {
		return nil, err
	}
	list, from, err := choices(dir, a, o)
	if err != nil {
		return nil, err
	}
	d := &Dataset{Name: "objects", Title: "Object composition", Split: "val", Root: dir, Depth: 100, reverse: true,
		Prompt: "a photo of $ and {class} and {other classes}", Gallery: "all images of the list (" + from + ")",
		measures: objectMeasures, regions: map[string]region{}}
	t, err := objectTask(dir, file, a, list, d.regions)
	if err != nil {
		return nil, err
	}
	d.Tasks = []Task{t}
	return d.checked(file)
}

// ChooseBoxes makes the list of boxes that LoadObjects would choose for a seed, to be written by coco.WriteList.
func ChooseBoxes(dir string, seed uint64) ([]coco.Choice, error) {
	_, _, a, err := readAnnotations(dir)
	if err != nil {
		return nil, err
	}
	return a.Choose(seed), nil
}

// readAnnotations finds COCO in dir or dir/coco and reads its objects.
func readAnnotations(dir string) (root, file string, a *coco.Annotations, err error) {
	if _, err := os.Stat(filepath.Join(dir, "coco", "annotations")); err == nil {
		dir = filepath.Join(dir, "coco")
	}
	file, a = filepath.Join(dir, "annotations", "instances_val2017.json"), new(coco.Annotations)
	if err := readJSON(file, a); err != nil {
		return dir, file, nil, err
	}
	if err := a.Check(); err != nil {
		return dir, file, nil, &DataError{File: file, Err: err}
	}
	return dir, file, a, nil
}

// choices finds the list, and says where it is from.
func choices(dir string, a *coco.Annotations, o LoadOptions) ([]coco.Choice, string, error) {
	path := o.List
	if path == "" {
		path = filepath.Join(dir, "coco_eval.csv")
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && o.List == "" {
		return a.Choose(o.Seed), fmt.Sprintf("chosen by seed %d", o.Seed), nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("eval: %w", err)
	}
	defer f.Close()
	list, err := coco.ReadList(f)
	if err != nil {
		return nil, "", &DataError{File: path, Err: err}
	}
	return list, filepath.Base(path), nil
}

func objectTask(dir, file string, a *coco.Annotations, list []coco.Choice, regions map[string]region) (t Task, err error) {
	objects := map[string][]*coco.Annotation{}
	names := map[int64]string{}
	for _, m := range a.Images {
		names[m.ID], objects[m.File] = m.File, nil
	}
	for i := range a.Annotations {
		n := &a.Annotations[i]
		objects[names[n.Image]] = append(objects[names[n.Image]], n)
	}
	for i, c := range list {
		entry := fmt.Sprintf("image %q", c.File)
		here, ok := objects[c.File]
		if !ok {
			return t, dataError(file, entry, "the list of boxes names it and the annotations lack it")
		}
		r := region{image: filepath.Join(dir, "val2017", c.File), masked: filepath.Join(dir, "val2017_masked", c.File)}
		if _, err := os.Stat(r.masked); err != nil {
			r.masked = ""
			for _, n := range here {
				if n.Corners() == c.Box {
					r.object = n
				}
			}
			if r.object == nil {
				return t, dataError(file, entry, "no annotation has the box %v, and val2017_masked lacks the image", c.Box)
			}
		}
		for k, v := range c.Box {
			r.box[k] = int(math.Trunc(v))
		}
		ref := Image{ID: c.File + "#box"}
		regions[ref.ID] = r
		pieces, text := c.Prompt()
		t.Gallery = append(t.Gallery, Image{c.File, r.image})
		t.Queries = append(t.Queries, Query{ID: c.File, Reference: ref, Caption: "$" + pieces[1], Exclude: -1, Targets: []int{i},
			Prompts: []tokenizer.Prompt{{Pieces: pieces}}, Texts: []string{text}})
	}
	return t, nil
}

// draw cuts the object out: RGB [d, d, 3], white outside the object, the box warped to the model's size.
func (r *region) draw(p *preprocess.Preprocessor, d int) ([]byte, error) {
	pix, w, h, err := r.pixels()
	if err != nil {
		return nil, err
	}
	cut, err := cutOut(pix, w, h, r.box)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 3*d*d)
	return out, p.Warp(cut, out)
}

// pixels is the whole image as RGB, white outside the object.
func (r *region) pixels() (pix []byte, w, h int, err error) {
	path := r.image
	if r.masked != "" {
		path = r.masked
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, 0, err
	}
	m, err := preprocess.Decode(path, data, 0)
	if err != nil {
		return nil, 0, 0, err
	}
	w, h, pix = m.Width, m.Height, m.RGB()
	if r.masked != "" {
		return pix, w, h, nil
	}
	s, err := r.object.Segmentation()
	if err != nil {
		return nil, 0, 0, err
	}
	mask, err := s.Mask(w, h)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("annotation %d: %w", r.object.ID, err)
	}
	for i, in := range mask.Pix {
		if !in {
			pix[3*i], pix[3*i+1], pix[3*i+2] = 255, 255, 255
		}
	}
	return pix, w, h, nil
}

// cutOut copies a box; what is out of the image is black.
func cutOut(pix []byte, w, h int, box [4]int) (*preprocess.Image, error) {
	bw, bh := box[2]-box[0], box[3]-box[1]
	if bw < 1 || bh < 1 || box[0] >= w || box[1] >= h || box[2] < 1 || box[3] < 1 || bw > 2*w || bh > 2*h {
		return nil, fmt.Errorf("the box %v has no pixels in an image of %d x %d", box, w, h)
	}
	out := &preprocess.Image{Mode: preprocess.ModeRGB, Width: bw, Height: bh, Pix: make([]byte, 3*bw*bh)}
	for y := max(box[1], 0); y < min(box[3], h); y++ {
		lo, hi := max(box[0], 0), min(box[2], w)
		copy(out.Pix[3*((y-box[1])*bw+lo-box[0]):], pix[3*(y*w+lo):3*(y*w+hi)])
	}
	return out, nil
}
