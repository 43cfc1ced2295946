package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"isearle/clipnet/tokenizer"
	"isearle/runtime"
	"isearle/runtime/cpu"
	"isearle/search"
	"isearle/weights/golden"
	"isearle/weights/safetensors"
)

// recorded is a file of recorded tensors.
type recorded struct {
	t *testing.T
	f *safetensors.File
}

func record(t *testing.T, path ...string) recorded {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(append([]string{golden.Dir(t, "cir")}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return recorded{t, f}
}

func (r recorded) floats(name string) (x []float32, cols int) {
	r.t.Helper()
	m, ok := r.f.Tensor(name)
	if !ok || len(m.Shape) != 2 {
		r.t.Fatalf("no matrix %q", name)
	}
	x, err := m.Float32s(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return x, m.Shape[1]
}

// ints reads rows of I32.
func (r recorded) ints(name string) (rows [][]int) {
	r.t.Helper()
	m, ok := r.f.Tensor(name)
	if !ok || len(m.Shape) != 2 || m.DType != safetensors.I32 {
		r.t.Fatalf("no matrix of I32 %q", name)
	}
	for i := range m.Shape[0] {
		row := make([]int, m.Shape[1])
		for j := range row {
			row[j] = int(int32(leUint32(m.Data[4*(i*m.Shape[1]+j):])))
		}
		rows = append(rows, row)
	}
	return rows
}

func leUint32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func (r recorded) labels(name string) (out []int) {
	r.t.Helper()
	m, ok := r.f.Tensor(name)
	if !ok || m.DType != safetensors.I64 {
		r.t.Fatalf("no I64 %q", name)
	}
	for i := 0; i < len(m.Data); i += 8 {
		out = append(out, int(int64(leUint32(m.Data[i:]))|int64(leUint32(m.Data[i+4:]))<<32))
	}
	return out
}

func cpuDevice(t testing.TB) runtime.Device {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// units scales rows to length one.
func units(x []float32, dim int) []float32 {
	x = slices.Clone(x)
	for i := 0; i < len(x); i += dim {
		search.Unit(x[i : i+dim])
	}
	return x
}

// rankFeatures ranks a task from features.
func rankFeatures(t *testing.T, d *Dataset, task *Task, gallery, queries []float32, dim int) TaskResult {
	t.Helper()
	s, err := NewScorer(cpuDevice(t), units(gallery, dim), dim)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tr, err := d.rank(t.Context(), task, s, queries)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// value finds a measure.
func value(t *testing.T, m []Measure, name string) float64 {
	t.Helper()
	for _, x := range m {
		if x.Name == name {
			return x.Value()
		}
	}
	t.Fatalf("no measure %q", name)
	return 0
}

const metricTolerance = 1e-6

func same(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= metricTolerance) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// rounding is how far two f32 products of unit features may differ by the order of their sums.
const rounding = 1e-6

// sameOrder compares a ranking from features with a recorded one: rows may change places where their recorded scores differ by no more
// than the rounding of a product.
func sameOrder(t *testing.T, what string, got, want []int, score func(row int) float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] && math.Abs(float64(score(got[i])-score(want[i]))) > rounding {
			t.Fatalf("%s: rank %d is row %d (%v), want %d (%v)", what, i+1, got[i], score(got[i]), want[i], score(want[i]))
		}
	}
}

// exactOrder ranks recorded scores, the largest first, and compares with the recorded order: row by row, or where stable is false, as
// the reference's sort is not, up to rows of equal scores.
func exactOrder(t *testing.T, what string, scores []float32, q *Query, want []int, stable bool) {
	t.Helper()
	for i, row := range Rank(scores, BySimilarity, q, len(want)).Top {
		if row != want[i] && (stable || scores[row] != scores[want[i]]) {
			t.Fatalf("%s: rank %d of the recorded scores is row %d (%v), want %d (%v)", what, i+1, row, scores[row], want[i], scores[want[i]])
		}
	}
}

// negated turns distances into scores that sort the same way.
func negated(x []float32) []float32 {
	x = slices.Clone(x)
	for i := range x {
		x[i] = -x[i]
	}
	return x
}

func seTemplate(t testing.TB) LoadOptions {
	t.Helper()
	tp, err := tokenizer.ParseTemplate(search.DefaultTemplate)
	if err != nil {
		t.Fatal(err)
	}
	return LoadOptions{Template: tp, TemplateText: search.DefaultTemplate}
}

func goldenData(t testing.TB, name string) string {
	return filepath.Join(golden.Dir(t, "cir"), "data", name)
}

func imageIDs(m []Image) (out []string) {
	for _, x := range m {
		out = append(out, x.ID)
	}
	return out
}

func targetIDs(task *Task) (out []string) {
	for _, q := range task.Queries {
		out = append(out, task.Gallery[q.Targets[0]].ID)
	}
	return out
}

func TestGoldenFashionIQ(t *testing.T) {
	d, err := LoadFashionIQ(goldenData(t, "FashionIQ"), seTemplate(t))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Names   map[string][]string `json:"index_names"`
		Targets map[string][]string
		Metrics map[string]map[string]json.RawMessage
	}
	golden.JSON(t, filepath.Join(golden.Dir(t, "cir"), "metrics", "fashioniq.json"), &want)
	rec := record(t, "metrics", "fashioniq.safetensors")
	d.Depth = math.MaxInt
	for mode, metrics := range want.Metrics {
		var tasks []TaskResult
		for i := range d.Tasks {
			task := &d.Tasks[i]
			if !slices.Equal(imageIDs(task.Gallery), want.Names[task.Name]) || !slices.Equal(targetIDs(task), want.Targets[task.Name]) {
				t.Fatalf("%s: the gallery or the targets differ", task.Name)
			}
			prefix := mode + "." + task.Name + "."
			gallery, dim := rec.floats(prefix + "index_features")
			queries, _ := rec.floats(prefix + "predicted_features")
			distances, n := rec.floats(prefix + "distances")
			tr := rankFeatures(t, d, task, gallery, queries, dim)
			tasks = append(tasks, tr)
			for q, order := range rec.ints(prefix + "order") {
				what, row := fmt.Sprintf("%squery %d", prefix, q), func(r int) float32 { return distances[q*n+r] }
				sameOrder(t, what, tr.Rankings[q].Top, order, row)
				exactOrder(t, what, negated(distances[q*n:(q+1)*n]), &task.Queries[q], order, mode == "e2e")
			}
			var m struct {
				Stable map[string]float64 `json:"stable_ties"`
			}
			if err := json.Unmarshal(metrics[task.Name], &m); err != nil || len(m.Stable) == 0 {
				t.Fatal(err)
			}
			for name, v := range m.Stable {
				same(t, prefix+name, value(t, tr.Measures, "R@"+strings.TrimPrefix(name, "fiq_recall_at")), v/100)
			}
		}
		means := metrics0(d, tasks)
		for name, raw := range metrics {
			k, ok := strings.CutPrefix(name, "average_fiq_recall_at")
			if !ok {
				continue
			}
			v, err := strconv.ParseFloat(string(raw), 64)
			if err != nil {
				t.Fatal(err)
			}
			same(t, mode+" "+name, means["R@"+k], v/100)
		}
	}
}

// metrics0 are the numbers over all tasks by name.
func metrics0(d *Dataset, tasks []TaskResult) map[string]float64 {
	out := map[string]float64{}
	for _, m := range metrics(d, tasks, 0, 0) {
		if m.Task == "" {
			out[m.Name] = m.Value
		}
	}
	return out
}

// cirrNames maps the reference's names of numbers.
var cirrNames = strings.NewReplacer("cirr_recall_at", "R@", "cirr_group_recall_at", "Rs@")

func TestGoldenCIRR(t *testing.T) {
	d, err := LoadCIRR(goldenData(t, "CIRR"), seTemplate(t))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Names      []string           `json:"index_names"`
		Targets    []string           `json:"targets"`
		References []string           `json:"references"`
		Subset     map[string][][]any `json:"subset_ranked"`
		Ranks      map[string][]int   `json:"target_rank_1based"`
		Metrics    map[string]struct {
			Stable map[string]float64 `json:"stable_ties"`
		}
	}
	golden.JSON(t, filepath.Join(golden.Dir(t, "cir"), "metrics", "cirr.json"), &want)
	rec := record(t, "metrics", "cirr.safetensors")
	task := &d.Tasks[0]
	if !slices.Equal(imageIDs(task.Gallery), want.Names) || !slices.Equal(targetIDs(task), want.Targets) {
		t.Fatal("the gallery or the targets differ")
	}
	d.Depth = math.MaxInt
	for mode, metrics := range want.Metrics {
		gallery, dim := rec.floats(mode + ".index_features")
		queries, _ := rec.floats(mode + ".predicted_features")
		distances, n := rec.floats(mode + ".distances")
		tr := rankFeatures(t, d, task, gallery, queries, dim)
		for q, order := range rec.ints(mode + ".order") {
			what := fmt.Sprintf("%s query %d", mode, q)
			if task.Queries[q].Reference.ID != want.References[q] {
				t.Fatalf("%s: reference %s, want %s", what, task.Queries[q].Reference.ID, want.References[q])
			}
			exclude := task.Queries[q].Exclude
			order = slices.DeleteFunc(order, func(r int) bool { return r == exclude })
			row := func(r int) float32 { return distances[q*n+r] }
			sameOrder(t, what, tr.Rankings[q].Top, order, row)
			exactOrder(t, what, negated(distances[q*n:(q+1)*n]), &task.Queries[q], order, mode == "e2e")
			target := task.Queries[q].Targets[0]
			rank, recordedRank := want.Ranks[mode][q], Rank(negated(distances[q*n:(q+1)*n]), BySimilarity, &task.Queries[q], 0)
			if recordedRank.Target != rank && mode == "e2e" {
				t.Errorf("%s: target at %d, want %d", what, recordedRank.Target, rank)
			} else if row(order[rank-1]) != row(target) {
				t.Errorf("%s: recorded rank %d is not the target's", what, rank)
			}
			for i, name := range want.Subset[mode][q] {
				want := slices.Index(want.Names, name.(string))
				if got := recordedRank.Group[i]; row(got) != row(want) || mode == "e2e" && got != want {
					t.Errorf("%s: group rank %d is %d, want %d", what, i+1, got, want)
				}
			}
		}
		for name, v := range metrics.Stable {
			same(t, mode+" "+name, value(t, tr.Measures, cirrNames.Replace(name)), v/100)
		}
	}
}

func TestGoldenCIRRSubmission(t *testing.T) {
	o := seTemplate(t)
	o.Split = "test1"
	d, err := LoadCIRR(goldenData(t, "CIRR"), o)
	if err != nil {
		t.Fatal(err)
	}
	rec := record(t, "metrics", "cirr.safetensors")
	gallery, dim := rec.floats("test.index_features")
	queries, _ := rec.floats("test.predicted_features")
	task := &d.Tasks[0]
	depth := d.Depth
	d.Depth = math.MaxInt
	tr := rankFeatures(t, d, task, gallery, queries, dim)
	distances, n := rec.floats("test.distances")
	for q, order := range rec.ints("test.order") {
		exclude := task.Queries[q].Exclude
		order = slices.DeleteFunc(order, func(r int) bool { return r == exclude })
		what, row := fmt.Sprintf("query %d", q), func(r int) float32 { return distances[q*n+r] }
		sameOrder(t, what, tr.Rankings[q].Top, order, row)
		exactOrder(t, what, negated(distances[q*n:(q+1)*n]), &task.Queries[q], order, true)
	}
	d.Depth = depth
	tr = rankFeatures(t, d, task, gallery, queries, dim)
	if len(tr.Measures) != 0 {
		t.Error("a split without targets has measures")
	}
	path := filepath.Join(t.TempDir(), "oracle.json")
	r := &Result{Dataset: d}
	files, err := r.WriteSubmission(path, &MethodResult{Tasks: []TaskResult{tr}})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		sameJSON(t, file, filepath.Join(golden.Dir(t, "cir"), "submissions", "cirr", filepath.Base(file)))
	}
}

func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var a, b any
	golden.JSON(t, got, &a)
	golden.JSON(t, want, &b)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s differs from %s", got, want)
	}
}

// serverNumbers are what CIRCO's server gives.
type serverNumbers struct {
	Map, Recall map[string]float64
	Semantic    map[string]float64 `json:"semantic_map_at10"`
}

func compareServer(t *testing.T, what string, m []Measure, want serverNumbers) {
	t.Helper()
	if len(want.Map) == 0 || len(want.Recall) == 0 || len(want.Semantic) == 0 {
		t.Fatalf("%s: no numbers", what)
	}
	for k, v := range want.Map {
		same(t, what+" mAP@"+k, value(t, m, "mAP@"+k), v)
	}
	for k, v := range want.Recall {
		same(t, what+" R@"+k, value(t, m, "R@"+k), v)
	}
	for aspect, v := range want.Semantic {
		same(t, what+" "+aspect, value(t, m, "mAP@10 "+aspect), v)
	}
}

func TestGoldenCIRCO(t *testing.T) {
	d, err := LoadCIRCO(goldenData(t, "CIRCO"), seTemplate(t))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Names   []string   `json:"index_names"`
		Targets []string   `json:"targets"`
		Right   [][]string `json:"gt_img_ids"`
		Metrics map[string]struct {
			Stable map[string]float64 `json:"stable_ties"`
			Server serverNumbers      `json:"server_stable_ties"`
			// Of the official order, which predictions have.
			Map      map[string]float64 `json:"server_map"`
			Recall   map[string]float64 `json:"server_recall"`
			Semantic map[string]float64 `json:"server_semantic_map_at10"`
		}
		AP map[string]map[string][]float64 `json:"ap_per_query"`
		// Ties are the queries whose official order is not the stable one.
		Ties map[string][]int `json:"order_depends_on_ties"`
	}
	golden.JSON(t, filepath.Join(golden.Dir(t, "cir"), "metrics", "circo.json"), &want)
	rec := record(t, "metrics", "circo.safetensors")
	task := &d.Tasks[0]
	if !slices.Equal(imageIDs(task.Gallery), want.Names) || !slices.Equal(targetIDs(task), want.Targets) {
		t.Fatal("the gallery or the targets differ")
	}
	for mode, metrics := range want.Metrics {
		gallery, dim := rec.floats(mode + ".index_features")
		queries, _ := rec.floats(mode + ".predicted_features")
		similarity, n := rec.floats(mode + ".similarity")
		tr := rankFeatures(t, d, task, gallery, queries, dim)
		official := rec.ints(mode + ".top50")
		for q, order := range rec.ints(mode + ".top50_stable") {
			row := func(r int) float32 { return similarity[q*n+r] }
			what, scores := fmt.Sprintf("%s query %d", mode, q), similarity[q*n:(q+1)*n]
			sameOrder(t, what, tr.Rankings[q].Top, order, row)
			exactOrder(t, what, scores, &task.Queries[q], order, true)
			exactOrder(t, what+", official order", scores, &task.Queries[q], official[q], mode == "e2e")
			if slices.Contains(want.Ties[mode], q) {
				continue
			}
			for k, ap := range want.AP[mode] {
				k, _ := strconv.Atoi(k)
				same(t, fmt.Sprintf("%s AP@%d of query %d", mode, k, q), AveragePrecision(tr.Rankings[q].Hits, tr.Rankings[q].Right, k), ap[q])
			}
		}
		for name, v := range metrics.Stable {
			name = strings.NewReplacer("circo_map_at", "mAP@", "circo_recall_at", "R@").Replace(name)
			same(t, mode+" "+name, value(t, tr.Measures, name), v/100)
		}
		compareServer(t, mode+" server", tr.Measures, metrics.Server)
		file := filepath.Join(golden.Dir(t, "cir"), "submissions", "circo", "val_predictions_"+mode+".json")
		predictions, err := ReadPredictions(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Judge(file, predictions, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		judged := r.Methods[0].Tasks[0]
		for q, order := range official {
			if !slices.Equal(judged.Rankings[q].Top, order) {
				t.Errorf("%s: predictions of query %d are %v, want %v", mode, q, judged.Rankings[q].Top, order)
			}
		}
		compareServer(t, mode+" predictions", judged.Measures, serverNumbers{metrics.Map, metrics.Recall, metrics.Semantic})
	}
}

func TestGoldenCIRCOSubmission(t *testing.T) {
	o := seTemplate(t)
	o.Split = "test"
	d, err := LoadCIRCO(goldenData(t, "CIRCO"), o)
	if err != nil {
		t.Fatal(err)
	}
	rec := record(t, "metrics", "circo.safetensors")
	gallery, dim := rec.floats("test.index_features")
	queries, _ := rec.floats("test.predicted_features")
	tr := rankFeatures(t, d, &d.Tasks[0], gallery, queries, dim)
	for q, order := range rec.ints("test.top50") {
		if !slices.Equal(tr.Rankings[q].Top, order) {
			t.Errorf("query %d: %v, want %v", q, tr.Rankings[q].Top, order)
		}
	}
	path := filepath.Join(t.TempDir(), "circo.json")
	if _, err := (&Result{Dataset: d}).WriteSubmission(path, &MethodResult{Tasks: []TaskResult{tr}}); err != nil {
		t.Fatal(err)
	}
	sameJSON(t, path, filepath.Join(golden.Dir(t, "cir"), "submissions", "circo", "oracle.json"))
}
