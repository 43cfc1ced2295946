package ablation

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"isearle/phi"
	"isearle/search"
	"isearle/search/eval"
)

// baseline asks queries by one of eval's methods.
func (s *Study) baseline(ctx context.Context, w *World, queries []eval.Query, method string) (outcome, error) {
	list, err := eval.ParseMethods(method)
	if err != nil {
		return outcome{}, err
	}
	if _, err := w.references(queries); err != nil {
		return outcome{}, err
	}
	var refs []float32
	for _, q := range queries {
		f, err := w.feature(ctx, w.row[q.Reference.ID])
		if err != nil {
			return outcome{}, err
		}
		refs = append(refs, f...)
	}
	features := make([]float32, len(refs))
	if err := list[0].Features(ctx, s.Engine, features, queries, refs); err != nil {
		return outcome{}, err
	}
	return s.rank(ctx, w, queries, features)
}

// contender is a way from images to pseudo-words, with each seed.
type contender struct {
	label string
	of    func(ctx context.Context, w *World, rows []int, seed int) (words, error)
}

// contenders are OTI, the model's own phi if there is one, and phi distilled here.
func (s *Study) contenders(variant func(seed int) variant) ([]contender, error) {
	list := []contender{{"OTI", func(ctx context.Context, w *World, rows []int, seed int) (words, error) {
		return s.invert(ctx, w, rows, variant(seed))
	}}}
	n, err := s.given()
	if err != nil {
		return nil, err
	}
	if n != nil {
		list = append(list, contender{"phi, the model's own", func(ctx context.Context, w *World, rows []int, _ int) (words, error) { return s.byPhi(ctx, w, rows, n) }})
	}
	return append(list, contender{"phi, distilled here", func(ctx context.Context, w *World, rows []int, seed int) (words, error) {
		n, _, err := s.distil(ctx, s.whole(seed))
		if err != nil {
			return nil, err
		}
		return s.byPhi(ctx, w, rows, n)
	}}), nil
}

// contest asks queries of a contender with every seed.
func (s *Study) contest(ctx context.Context, w *World, queries []eval.Query, c contender) (list []outcome, err error) {
	rows, err := w.references(queries)
	if err != nil {
		return nil, err
	}
	for seed := range s.Options.Seeds {
		of, err := c.of(ctx, w, rows, seed)
		if err != nil {
			return nil, err
		}
		o, err := s.retrieve(ctx, w, queries, of, 1)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, nil
}

// baselines are the methods without pseudo-words.
var baselines = [][2]string{{"image", "image alone"}, {"text", "text alone"}, {"sum", "mean of image and text"}}

// field is a table of contenders and baselines over a world's queries; the outcomes are those of the contenders.
func (s *Study) field(ctx context.Context, w *World, queries []eval.Query, variant func(seed int) variant) (t Table, outcomes []outcome, list []contender, err error) {
	t.Columns = slices.Concat([]string{"method"}, retrievalColumns, []string{"mAP@10 - first row's", "SD over seeds"})
	if list, err = s.contenders(variant); err != nil {
		return
	}
	for _, c := range list {
		runs, err := s.contest(ctx, w, queries, c)
		if err != nil {
			return t, nil, nil, err
		}
		o := mean(runs...)
		outcomes = append(outcomes, o)
		t.Rows = append(t.Rows, Row{c.label, append(s.retrieved(o), s.difference(o.ap, outcomes[0].ap), spread(runs))})
	}
	for _, b := range baselines {
		o, err := s.baseline(ctx, w, queries, b[0])
		if err != nil {
			return t, nil, nil, err
		}
		t.Rows = append(t.Rows, Row{b[1], append(s.retrieved(o), s.difference(o.ap, outcomes[0].ap), none())})
	}
	return t, outcomes, list, nil
}

// inversion compares OTI with phi on images that phi did not learn from.
func (s *Study) inversion(ctx context.Context) (Section, error) {
	out := Section{Note: "Pseudo-words by OTI, with the world's phrases where there are some, and by phi. The phi distilled here learnt from no reference; the model's own may have, " +
		"except from pictures of combinations that the model never saw."}
	t, outcomes, list, err := s.field(ctx, s.World, s.queries, s.usual)
	if err != nil {
		return out, err
	}
	sum, err := s.baseline(ctx, s.World, s.queries, "sum")
	if err != nil {
		return out, err
	}
	s.claim(&out, "OTI against the mean of image and text", outcomes[0], sum)
	for i, c := range list[1:] {
		s.claim(&out, c.label+", against OTI", outcomes[i+1], outcomes[0])
	}
	t.Title = "All queries"
	out.Tables = append(out.Tables, t)
	if unseen := s.World.Unseen; unseen != nil {
		parts := Table{Title: "mAP@10 by whether the model's training saw the reference's combination", Columns: []string{"method", "seen", "unseen", "queries unseen"}}
		for i, c := range list {
			row := func(k int) bool { return unseen[s.World.row[s.queries[k].Reference.ID]] }
			seen, not := outcomes[i].only(func(k int) bool { return !row(k) }), outcomes[i].only(row)
			parts.Rows = append(parts.Rows, Row{c.label, []Cell{s.percent(seen.ap), s.percent(not.ap), plain(float64(len(not.ap)), 0)}})
		}
		out.Tables = append(out.Tables, parts)
	}
	return out, nil
}

// fidelity compares phi's pseudo-words with OTI's.
func (s *Study) fidelity(ctx context.Context) (Section, error) {
	out := Section{Note: "Pseudo-words of the references. KL in nats between normal distributions fitted to either with Ledoit and Wolf's shrinkage, of the pseudo-words and of their " +
		"directions (at unit length: the loss of the distillation sees no lengths); OTI with another seed shows what would be as good as OTI itself. Cosines are those of each image's pseudo-word with OTI's."}
	t := Table{Columns: slices.Concat([]string{"pseudo-words"}, []string{"cosine with OTI", "KL(OTI, it)", "KL(it, OTI)", "directions: KL(OTI, it)", "KL(it, OTI)", "shrinkage", "mean length"}, retrievalColumns)}
	list, err := s.contenders(s.usual)
	if err != nil {
		return out, err
	}
	again := list[0]
	again.label = "OTI, another seed"
	again.of = func(ctx context.Context, w *World, rows []int, seed int) (words, error) {
		return s.invert(ctx, w, rows, s.usual(seed+1))
	}
	width := s.Engine.Width()
	var base []float32
	var first [2]gaussian // of pseudo-words and of their directions
	var axes [2][]float64
	var centre []float64
	picture := Figure{File: "pseudo-words.png", Title: "Directions of pseudo-words on the first two principal axes of OTI's", XLabel: "first axis", Panels: []Panel{{Label: "second axis"}}}
	var names []string
	var hist [][]float64
	for i, c := range slices.Insert(list, 1, again) {
		of, err := c.of(ctx, s.World, s.refs, 0)
		if err != nil {
			return out, err
		}
		tokens := of.list(s.refs)
		o, err := s.retrieve(ctx, s.World, s.queries, of, 1)
		if err != nil {
			return out, err
		}
		unit := slices.Clone(tokens)
		for row := range slices.Chunk(unit, width) {
			search.Unit(row)
		}
		mine := [2]gaussian{fit(tokens, width), fit(unit, width)}
		if i == 0 {
			base, first = tokens, mine
			axes, centre = principal(unit, width)
		}
		cos := cosines(tokens, base, width)
		cells := []Cell{s.measured(cos, 3)}
		for k := range mine {
			cells = append(cells, nats(first[k], mine[k]), nats(mine[k], first[k]))
		}
		if i == 0 {
			cells = slices.Repeat([]Cell{none()}, len(cells))
		} else {
			names, hist = append(names, c.label), append(hist, cos)
		}
		cells = append(cells, plain(mine[0].shrinkage, 3), plain(average(lengths(tokens, width)), 2))
		t.Rows = append(t.Rows, Row{c.label, append(cells, s.retrieved(o)...)})
		curve := projected(unit, axes, centre)
		curve.Name = c.label
		if i != 1 {
			picture.Panels[0].Curves = append(picture.Panels[0].Curves, curve)
		}
	}
	out.Tables = []Table{t}
	out.Figures = []Figure{picture, histogram("fidelity.png", "Cosine of each image's pseudo-word with OTI's", "cosine", names, hist)}
	return out, nil
}

// nats is the divergence of two distributions; "-" where one has collapsed, which the section on failures tells.
func nats(g, h gaussian) Cell {
	kl, err := divergence(g, h)
	if err != nil {
		return none()
	}
	return plain(kl, 1)
}

// lengths are the norms of rows.
func lengths(x []float32, cols int) (out []float64) {
	for row := range slices.Chunk(x, cols) {
		out = append(out, math.Sqrt(dot(row, row)))
	}
	return out
}

// copies puts several copies of the pseudo-word into the prompts.
func (s *Study) copies(ctx context.Context) (Section, error) {
	out := Section{Note: "Copies of the pseudo-word in the place of $, with spaces between: OTI without phrases optimises one pseudo-word for as many places; the model's own phi, which was " +
		"trained for one, is only repeated."}
	t := Table{Columns: slices.Concat([]string{"copies"}, retrievalColumns, []string{"mAP@10 - first row's", "SD over seeds", "phi's mAP@10"})}
	n, err := s.given()
	if err != nil {
		return out, err
	}
	var own words
	if n != nil {
		if own, err = s.byPhi(ctx, s.World, s.refs, n); err != nil {
			return out, err
		}
	}
	var first outcome
	for _, k := range s.Options.Copies {
		var list []outcome
		for seed := range s.Options.Seeds {
			v := s.bare(seed)
			v.o.Tokens = k
			of, err := s.invert(ctx, s.World, s.refs, v)
			if err != nil {
				return out, err
			}
			o, err := s.retrieve(ctx, s.World, s.queries, of, k)
			if err != nil {
				return out, err
			}
			list = append(list, o)
		}
		o, byPhi := mean(list...), none()
		if first.ap == nil {
			first = o
		}
		if own != nil {
			p, err := s.retrieve(ctx, s.World, s.queries, own, k)
			if err != nil {
				return out, err
			}
			byPhi = s.percent(p.ap)
		}
		if k == 2 && s.Options.Copies[0] == 1 {
			s.claim(&out, "OTI of two copies of the pseudo-word against one", o, first)
		}
		t.Rows = append(t.Rows, Row{strconv.Itoa(k), append(s.retrieved(o), s.difference(o.ap, first.ap), spread(list), byPhi)})
	}
	out.Tables = []Table{t}
	return out, nil
}

// farImages is how many images of each domain are inverted for themselves.
const farImages = 96

// far looks at domains that nothing was trained on.
func (s *Study) far(ctx context.Context) (Section, error) {
	out := Section{Note: fmt.Sprintf("Domains that no training saw: the world of shapes (%d pictures drawn by the program; count, place, size, colour, kind and background are exact), and a folder of images if "+
		"one is given. OTI without phrases. First up to %d images of each for themselves: the cosine of \"a photo of $\" with its image, and how often the image is the first, or among the 10 first, of its own domain's "+
		"gallery; then composed queries.", len(scenes()), farImages)}
	shapes, err := ShapesWorld(ctx, s.Engine)
	if err != nil {
		return out, err
	}
	t := Table{Title: "Images for themselves", Columns: []string{"domain, method", "cosine with the image", "R@1", "R@10", "cosine of phi with OTI"}}
	worlds := []*World{s.World, shapes}
	if s.Far != nil {
		worlds = append(worlds, s.Far)
	}
	list, err := s.contenders(s.bare)
	if err != nil {
		return out, err
	}
	for _, w := range worlds {
		rows := s.evenly(w)
		var base []float32
		for _, c := range list {
			of, err := c.of(ctx, w, rows, 0)
			if err != nil {
				return out, err
			}
			cells, err := s.itself(ctx, w, rows, of)
			if err != nil {
				return out, err
			}
			with := none()
			if base == nil {
				base = of.list(rows)
			} else {
				with = s.measured(cosines(of.list(rows), base, s.Engine.Width()), 3)
			}
			t.Rows = append(t.Rows, Row{w.Name + ", " + c.label, append(cells, with)})
		}
	}
	composed, outcomes, _, err := s.field(ctx, shapes, shapes.Task.Queries, s.bare)
	if err != nil {
		return out, err
	}
	sum, err := s.baseline(ctx, shapes, shapes.Task.Queries, "sum")
	if err != nil {
		return out, err
	}
	s.claim(&out, "In "+shapes.Name+", OTI against the mean of image and text", outcomes[0], sum)
	composed.Title = "Composed queries in " + shapes.Name
	out.Tables = []Table{t, composed}
	return out, nil
}

// evenly chooses images of a world, the references first where it has queries.
func (s *Study) evenly(w *World) (rows []int) {
	n := len(w.Task.Gallery)
	if w == s.World {
		for k := range min(len(s.refs), farImages) {
			rows = append(rows, s.refs[k*len(s.refs)/min(len(s.refs), farImages)])
		}
		return rows
	}
	for k := range min(n, farImages) {
		rows = append(rows, k*n/min(n, farImages))
	}
	return rows
}

// itself says how near "a photo of $" is to its own image.
func (s *Study) itself(ctx context.Context, w *World, rows []int, of words) ([]Cell, error) {
	texts, err := s.speak(ctx, rows, of, 1)
	if err != nil {
		return nil, err
	}
	d := s.Engine.Dim()
	var queries []eval.Query
	var cos []float64
	for i, row := range rows {
		queries = append(queries, eval.Query{Targets: []int{row}, Exclude: -1})
		cos = append(cos, dot(texts[i*d:(i+1)*d], w.Unit[row*d:(row+1)*d]))
	}
	o, err := s.rank(ctx, w, queries, texts)
	return []Cell{s.measured(cos, 3), s.percent(o.first), s.percent(o.found)}, err
}

// FolderWorld is images by their features, without queries: raw [len(ids), Dim].
func FolderWorld(name string, ids []string, raw []float32, unit func([]float32)) *World {
	w := &World{Name: name, Unit: slices.Clone(raw)}
	d := len(raw) / max(1, len(ids))
	for i, id := range ids {
		w.Task.Gallery = append(w.Task.Gallery, eval.Image{ID: id, Path: id})
		unit(w.Unit[i*d : (i+1)*d])
	}
	w.Raw = func(_ context.Context, i int) ([]float32, error) { return raw[i*d : (i+1)*d], nil }
	return w
}

// failures looks for what the papers warn of.
func (s *Study) failures(ctx context.Context) (Section, error) {
	out := Section{Note: "Collapse: the lengths of pseudo-words and the cosines between those of different images, beside the vocabulary's embeddings; cosines near 1 would say that all images become one word. " +
		"Language: queries with the caption, with the pseudo-word alone (\"a photo of $\") and the caption alone; a pseudo-word that does not mix with language answers no better with the caption than without. " +
		"Overfitting: phi distilled here on the images that it learnt from, and on others."}
	list, err := s.contenders(s.usual)
	if err != nil {
		return out, err
	}
	list = append(list, contender{"OTI without phrases", func(ctx context.Context, w *World, rows []int, seed int) (words, error) {
		return s.invert(ctx, w, rows, s.bare(seed))
	}})
	width := s.Engine.Width()
	collapse := Table{Title: "Collapse", Columns: []string{"embeddings", "mean length", "SD of the lengths", "mean cosine", "95th percentile of cosines", "nearest word's cosine"}}
	language := Table{Title: "Language", Columns: []string{"pseudo-words", "with caption", "without caption", "caption alone", "with - the better of both"}}
	vocabulary, err := s.Engine.Vocabulary()
	if err != nil {
		return out, err
	}
	collapse.Rows = append(collapse.Rows, Row{"vocabulary", s.shape(vocabulary, nil)})
	text, err := s.baseline(ctx, s.World, s.queries, "text")
	if err != nil {
		return out, err
	}
	mute := slices.Clone(s.queries)
	for i := range mute {
		mute[i].Prompts = append(mute[i].Prompts[:0:0], plainPrompt)
	}
	names, hist := []string{}, [][]float64{}
	for _, c := range list {
		of, err := c.of(ctx, s.World, s.refs, 0)
		if err != nil {
			return out, err
		}
		tokens := of.list(s.refs)
		collapse.Rows = append(collapse.Rows, Row{c.label, s.shape(tokens, vocabulary)})
		names, hist = append(names, c.label), append(hist, lengths(tokens, width))
		with, err := s.retrieve(ctx, s.World, s.queries, of, 1)
		if err != nil {
			return out, err
		}
		without, err := s.retrieve(ctx, s.World, mute, of, 1)
		if err != nil {
			return out, err
		}
		better := without.ap
		if average(text.ap) > average(without.ap) {
			better = text.ap
		}
		language.Rows = append(language.Rows, Row{c.label, []Cell{s.percent(with.ap), s.percent(without.ap), s.percent(text.ap), s.difference(with.ap, better)}})
	}
	over, err := s.overfitting(ctx)
	out.Tables = []Table{collapse, language, over}
	out.Figures = []Figure{histogram("lengths.png", "Lengths of pseudo-words and of the vocabulary's embeddings", "length", append(names, "vocabulary"), append(hist, lengths(vocabulary, width)))}
	return out, err
}

// shape are the cells of the collapse table for rows of Width elements.
func (s *Study) shape(x, vocabulary []float32) []Cell {
	width := s.Engine.Width()
	size := lengths(x, width)
	deviation := 0.0
	for _, v := range size {
		deviation += (v - average(size)) * (v - average(size)) / float64(len(size))
	}
	row := func(i int) []float32 { return x[i*width : (i+1)*width] }
	var cos []float64
	for _, p := range pairs(len(size), gapPairs, 4, func(i, j int) bool { return true }) {
		cos = append(cos, cosines(row(p[0]), row(p[1]), width)...)
	}
	slices.Sort(cos)
	nearest := none()
	if vocabulary != nil {
		var best []float64
		for i := range size {
			top := math.Inf(-1)
			for at := 0; at < len(vocabulary); at += width {
				top = max(top, cosines(row(i), vocabulary[at:at+width], width)[0])
			}
			best = append(best, top)
		}
		nearest = plain(average(best), 3)
	}
	if len(cos) == 0 {
		return []Cell{plain(average(size), 2), plain(math.Sqrt(deviation), 2), none(), none(), nearest}
	}
	return []Cell{plain(average(size), 2), plain(math.Sqrt(deviation), 2), plain(average(cos), 3), plain(cos[len(cos)*95/100], 3), nearest}
}

// overfitting compares phi on images that it learnt from with others: fidelity, and finding the image itself.
func (s *Study) overfitting(ctx context.Context) (Table, error) {
	t := Table{Title: "Overfitting", Columns: []string{"phi distilled from", "cosine with OTI, learnt", "held out", "the image itself R@1, learnt", "held out"}}
	rows := s.trainRows()
	smallest := slices.Min(s.Options.Fractions)
	for _, f := range slices.Compact([]float64{smallest, 1}) {
		l := s.whole(0)
		l.fraction = f
		n, learntRows, _, held, learnt, err := s.taught(ctx, l)
		if err != nil {
			return t, err
		}
		first, err := s.finds(ctx, n, learntRows)
		if err != nil {
			return t, err
		}
		second, err := s.finds(ctx, n, s.refs)
		if err != nil {
			return t, err
		}
		t.Rows = append(t.Rows, Row{fmt.Sprintf("%d of %d images", len(learntRows), len(rows)), []Cell{s.measured(learnt, 3), s.measured(held, 3), first, second}})
	}
	return t, nil
}

// finds is how often "a photo of $" by a network finds the image itself first.
func (s *Study) finds(ctx context.Context, n *phi.Network, rows []int) (Cell, error) {
	of, err := s.byPhi(ctx, s.World, rows, n)
	if err != nil {
		return none(), err
	}
	cells, err := s.itself(ctx, s.World, rows, of)
	if err != nil {
		return none(), err
	}
	return cells[1], nil
}
