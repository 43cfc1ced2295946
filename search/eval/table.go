package eval

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// headlines are the measures that the papers print.
var headlines = map[string][]string{
	"fashioniq": {"R@10", "R@50"},
	"cirr":      {"R@1", "R@5", "R@10", "R@50", "Rs@1", "Rs@2", "Rs@3"},
	"circo":     {"mAP@5", "mAP@10", "mAP@25", "mAP@50"},
	"domain":    {"R@10", "R@50", "exact R@10", "exact R@50"},
	"objects":   {"R@1", "R@5", "R@10", "median rank"},
}

// Table is rows of texts under a header.
type Table struct {
	Title  string
	Header []string
	Rows   [][]string
}

// text prints a metric as the papers do: a percentage with two digits, or a rank.
func (m Metric) text() string {
	if math.IsNaN(m.Value) {
		return "-"
	}
	return m.print(m.Value)
}

func (m Metric) print(v float64) string {
	if m.Rank {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(100*v, 'f', 2, 64)
}

// interval prints the 95 % interval, "" where there is none.
func (m Metric) interval() string {
	if math.IsNaN(m.Low) {
		return ""
	}
	return m.print(m.Low) + " to " + m.print(m.High)
}

// metric finds a number of a method.
func (m *MethodResult) metric(task, name string) (Metric, bool) {
	for _, x := range m.Metrics {
		if x.Task == task && x.Name == name {
			return x, true
		}
	}
	return Metric{}, false
}

// parts are the names of the tasks, before them "" for the mean where there are several.
func (r *Result) parts() (out []string) {
	if len(r.Dataset.Tasks) > 1 {
		out = append(out, "")
	}
	for _, t := range r.Dataset.Tasks {
		out = append(out, t.Name)
	}
	return out
}

// Headline is the table that the papers print: methods by measures, for each part of the data set, their mean first.
func (r *Result) Headline() Table {
	parts := r.parts()
	t := Table{Title: "Results", Header: []string{"method"}}
	if len(parts) > 1 {
		t.Header = append(t.Header, "part")
	}
	for _, name := range headlines[r.Dataset.Name] {
		if _, ok := r.Methods[0].metric(parts[0], name); ok {
			t.Header = append(t.Header, name)
		}
	}
	for _, part := range parts {
		for i := range r.Methods {
			row := []string{r.Methods[i].Method.Name}
			if len(parts) > 1 {
				row = append(row, r.partName(part))
			}
			for _, name := range t.Header[len(row):] {
				x, _ := r.Methods[i].metric(part, name)
				cell := x.text()
				if s := x.interval(); s != "" {
					cell += " (" + s + ")"
				}
				row = append(row, cell)
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

func (r *Result) partName(part string) string {
	if part == "" && len(r.Dataset.Tasks) > 1 {
		return "mean"
	}
	return part
}

// Aspects is mAP@10 per semantic aspect, empty where a data set has none.
func (r *Result) Aspects() Table {
	t := Table{Title: fmt.Sprintf("mAP@%d per semantic aspect", aspectDepth), Header: []string{"aspect", "queries"}}
	for i := range r.Methods {
		t.Header = append(t.Header, r.Methods[i].Method.Name)
	}
	for _, aspect := range circoAspects {
		var row []string
		for i := range r.Methods {
			m, ok := r.Methods[i].metric("", fmt.Sprintf("mAP@%d %s", aspectDepth, aspect))
			if !ok {
				break
			}
			if row == nil {
				row = []string{strings.ReplaceAll(aspect, "_", " "), strconv.Itoa(m.Queries)}
			}
			row = append(row, m.text())
		}
		if row != nil {
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

// TestTable is the paired tests of the headline measures: pairs of methods by measures.
func (r *Result) TestTable() Table {
	t := Table{Title: "Differences, and p of paired randomisation tests (two-sided)", Header: []string{"methods"}}
	rows := map[string]int{}
	for _, x := range r.Tests {
		if x.Task != r.parts()[0] || !slices.Contains(headlines[r.Dataset.Name], x.Name) {
			continue
		}
		pair := x.A + " - " + x.B
		if _, ok := rows[pair]; !ok {
			rows[pair] = len(t.Rows)
			t.Rows = append(t.Rows, []string{pair})
		}
		if rows[pair] == 0 {
			t.Header = append(t.Header, strings.TrimSpace(r.partName(x.Task)+" "+x.Name))
		}
		row := &t.Rows[rows[pair]]
		*row = append(*row, fmt.Sprintf("%+.2f (p %.2g)", 100*x.Difference, x.P))
	}
	return t
}

// PublishedTable quotes the papers.
func (r *Result) PublishedTable() Table {
	t := Table{Title: "Published, quoted from the papers (not measured here)"}
	for _, p := range PublishedRows(r.Dataset.Name) {
		if t.Header == nil {
			t.Header = append(append([]string{"method", "backbone", "split"}, p.Columns...), "source", "note")
		}
		row := []string{p.Method, p.Backbone, p.Split}
		for _, v := range p.Values {
			row = append(row, strconv.FormatFloat(v, 'f', 2, 64))
		}
		t.Rows = append(t.Rows, append(row, p.Source, p.Note))
	}
	return t
}

// Facts are what every table has to say beside its numbers.
func (r *Result) Facts() [][2]string {
	d := r.Dataset
	queries := fmt.Sprintf("%d", r.Ranked)
	if r.Ranked < r.Total {
		queries = fmt.Sprintf("%d of %d: the others need images that are missing or broken", r.Ranked, r.Total)
	}
	sizes := []string{}
	for _, t := range d.Tasks {
		sizes = append(sizes, strings.TrimSpace(fmt.Sprintf("%s %d", t.Name, len(t.Gallery))))
	}
	facts := [][2]string{{"data set", d.Title + ", split " + d.Split}, {"folder", d.Root}, {"weights", r.Model.String()}}
	if r.Meta.Size > 0 { // else others have ranked
		facts = append(facts, [2]string{"images", fmt.Sprintf("%d pixels, pad %s, order %s", r.Meta.Size, r.Meta.Pad, r.Meta.Order)},
			[2]string{"prompt", d.Prompt})
	}
	facts = append(facts, [][2]string{{"gallery", d.Gallery + ": " + strings.Join(slices.Compact(sizes), ", ") + " images"},
		{"queries", queries}, {"missing or broken images", strconv.Itoa(len(r.Problems))},
	}...)
	if r.Resamples > 0 {
		facts = append(facts, [2]string{"in parentheses", fmt.Sprintf("95 %% interval, bootstrap over queries, %d samples, seed %d", r.Resamples, r.Seed)})
	}
	return facts
}

// Tables are all that have rows.
func (r *Result) Tables() (out []Table) {
	for _, t := range []Table{r.Headline(), r.Aspects(), r.TestTable(), r.PublishedTable()} {
		if len(t.Rows) > 0 && len(t.Rows[0]) > 1 {
			out = append(out, t)
		}
	}
	return out
}

// WriteMarkdown writes the tables as Markdown.
func (r *Result) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s, split %s\n\n", r.Dataset.Title, r.Dataset.Split)
	for _, f := range r.Facts() {
		fmt.Fprintf(&b, "- %s: %s\n", f[0], f[1])
	}
	for _, t := range r.Tables() {
		fmt.Fprintf(&b, "\n## %s\n\n", t.Title)
		markdownRow(&b, t.Header)
		b.WriteString(strings.Repeat("|---", len(t.Header)) + "|\n")
		for _, row := range t.Rows {
			markdownRow(&b, row)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func markdownRow(b *strings.Builder, cells []string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

// WriteCSV writes every metric, one a line; fractions are not turned into percentages.
func (r *Result) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.Write([]string{"dataset", "split", "method", "task", "metric", "value", "low", "high", "queries"})
	for i := range r.Methods {
		for _, m := range r.Methods[i].Metrics {
			out.Write([]string{r.Dataset.Name, r.Dataset.Split, r.Methods[i].Method.Name, r.partName(m.Task), m.Name,
				number(m.Value), number(m.Low), number(m.High), strconv.Itoa(m.Queries)})
		}
	}
	out.Flush()
	return out.Error()
}

// number is empty for NaN.
func number(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// optional is null in JSON for NaN.
func optional(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

type jsonMetric struct {
	Task    string   `json:"task,omitempty"`
	Name    string   `json:"name"`
	Value   *float64 `json:"value"`
	Low     *float64 `json:"low,omitempty"`
	High    *float64 `json:"high,omitempty"`
	Queries int      `json:"queries"`
}

type jsonMethod struct {
	Method  string       `json:"method"`
	Metrics []jsonMetric `json:"metrics"`
}

type jsonTest struct {
	A          string  `json:"a"`
	B          string  `json:"b"`
	Task       string  `json:"task,omitempty"`
	Name       string  `json:"name"`
	Difference float64 `json:"difference"`
	P          float64 `json:"p"`
}

// jsonResult is the layout of WriteJSON.
type jsonResult struct {
	Dataset   string       `json:"dataset"`
	Split     string       `json:"split"`
	Model     string       `json:"model"`
	Hash      string       `json:"model_hash"`
	Pad       string       `json:"pad"`
	Order     string       `json:"order"`
	Prompt    string       `json:"prompt"`
	Gallery   string       `json:"gallery"`
	Total     int          `json:"queries"`
	Ranked    int          `json:"queries_ranked"`
	Images    int          `json:"images"`
	Cached    int          `json:"images_cached"`
	Computed  int          `json:"images_computed"`
	Problems  []Problem    `json:"problems"`
	Methods   []jsonMethod `json:"methods"`
	Tests     []jsonTest   `json:"tests"`
	Published []Published  `json:"published"`
	Seed      uint64       `json:"seed"`
	Resamples int          `json:"resamples"`
}

// WriteJSON writes all numbers, fractions as fractions, as one object.
func (r *Result) WriteJSON(w io.Writer) error {
	d := r.Dataset
	out := jsonResult{d.Name, d.Split, r.Model.Name, r.Model.Hash, r.Meta.Pad, r.Meta.Order, d.Prompt, d.Gallery, r.Total, r.Ranked, r.Images,
		r.Cached, r.Computed, append([]Problem{}, r.Problems...), nil, []jsonTest{}, PublishedRows(d.Name), r.Seed, r.Resamples}
	for i := range r.Methods {
		m := jsonMethod{Method: r.Methods[i].Method.Name, Metrics: []jsonMetric{}}
		for _, x := range r.Methods[i].Metrics {
			m.Metrics = append(m.Metrics, jsonMetric{r.partName(x.Task), x.Name, optional(x.Value), optional(x.Low), optional(x.High), x.Queries})
		}
		out.Methods = append(out.Methods, m)
	}
	for _, t := range r.Tests {
		out.Tests = append(out.Tests, jsonTest{t.A, t.B, r.partName(t.Task), t.Name, t.Difference, t.P})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// jsonRanking is a line of WriteRankings.
type jsonRanking struct {
	Method    string    `json:"method"`
	Task      string    `json:"task,omitempty"`
	Query     string    `json:"query"`
	Reference string    `json:"reference"`
	Caption   string    `json:"caption"`
	Targets   []string  `json:"targets"`
	Target    int       `json:"target_rank,omitempty"`
	Aspects   []string  `json:"aspects,omitempty"`
	Top       []string  `json:"top"`
	Scores    []float32 `json:"scores"`
}

// WriteRankings writes every query's ranking by every method as JSONL.
func (r *Result) WriteRankings(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range r.Methods {
		for ti, tr := range r.Methods[i].Tasks {
			t := &r.Dataset.Tasks[ti]
			for k, q := range tr.Queries {
				x, query := tr.Rankings[k], &t.Queries[q]
				line := jsonRanking{r.Methods[i].Method.Name, t.Name, query.ID, query.Reference.ID, query.Caption,
					names(t, query.Targets, len(query.Targets)), x.Target, query.Aspects, names(t, x.Top, len(x.Top)), x.Scores}
				if err := enc.Encode(line); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
