package ablation

import (
	"context"
	"fmt"
	"math"
	"slices"

	"isearle/phi"
)

// gapImages is how many images the cosines are taken over at most, gapPairs how many pairs.
const (
	gapImages = 400
	gapPairs  = 2000
)

// gap compares cosines within and between the modalities.
func (s *Study) gap(ctx context.Context) (Section, error) {
	w, d := s.World, s.Engine.Dim()
	out := Section{Note: "Mean cosines of images with images and of images with texts, those that show the same (matched) and others; texts are " +
		"names where the world tells them, and \"a photo of $\" with pseudo-words of the references, OTI's without phrases. The distance is that of the " +
		"mean of the texts' unit features from the mean of the images'."}
	t := Table{Title: "Cosines", Columns: []string{"pairs", "matched", "unmatched", "gap of the means"}}
	var histNames []string
	var hist [][]float64
	add := func(label string, matched, unmatched []float64, distance float64) {
		t.Rows = append(t.Rows, Row{label, []Cell{s.measured(matched, 3), s.measured(unmatched, 3), plain(distance, 3)}})
		if len(matched) > 0 {
			histNames, hist = append(histNames, label), append(hist, matched)
		}
	}
	n := len(w.Task.Gallery)
	var rows []int
	for k := range min(n, gapImages) {
		rows = append(rows, k*n/min(n, gapImages))
	}
	image := func(row int) []float32 { return w.Unit[row*d : (row+1)*d] }
	same := func(i, j int) bool { return w.Names != nil && w.Names[i] == w.Names[j] }
	cosinesOf := func(list [][2]int) (c []float64) {
		for _, p := range list {
			c = append(c, dot(image(p[0]), image(p[1])))
		}
		return c
	}
	add("image, image", cosinesOf(pairs(n, gapPairs, 1, same)), cosinesOf(pairs(n, gapPairs, 2, func(i, j int) bool { return !same(i, j) })), math.NaN())
	if w.Names != nil {
		texts, err := s.names(ctx, rows)
		if err != nil {
			return out, err
		}
		m, u := s.against(rows, texts, func(i, j int) bool { return w.Names[rows[i]] != w.Names[rows[j]] })
		add("image, name", m, u, s.distance(rows, texts))
	}
	spoken := func(label string, of words) error {
		texts, err := s.speak(ctx, s.refs, of, 1)
		if err != nil {
			return err
		}
		m, u := s.against(s.refs, texts, func(i, j int) bool { return !same(s.refs[i], s.refs[j]) })
		add(label, m, u, s.distance(s.refs, texts))
		return nil
	}
	for _, gamma := range []float64{0, s.Options.OTI.Gamma} {
		v := s.bare(0)
		v.o.Gamma = gamma
		of, err := s.invert(ctx, w, s.refs, v)
		if err == nil {
			err = spoken("image, OTI with noise "+number(gamma), of)
		}
		if err != nil {
			return out, err
		}
	}
	n2, err := s.given()
	if err != nil {
		return out, err
	}
	if n2 != nil {
		of, err := s.byPhi(ctx, w, s.refs, n2)
		if err == nil {
			err = spoken("image, phi", of)
		}
		if err != nil {
			return out, err
		}
	}
	out.Tables = []Table{t}
	out.Figures = []Figure{histogram("gap.png", "Cosines of matched pairs", "cosine", histNames, hist)}
	return out, nil
}

// given is the engine's phi; nil where a model has none.
func (s *Study) given() (*phi.Network, error) {
	n, err := s.Engine.Phi()
	if err != nil && noPhi(err) {
		return nil, nil
	}
	return n, err
}

// names encodes "a photo of NAME" of rows, at unit length.
func (s *Study) names(ctx context.Context, rows []int) ([]float32, error) {
	var texts []string
	for _, row := range rows {
		texts = append(texts, "a photo of "+s.World.Names[row])
	}
	out := make([]float32, len(rows)*s.Engine.Dim())
	_, err := s.Engine.EmbedTexts(ctx, out, texts)
	s.unit(out)
	return out, err
}

// against are the cosines of rows' images with their own texts, and with those of others.
func (s *Study) against(rows []int, texts []float32, other func(i, j int) bool) (matched, unmatched []float64) {
	d := s.Engine.Dim()
	image := func(i int) []float32 { return s.World.Unit[rows[i]*d : (rows[i]+1)*d] }
	for i := range rows {
		matched = append(matched, dot(image(i), texts[i*d:(i+1)*d]))
	}
	for _, p := range pairs(len(rows), gapPairs, 3, other) {
		unmatched = append(unmatched, dot(image(p[0]), texts[p[1]*d:(p[1]+1)*d]))
	}
	return matched, unmatched
}

// distance is that of the mean of texts from the mean of rows' images.
func (s *Study) distance(rows []int, texts []float32) float64 {
	d, sum := s.Engine.Dim(), make([]float64, s.Engine.Dim())
	for i, row := range rows {
		for j := range d {
			sum[j] += float64(texts[i*d+j]-s.World.Unit[row*d+j]) / float64(len(rows))
		}
	}
	square := 0.0
	for _, v := range sum {
		square += v * v
	}
	return math.Sqrt(square)
}

// noise sweeps the noise.
func (s *Study) noise(ctx context.Context) (Section, error) {
	space := "on features at unit length"
	if !s.Options.OTI.NoiseUnit {
		space = "on raw features"
	}
	out := Section{Note: "OTI without phrases, noise of standard deviation gamma " + space + ". Cosine and gap are those of \"a photo of $\" with the references."}
	t := Table{Columns: slices.Concat([]string{"gamma"}, retrievalColumns, []string{"mAP@10 - first row's", "SD over seeds", "cosine", "gap of the means"})}
	var names []string
	curves := map[string][]Cell{}
	var first outcome
	for _, gamma := range s.Options.Gammas {
		var list []outcome
		var cosine, gap []float64
		for seed := range s.Options.Seeds {
			v := s.bare(seed)
			v.o.Gamma = gamma
			of, err := s.invert(ctx, s.World, s.refs, v)
			if err != nil {
				return out, err
			}
			o, err := s.retrieve(ctx, s.World, s.queries, of, 1)
			if err != nil {
				return out, err
			}
			list = append(list, o)
			texts, err := s.speak(ctx, s.refs, of, 1)
			if err != nil {
				return out, err
			}
			m, _ := s.against(s.refs, texts, func(int, int) bool { return false })
			cosine, gap = append(cosine, average(m)), append(gap, s.distance(s.refs, texts))
		}
		o := mean(list...)
		if first.ap == nil {
			first = o
		}
		names = append(names, number(gamma))
		cells := s.retrieved(o)
		for i, name := range retrievalColumns {
			curves[name] = append(curves[name], cells[i])
		}
		if gamma > 0 && gamma == s.Options.OTI.Gamma || gamma == slices.Max(s.Options.Gammas) {
			s.claim(&out, fmt.Sprintf("OTI with noise %g against %g", gamma, s.Options.Gammas[0]), o, first)
		}
		t.Rows = append(t.Rows, Row{number(gamma), append(cells, s.difference(o.ap, first.ap), spread(list), plain(average(cosine), 3), plain(average(gap), 3))})
	}
	out.Tables = []Table{t}
	out.Figures = []Figure{categories("noise.png", "Retrieval over the noise in OTI, 95 % intervals", "gamma", "%", names, curves, retrievalColumns...)}
	return out, nil
}
