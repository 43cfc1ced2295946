package search

import (
	"context"
	"slices"
	"testing"

	"isearle/phi"
	"isearle/weights/demo"
)

// Fine-tuning a new network on composed queries must make it find their targets.
func TestTuneDemo(t *testing.T) {
	e, ctx := demoEngine(t), context.Background()
	g, err := DemoGallery()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	index, err := OpenIndex(ctx, g, e.dev, IndexOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	pictures, err := demo.Gallery()
	if err != nil {
		t.Fatal(err)
	}
	queries, err := demo.Queries()
	if err != nil {
		t.Fatal(err)
	}
	var triplets []phi.Triplet
	var asked []demo.Query
	for i := 0; i < len(queries); i += 11 {
		q := queries[i]
		at := slices.IndexFunc(pictures, func(p demo.Picture) bool { return p.ID == q.Reference })
		x := phi.Triplet{Name: q.ID, Prompt: e.Prompt(q.Caption)}
		if x.Reference, err = e.EmbedImage(ctx, q.Reference, pictures[at].Data); err != nil {
			t.Fatal(err)
		}
		for _, id := range q.Targets {
			row, _ := g.Row(id)
			x.Targets = append(x.Targets, g.Feature(row, nil))
		}
		triplets, asked = append(triplets, x), append(asked, q)
	}
	found := func(n *phi.Network) (hits int) {
		enc, err := phi.NewEncoder(e.dev, n)
		if err != nil {
			t.Fatal(err)
		}
		defer enc.Close()
		var q Query
		q.K = 10
		for i, x := range triplets {
			word, f := make([]float32, e.Width()), make([]float32, e.Dim())
			if err := enc.Invert(ctx, word, x.Reference, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := e.ComposeWords(ctx, f, []Composition{{Image: x.Reference, Text: asked[i].Caption}}, word); err != nil {
				t.Fatal(err)
			}
			q.Features, q.Exclude = append(q.Features, f), append(q.Exclude, []string{asked[i].Reference})
		}
		results, err := index.Search(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for i, list := range results {
			if slices.ContainsFunc(list, func(r Result) bool { return slices.Contains(asked[i].Targets, r.ID) }) {
				hits++
			}
		}
		return hits
	}
	o := phi.TuneDefaults()
	o.Batch, o.Epochs, o.LR = 16, 60, 2e-3
	first := phi.New(phi.MLP, e.Dim(), 0, e.Width(), 1)
	tuner, err := e.TunePhi(first, triplets, o)
	if err != nil {
		t.Fatal(err)
	}
	defer tuner.Close()
	for range o.Epochs {
		if _, err := tuner.Epoch(ctx); err != nil {
			t.Fatal(err)
		}
	}
	last, err := tuner.Network()
	if err != nil {
		t.Fatal(err)
	}
	before, after := found(first), found(last)
	t.Logf("of %d queries the new network answers %d, the trained one %d", len(triplets), before, after)
	if after < before+len(triplets)/3 {
		t.Errorf("of %d queries the new network answers %d, the trained one %d", len(triplets), before, after)
	}
}
