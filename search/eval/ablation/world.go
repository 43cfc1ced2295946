package ablation

import (
	"context"
	"fmt"
	"slices"

	"isearle/oti"
	"isearle/search"
	"isearle/search/eval"
	"isearle/weights/demo"
)

// World is what a Study is about: a gallery with composed queries.
type World struct {
	Name string
	Task eval.Task
	// Unit are the gallery's features at unit length, [len(Task.Gallery), Dim].
	Unit []float32
	// Raw computes the raw feature of an image of the gallery.
	Raw func(ctx context.Context, row int) ([]float32, error)
	// Names say what each image of the gallery shows; nil where that is unknown.
	Names []string
	// Unseen are the images that the model's training never saw the like of; nil where that is unknown.
	Unseen []bool
	// Training are rows that are no reference of any query: phi may be distilled from them.
	Training []int
	// Concepts are associated with images; Phrases are theirs, as a language model writes them. Nil where there are none.
	Concepts []string
	Phrases  *oti.Phrases

	row map[string]int    // of the gallery, by id
	raw map[int][]float32 // what Raw gave
}

// references are the rows of queries' references, each once, in order.
func (w *World) references(queries []eval.Query) (rows []int, err error) {
	if w.row == nil {
		w.row = make(map[string]int, len(w.Task.Gallery))
		for i, m := range w.Task.Gallery {
			w.row[m.ID] = i
		}
	}
	seen := map[int]bool{}
	for _, q := range queries {
		row, ok := w.row[q.Reference.ID]
		if !ok {
			return nil, fmt.Errorf("ablation: the reference %q of query %s is not in the gallery", q.Reference.ID, q.ID)
		}
		if !seen[row] {
			seen[row] = true
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// feature is the raw feature of an image, computed once.
func (w *World) feature(ctx context.Context, row int) ([]float32, error) {
	if f, ok := w.raw[row]; ok {
		return f, nil
	}
	f, err := w.Raw(ctx, row)
	if err != nil {
		return nil, fmt.Errorf("ablation: image %s: %w", w.Task.Gallery[row].ID, err)
	}
	if w.raw == nil {
		w.raw = map[int][]float32{}
	}
	w.raw[row] = f
	return f, nil
}

// DemoWorld is the embedded world: each query without its reference in the ranking. phrases may be nil.
func DemoWorld(e *search.Engine, phrases *oti.Phrases) (*World, error) {
	pictures, err := demo.Gallery()
	if err != nil {
		return nil, err
	}
	queries, err := demo.Queries()
	if err != nil {
		return nil, err
	}
	g, err := search.DemoGallery()
	if err != nil {
		return nil, err
	}
	defer g.Close()
	if err := g.CheckModel(e.Model()); err != nil {
		return nil, err
	}
	w := &World{Name: "the emoji world", Concepts: demo.Concepts(), Phrases: phrases}
	row := map[string]int{}
	for i, p := range pictures {
		row[p.ID] = i
		w.Task.Gallery = append(w.Task.Gallery, eval.Image{ID: p.ID})
		w.Names, w.Unseen = append(w.Names, p.Name), append(w.Unseen, p.Split != "train")
		w.Unit = append(w.Unit, g.Feature(i, nil)...)
	}
	reference := map[int]bool{}
	for _, q := range queries {
		x := eval.Query{ID: q.ID, Reference: w.Task.Gallery[row[q.Reference]], Caption: q.Caption, Texts: []string{q.Caption}, Exclude: row[q.Reference], Aspects: []string{q.Kind}}
		x.Prompts = append(x.Prompts, e.Prompt(q.Caption))
		for _, id := range q.Targets {
			x.Targets = append(x.Targets, row[id])
		}
		reference[x.Exclude] = true
		w.Task.Queries = append(w.Task.Queries, x)
	}
	for i := range pictures {
		if !reference[i] && !w.Unseen[i] {
			w.Training = append(w.Training, i)
		}
	}
	w.Raw = func(ctx context.Context, i int) ([]float32, error) {
		return e.EmbedImage(ctx, pictures[i].ID, pictures[i].Data)
	}
	return w, nil
}

// DataWorld is a data set of one task whose references are in the gallery, such as CIRCO's. feature gives raw features by path, as
// eval.Evaluator.Images does; concepts and phrases may be nil.
func DataWorld(d *eval.Dataset, feature func(path string) []float32, concepts []string, phrases *oti.Phrases) (*World, error) {
	if len(d.Tasks) != 1 {
		return nil, fmt.Errorf("ablation: %s has %d tasks, one is needed", d.Title, len(d.Tasks))
	}
	w := &World{Name: d.Title + ", split " + d.Split, Task: d.Tasks[0], Concepts: concepts, Phrases: phrases}
	if !slices.ContainsFunc(w.Task.Queries, func(q eval.Query) bool { return len(q.Targets) > 0 }) {
		return nil, fmt.Errorf("ablation: split %s of %s hides its right answers", d.Split, d.Title)
	}
	for _, m := range w.Task.Gallery {
		f := slices.Clone(feature(m.Path))
		search.Unit(f)
		w.Unit = append(w.Unit, f...)
	}
	rows, err := w.references(w.Task.Queries)
	if err != nil {
		return nil, err
	}
	reference := map[int]bool{}
	for _, row := range rows {
		reference[row] = true
	}
	for i := range w.Task.Gallery {
		if !reference[i] {
			w.Training = append(w.Training, i)
		}
	}
	w.Raw = func(_ context.Context, i int) ([]float32, error) { return feature(w.Task.Gallery[i].Path), nil }
	return w, nil
}
