package eval

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/search"
)

// files is a small data set: paths to texts. Images are valid PNG files of one pixel where the text is pixel.
type files map[string]string

const pixel = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\x00\x00\x00\nIDATx\x9cc`\x00\x00\x00\x02\x00\x01H\xaf\xa4q\x00\x00\x00\x00IEND\xaeB`\x82"

func (f files) with(name, text string) files {
	f = maps.Clone(f)
	f[name] = text
	return f
}

// replaced is the data set with a part of a file replaced, which must be there.
func (f files) replaced(t *testing.T, name, old, text string) files {
	t.Helper()
	if !strings.Contains(f[name], old) {
		t.Fatalf("%s has no %q", name, old)
	}
	return f.with(name, strings.Replace(f[name], old, text, 1))
}

func (f files) without(name string) files {
	f = maps.Clone(f)
	delete(f, name)
	return f
}

func (f files) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The small data sets.
const (
	cirrCaptions  = "cirr/captions/cap.rc2.val.json"
	cirrSplit     = "cirr/image_splits/split.rc2.val.json"
	circoQueries  = "annotations/val.json"
	circoImages   = "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json"
	dressCaptions = "captions/cap.dress.val.json"
	dressSplit    = "image_splits/split.dress.val.json"
	realList      = "imgnet/imgnet_real_query.txt"
	targetList    = "imgnet/imgnet_targets.txt"
	instances     = "annotations/instances_val2017.json"
)

func small() map[string]files {
	fashion := files{"images/a.png": pixel, "images/b.jpg": pixel}
	for _, c := range fashionCategories {
		fashion["captions/cap."+c+".val.json"] = `[{"target": "a", "candidate": "b", "captions": ["is red.", "is big"]}]`
		fashion["image_splits/split."+c+".val.json"] = `["a", "b"]`
	}
	return map[string]files{
		"fashioniq": fashion,
		"cirr": {cirrSplit: `{"a": "./dev/a.png", "b": "./dev/b.png", "c": "./dev/c.png"}`,
			cirrCaptions: `[{"pairid": 7, "reference": "a", "target_hard": "b", "caption": "x", "img_set": {"members": ["a", "b", "c"]}},
			{"pairid": 8, "reference": "b", "target_hard": "c", "caption": "x", "img_set": {"members": ["a", "b", "c"]}}]`,
			"dev/a.png": pixel, "dev/b.png": pixel, "dev/c.png": pixel},
		"circo": {circoImages: `{"images": [{"id": 1, "file_name": "1.png"}, {"id": 2, "file_name": "2.png"}, {"id": 3, "file_name": "3.png"}]}`,
			circoQueries:                             `[{"id": 0, "reference_img_id": 1, "relative_caption": "x", "target_img_id": 2, "gt_img_ids": [2, 3], "semantic_aspects": ["negation"]}]`,
			"COCO2017_unlabeled/unlabeled2017/1.png": pixel, "COCO2017_unlabeled/unlabeled2017/2.png": pixel, "COCO2017_unlabeled/unlabeled2017/3.png": pixel},
		"domain": {realList: "imgnet/real/q.png 3\n", targetList: "imgnet/r/a.png 3\nimgnet/r/b.png 1003\nimgnet/real/q.png 6003\n",
			"imgnet/real/q.png": pixel, "imgnet/r/a.png": pixel, "imgnet/r/b.png": pixel},
		"objects": {instances: `{"images": [{"id": 1, "file_name": "1.png", "width": 1, "height": 1}],
			"annotations": [{"id": 4, "image_id": 1, "category_id": 2, "bbox": [0, 0, 0.5, 0.5], "segmentation": [[0, 0, 1, 0, 1, 1]]}],
			"categories": [{"id": 2, "name": "cat"}]}`,
			"coco_eval.csv": "id,query_regions,query_class,classes\n1.png,0;0;0.5;0.5 ,cat,\n", "val2017/1.png": pixel},
	}
}

func TestBrokenDatasets(t *testing.T) {
	sets := small()
	for name, f := range sets {
		if _, err := loaders[name](f.write(t), seTemplate(t)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	fashion, cirr, circo, domain, objects := sets["fashioniq"], sets["cirr"], sets["circo"], sets["domain"], sets["objects"]
	for _, c := range []struct {
		what, set string
		files     files
		words     string // separated by |
	}{
		{"malformed JSON", "fashioniq", fashion.with(dressCaptions, "[{\n\"target\": }]"), "cap.dress.val.json|line 2"},
		{"wrong type", "fashioniq", fashion.with(dressSplit, `{"a": 1}`), "split.dress.val.json|cannot unmarshal"},
		{"no file", "fashioniq", fashion.without(dressSplit), "split.dress.val.json|no such file"},
		{"one caption", "fashioniq", fashion.replaced(t, dressCaptions, `"is red.", `, ""), "query 0|1 captions"},
		{"unknown target", "fashioniq", fashion.replaced(t, dressCaptions, `"target": "a"`, `"target": "z"`), `query 0|target "z"`},
		{"no target", "fashioniq", fashion.replaced(t, dressCaptions, `"target": "a", `, ""), "query 0|no target"},
		{"name twice", "fashioniq", fashion.with(dressSplit, `["a", "b", "a"]`), "entry 2|entry 0"},
		{"path out of the data set", "fashioniq", fashion.with(dressSplit, `["a", "b", "../../x"]`), "entry 2|../../x"},
		{"no pairid", "cirr", cirr.replaced(t, cirrCaptions, `"pairid": 7, `, ""), "query 0|no pairid"},
		{"pair twice", "cirr", cirr.replaced(t, cirrCaptions, `"pairid": 8`, `"pairid": 7`), "query 1|pair 7 occurs twice"},
		{"unknown reference", "cirr", cirr.replaced(t, cirrCaptions, `"reference": "a"`, `"reference": "q"`), `pair 7|reference "q"`},
		{"target is the reference", "cirr", cirr.replaced(t, cirrCaptions, `"target_hard": "b"`, `"target_hard": "a"`), "pair 7|is the reference"},
		{"target not in the set", "cirr", cirr.replaced(t, cirrCaptions, `["a", "b", "c"]`, `["a", "c"]`), "pair 7|not among the members"},
		{"member twice", "cirr", cirr.replaced(t, cirrCaptions, `["a", "b", "c"]`, `["a", "b", "b"]`), `pair 7|member "b" occurs twice`},
		{"hidden targets", "cirr", cirr.replaced(t, cirrCaptions, `"target_hard": "b", `, ""), "no target_hard in split"},
		{"path out of the data set", "cirr", cirr.replaced(t, cirrSplit, "./dev/a.png", "/etc/passwd"), `image "a"|/etc/passwd`},
		{"image twice", "cirr", cirr.replaced(t, cirrSplit, `"b":`, `"a":`), `entry 1|"a"`},
		{"path is no text", "cirr", cirr.replaced(t, cirrSplit, `"./dev/a.png"`, "5"), `split.rc2.val.json|key "a"`},
		{"unknown id", "circo", circo.replaced(t, circoQueries, "[2, 3]", "[2, 9]"), `id 0|gt_img_ids "9"`},
		{"id is no id", "circo", circo.replaced(t, circoQueries, `"reference_img_id": 1`, `"reference_img_id": [1]`), "id 0|reference_img_id|no id"},
		{"right answer twice", "circo", circo.replaced(t, circoQueries, "[2, 3]", "[2, 2]"), "id 0|image 2 is twice"},
		{"target not right", "circo", circo.replaced(t, circoQueries, "[2, 3]", "[3]"), "id 0|not among gt_img_ids"},
		{"unknown aspect", "circo", circo.replaced(t, circoQueries, "negation", "colour"), `id 0|"colour"`},
		{"image twice", "circo", circo.replaced(t, circoImages, `"id": 2`, `"id": 1`), `entry 1|"1"`},
		{"no queries", "cirr", cirr.with(cirrCaptions, "[]"), "cap.rc2.val.json|nothing to rank"},
		{"no images", "domain", domain.with(targetList, ""), "nothing to rank"},
		{"no label", "domain", domain.with(realList, "imgnet/real/q.png\n"), "imgnet_real_query.txt|line 1"},
		{"label of no domain", "domain", domain.with(targetList, "imgnet/r/a.png 3\nimgnet/r/b.png 4003\n"), "line 2|4003"},
		{"label of no class", "domain", domain.with(realList, "imgnet/real/q.png 1003\n"), "line 1|1003"},
		{"target twice", "domain", domain.with(targetList, "imgnet/r/a.png 3\nimgnet/r/a.png 3\n"), "entry 1|entry 0"},
		{"bad prompts", "domain", domain.with("imgnet/prompts.txt", "a\tb $\n"), "prompts.txt|1 prompts, want 4"},
		{"prompt without pseudo-word", "domain", domain.with("imgnet/prompts.txt", "a\tb\nc\td $\ne\tf $\ng\th $\n"), "prompts.txt|line 1|one $"},
		{"image not annotated", "objects", objects.replaced(t, "coco_eval.csv", "1.png", "2.png"), `"2.png"|annotations lack it`},
		{"box not annotated", "objects", objects.replaced(t, "coco_eval.csv", "0.5;0.5", "0.5;0.25"), `"1.png"|no annotation has the box`},
		{"broken list", "objects", objects.replaced(t, "coco_eval.csv", "0;0;", "0;"), "coco_eval.csv|line 2"},
		{"broken annotations", "objects", objects.replaced(t, instances, `"image_id": 1`, `"image_id": 5`), "instances_val2017.json|no image 5"},
	} {
		_, err := loaders[c.set](c.files.write(t), seTemplate(t))
		if err == nil {
			t.Errorf("%s: %s: no error", c.set, c.what)
			continue
		}
		for w := range strings.SplitSeq(c.words, "|") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %s: %v does not say %q", c.set, c.what, err, w)
			}
		}
		if de := (*DataError)(nil); !errors.As(err, &de) && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %s: %T is no DataError", c.set, c.what, err)
		}
	}
}

func TestWrongSplit(t *testing.T) {
	for name, f := range small() {
		o := seTemplate(t)
		o.Split = "holiday"
		if _, err := loaders[name](f.write(t), o); err == nil || !strings.Contains(err.Error(), "holiday") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDuplicatePredictions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.json")
	for text, word := range map[string]string{
		`{"4": [1, 2, 1]}`:     "predictions 1 and 3 are both image 1",
		`{"4": ["1", 1]}`:      "predictions 1 and 2",
		`{"4": [1, null]}`:     "query 4, prediction 2",
		`{"4": [1,]}`:          "line 1",
		`{"4": [1, {"a": 1}]}`: "prediction 2",
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPredictions(path); err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "p.json") {
			t.Errorf("%s: %v, want %q", text, err, word)
		}
	}
	d, err := LoadCIRCO(small()["circo"].write(t), seTemplate(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		predictions map[string][]string
		word        string
	}{
		{nil, "query 0: no predictions"},
		{map[string][]string{"0": {"2", "9"}}, `prediction "9"`},
		{map[string][]string{"0": {"2"}, "1": {"2"}}, "for 2 queries"},
	} {
		if _, err := d.Judge("p.json", c.predictions, 0, 0); err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%v: %v, want %q", c.predictions, err, c.word)
		}
	}
	task := &Task{Gallery: []Image{{ID: "1"}, {ID: "1"}}, Queries: []Query{{ID: "5"}}}
	if _, err := CIRCOSubmission(task, []int{0}, []Ranking{{Top: []int{0, 1}}}); err == nil {
		t.Error("a submission with an image twice is built")
	}
	if _, err := CIRCOSubmission(task, []int{0, 0}, []Ranking{{}, {}}); err == nil {
		t.Error("a submission with a query twice is built")
	}
}

// TestMissingImages counts what a missing and a broken image take away.
func TestMissingImages(t *testing.T) {
	e := demoEvaluator(t)
	image := Methods()[3:]
	for _, c := range []struct {
		set, name, text        string // the file becomes text, "" is missing
		ranked, total, gallery int
	}{
		{"cirr", "dev/a.png", "", 0, 2, 2}, // the first's reference, a member of both groups
		{"fashioniq", "images/a.png", "", 0, 3, 1},
		{"circo", "COCO2017_unlabeled/unlabeled2017/3.png", "no image", 0, 1, 2},
		{"domain", "imgnet/r/a.png", pixel[:40], 4, 4, 2}, // a right answer only
		{"domain", "imgnet/real/q.png", "", 0, 4, 2},
		{"objects", "val2017/1.png", "", 0, 1, 0},
	} {
		what := fmt.Sprintf("%s without %s", c.set, c.name)
		f := small()[c.set].without(c.name)
		if c.text != "" {
			f = f.with(c.name, c.text)
		}
		d, err := loaders[c.set](f.write(t), seTemplate(t))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		e.Strict = false
		r, err := e.Run(t.Context(), d, image)
		if c.ranked == 0 {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("none of %d queries", c.total)) {
				t.Errorf("%s: %v", what, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if r.Ranked != c.ranked || r.Total != c.total || len(r.Dataset.Tasks[0].Gallery) != c.gallery || len(r.Problems) != 1 {
			t.Errorf("%s: %d of %d queries, %d images, problems %v", what, r.Ranked, r.Total, len(r.Dataset.Tasks[0].Gallery), r.Problems)
		}
		e.Strict = true
		if _, err := e.Run(t.Context(), d, image); err == nil || !strings.Contains(err.Error(), "strict") || !strings.Contains(err.Error(), filepath.Base(c.name)) {
			t.Errorf("%s, strict: %v", what, err)
		}
	}
}

// TestMethodRefuses asks for a pseudo-word from a model that has no phi: no image is embedded before that shows.
func TestMethodRefuses(t *testing.T) {
	e := demoEvaluator(t)
	d, err := LoadCIRR(small()["cirr"].write(t), seTemplate(t))
	if err != nil {
		t.Fatal(err)
	}
	lacking := Method{Name: "lacking", Features: func(context.Context, *search.Engine, []float32, []Query, []float32) error { return search.ErrNoPhi }}
	e.Progress = func(string, int, int) { t.Error("work was done before") }
	if _, err := e.Run(t.Context(), d, []Method{lacking}); !errors.Is(err, search.ErrNoPhi) || !strings.Contains(err.Error(), "lacking") {
		t.Error(err)
	}
}

// TestCache changes one image of a data set that has been evaluated.
func TestCache(t *testing.T) {
	e := demoEvaluator(t)
	dir := small()["cirr"].write(t)
	run := func() *Result {
		t.Helper()
		d, err := LoadCIRR(dir, seTemplate(t))
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Run(t.Context(), d, Methods()[3:])
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, want := range [][2]int{{0, 3}, {3, 0}} {
		if r := run(); r.Cached != want[0] || r.Computed != want[1] {
			t.Errorf("%d images from the cache, %d computed, want %v", r.Cached, r.Computed, want)
		}
	}
	if err := writePNG(filepath.Join(dir, "dev", "b.png"), []byte{200, 0, 0}, 1); err != nil {
		t.Fatal(err)
	}
	if r := run(); r.Cached != 2 || r.Computed != 1 {
		t.Errorf("after a change %d images from the cache, %d computed", r.Cached, r.Computed)
	}
}

func FuzzLoad(f *testing.F) {
	sets := small()
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		for file, text := range sets[name] {
			if text != pixel {
				f.Add(name, file, text)
			}
		}
	}
	o := seTemplate(f)
	f.Fuzz(func(t *testing.T, set, file, text string) {
		good, ok := sets[set]
		if _, there := good[file]; !ok || !there {
			return
		}
		d, err := loaders[set](good.with(file, text).write(t), o)
		if err != nil {
			return
		}
		for _, task := range d.Tasks {
			for _, q := range task.Queries {
				for _, row := range append(append([]int{max(q.Exclude, 0)}, q.Targets...), q.Group...) {
					if row >= len(task.Gallery) {
						t.Fatalf("query %s names row %d of %d", q.ID, row, len(task.Gallery))
					}
				}
			}
		}
	})
}

func FuzzParseList(f *testing.F) {
	f.Add("imgnet/real/q.png 3\nimgnet/a b.jpg 6003 \n")
	f.Fuzz(func(t *testing.T, text string) {
		images, labels, err := parseList("/data", "list.txt", text)
		if err != nil {
			return
		}
		if len(images) != len(labels) {
			t.Fatalf("%d images, %d labels", len(images), len(labels))
		}
		for i, m := range images {
			if labels[i] < 0 || !strings.HasPrefix(m.Path, "/data"+string(filepath.Separator)) {
				t.Errorf("image %q of label %d at %q", m.ID, labels[i], m.Path)
			}
		}
	})
}

func FuzzOrderedMap(f *testing.F) {
	f.Add(`{"b": "./x", "a": "y"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var m orderedMap
		if parseJSON("f.json", []byte(text), &m) != nil {
			return
		}
		var want map[string]string
		if err := parseJSON("f.json", []byte(text), &want); err != nil {
			t.Fatalf("%q is read as %v: %v", text, m, err)
		}
		for _, e := range m {
			if _, ok := want[e.key]; !ok {
				t.Errorf("%q: key %q", text, e.key)
			}
		}
	})
}
