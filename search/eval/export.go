package eval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"isearle/weights/demo"
)

// exportReadme says what the exported folders are and are not.
const exportReadme = `# The emoji world in the layouts of the benchmarks

The pictures and composed queries inside isearle, written as five data sets for ` + "`isearle eval`" + `. They test the evaluation and let
methods be compared on pictures that everybody may copy; their numbers say nothing about the benchmarks whose layouts they borrow.

- fashioniq: the categories dress, shirt and toptee stand for the vendors noto, fluent-flat and fluent-3d. A category's gallery is the
  vendor's pictures; its queries are those whose reference and a right answer are by the vendor. Both captions are the same one.
- cirr: all pictures are the gallery. The target is the right answer by the reference's vendor, or the first; right answers by other
  vendors count as wrong, as false negatives do in CIRR. A group is the reference, the target and the four pictures of the reference's
  vendor whose names begin most like the reference's. Split test1 is the same without targets.
- circo: all right answers of all vendors; the semantic aspects are the queries' own under CIRCO's names. Split test has no answers.
- domain: the domains are background colours, given with their prompts in imgnet/prompts.txt, which the benchmark does not have. Classes
  are the things that exist on white and on all four colours, by three vendors each; queries are on white, and white ones are the
  targets' distractors.
- objects: scenes of two or three pictures by one vendor, put together here; boxes and outlines are those of the pictures' inked pixels.
  Outlines are polygons, run lengths and compressed run lengths in turn. No list of boxes: it is chosen by the seed.

LICENSES names whose artwork it is.
`

// ExportDemo writes the embedded world in the layouts of the five data sets, to dir/fashioniq, cirr, circo, domain and objects, with the
// licences of the artwork. Files that are there are replaced.
func ExportDemo(dir string) error {
	x, err := newExport(dir)
	if err == nil {
		err = errors.Join(x.text("README.md", exportReadme), x.licenses())
	}
	for _, step := range []func(*export) error{(*export).fashioniq, (*export).cirr, (*export).circo, (*export).domain, (*export).objects} {
		if err != nil {
			break
		}
		err = step(x)
	}
	if err != nil {
		return fmt.Errorf("eval: export demo: %w", err)
	}
	return nil
}

// export is the world on its way to a folder.
type export struct {
	dir      string
	pictures []demo.Picture
	queries  []demo.Query
	at       map[string]int // id to place among the pictures
}

func newExport(dir string) (*export, error) {
	x := &export{dir: dir, at: map[string]int{}}
	var err error
	if x.pictures, err = demo.Gallery(); err != nil {
		return nil, err
	}
	if x.queries, err = demo.Queries(); err != nil {
		return nil, err
	}
	for i, p := range x.pictures {
		x.at[p.ID] = i
	}
	for _, q := range x.queries {
		for _, id := range append([]string{q.Reference}, q.Targets...) {
			if _, ok := x.at[id]; !ok {
				return nil, fmt.Errorf("query %s: no picture %q", q.ID, id)
			}
		}
	}
	return x, nil
}

// file writes a file below the folder.
func (x *export) file(name string, data []byte) error {
	path := filepath.Join(x.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o666)
}

func (x *export) text(name, s string) error { return x.file(name, []byte(s)) }

func (x *export) json(name string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	return x.file(name, b.Bytes())
}

func (x *export) licenses() error {
	files := demo.Licenses()
	return fs.WalkDir(files, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return x.file("LICENSES/"+path, data)
	})
}

// flat is an id as the name of a file without folders.
func flat(id string) string { return strings.ReplaceAll(id, "/", "_") }

// sameVendor is the right answer by the reference's vendor, or the first.
func (x *export) sameVendor(q *demo.Query) (id string, ok bool) {
	vendor := x.pictures[x.at[q.Reference]].Vendor
	for _, t := range q.Targets {
		if x.pictures[x.at[t]].Vendor == vendor {
			return t, true
		}
	}
	return q.Targets[0], false
}

func (x *export) fashioniq() error {
	type entry struct {
		Target    string   `json:"target"`
		Candidate string   `json:"candidate"`
		Captions  []string `json:"captions"`
	}
	for i, vendor := range []string{"noto", "fluent-flat", "fluent-3d"} {
		category := fashionCategories[i]
		var split []string
		for _, p := range x.pictures {
			if p.Vendor != vendor {
				continue
			}
			split = append(split, flat(p.ID))
			if err := x.file("fashioniq/images/"+flat(p.ID)+".png", p.Data); err != nil {
				return err
			}
		}
		var entries []entry
		for k := range x.queries {
			q := &x.queries[k]
			if target, ok := x.sameVendor(q); ok && x.pictures[x.at[q.Reference]].Vendor == vendor {
				entries = append(entries, entry{flat(target), flat(q.Reference), []string{q.Caption, q.Caption}})
			}
		}
		err := errors.Join(x.json("fashioniq/image_splits/split."+category+".val.json", split),
			x.json("fashioniq/captions/cap."+category+".val.json", entries))
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *export) cirr() error {
	type set struct {
		ID      int      `json:"id"`
		Members []string `json:"members"`
	}
	type entry struct {
		Pair      int    `json:"pairid"`
		Reference string `json:"reference"`
		Target    string `json:"target_hard,omitempty"`
		Caption   string `json:"caption"`
		Set       set    `json:"img_set"`
	}
	var split bytes.Buffer
	for i, p := range x.pictures {
		name := flat(p.ID)
		separator := ","
		if i == 0 {
			separator = "{"
		}
		fmt.Fprintf(&split, "%s%q: %q", separator, name, "./dev/"+name+".png")
		if err := x.file("cirr/dev/"+name+".png", p.Data); err != nil {
			return err
		}
	}
	split.WriteString("}\n")
	var val, test []entry
	for i := range x.queries {
		q := &x.queries[i]
		target, _ := x.sameVendor(q)
		e := entry{i, flat(q.Reference), flat(target), q.Caption, set{i, x.group(q, target)}}
		val = append(val, e)
		e.Target = ""
		test = append(test, e)
	}
	return errors.Join(x.file("cirr/cirr/image_splits/split.rc2.val.json", split.Bytes()), x.file("cirr/cirr/image_splits/split.rc2.test1.json", split.Bytes()),
		x.json("cirr/cirr/captions/cap.rc2.val.json", val), x.json("cirr/cirr/captions/cap.rc2.test1.json", test))
}

// groupSize is the number of images of a CIRR set.
const groupSize = 6

// group is the reference, the target and pictures by the same vendor whose names begin most like the reference's.
func (x *export) group(q *demo.Query, target string) []string {
	out := []string{flat(q.Reference), flat(target)}
	vendor := x.pictures[x.at[q.Reference]].Vendor
	var others []string
	for _, p := range x.pictures {
		if p.Vendor == vendor && p.ID != q.Reference && !slices.Contains(q.Targets, p.ID) {
			others = append(others, p.ID)
		}
	}
	slices.SortStableFunc(others, func(a, b string) int { return common(b, q.Reference) - common(a, q.Reference) })
	for _, id := range others[:groupSize-len(out)] {
		out = append(out, flat(id))
	}
	slices.Sort(out) // the target's place must not tell
	return out
}

// common is the length of the common beginning.
func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// aspectNames are CIRCO's names of the world's aspects.
var aspectNames = map[string]string{"compare & change": "compare_change", "addition": "addition", "negation": "negation",
	"conjunction": "statement_with_conjunction", "spatial relations & background": "spatial_relations_background",
	"cardinality": "cardinality", "direct addressing": "direct_addressing", "comparative": "comparative_statement", "viewpoint": "viewpoint"}

func (x *export) circo() error {
	type info struct {
		ID   int    `json:"id"`
		File string `json:"file_name"`
	}
	type entry struct {
		ID        int      `json:"id"`
		Reference int      `json:"reference_img_id"`
		Target    int      `json:"target_img_id,omitempty"`
		Caption   string   `json:"relative_caption"`
		Concept   string   `json:"shared_concept"`
		Right     []int    `json:"gt_img_ids,omitempty"`
		Aspects   []string `json:"semantic_aspects,omitempty"`
	}
	var images []info
	for i, p := range x.pictures {
		name := cocoName(i + 1)
		images = append(images, info{i + 1, name})
		if err := x.file("circo/COCO2017_unlabeled/unlabeled2017/"+name, p.Data); err != nil {
			return err
		}
	}
	var val, test []entry
	for i := range x.queries {
		q := &x.queries[i]
		e := entry{ID: i, Reference: x.at[q.Reference] + 1, Caption: q.Caption, Concept: x.pictures[x.at[q.Reference]].Name}
		test = append(test, e)
		target, _ := x.sameVendor(q)
		e.Target = x.at[target] + 1
		for _, t := range q.Targets {
			e.Right = append(e.Right, x.at[t]+1)
		}
		for _, a := range q.Aspects {
			name, ok := aspectNames[a]
			if !ok {
				return fmt.Errorf("query %s: aspect %q has no name in CIRCO", q.ID, a)
			}
			e.Aspects = append(e.Aspects, name)
		}
		val = append(val, e)
	}
	return errors.Join(x.json("circo/COCO2017_unlabeled/annotations/image_info_unlabeled2017.json", map[string]any{"images": images}),
		x.json("circo/annotations/val.json", val), x.json("circo/annotations/test.json", test))
}

// exportColours are the backgrounds that stand for domains, in the order of the labels.
var exportColours = []string{"blue", "green", "yellow", "black"}

func (x *export) domain() error {
	const plain = "white"
	var real, queries, targets, prompts strings.Builder
	classes := map[string]int{} // by the picture's name without the vendor
	for _, p := range x.pictures {
		base, ok := strings.CutSuffix(p.ID, "@"+plain)
		if !ok || !x.onAll(base) {
			continue
		}
		_, slug, _ := strings.Cut(base, "/")
		class, ok := classes[slug]
		if !ok {
			class = len(classes)
			classes[slug] = class
		}
		write := func(list *strings.Builder, kind, id string, label int) error {
			name := "imgnet/" + kind + "/" + flat(id) + ".png"
			fmt.Fprintf(list, "%s %d\n", name, label)
			return x.file("domain/"+name, x.pictures[x.at[id]].Data)
		}
		err := errors.Join(write(&queries, "real", p.ID, class), write(&real, "real", p.ID, realDomain*domainStep+class))
		for k, colour := range exportColours {
			err = errors.Join(err, write(&targets, "imagenet-r", base+"@"+colour, k*domainStep+class))
		}
		if err != nil {
			return err
		}
	}
	for _, colour := range exportColours {
		prompts.WriteString(colour + "\ta photo of $ that is on a " + colour + " background\n")
	}
	return errors.Join(x.text("domain/imgnet/imgnet_real_query.txt", queries.String()), x.text("domain/imgnet/imgnet_targets.txt", targets.String()+real.String()),
		x.text("domain/imgnet/"+promptFile, prompts.String()))
}

// onAll says that a picture exists on all the colours.
func (x *export) onAll(base string) bool {
	for _, c := range exportColours {
		if _, ok := x.at[base+"@"+c]; !ok {
			return false
		}
	}
	return true
}

// cocoName is the file of an image of a COCO layout.
func cocoName(id int) string {
	return strings.Repeat("0", 12-len(strconv.Itoa(id))) + strconv.Itoa(id) + ".png"
}
