package eval

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// palette colours methods so that they differ for colour-blind readers too (Okabe and Ito, 2008).
var palette = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000"}

// The plots' measures in pixels.
const (
	plotWidth  = 720
	plotHeight = 300
	plotLeft   = 48
	plotBottom = 44
	plotTop    = 34
)

// plot is an SVG with a vertical axis from 0 to top.
type plot struct {
	strings.Builder
	top float64
}

func newPlot(title string, top float64, methods []MethodResult) *plot {
	p := &plot{top: top}
	fmt.Fprintf(p, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12" role="img" aria-label="%s">`+"\n",
		plotWidth, plotHeight, plotWidth, plotHeight, html.EscapeString(title))
	fmt.Fprintf(p, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%d" y="16" font-weight="bold">%s</text>`+"\n", plotLeft, html.EscapeString(title))
	for i := range 6 {
		v := top * float64(i) / 5
		fmt.Fprintf(p, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`+"\n",
			plotLeft, plotWidth-8, p.y(v), p.y(v), plotLeft-6, p.y(v)+4, v)
	}
	x := plotWidth - 8
	for i := len(methods) - 1; i >= 0; i-- {
		x -= 30 + 7*len(methods[i].Method.Name) // about as wide as the text
		fmt.Fprintf(p, `<rect x="%d" y="7" width="11" height="11" fill="%s"/><text x="%d" y="17">%s</text>`+"\n",
			x, colour(i), x+15, html.EscapeString(methods[i].Method.Name))
	}
	return p
}

func colour(i int) string { return palette[i%len(palette)] }

func (p *plot) y(v float64) float64 {
	return plotHeight - plotBottom - (plotHeight-plotBottom-plotTop)*v/p.top
}

func (p *plot) done() string { return p.String() + "</svg>\n" }

// axisTop is a round number of percent that is not below v.
func axisTop(v float64) float64 {
	for _, top := range []float64{1, 2, 5, 10, 20, 25, 40, 50, 60, 80} {
		if v <= top {
			return top
		}
	}
	return 100
}

// bar is a value in percent with its interval.
type bar struct{ value, low, high float64 }

// barPlot draws groups of bars, one of each method, with their intervals.
func barPlot(title string, methods []MethodResult, groups []string, bars [][]bar) string {
	top := 0.0
	for _, g := range bars {
		for _, b := range g {
			top = max(top, b.value)
			if !math.IsNaN(b.high) {
				top = max(top, b.high)
			}
		}
	}
	p := newPlot(title+", %", axisTop(top), methods)
	step := float64(plotWidth-plotLeft-8) / float64(len(groups))
	width := min(step*.8/float64(len(methods)), 40)
	for g, name := range groups {
		middle := plotLeft + step*(float64(g)+.5)
		for i, b := range bars[g] {
			x := middle + width*(float64(i)-float64(len(methods))/2)
			fmt.Fprintf(p, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>%s: %.2f</title></rect>`+"\n",
				x, p.y(b.value), width*.9, p.y(0)-p.y(b.value), colour(i), html.EscapeString(methods[i].Method.Name+" "+name), b.value)
			if !math.IsNaN(b.low) {
				fmt.Fprintf(p, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#333"/>`+"\n", x+width*.45, x+width*.45, p.y(b.low), p.y(b.high))
			}
		}
		p.label(middle, name, step)
	}
	return p.done()
}

// label writes a group's name below the axis, in several lines where it is long.
func (p *plot) label(x float64, name string, room float64) {
	lines := []string{""}
	for word := range strings.FieldsSeq(name) {
		last := &lines[len(lines)-1]
		if *last != "" && float64(len(*last)+len(word)+1)*6.5 > room {
			lines = append(lines, word)
			continue
		}
		*last = strings.TrimSpace(*last + " " + word)
	}
	for i, line := range lines[:min(3, len(lines))] {
		fmt.Fprintf(p, `<text x="%.1f" y="%d" text-anchor="middle" font-size="11">%s</text>`+"\n", x, plotHeight-plotBottom+14+13*i, html.EscapeString(line))
	}
}

// headlinePlot shows the headline measures of a part.
func (r *Result) headlinePlot(part string) string {
	var groups []string
	var bars [][]bar
	for _, name := range headlines[r.Dataset.Name] {
		if m, ok := r.Methods[0].metric(part, name); ok && !m.Rank {
			groups, bars = append(groups, name), append(bars, r.bars(part, name))
		}
	}
	if len(groups) == 0 {
		return ""
	}
	return barPlot(strings.TrimSpace(r.Dataset.Title+" "+r.partName(part)), r.Methods, groups, bars)
}

func (r *Result) bars(part, name string) (out []bar) {
	for i := range r.Methods {
		m, _ := r.Methods[i].metric(part, name)
		b := bar{100 * m.Value, 100 * m.Low, 100 * m.High}
		if math.IsNaN(b.value) {
			b.value = 0
		}
		out = append(out, b)
	}
	return out
}

// aspectPlot shows mAP per semantic aspect; "" where there is none.
func (r *Result) aspectPlot() string {
	var groups []string
	var bars [][]bar
	for _, aspect := range circoAspects {
		name := fmt.Sprintf("mAP@%d %s", aspectDepth, aspect)
		if _, ok := r.Methods[0].metric("", name); ok {
			groups, bars = append(groups, strings.ReplaceAll(aspect, "_", " ")), append(bars, r.bars("", name))
		}
	}
	if len(groups) == 0 {
		return ""
	}
	return barPlot(fmt.Sprintf("mAP@%d per semantic aspect", aspectDepth), r.Methods, groups, bars)
}

// recallPlot draws the fraction of queries whose first right answer of the list is among the k best, over k.
func (r *Result) recallPlot() string {
	if !r.Dataset.judged(&r.Dataset.Tasks[0]) || r.Dataset.partial {
		return ""
	}
	p := newPlot("target among the k best, % of queries", 100, r.Methods)
	depth := r.Dataset.Depth
	at := func(k int) float64 {
		return plotLeft + float64(plotWidth-plotLeft-16)*math.Log(float64(k))/math.Log(float64(depth))
	}
	for i := range r.Methods {
		below := make([]int, depth+1)
		for _, t := range r.Methods[i].Tasks {
			for _, x := range t.Rankings {
				if x.Target <= depth {
					below[x.Target]++
				}
			}
		}
		fmt.Fprintf(p, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, colour(i))
		sum := 0
		for k := 1; k <= depth; k++ {
			sum += below[k]
			fmt.Fprintf(p, "%.1f,%.1f ", at(k), p.y(100*float64(sum)/float64(r.Ranked)))
		}
		p.WriteString("\"/>\n")
	}
	for _, k := range []int{1, 2, 5, 10, 20, 50, 100} {
		if k <= depth {
			p.label(at(k), fmt.Sprintf("%d", k), plotWidth)
		}
	}
	return p.done()
}

// Plot is a figure of a report.
type Plot struct{ File, SVG string }

// Plots are the figures of a result: the headline measures of each part, the mean first, recall over k, and mAP per aspect.
func (r *Result) Plots() (out []Plot) {
	add := func(file, svg string) {
		if svg != "" {
			out = append(out, Plot{file, svg})
		}
	}
	for _, part := range r.parts() {
		add(strings.TrimSuffix("metrics-"+r.partName(part), "-")+".svg", r.headlinePlot(part))
	}
	add("recall.svg", r.recallPlot())
	add("aspects.svg", r.aspectPlot())
	return out
}
