package main

import (
	"context"
	"slices"

	"isearle/phi"
	"isearle/search"
	"isearle/search/eval"
)

// tripletScorer scores a network by the triplets that are held out: their mAP among all images, the reference left out.
type tripletScorer struct {
	d       *tripletData
	scorer  *eval.Scorer
	queries []eval.Query
	images  []float32 // raw features of the queries' references
}

func newTripletScorer(d *tripletData) (*tripletScorer, error) {
	v := &tripletScorer{d: d}
	for _, t := range d.list {
		if !d.out[t.reference] {
			continue
		}
		q := eval.Query{ID: t.name, Prompts: t.prompts, Exclude: d.row[t.reference]}
		for _, id := range t.targets {
			if row, ok := d.row[id]; ok {
				q.Targets = append(q.Targets, row)
			}
		}
		v.queries, v.images = append(v.queries, q), append(v.images, d.feature(t.reference)...)
	}
	unit := slices.Clone(d.features)
	for row := range slices.Chunk(unit, d.eng.Dim()) {
		search.Unit(row)
	}
	var err error
	v.scorer, err = eval.NewScorer(d.eng.device, unit, d.eng.Dim())
	return v, err
}

func (v *tripletScorer) close() error { return v.scorer.Close() }

func (v *tripletScorer) score(ctx context.Context, n *phi.Network) (float64, error) {
	eng := v.d.eng
	e, err := phi.NewEncoder(eng.device, n)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	words, features := make([]float32, len(v.queries)*eng.Width()), make([]float32, len(v.queries)*eng.Dim())
	if err := e.Invert(ctx, words, v.images, len(v.queries)); err != nil {
		return 0, err
	}
	if err := eval.Compose(ctx, eng.Engine, features, v.queries, words); err != nil {
		return 0, err
	}
	sum := 0.0
	err = v.scorer.Each(ctx, features, func(i int, scores []float32) error {
		r := eval.Rank(scores, eval.BySimilarity, &v.queries[i], validateDepth)
		sum += eval.AveragePrecision(r.Hits, r.Right, validateDepth)
		return nil
	})
	return sum / float64(len(v.queries)), err
}
