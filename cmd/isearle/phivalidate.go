package main

import (
	"context"
	"errors"
	"math"
	"slices"

	"isearle/cmd/isearle/internal/plot"
	"isearle/phi"
	"isearle/search"
	"isearle/search/eval"
	"isearle/weights/demo"
)

// validator scores a phi by the composed queries inside the program.
type validator struct {
	eng     *engine
	gallery *search.Gallery
	index   *search.Index
	queries []demo.Query
	asked   []search.Composition // with the raw features of the references
	images  []float32            // the same, one after the other
}

// validateDepth is the k of the mAP.
const validateDepth = 10

func newValidator(ctx context.Context, eng *engine) (*validator, error) {
	v := &validator{eng: eng}
	err := v.open(ctx)
	if err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

func (v *validator) open(ctx context.Context) error {
	var err error
	if v.queries, err = demo.Queries(); err != nil {
		return err
	}
	pictures, err := demo.Gallery()
	if err != nil {
		return err
	}
	if v.gallery, err = search.DemoGallery(); err != nil {
		return err
	}
	if err := v.gallery.CheckModel(v.eng.Model()); err != nil {
		return err
	}
	if v.index, err = search.OpenIndex(ctx, v.gallery, v.eng.device, search.IndexOptions{}); err != nil {
		return err
	}
	features := map[string][]float32{}
	for _, q := range v.queries {
		if features[q.Reference] == nil {
			at := slices.IndexFunc(pictures, func(p demo.Picture) bool { return p.ID == q.Reference })
			if features[q.Reference], err = v.eng.EmbedImage(ctx, q.Reference, pictures[at].Data); err != nil {
				return err
			}
		}
		x := features[q.Reference]
		v.asked, v.images = append(v.asked, search.Composition{Image: x, Text: q.Caption}), append(v.images, x...)
	}
	return nil
}

func (v *validator) close() error {
	var errs []error
	if v.index != nil {
		errs = append(errs, v.index.Close())
	}
	if v.gallery != nil {
		errs = append(errs, v.gallery.Close())
	}
	return errors.Join(errs...)
}

// score is the mAP@10 of the queries, each without its reference in the gallery.
func (v *validator) score(ctx context.Context, n *phi.Network) (float64, error) {
	e, err := phi.NewEncoder(v.eng.device, n)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	words, features := make([]float32, len(v.asked)*v.eng.Width()), make([]float32, len(v.asked)*v.eng.Dim())
	if err := e.Invert(ctx, words, v.images, len(v.asked)); err != nil {
		return 0, err
	}
	if _, err := v.eng.ComposeWords(ctx, features, v.asked, words); err != nil {
		return 0, err
	}
	q := search.Query{K: validateDepth, Features: slices.Collect(slices.Chunk(features, v.eng.Dim()))}
	for _, x := range v.queries {
		q.Exclude = append(q.Exclude, []string{x.Reference})
	}
	results, err := v.index.Search(ctx, q)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for i, list := range results {
		hits := make([]bool, len(list))
		for k, r := range list {
			hits[k] = slices.Contains(v.queries[i].Targets, r.ID)
		}
		sum += eval.AveragePrecision(hits, len(v.queries[i].Targets), validateDepth)
	}
	return sum / float64(len(results)), nil
}

// curves writes the loss curves beside the output, as numbers and as a picture.
func (c *phiTrainCommand) curves(list []phi.Record) error {
	var epoch, total, distil, gpt, score []float64
	scored := false
	for _, r := range list {
		epoch, total = append(epoch, float64(r.Epoch)), append(total, r.Total)
		distil, gpt, score = append(distil, r.Distil), append(gpt, r.GPT), append(score, math.NaN())
		if r.Score != nil {
			score[len(score)-1], scored = *r.Score, true
		}
	}
	path := c.beside(".loss.csv")
	names, columns := []string{"epoch", "total", "distillation", "gpt", "map_at_10"}, [][]float64{epoch, total, distil, gpt, score}
	if err := writeColumns(path, names, columns); err != nil {
		return err
	}
	loss := plot.Panel{Label: "loss", Curves: []plot.Curve{{Name: "total", X: epoch, Y: total}, {Name: "distillation", X: epoch, Y: distil}}}
	if c.train.LambdaGPT > 0 {
		loss.Curves = append(loss.Curves, plot.Curve{Name: "phrases", X: epoch, Y: gpt})
	}
	f := plot.Figure{Title: "Training of phi", XLabel: "epoch", Panels: []plot.Panel{loss}}
	if scored {
		f.Panels = append(f.Panels, plot.Panel{Label: "mAP@10", Curves: []plot.Curve{{Name: "queries inside the program", X: epoch, Y: score}}})
	}
	return f.Write(picturePath(path))
}
