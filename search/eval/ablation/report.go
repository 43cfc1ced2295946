package ablation

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"

	"isearle/search"
)

// Report is what a Study found.
type Report struct {
	World    string       `json:"world"`
	Model    search.Model `json:"model"`
	Queries  int          `json:"queries"`
	Images   int          `json:"images"`
	Seeds    int          `json:"seeds"`
	Steps    int          `json:"oti_steps"`
	Sections []Section    `json:"sections"`
}

// Section answers one question.
type Section struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Note  string `json:"note"` // how it was measured
	// Claims are the comparisons that matter, for the summary: the mAP@10 of two ways, and the difference.
	Claims  []Row    `json:"claims,omitempty"`
	Tables  []Table  `json:"tables"`
	Figures []Figure `json:"-"`
	Seconds float64  `json:"seconds"` // of this run: what was kept from another took none
}

// Table is rows of numbers.
type Table struct {
	Title   string   `json:"title,omitempty"`
	Columns []string `json:"columns"`
	Rows    []Row    `json:"rows"`
}

// Row is a line of a Table.
type Row struct {
	Label string `json:"label"`
	Cells []Cell `json:"cells"`
}

// Cell is a number, perhaps with its 95 % interval. NaN stands for none.
type Cell struct {
	Value, Low, High float64
	// Percent says that the value is a fraction that is printed as a percentage; Digits are those behind the point.
	Percent bool
	Digits  int
	Sign    bool // a difference
}

// plain is a number without an interval.
func plain(v float64, digits int) Cell {
	return Cell{Value: v, Low: math.NaN(), High: math.NaN(), Digits: digits}
}

// none is an empty cell.
func none() Cell { return plain(math.NaN(), 0) }

// Summary are the sections' claims in one table.
func (r *Report) Summary() Table {
	t := Table{Columns: []string{"mAP@10 of", "is", "against", "difference"}}
	for _, s := range r.Sections {
		t.Rows = append(t.Rows, s.Claims...)
	}
	return t
}

func (c Cell) number(v float64) string {
	if c.Percent {
		v *= 100
	}
	s := strconv.FormatFloat(v, 'f', c.Digits, 64)
	if c.Sign && v >= 0 {
		s = "+" + s
	}
	return s
}

// String prints the number, and its interval in parentheses.
func (c Cell) String() string {
	switch {
	case math.IsNaN(c.Value):
		return "-"
	case math.IsNaN(c.Low):
		return c.number(c.Value)
	}
	return c.number(c.Value) + " (" + c.number(c.Low) + " to " + c.number(c.High) + ")"
}

// MarshalJSON leaves out what is not a number.
func (c Cell) MarshalJSON() ([]byte, error) {
	m := map[string]float64{}
	for key, v := range map[string]float64{"value": c.Value, "low": c.Low, "high": c.High} {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			m[key] = v
		}
	}
	return json.Marshal(m)
}

// WriteJSON writes the report as one object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// WriteMarkdown writes the report's texts and tables.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Ablation on %s\n\nModel %v, %d images, %d queries, %d seeds, %d steps of OTI. Percentages, with 95 %% intervals (bootstrap over queries).\n",
		r.World, r.Model, r.Images, r.Queries, r.Seeds, r.Steps)
	if t := r.Summary(); len(t.Rows) > 0 {
		b.WriteString("\n## Summary\n\n")
		t.markdown(&b)
	}
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.Title, s.Note)
		for _, t := range s.Tables {
			b.WriteString("\n")
			if t.Title != "" {
				fmt.Fprintf(&b, "%s\n\n", t.Title)
			}
			t.markdown(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t Table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(t.Columns, " | "), strings.Repeat("---|", len(t.Columns)))
	for _, r := range t.Rows {
		fmt.Fprintf(b, "| %s |", r.Label)
		for _, c := range r.Cells {
			fmt.Fprintf(b, " %v |", c)
		}
		b.WriteString("\n")
	}
}

// WriteCSV writes a line for each number: section, table, row, column, value, low, high.
func (r *Report) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.Write([]string{"section", "table", "row", "column", "value", "low", "high"})
	text := func(v float64) string {
		if math.IsNaN(v) {
			return ""
		}
		return strconv.FormatFloat(v, 'g', 8, 64)
	}
	for _, s := range r.Sections {
		for _, t := range s.Tables {
			for _, row := range t.Rows {
				for i, x := range row.Cells {
					c.Write([]string{s.Name, t.Title, row.Label, t.Columns[i+1], text(x.Value), text(x.Low), text(x.High)})
				}
			}
		}
	}
	c.Flush()
	return c.Error()
}

// WriteHTML writes a page that shows the figures by their files.
func (r *Report) WriteHTML(w io.Writer) error { return page.Execute(w, r) }

var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Ablation on {{.World}}</title>
<style>
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1100px;padding:0 1em;color:#1b1b1b;background:#fafafa}
.scroll{overflow-x:auto}table{border-collapse:collapse;background:#fff;margin:.7em 0}
td,th{border:1px solid #ddd;padding:.25em .6em;text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}th{background:#eee}
img{max-width:100%;border:1px solid #ddd}
</style></head><body><h1>Ablation on {{.World}}</h1>
<p>Model {{.Model}}, {{.Images}} images, {{.Queries}} queries, {{.Seeds}} seeds, {{.Steps}} steps of OTI. Percentages, with 95 % intervals (bootstrap over queries).</p>
{{with .Summary}}<h2>Summary</h2><div class="scroll"><table><tr>{{range .Columns}}<th>{{.}}</th>{{end}}</tr>
{{range .Rows}}<tr><td>{{.Label}}</td>{{range .Cells}}<td>{{.}}</td>{{end}}</tr>{{end}}</table></div>{{end}}
{{range .Sections}}<h2 id="{{.Name}}">{{.Title}}</h2><p>{{.Note}}</p>
{{range .Tables}}<div class="scroll"><table><caption>{{.Title}}</caption><tr>{{range .Columns}}<th>{{.}}</th>{{end}}</tr>
{{range .Rows}}<tr><td>{{.Label}}</td>{{range .Cells}}<td>{{.}}</td>{{end}}</tr>{{end}}</table></div>{{end}}
{{range .Figures}}<p><img src="{{.File}}" alt="{{.Title}}"></p>{{end}}{{end}}
</body></html>
`))

// Figure is panels of curves over a common horizontal axis.
type Figure struct {
	File, Title, XLabel string
	// XNames, if not nil, stand at 0, 1, 2, .. instead of numbers.
	XNames []string
	Panels []Panel
}

// Panel is curves over a vertical axis of its own.
type Panel struct {
	Label  string
	Curves []Curve
}

// Curve is a line through points, or with Dots the points alone. Low and High, if not nil, bound each point's interval.
type Curve struct {
	Name      string
	X, Y      []float64
	Low, High []float64
	Dots      bool
}

// categories is a figure of cells over names.
func categories(file, title, xLabel, yLabel string, names []string, curves map[string][]Cell, order ...string) Figure {
	f := Figure{File: file, Title: title, XLabel: xLabel, XNames: names, Panels: []Panel{{Label: yLabel}}}
	for _, name := range order {
		c := Curve{Name: name}
		for i, x := range curves[name] {
			scale := 1.0
			if x.Percent {
				scale = 100
			}
			c.X, c.Y = append(c.X, float64(i)), append(c.Y, scale*x.Value)
			c.Low, c.High = append(c.Low, scale*x.Low), append(c.High, scale*x.High)
		}
		f.Panels[0].Curves = append(f.Panels[0].Curves, c)
	}
	return f
}

// histogram is the share of values in bins of equal width over a common range.
func histogram(file, title, xLabel string, names []string, values [][]float64) Figure {
	const bins = 40
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, list := range values {
		for _, v := range list {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	f := Figure{File: file, Title: title, XLabel: xLabel, Panels: []Panel{{Label: "share, %"}}}
	for k, list := range values {
		c := Curve{Name: names[k], X: make([]float64, bins), Y: make([]float64, bins)}
		for i := range bins {
			c.X[i] = lo + (hi-lo)*(float64(i)+.5)/bins
		}
		for _, v := range list {
			c.Y[min(bins-1, int((v-lo)/(hi-lo+1e-12)*bins))] += 100 / float64(len(list))
		}
		f.Panels[0].Curves = append(f.Panels[0].Curves, c)
	}
	return f
}
