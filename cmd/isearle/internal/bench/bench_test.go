package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isearle/runtime"
	"isearle/runtime/cpu"
)

func TestPercentile(t *testing.T) {
	var times []time.Duration
	for i := range 200 {
		times = append(times, time.Duration(i+1))
	}
	for p, want := range map[int]time.Duration{50: 100, 90: 180, 99: 198} {
		if got := percentile(times, p); got != want {
			t.Errorf("percentile %d of 1 to 200 is %d, want %d", p, got, want)
		}
		if got := percentile(times[:1], p); got != 1 {
			t.Errorf("percentile %d of 1 is %d", p, got)
		}
	}
}

func TestResult(t *testing.T) {
	r := &Result{Name: "Embed/batch=8-2", Iterations: 12, Nanoseconds: 2.5e6}
	r.rates(task{items: 8, unit: "images", flop: 5e9, bytes: 1e7}, roofs{flops: 4e12, bytes: 16e9})
	r.add(12345678, "peak-RSS-bytes")
	var line, object bytes.Buffer
	if err := r.write(&line, false); err != nil {
		t.Fatal(err)
	}
	const want = "BenchmarkEmbed/batch=8-2\t      12\t2500000 ns/op\t3200 images/s\t2000 GFLOP/s\t50 %peak\t4 GB/s\t25 %bandwidth\t12345678 peak-RSS-bytes\n"
	if line.String() != want {
		t.Errorf("line\n%swant\n%s", line.String(), want)
	}
	if err := r.write(&object, true); err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(object.Bytes(), &o); err != nil || o["images/s"] != 3200.0 || o["name"] != r.Name || o["%peak"] != 50.0 {
		t.Errorf("object %s (%v)", object.String(), err)
	}
}

func TestRoofline(t *testing.T) {
	r := Roofline{Peaks: map[runtime.DType]float64{runtime.F32: 1e11}, Bandwidth: 1e10}
	for _, c := range []struct {
		flop, bytes, seconds, want float64
		dt                         runtime.DType
	}{
		{5e10, 1e9, 1, .5, runtime.F32}, // bound by operations: 0.5 s of them, 0.1 s of memory
		{1e9, 8e9, 1, .8, runtime.F32},  // bound by memory
		{0, 2.5e9, 1, .25, runtime.F32}, // no operations at all
		{5e10, 1e9, 1, 0, runtime.BF16}, // an unknown peak
		{5e10, 1e9, 0, 0, runtime.F32},  // no time
	} {
		if got := r.Share(runtime.Work{FLOP: c.flop, Bytes: c.bytes, DType: c.dt}, c.seconds); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("share of %+v is %v", c, got)
		}
	}
}

// event is an execution of a product.
func event(start, took time.Duration, rows int) runtime.Event {
	return runtime.Event{Plan: "image 8", Index: 2, Name: "linear", Start: start, Time: took,
		Work: runtime.Work{Shape: "norm 768 x 3072 gelu", Rows: rows, FLOP: 1e9, Bytes: 1e6, DType: runtime.F32}}
}

func TestProfile(t *testing.T) {
	var p Profile
	p.Add(event(0, 20*time.Millisecond, 10))
	p.Add(event(time.Second, 30*time.Millisecond, 20))
	copied := runtime.Event{Plan: "image 8", Name: "copyrows", Time: 150 * time.Millisecond, Work: runtime.Work{Shape: "768", Rows: 4, Bytes: 6e6, DType: runtime.F32}}
	p.Add(copied)
	var out bytes.Buffer
	roof := Roofline{Peaks: map[runtime.DType]float64{runtime.F32: 1e11, runtime.BF16: 2e11}, Bandwidth: 1e9}
	if err := p.Write(&out, roof); err != nil {
		t.Fatal(err)
	}
	const want = `operation  shape                 products  calls  rows      ms  %time  GFLOP  GFLOP/s   MB  GB/s  %roof
copyrows   768                   f32           1     4  150.00   75.0  0.000      0.0  6.0  0.04      4
linear     norm 768 x 3072 gelu  f32           2    15   50.00   25.0  2.000     40.0  2.0  0.04     40
all                                            3        200.00  100.0  2.000     10.0  8.0  0.04
roof: 100 GFLOP/s in f32, 200 GFLOP/s in bf16, 1.0 GB/s
`
	if out.String() != want {
		t.Errorf("table\n%swant\n%s", out.String(), want)
	}
}

// launched is an execution of a product by two kernels of a graph.
func launched(start, took time.Duration) runtime.Event {
	e := event(start, took, 10)
	part := func(name string, start time.Duration, flop, bytes float64, dt runtime.DType) runtime.Kernel {
		return runtime.Kernel{Name: name, Start: start, Time: took / 2, Work: runtime.Work{Shape: e.Shape, Rows: 10, FLOP: flop, Bytes: bytes, DType: dt}}
	}
	e.Graph = true
	e.Kernels = []runtime.Kernel{part("layernorm", start, 1e6, 3e6, runtime.F32), part("product", start+took/2, 1e9, 2e6, runtime.BF16)}
	return e
}

// A device with kernels has a second table, and a line that says how often a graph was run and of how many kernels.
func TestKernelProfile(t *testing.T) {
	var p Profile
	for i := range 3 {
		p.Add(launched(time.Duration(i)*time.Second, 20*time.Millisecond))
		last := event(0, 0, 1)
		last.Index, last.Graph = 3, true
		p.Add(last)
	}
	var out bytes.Buffer
	if err := p.Write(&out, Roofline{}); err != nil {
		t.Fatal(err)
	}
	_, kernels, _ := strings.Cut(out.String(), "\n\n")
	const want = `kernel     operation  shape                 products  calls  rows     ms  %time  GFLOP  GFLOP/s    MB  GB/s  %roof
layernorm  linear     norm 768 x 3072 gelu  f32           3    10  30.00   50.0  0.003      0.1   9.0  0.30      -
product    linear     norm 768 x 3072 gelu  bf16          3    10  30.00   50.0  3.000    100.0   6.0  0.20      -
all                                                       6        60.00  100.0  3.003     50.1  15.0  0.25
image 8: 3 runs of 2 kernels; without a profile each is one launch of a graph
`
	if kernels != want {
		t.Errorf("table\n%swant\n%s", kernels, want)
	}
}

type nopCloser struct{ bytes.Buffer }

func (*nopCloser) Close() error { return nil }

// Kernels are spans within their operation.
func TestTraceKernels(t *testing.T) {
	var out nopCloser
	tr := newTrace(&out)
	tr.Add(launched(time.Millisecond, 4*time.Microsecond))
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	var o struct{ TraceEvents []traceEvent }
	if err := json.Unmarshal(out.Bytes(), &o); err != nil || len(o.TraceEvents) != 3 {
		t.Fatalf("%s (%v)", out.String(), err)
	}
	for i, want := range []traceEvent{{Name: "linear", Start: 1000, Time: 4}, {Name: "layernorm", Start: 1000, Time: 2}, {Name: "product", Start: 1002, Time: 2}} {
		if e := o.TraceEvents[i]; e.Name != want.Name || e.Start != want.Start || e.Time != want.Time || e.Args.Index != 2 {
			t.Errorf("span %d is %+v, want %+v", i, e, want)
		}
	}
	if a := o.TraceEvents[2].Args; a.Products != "bf16" || a.FLOP != 1e9 {
		t.Errorf("arguments %+v", a)
	}
}

// The trace is one JSON object whatever the number of events, with the keys of the trace event format.
func TestTrace(t *testing.T) {
	for n := range 3 {
		var out nopCloser
		tr := newTrace(&out)
		for i := range n {
			tr.Add(event(time.Duration(i)*time.Millisecond, 2500*time.Nanosecond, 10))
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
		var o struct{ TraceEvents []map[string]any }
		if err := json.Unmarshal(out.Bytes(), &o); err != nil || len(o.TraceEvents) != n {
			t.Fatalf("%d events: %s (%v)", n, out.String(), err)
		}
		for i, e := range o.TraceEvents {
			if e["name"] != "linear" || e["ph"] != "X" || e["ts"] != 1000.0*float64(i) || e["dur"] != 2.5 || e["cat"] != "image 8" {
				t.Errorf("event %v", e)
			}
			if a := e["args"].(map[string]any); a["FLOP"] != 1e9 || a["rows"] != 10.0 || math.Round(a["GFLOP/s"].(float64)) != 4e5 {
				t.Errorf("arguments %v", a)
			}
		}
	}
}

// What the operations of a recorded tower say of themselves adds up to what the model's formula says, less what the last block
// leaves out: all but keys and values of rows that are not pooled.
func TestOperationsAddUp(t *testing.T) {
	c, _ := Shapes("vit-b-32")
	c.Vision.ImageSize, c.Vision.PatchSize, c.Vision.Width, c.Vision.Layers, c.Vision.Heads, c.Vision.MLP = 64, 16, 32, 3, 2, 64
	c.Text.Width, c.Text.Layers, c.Text.Heads, c.Text.MLP, c.Text.Vocab, c.Text.BOS, c.Text.EOT = 16, 1, 2, 32, 64, 62, 63
	c.EmbedDim, c.Preprocess.Resize = 24, 64
	m, err := Random(c)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	dev, err := cpu.Open(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	flop, runs := 0.0, 0
	dev.Profile(func(e runtime.Event) {
		switch e.Name {
		case "patchembed":
			runs++
			flop -= float64(e.Rows * 17 * 32) // the positions, which the formula leaves out
		case "linear": // bias and residual, too
			out := map[string]int{"norm 32 x 96": 96, "norm 32 x 64": 64, "norm 32 x 32": 32, "32 x 32 + residual": 64,
				"norm 32 x 64 quick_gelu": 64, "64 x 32 + residual": 64}[e.Shape]
			flop -= float64(e.Rows * out)
		case "layernorm", "copyrows":
			return
		}
		flop += e.FLOP
	})
	b := Bench{Device: dev, Batches: []int{3}, Count: 1, Time: 1, sink: func(*Result) {}}
	if err := b.Images(t.Context(), m, "small"); err != nil {
		t.Fatal(err)
	}
	if runs != 2 {
		t.Fatalf("%d runs, want one to warm up and one measured", runs)
	}
	const n, w = 17, 32
	skipped := 2.0*(n-1)*(2*w*w+2*w*64) + 4*(n-1)*n*w // q, out, the MLP and the queries of all rows but one
	if got, want := flop/6, ImageFLOP(c)-skipped; math.Abs(got-want) > 1e-9*want {
		t.Errorf("the operations of an image say %v FLOP, the formula %v", got, want)
	}
}

// Two-sided p as scipy.stats.mannwhitneyu gives it (method exact, and asymptotic where values are tied).
func TestMannWhitney(t *testing.T) {
	for _, c := range []struct {
		x, y []float64
		want float64
	}{
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, .1},
		{[]float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, 0.02857142857142857},
		{[]float64{1, 5, 3, 9, 2}, []float64{4, 8, 7, 10, 6, 11}, 0.08225108225108226},
		{[]float64{1}, []float64{2}, 1},
		{[]float64{1, 1, 2, 3}, []float64{2, 3, 3, 4}, 0.13416918012812584},
		{[]float64{7, 7}, []float64{7, 7}, 1},
	} {
		if got := mannWhitney(c.x, c.y); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("p of %v and %v is %v, want %v", c.x, c.y, got, c.want)
		}
		if a, b := mannWhitney(c.x, c.y), mannWhitney(c.y, c.x); a != b {
			t.Errorf("p of %v and %v depends on their order: %v, %v", c.x, c.y, a, b)
		}
	}
}

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lines := func(name string, unit string, values ...string) (s string) {
		for _, v := range values {
			s += "Benchmark" + name + "\t10\t" + v + " " + unit + "\n"
		}
		return s
	}
	a := file("a", "goos: linux\nUnit images/s better=higher\n"+lines("X/batch=1-2", "ns/op", "100", "102", "98", "101")+lines("X/batch=1-2", "images/s", "10", "11", "10", "9")+lines("Lost-2", "ns/op", "1"))
	b := file("b", lines("X/batch=1-2", "ns/op", "50", "51", "49", "52")+lines("X/batch=1-2", "images/s", "10", "10", "11", "9")+"PASS\n")
	var out bytes.Buffer
	if err := Compare(&out, a, b); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(out.String(), dir+string(filepath.Separator), "")
	for _, want := range []string{"100.5 ± 1%", "50.5 ± 1%", "0.502", "better (p=0.029 n=4+4)", "images/s", "~ (p=1.000 n=4+4)"} {
		if !strings.Contains(got, want) {
			t.Errorf("the table lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "Lost") {
		t.Errorf("a benchmark of one file is in the table:\n%s", got)
	}
	out.Reset()
	if err := Compare(&out, b, a); err != nil || !strings.Contains(out.String(), "worse (p=0.029") {
		t.Errorf("the other way round (%v):\n%s", err, out.String())
	}
	for name, text := range map[string]string{"empty": "goos: linux\n", "number": "BenchmarkX-2\t3\tfast ns/op\n", "unit": "BenchmarkX-2\t3\t5 ns/op\t7\n"} {
		if err := Compare(&out, a, file(name, text)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// A power law is found again, and everything measured is in the report.
func TestScalingReport(t *testing.T) {
	c := curve{file: "x.png", title: "Things", axis: "things", must: "as it must"}
	for x := 1.0; x <= 64; x *= 2 {
		c.points = append(c.points, point{x, 3e-3 * math.Pow(x, 1.5), 1 << 20 * x})
	}
	if got := c.exponent(); math.Abs(got-1.5) > 1e-9 {
		t.Errorf("exponent %v, want 1.5", got)
	}
	var out bytes.Buffer
	if err := writeReport(&out, "Growth", []curve{c}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Growth\n", "![Things](x.png)", "must grow: as it must", "the power 1.50", "| 1 | 3.000 | 1 |\n", "| 64 | 1536.000 | 64 |\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}

// Each size of a scale is measured once, and the plot is written.
func TestScale(t *testing.T) {
	dev, err := cpu.Open(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	b := &Bench{Device: dev, Count: 7, Time: 1}
	s := &scaled{curve: curve{file: "rows.png", title: "Rows", axis: "rows"}, sizes: []int{10, 20, 40}, run: func(b *Bench, n int) error {
		b.Batches = []int{1}
		return b.Search(t.Context(), SearchOptions{Rows: []int{n}, Dims: []int{8}, DTypes: []runtime.DType{runtime.F32}, K: 3})
	}}
	dir := t.TempDir()
	if err := b.scale(s, dir); err != nil {
		t.Fatal(err)
	}
	if len(s.points) != 3 || s.points[2].x != 40 || !(s.points[2].seconds > 0) {
		t.Errorf("points %v", s.points)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "rows.png")); err != nil || !bytes.HasPrefix(data, []byte("\x89PNG")) {
		t.Errorf("no plot: %v", err)
	}
}
