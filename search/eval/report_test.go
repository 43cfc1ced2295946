package eval

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isearle/clipnet/preprocess"
	"isearle/search"
)

// madeUp is a result with texts that have to be escaped and a task without numbers.
func madeUp(t *testing.T) *Result {
	t.Helper()
	dir := files{"a.png": pixel, "b.png": pixel}.write(t)
	d := &Dataset{Name: "circo", Title: `CIRCO <i>&"`, Split: "val", Depth: 50, measures: circoMeasures, Prompt: "p|q"}
	task := Task{Gallery: []Image{{`<a>`, filepath.Join(dir, "a.png")}, {"b", filepath.Join(dir, "b.png")}}}
	task.Queries = []Query{{ID: "1", Reference: task.Gallery[0], Caption: `<script>alert("x")</script>`, Exclude: -1, Targets: []int{1}, Aspects: []string{"negation"}}}
	d.Tasks = []Task{task}
	r := &Result{Dataset: d, Model: search.Model{Name: "m"}, Meta: search.Meta{Size: 64, Pad: preprocess.TargetPad.String()}, Total: 2, Ranked: 1, Resamples: 10,
		Problems: []Problem{{"c<", "c.png", "broken > whole"}}}
	for _, m := range Methods()[:2] {
		ranking := Rank([]float32{.5, .75}, BySimilarity, &task.Queries[0], d.Depth)
		tr := TaskResult{Queries: []int{0}, Rankings: []Ranking{ranking}}
		tr.Measures = d.measures(&task, tr.Queries, tr.Rankings)
		r.Methods = append(r.Methods, MethodResult{Method: m, Tasks: []TaskResult{tr}})
	}
	r.summarise()
	return r
}

func TestReport(t *testing.T) {
	r, dir := madeUp(t), t.TempDir()
	if err := r.WriteReport(dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	page := read("report.html")
	for _, bad := range []string{"<script", "<i>", "<a>", "c<<"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, want := range []string{"&lt;script&gt;", `class="hit"`, "pictures/0000.png", "1 of 2", "broken &gt; whole", "SEARLE-XL", recalled, "<svg"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if md := read("metrics.md"); !strings.Contains(md, "| phi | 100.00 (100.00 to 100.00) |") || !strings.Contains(md, "| phi - sum | +0.00 (p 1) |") {
		t.Errorf("metrics.md:\n%s", md)
	}
	rows, err := csv.NewReader(strings.NewReader(read("metrics.csv"))).ReadAll()
	if err != nil || len(rows) != 1+2*len(r.Methods[0].Metrics) || rows[1][4] != "mAP@5" || rows[1][5] != "1" {
		t.Errorf("metrics.csv: %d rows, %v", len(rows), err)
	}
	var numbers jsonResult
	if err := json.Unmarshal([]byte(read("metrics.json")), &numbers); err != nil || len(numbers.Methods) != 2 || *numbers.Methods[0].Metrics[0].Value != 1 {
		t.Errorf("metrics.json: %v", err)
	}
	lines := bufio.NewScanner(strings.NewReader(read("rankings.jsonl")))
	n := 0
	for lines.Scan() {
		var line jsonRanking
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Target != 1 || line.Top[0] != "b" || line.Scores[1] != .5 {
			t.Errorf("rankings.jsonl: %+v: %v", line, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("rankings.jsonl has %d lines", n)
	}
	for _, p := range r.Plots() {
		name, svg := p.File, p.SVG
		if read(name) != svg {
			t.Errorf("%s differs", name)
		}
		for d := xml.NewDecoder(strings.NewReader(svg)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if strings.Contains(svg, "NaN") {
			t.Errorf("%s has NaN", name)
		}
	}
}

// TestReportWithoutAnswers writes a split whose right answers are hidden.
func TestReportWithoutAnswers(t *testing.T) {
	r := madeUp(t)
	r.Resamples, r.Tests = 0, nil
	r.Dataset.Tasks[0].Queries[0].Targets = nil
	for i := range r.Methods {
		r.Methods[i].Metrics, r.Methods[i].Tasks[0].Measures = nil, nil
		r.Methods[i].Tasks[0].Rankings[0].Target = 0
	}
	dir := t.TempDir()
	if err := r.WriteReport(dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil || strings.Contains(string(page), "Worst") {
		t.Errorf("the page has a worst case: %v", err)
	}
}

func TestMetricText(t *testing.T) {
	for _, c := range []struct {
		m              Metric
		text, interval string
	}{
		{Metric{Value: .12345, Low: .1, High: .2}, "12.35", "10.00 to 20.00"},
		{Metric{Value: 3, Rank: true, Low: math.NaN(), High: math.NaN()}, "3.0", ""},
		{Metric{Value: math.NaN(), Low: math.NaN()}, "-", ""},
	} {
		if c.m.text() != c.text || c.m.interval() != c.interval {
			t.Errorf("%+v: %q, %q", c.m, c.m.text(), c.m.interval())
		}
	}
}
