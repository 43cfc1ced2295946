package ablation

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isearle/clipnet/preprocess"
	"isearle/oti"
	"isearle/oti/gpt/grammar"
	"isearle/runtime/cpu"
	"isearle/search"
)

// demoStudy is a small study of the embedded world.
func demoStudy(t *testing.T, work string) *Study {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := search.OpenEngine(dev, search.EngineOptions{Pad: preprocess.TargetPad})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); dev.Close() })
	phrases, err := grammar.WorldPhrases(context.Background(), 1)
	if err != nil {
		t.Fatal(err)
	}
	w, err := DemoWorld(e, phrases)
	if err != nil {
		t.Fatal(err)
	}
	o := Quick()
	o.OTI.Steps, o.Queries, o.Train, o.TrainSteps, o.Distil.Batch, o.Tune.Batch, o.Tune.Epochs = 6, 26, 16, 6, 8, 8, 2
	w.Concepts = w.Concepts[:60] // a few seconds are spent on all of them
	return &Study{Engine: e, Device: dev, World: w, Options: o, Work: work}
}

// All sections must run on the embedded world; of what was kept some give the same tables again, without a step of OTI or of training.
func TestSections(t *testing.T) {
	work := t.TempDir()
	again := []string{"noise", "fidelity", "finetune"}
	tables := map[string]string{}
	for run, names := range [][]string{nil, again} {
		s := demoStudy(t, work)
		steps := 0
		s.Progress = func(what string, _, _ int) {
			if strings.HasPrefix(what, "OTI") || strings.HasPrefix(what, "phi") {
				steps++
			}
		}
		r, err := s.Run(context.Background(), names)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[int]int{0: len(Names()), 1: len(again)}[run]; len(r.Sections) != want || steps > 0 != (run == 0) {
			t.Errorf("run %d: %d sections, %d steps", run, len(r.Sections), steps)
		}
		for _, x := range r.Sections {
			text := fmt.Sprint(x.Tables)
			if run == 0 {
				tables[x.Name] = text
			} else if text != tables[x.Name] {
				t.Errorf("%s says at first\n%s\nand then\n%s", x.Name, tables[x.Name], text)
			}
		}
		if run == 0 {
			checkReport(t, r)
		}
	}
}

// checkReport looks for what every report must have, in each format.
func checkReport(t *testing.T, r *Report) {
	t.Helper()
	var md, page, table, object bytes.Buffer
	if err := errors.Join(r.WriteMarkdown(&md), r.WriteHTML(&page), r.WriteCSV(&table), r.WriteJSON(&object)); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(object.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	for i, x := range r.Sections {
		if len(x.Tables) == 0 || len(back.Sections[i].Tables) != len(x.Tables) || !slices.ContainsFunc(rows, func(r []string) bool { return r[0] == x.Name }) ||
			!strings.Contains(md.String(), "## "+x.Title) || !strings.Contains(page.String(), `id="`+x.Name+`"`) {
			t.Errorf("section %s is not in every format", x.Name)
		}
		for _, tb := range x.Tables {
			for _, row := range tb.Rows {
				if len(row.Cells) != len(tb.Columns)-1 {
					t.Errorf("%s: row %q has %d cells for %d columns", x.Name, row.Label, len(row.Cells), len(tb.Columns))
				}
			}
		}
		for _, f := range x.Figures {
			if !strings.Contains(page.String(), f.File) {
				t.Errorf("the page lacks %s", f.File)
			}
		}
	}
}

// A run that is stopped within an inversion goes on, and says what one that was not stopped says.
func TestStoppedStudyGoesOn(t *testing.T) {
	work := t.TempDir()
	say := func(dir string, stop int) string {
		s := demoStudy(t, dir)
		s.Options.OTI.Parallel = 4 // a journal keeps whole groups
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s.Progress = func(what string, done, _ int) {
			if strings.HasPrefix(what, "OTI") && done == stop {
				cancel()
			}
		}
		r, err := s.Run(ctx, []string{"noise"})
		if stop > 0 {
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("stopped: %v", err)
			}
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(r.Sections[0].Tables)
	}
	say(work, 60)
	if left, err := filepath.Glob(filepath.Join(work, "*"+oti.JournalSuffix)); err != nil || len(left) != 1 {
		t.Fatalf("%v are left, %v", left, err)
	}
	if a, b := say(work, -1), say(t.TempDir(), -1); a != b {
		t.Errorf("after a stop\n%s\nwithout\n%s", a, b)
	}
}

// Every picture of the world of shapes is another, each change changes one thing, and its right answer is the picture that it says.
func TestShapes(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range scenes() {
		m := c.draw(64)
		if key := c.id() + string(m.Pix); seen[c.id()] || seen[string(m.Pix)] {
			t.Errorf("%s is drawn twice", key[:len(c.id())])
		}
		seen[c.id()], seen[string(m.Pix)] = true, true
		ink := 0
		for i := 0; i < len(m.Pix); i += 4 {
			if m.Pix[i] == shapeRGB[c.colour].R && m.Pix[i+1] == shapeRGB[c.colour].G {
				ink++
			}
		}
		// Even the smallest shape, a triangle, covers 1.3 (radius x 1.25)^2 of the picture; edges are blended.
		if area := float64(c.count) * 64 * 64 * .07 * .07; float64(ink) < area {
			t.Errorf("%s has %d pixels of its colour", c.id(), ink)
		}
		for _, ch := range changes {
			for k := range 5 {
				if to, caption := ch.make(c, k); to == c || caption == "" {
					t.Errorf("%s: %s changes nothing", c.id(), ch.what)
				}
			}
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{Defaults(), Full(), Quick()} {
		if err := o.Check(); err != nil {
			t.Error(err)
		}
	}
	o := Defaults()
	o.Fractions = []float64{.5, 1.5}
	if err := o.Check(); err == nil || !strings.Contains(err.Error(), "1.5") {
		t.Errorf("a fraction of 1.5: %v", err)
	}
	s := demoStudy(t, t.TempDir())
	if _, err := s.Run(context.Background(), []string{"nonsense"}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("an unknown section: %v", err)
	}
}
