package ablation

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"isearle/clipnet/preprocess"
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

// All sections must run on the embedded world; what was kept gives the same report, without a step of OTI.
func TestSections(t *testing.T) {
	work := t.TempDir()
	var texts [2]string
	for i := range texts {
		s := demoStudy(t, work)
		steps := 0
		s.Progress = func(what string, _, _ int) {
			if strings.HasPrefix(what, "OTI") || strings.HasPrefix(what, "phi") {
				steps++
			}
		}
		r, err := s.Run(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var md, html, table bytes.Buffer
		for _, err := range []error{r.WriteMarkdown(&md), r.WriteHTML(&html), r.WriteCSV(&table)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		texts[i] = md.String()
		if len(r.Sections) != len(Names()) || steps > 0 != (i == 0) {
			t.Errorf("run %d: %d sections, %d steps", i, len(r.Sections), steps)
		}
	}
	t.Log(texts[0])
	if texts[0] != texts[1] {
		t.Errorf("the second run says\n%s", texts[1])
	}
}
