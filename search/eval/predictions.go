package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"isearle/search"
)

// ReadPredictions reads predictions of CIRCO's layout, ids as text or numbers, and refuses duplicates.
func ReadPredictions(path string) (map[string][]string, error) {
	var raw map[string][]json.RawMessage
	if err := readJSON(path, &raw); err != nil {
		return nil, err
	}
	out := make(map[string][]string, len(raw))
	for query, list := range raw {
		ids := make([]string, len(list))
		for i, m := range list {
			id, err := idText(m)
			if err != nil {
				return nil, &DataError{File: path, Entry: "query " + query + ", prediction " + strconv.Itoa(i+1), Err: err}
			}
			ids[i] = id
		}
		if err := CheckPredictions(query, ids); err != nil {
			return nil, &DataError{File: path, Err: err}
		}
		out[query] = ids
	}
	return out, nil
}

// Judge computes the numbers of predictions as CIRCO's server does, from a file of ReadPredictions that any program made; name is the file's,
// for errors and tables. Every query must be there, every image in the gallery. Only CIRCO's validation split can be judged so.
func (d *Dataset) Judge(name string, predictions map[string][]string, seed uint64, resamples int) (*Result, error) {
	if d.Name != "circo" || !d.judged(&d.Tasks[0]) {
		return nil, fmt.Errorf("eval: predictions for %s, split %s, cannot be judged: only CIRCO's with right answers", d.Title, d.Split)
	}
	t := &d.Tasks[0]
	at, err := index(name, t.Gallery)
	if err != nil {
		return nil, err
	}
	var tr TaskResult
	for i := range t.Queries {
		q := &t.Queries[i]
		list, ok := predictions[q.ID]
		if !ok {
			return nil, dataError(name, "query "+q.ID, "no predictions")
		}
		r := Ranking{Right: len(q.Targets), Target: math.MaxInt, Scores: make([]float32, len(list))}
		for k, id := range list {
			row, err := need(at, name, "query "+q.ID, "prediction", id)
			if err != nil {
				return nil, err
			}
			if row == q.Targets[0] {
				r.Target = k + 1
			}
			r.Top, r.Hits = append(r.Top, row), append(r.Hits, slices.Contains(q.Targets, row))
		}
		tr.Queries, tr.Rankings = append(tr.Queries, i), append(tr.Rankings, r)
	}
	if len(predictions) > len(t.Queries) {
		return nil, dataError(name, "", "predictions for %d queries, the split has %d", len(predictions), len(t.Queries))
	}
	tr.Measures = d.measures(t, tr.Queries, tr.Rankings)
	r := &Result{Dataset: d, Model: search.Model{Name: "unknown: predictions of " + name}, Total: len(t.Queries), Ranked: len(t.Queries), Seed: seed, Resamples: resamples,
		Methods: []MethodResult{{Method: Method{Name: "predictions"}, Tasks: []TaskResult{tr}}}}
	r.summarise()
	return r, nil
}
