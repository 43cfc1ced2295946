package eval

import (
	"fmt"
	"html/template"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"isearle/weights/atomicfile"
)

// Files of a report.
const (
	reportPage     = "report.html"
	reportRankings = "rankings.jsonl"
	pictureFolder  = "pictures"
)

// WriteReport writes a folder: report.html with pictures, metrics.json, metrics.csv, metrics.md, rankings.jsonl and the plots as SVG.
func (r *Result) WriteReport(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, pictureFolder), 0o777); err != nil {
		return fmt.Errorf("eval: write report: %w", err)
	}
	files := map[string]func(io.Writer) error{
		"metrics.json": r.WriteJSON, "metrics.csv": r.WriteCSV, "metrics.md": r.WriteMarkdown, reportRankings: r.WriteRankings,
		reportPage: func(w io.Writer) error { return r.writePage(w, newAlbum(dir)) },
	}
	for _, p := range r.Plots() {
		files[p.File] = func(w io.Writer) error { _, err := io.WriteString(w, p.SVG); return err }
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := atomicfile.Write(filepath.Join(dir, name), files[name]); err != nil {
			return fmt.Errorf("eval: write report: %w", err)
		}
	}
	return nil
}

// page is what the template shows.
type page struct {
	Title    string
	Facts    [][2]string
	Tables   []Table
	Plots    []template.HTML
	Problems []Problem
	More     int
	Sections []section
}

// section is a group of queries with their answers.
type section struct {
	Title, Note string
	Cases       []shownCase
}

type shownCase struct {
	ID, Caption, Reference string // Reference and the others are pictures' files
	ReferenceID            string
	Value                  string
	Aspects                []string
	Right                  []shown
	Answers                []shown
}

type shown struct {
	ID, Picture string
	Rank        int
	Score       float32
	Hit         bool
}

const (
	// shownCases is how many queries each section shows, shownAnswers how many of their answers, shownRight of the right ones.
	shownCases   = 6
	shownAnswers = 8
	shownRight   = 3
	// shownProblems is how many missing or broken images the page names.
	shownProblems = 50
)

// writePage writes the HTML page.
func (r *Result) writePage(w io.Writer, a *album) error {
	p := page{Title: r.Dataset.Title + ", split " + r.Dataset.Split, Facts: r.Facts(), Tables: r.Tables()}
	for _, plot := range r.Plots() {
		p.Plots = append(p.Plots, template.HTML(plot.SVG)) // made by this package, texts escaped
	}
	p.Problems = r.Problems[:min(shownProblems, len(r.Problems))]
	p.More = len(r.Problems) - len(p.Problems)
	p.Sections = r.sections(a)
	return pageTemplate.Execute(w, p)
}

// sections choose queries of the first method: the best and the worst answered, and some from all, every n-th.
func (r *Result) sections(a *album) (out []section) {
	m := &r.Methods[0]
	type place struct {
		task, i int
		value   float64
	}
	var all []place
	judged := true
	for ti, t := range m.Tasks {
		judged = judged && r.Dataset.judged(&r.Dataset.Tasks[ti])
		for i := range t.Rankings {
			all = append(all, place{ti, i, merit(r.Dataset, &t.Rankings[i])})
		}
	}
	add := func(title, note string, list []place) {
		s := section{Title: title, Note: note}
		for _, p := range list[:min(shownCases, len(list))] {
			s.Cases = append(s.Cases, r.shownCase(a, &r.Dataset.Tasks[p.task], m.Tasks[p.task].Queries[p.i], &m.Tasks[p.task].Rankings[p.i], judged))
		}
		out = append(out, s)
	}
	var some []place
	for k := range min(shownCases, len(all)) {
		some = append(some, all[k*len(all)/min(shownCases, len(all))])
	}
	add("Queries", "Evenly from the list, answered by method "+m.Method.Name+".", some)
	if judged {
		slices.SortStableFunc(all, func(x, y place) int {
			switch {
			case x.value > y.value:
				return -1
			case x.value < y.value:
				return 1
			}
			return 0
		})
		add("Best", "The queries answered best, of equal ones the first.", all)
		slices.Reverse(all)
		add("Worst", "The queries answered worst.", all)
	}
	return out
}

// merit orders queries by how well they are answered.
func merit(d *Dataset, x *Ranking) float64 {
	switch d.Name {
	case "circo":
		return AveragePrecision(x.Hits, x.Right, d.Depth)
	case "domain":
		return AveragePrecision(x.Hits, x.Right, 50)
	}
	return 1 / float64(max(x.Target, 1))
}

func (r *Result) shownCase(a *album, t *Task, query int, x *Ranking, judged bool) shownCase {
	q := &t.Queries[query]
	c := shownCase{ID: q.ID, Caption: q.Caption, Aspects: q.Aspects, ReferenceID: q.Reference.ID, Reference: a.picture(q.Reference)}
	if judged && x.Target > 0 {
		c.Value = fmt.Sprintf("target at rank %d", x.Target)
		if len(q.Targets) > 1 {
			c.Value = fmt.Sprintf("AP@%d %.1f %%, %d right answers", r.Dataset.Depth, 100*AveragePrecision(x.Hits, x.Right, r.Dataset.Depth), x.Right)
		}
	}
	for _, row := range q.Targets[:min(shownRight, len(q.Targets))] {
		c.Right = append(c.Right, shown{ID: t.Gallery[row].ID, Picture: a.picture(t.Gallery[row])})
	}
	for i, row := range x.Top[:min(shownAnswers, len(x.Top))] {
		c.Answers = append(c.Answers, shown{t.Gallery[row].ID, a.picture(t.Gallery[row]), i + 1, x.Scores[i], x.Hits[i]})
	}
	return c
}

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<style>
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1440px;padding:0 1em;color:#1b1b1b;background:#fafafa}
h1{font-size:1.6em}h2{font-size:1.2em;margin:1.8em 0 .5em}
.scroll{overflow-x:auto}table{border-collapse:collapse;background:#fff}
td,th{border:1px solid #ddd;padding:.25em .6em;text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}th{background:#eee}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em}dt{color:#666}dd{margin:0}
.plots{display:flex;flex-wrap:wrap;gap:1em}.plots svg{max-width:100%;height:auto;border:1px solid #ddd}
.case{background:#fff;border:1px solid #ddd;border-radius:6px;padding:.7em;margin:.7em 0}
.row{display:flex;gap:.5em;flex-wrap:wrap;align-items:flex-start}
figure{margin:0;width:106px;font-size:11px;overflow-wrap:anywhere}figure img{width:100px;height:100px;object-fit:contain;border:3px solid #ccc;background:#fff;display:block}
figure.hit img{border-color:#009e73}figure.ref img{border-color:#0072b2}figure.right img{border-color:#cc79a7}
.hit figcaption::before{content:"✓ ";color:#009e73;font-weight:bold}
.gap{width:1px;align-self:stretch;background:#ddd}.note{color:#666}
</style></head><body>
<h1>{{.Title}}</h1>
<dl>{{range .Facts}}<dt>{{index . 0}}</dt><dd>{{index . 1}}</dd>{{end}}</dl>
{{range .Tables}}<h2>{{.Title}}</h2><div class="scroll"><table><tr>{{range .Header}}<th>{{.}}</th>{{end}}</tr>
{{range .Rows}}<tr>{{range .}}<td>{{.}}</td>{{end}}</tr>{{end}}</table></div>{{end}}
<h2>Plots</h2><div class="plots">{{range .Plots}}{{.}}{{end}}</div>
{{range .Sections}}<h2>{{.Title}}</h2><p class="note">{{.Note}} Reference in blue, right answers in purple, then the ranking, hits in green.</p>
{{range .Cases}}<div class="case"><div><b>{{.Caption}}</b> <span class="note">{{.ID}}{{if .Value}}, {{.Value}}{{end}}{{range .Aspects}}, {{.}}{{end}}</span></div><div class="row">
<figure class="ref"><img src="{{.Reference}}" alt="{{.ReferenceID}}" loading="lazy"><figcaption>{{.ReferenceID}}</figcaption></figure>
{{range .Right}}<figure class="right"><img src="{{.Picture}}" alt="{{.ID}}" loading="lazy"><figcaption>{{.ID}}</figcaption></figure>{{end}}<span class="gap"></span>
{{range .Answers}}<figure{{if .Hit}} class="hit"{{end}}><img src="{{.Picture}}" alt="{{.ID}}" loading="lazy"><figcaption>{{.Rank}}. {{.ID}} ({{printf "%.3f" .Score}})</figcaption></figure>{{end}}
</div></div>{{end}}{{end}}
{{if .Problems}}<h2>Missing or broken images</h2><div class="scroll"><table><tr><th>image</th><th>reason</th></tr>{{range .Problems}}<tr><td>{{.ID}}</td><td>{{.Error}}</td></tr>{{end}}</table></div>{{if .More}}<p>and {{.More}} more, in metrics.json</p>{{end}}{{end}}
</body></html>
`))
