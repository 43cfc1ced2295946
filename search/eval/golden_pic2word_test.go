package eval

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/clipnet/preprocess"
	"isearle/clipnet/tokenizer"
	"isearle/search"
	"isearle/search/eval/coco"
	"isearle/weights"
	"isearle/weights/golden"
	"isearle/weights/golden/cirmodel"
)

func pic2word(t *testing.T) string { return filepath.Join(golden.Dir(t, "cir"), "pic2word") }

// officialName maps the names of Pic2Word's code: "Real2Sketch_R@10", "image_to_ref_median_rank".
func officialName(s string) string {
	s = strings.TrimPrefix(s, "Real2Sketch_")
	reverse := strings.HasPrefix(s, "image_to_ref_")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "image_to_ref_"), "ref_to_image_")
	if s = strings.ReplaceAll(s, "_", " "); reverse {
		s = reversePrefix + s
	}
	return s
}

func compareAll(t *testing.T, what string, m []Measure, want map[string]float64) {
	t.Helper()
	if len(want) == 0 {
		t.Errorf("%s: no numbers", what)
	}
	for name, v := range want {
		same(t, what+" "+name, value(t, m, officialName(name)), v)
	}
}

// labelled makes a task from labels alone.
func labelled(name string, queries, targets []int) *Task {
	task := &Task{Name: name, Gallery: make([]Image, len(targets))}
	right := map[int][]int{}
	for i, l := range targets {
		right[l] = append(right[l], i)
	}
	for _, l := range queries {
		task.Queries = append(task.Queries, Query{Exclude: -1, Targets: right[l]})
	}
	return task
}

func TestGoldenDomain(t *testing.T) {
	d, err := LoadDomain(filepath.Join(pic2word(t), "data"), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		E2E  map[string]map[string]map[string]float64
		Feat map[string]map[string]float64
	}
	golden.JSON(t, filepath.Join(pic2word(t), "imgnet.json"), &want)
	rec := record(t, "pic2word", "imgnet.safetensors")
	gallery, dim := rec.floats("target_features")
	big, _ := rec.floats("feat.target_features")
	for i := range d.Tasks {
		task := &d.Tasks[i]
		byLabel := labelled(task.Name, rec.labels(task.Name+".query_labels"), rec.labels("target_labels"))
		for q := range task.Queries {
			if !slices.Equal(task.Queries[q].Targets, byLabel.Queries[q].Targets) {
				t.Fatalf("%s: query %d has targets %v, want %v", task.Name, q, task.Queries[q].Targets, byLabel.Queries[q].Targets)
			}
		}
		for _, method := range slices.Sorted(maps.Keys(want.E2E[task.Name])) {
			queries, _ := rec.floats(task.Name + "." + method)
			compareAll(t, task.Name+" "+method, rankFeatures(t, d, task, gallery, queries, dim).Measures, want.E2E[task.Name][method])
		}
		queries, _ := rec.floats("feat." + task.Name + ".query")
		feat := labelled(task.Name, rec.labels("feat."+task.Name+".query_labels"), rec.labels("feat.target_labels"))
		compareAll(t, "feat "+task.Name, rankFeatures(t, d, feat, big, queries, dim).Measures, want.Feat[task.Name])
	}
}

// compareObjects compares the numbers of recorded queries in both directions. Pic2Word's sort is not stable, and equal texts have equal
// scores: a number that differs must lie between what the best and the worst order of equal scores give.
func compareObjects(t *testing.T, what string, d *Dataset, task *Task, gallery, queries []float32, dim int, want map[string]float64) {
	t.Helper()
	tr := rankFeatures(t, d, task, gallery, queries, dim)
	gallery = units(gallery, dim)
	more, err := reverseMeasures(t.Context(), cpuDevice(t), task, gallery, queries, dim)
	if err != nil {
		t.Fatal(err)
	}
	measures := append(tr.Measures, more...)
	best, worst := tieBounds(t, gallery, queries, dim)
	reverseBest, reverseWorst := tieBounds(t, queries, gallery, dim)
	if len(want) == 0 {
		t.Errorf("%s: no numbers", what)
	}
	for name, v := range want {
		name = officialName(name)
		got := value(t, measures, name)
		b, w, forward := best, worst, name
		if s, ok := strings.CutPrefix(name, reversePrefix); ok {
			b, w, forward = reverseBest, reverseWorst, s
		}
		low, high := value(t, b, forward), value(t, w, forward)
		if low, high = min(low, high), max(low, high); got < low-metricTolerance || got > high+metricTolerance {
			t.Errorf("%s %s: %v is not within %v to %v", what, name, got, low, high)
		} else if v < low-metricTolerance || v > high+metricTolerance {
			t.Errorf("%s %s: %v, want %v; equal scores allow %v to %v", what, name, got, v, low, high)
		}
	}
}

// tieBounds are the numbers where the i-th row answers the i-th query, with equal scores in the best and in the worst order.
func tieBounds(t *testing.T, gallery, queries []float32, dim int) (best, worst []Measure) {
	t.Helper()
	n := len(gallery) / dim
	scores := allScores(t, gallery, queries, dim)
	lows, highs := make([]Ranking, n), make([]Ranking, n)
	for i := range n {
		row := scores[i*n : (i+1)*n]
		for _, s := range row {
			if s > row[i] {
				lows[i].Target++
			}
			if s >= row[i] {
				highs[i].Target++
			}
		}
		lows[i].Target++
	}
	return objectMeasures(nil, nil, lows), objectMeasures(nil, nil, highs)
}

type objectGolden struct {
	E2E   map[string]map[string]float64
	Feat  map[string]float64
	Picks []struct {
		Image      int64 `json:"image_id"`
		Candidates []int64
		Chosen     int64
	}
	Prompts []string `json:"prompts_composed"`
	Files   []string
}

func TestGoldenObjects(t *testing.T) {
	d, err := LoadObjects(filepath.Join(pic2word(t), "data"), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var want objectGolden
	golden.JSON(t, filepath.Join(pic2word(t), "coco.json"), &want)
	task := &d.Tasks[0]
	if !slices.Equal(imageIDs(task.Gallery), want.Files) {
		t.Fatal("the gallery differs")
	}
	for i, q := range task.Queries {
		if got := strings.Join(q.Prompts[0].Pieces, "*"); got != want.Prompts[i] {
			t.Errorf("prompt %d is %q, want %q", i, got, want.Prompts[i])
		}
	}
	rec := record(t, "pic2word", "coco.safetensors")
	gallery, dim := rec.floats("image_features")
	for method, numbers := range want.E2E {
		queries, _ := rec.floats(method)
		compareObjects(t, method, d, task, gallery, queries, dim, numbers)
	}
	gallery, dim = rec.floats("feat.image_features")
	queries, _ := rec.floats("feat.ref_features")
	feat := &Task{}
	for i := range len(gallery) / dim {
		feat.Gallery = append(feat.Gallery, Image{})
		feat.Queries = append(feat.Queries, Query{Exclude: -1, Targets: []int{i}})
	}
	compareObjects(t, "feat", d, feat, gallery, queries, dim, want.Feat)
}

// TestGoldenBoxes compares the candidates, and the list that the recorded choice gives.
func TestGoldenBoxes(t *testing.T) {
	dir := filepath.Join(pic2word(t), "data", "coco")
	var want objectGolden
	golden.JSON(t, filepath.Join(pic2word(t), "coco.json"), &want)
	var a coco.Annotations
	golden.JSON(t, filepath.Join(dir, "annotations", "instances_val2017.json"), &a)
	list, _, err := choices(dir, &a, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	boxes := map[int64][4]float64{}
	for i := range a.Annotations {
		boxes[a.Annotations[i].ID] = a.Annotations[i].Corners()
	}
	files := map[int64]string{}
	for _, m := range a.Images {
		files[m.ID] = m.File
	}
	recordedBoxes := map[string][4]float64{}
	for _, c := range list {
		recordedBoxes[c.File] = c.Box
	}
	seen := map[string]map[[4]float64]bool{}
	for seed := range uint64(64) {
		chosen := a.Choose(seed)
		if len(chosen) != len(list) {
			t.Fatalf("seed %d: %d boxes, want %d", seed, len(chosen), len(list))
		}
		for i, c := range chosen {
			if seen[c.File] == nil {
				seen[c.File] = map[[4]float64]bool{}
			}
			if seen[c.File][c.Box] = true; c.File != list[i].File {
				t.Fatalf("seed %d: row %d is %s, want %s", seed, i, c.File, list[i].File)
			}
			if c.Box == list[i].Box && (c.Class != list[i].Class || !slices.Equal(c.Others, list[i].Others)) {
				t.Errorf("%s: %q and %q, want %q and %q", c.File, c.Class, c.Others, list[i].Class, list[i].Others)
			}
		}
	}
	for _, p := range want.Picks {
		file := files[p.Image]
		if recordedBoxes[file] != boxes[p.Chosen] {
			t.Errorf("%s: the list has the box %v, the recorded choice is %v", file, recordedBoxes[file], boxes[p.Chosen])
		}
		for _, id := range p.Candidates {
			if !seen[file][boxes[id]] {
				t.Errorf("%s: candidate %d was never chosen by 64 seeds", file, id)
			}
		}
		if len(seen[file]) > len(p.Candidates) {
			t.Errorf("%s: %d candidates, want %d", file, len(seen[file]), len(p.Candidates))
		}
	}
}

// TestGoldenRegions compares the pixels of objects that are cut out with Pillow's.
func TestGoldenRegions(t *testing.T) {
	d, err := LoadObjects(filepath.Join(pic2word(t), "data"), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want, ok := record(t, "pic2word", "coco.safetensors").f.Tensor("region_u8_first4")
	if !ok {
		t.Fatal("no tensor")
	}
	size := want.Shape[1]
	pre, err := preprocess.New(preprocess.CLIP(size))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Shape[0] {
		r := d.regions[d.Tasks[0].Queries[i].Reference.ID]
		got, err := r.draw(pre, size)
		if err != nil {
			t.Fatal(err)
		}
		if n := 3 * size * size; !slices.Equal(got, want.Data[i*n:(i+1)*n]) {
			t.Errorf("region %d (%s) differs", i, d.Tasks[0].Queries[i].ID)
		}
	}
}

// TestGoldenDrawnRegions draws masked images from annotations. Those of the set went through Pillow's JPEG, quality 75 and chroma halved,
// and so do the drawn ones here, by another encoder with the same tables: what is left is rounding.
func TestGoldenDrawnRegions(t *testing.T) {
	dir := filepath.Join(pic2word(t), "data", "coco")
	d, err := LoadObjects(dir, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, _, a, err := readAnnotations(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := choices(dir, a, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		r := d.regions[c.File+"#box"]
		want, _, _, err := r.pixels()
		if err != nil {
			t.Fatal(err)
		}
		r.masked = ""
		for i := range a.Annotations {
			if a.Annotations[i].Corners() == c.Box {
				r.object = &a.Annotations[i]
			}
		}
		got, w, h, err := r.pixels()
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for i, v := range throughJPEG(t, got, w, h) {
			sum += math.Abs(float64(v) - float64(want[i]))
		}
		if mean := sum / float64(len(want)); mean > 1 {
			t.Errorf("%s: the pixels differ by %.2f on average", c.File, mean)
		}
	}
}

// throughJPEG encodes and decodes an image.
func throughJPEG(t *testing.T, rgb []byte, w, h int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		copy(m.Pix[4*i:], rgb[3*i:3*i+3])
		m.Pix[4*i+3] = 255
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 75}); err != nil {
		t.Fatal(err)
	}
	out, err := preprocess.Decode("drawn", b.Bytes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return out.RGB()
}

// goldenEngine is the set's model with a textual inversion network.
func goldenEngine(t *testing.T, network string, pad preprocess.Pad) *Evaluator {
	t.Helper()
	dir := golden.Dir(t, "cir")
	var cfg struct {
		TextHeads   int `json:"transformer_heads"`
		VisionHeads int `json:"vision_heads"`
	}
	golden.JSON(t, filepath.Join(dir, "clip", "config.json"), &cfg)
	dev := cpuDevice(t)
	e, err := search.OpenEngine(dev, search.EngineOptions{
		Model: cirmodel.Open(t).Path, Phi: filepath.Join(dir, network), Pad: pad, Order: preprocess.OpenAI, Rules: tokenizer.OpenAI,
		Weights: weights.Options{VisionHeads: cfg.VisionHeads, TextHeads: cfg.TextHeads, Activation: weights.QuickGELU},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return &Evaluator{Engine: e, Device: dev, Threads: 2, CacheDir: t.TempDir()}
}

// rankSlack is how far scores may move between two implementations of the model.
const rankSlack = 1e-5

// sameTargets compares the ranks of targets from images with the recorded scores: they may differ by the rows whose scores lie within
// the slack of the target's.
func sameTargets(t *testing.T, what string, o Order, task *Task, tr TaskResult, scores []float32, n int) {
	t.Helper()
	for i, r := range tr.Rankings {
		q := &task.Queries[i]
		if len(q.Targets) == 0 {
			continue
		}
		row := scores[i*n : (i+1)*n]
		target := float64(row[q.Targets[0]])
		low, high := 1, 1
		for j, s := range row {
			if d := float64(s) - target; j == q.Exclude || j == q.Targets[0] {
				continue
			} else if d > rankSlack {
				low, high = low+1, high+1
			} else if d >= -rankSlack {
				high++
			}
		}
		if r.Target < low || r.Target > high {
			t.Errorf("%s query %d: target at %d, want %d to %d", what, i, r.Target, low, high)
		}
	}
}

// similarities turns distances around.
func similarities(x []float32) []float32 {
	x = slices.Clone(x)
	for i := range x {
		x[i] = 1 - x[i]
	}
	return x
}

func TestGoldenImages(t *testing.T) {
	e := goldenEngine(t, filepath.Join("phi", "init.safetensors"), preprocess.TargetPad)
	phi, err := ParseMethods("phi")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, split string
		load        func(string, LoadOptions) (*Dataset, error)
		scores      func(rec recorded, task string) ([]float32, int)
	}{
		{"FashionIQ", "", LoadFashionIQ, func(r recorded, task string) ([]float32, int) {
			x, n := r.floats("e2e." + task + ".distances")
			return similarities(x), n
		}},
		{"CIRR", "", LoadCIRR, func(r recorded, _ string) ([]float32, int) {
			x, n := r.floats("e2e.distances")
			return similarities(x), n
		}},
		{"CIRCO", "", LoadCIRCO, func(r recorded, _ string) ([]float32, int) { return r.floats("e2e.similarity") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := c.load(goldenData(t, c.name), seTemplate(t))
			if err != nil {
				t.Fatal(err)
			}
			r, err := e.Run(t.Context(), d, phi)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Problems) > 0 || r.Ranked != r.Total {
				t.Fatalf("%d of %d queries, problems %v", r.Ranked, r.Total, r.Problems)
			}
			rec := record(t, "metrics", strings.ToLower(c.name)+".safetensors")
			for i := range d.Tasks {
				scores, n := c.scores(rec, d.Tasks[i].Name)
				sameTargets(t, fmt.Sprintf("%s %s", c.name, d.Tasks[i].Name), d.Order, &d.Tasks[i], r.Methods[0].Tasks[i], scores, n)
			}
		})
	}
}

func TestGoldenPic2WordImages(t *testing.T) {
	e := goldenEngine(t, filepath.Join("pic2word", "im2text.safetensors"), preprocess.PadNone)
	methods := map[string]string{"phi": "composed", "sum": "mixture", "text": "text", "image": "image"}
	for _, c := range []struct {
		file, features string
		load           func(string, LoadOptions) (*Dataset, error)
	}{{"imgnet", "target_features", LoadDomain}, {"coco", "image_features", LoadObjects}} {
		t.Run(c.file, func(t *testing.T) {
			d, err := c.load(filepath.Join(pic2word(t), "data"), LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := e.Run(t.Context(), d, Methods())
			if err != nil {
				t.Fatal(err)
			}
			rec := record(t, "pic2word", c.file+".safetensors")
			gallery, dim := rec.floats(c.features)
			for _, m := range r.Methods {
				for i := range d.Tasks {
					name := strings.TrimPrefix(d.Tasks[i].Name+"."+methods[m.Method.Name], ".")
					queries, _ := rec.floats(name)
					scores := allScores(t, units(gallery, dim), queries, dim)
					sameTargets(t, name, d.Order, &d.Tasks[i], m.Tasks[i], scores, len(gallery)/dim)
				}
			}
		})
	}
}

func allScores(t *testing.T, gallery, queries []float32, dim int) (out []float32) {
	t.Helper()
	s, err := NewScorer(cpuDevice(t), gallery, dim)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Each(t.Context(), queries, func(_ int, x []float32) error { out = append(out, x...); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}
