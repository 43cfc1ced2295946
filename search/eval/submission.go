package eval

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"isearle/weights/atomicfile"
)

// Depths of the servers' files.
const (
	submissionDepth       = 50
	submissionSubsetDepth = 3
)

// CIRRSubmission builds the two files of CIRR's test server from rankings: query id to the first 50 names, and to the first 3 of
// the group. Both have the keys "version" and "metric" too.
func CIRRSubmission(t *Task, queries []int, r []Ranking) (recall, subset map[string]any) {
	recall = map[string]any{"version": "rc2", "metric": "recall"}
	subset = map[string]any{"version": "rc2", "metric": "recall_subset"}
	for i, q := range queries {
		id := t.Queries[q].ID
		recall[id] = names(t, r[i].Top, submissionDepth)
		subset[id] = names(t, r[i].Group, submissionSubsetDepth)
	}
	return recall, subset
}

// CIRCOSubmission builds the file of CIRCO's test server: query id to the ids of the first 50 images, as the benchmark's own
// code writes them. A query given twice is an error.
func CIRCOSubmission(t *Task, queries []int, r []Ranking) (map[string]any, error) {
	out := map[string]any{}
	for i, q := range queries {
		id := t.Queries[q].ID
		if _, twice := out[id]; twice {
			return nil, fmt.Errorf("eval: submission: query %s occurs twice", id)
		}
		out[id] = names(t, r[i].Top, submissionDepth)
		if err := CheckPredictions(id, names(t, r[i].Top, submissionDepth)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// CheckPredictions refuses a list that has an image twice, as CIRCO's server does.
func CheckPredictions(query string, ids []string) error {
	at := make(map[string]int, len(ids))
	for i, id := range ids {
		if j, twice := at[id]; twice {
			return fmt.Errorf("eval: query %s: predictions %d and %d are both image %s", query, j+1, i+1, id)
		}
		at[id] = i
	}
	return nil
}

func names(t *Task, rows []int, k int) []string {
	out := make([]string, 0, k)
	for _, row := range rows[:min(k, len(rows))] {
		out = append(out, t.Gallery[row].ID)
	}
	return out
}

// WriteSubmission writes what the data set's server takes, from the rankings of one method: one file for CIRCO; for CIRR the file
// and, beside it, the one for subset recall with "subset_" before its name. The paths written are returned.
func (r *Result) WriteSubmission(path string, m *MethodResult) ([]string, error) {
	d := r.Dataset
	t := &d.Tasks[0]
	switch d.Name {
	case "cirr":
		recall, subset := CIRRSubmission(t, m.Tasks[0].Queries, m.Tasks[0].Rankings)
		second := filepath.Join(filepath.Dir(path), "subset_"+filepath.Base(path))
		if err := writeJSON(path, recall); err != nil {
			return nil, err
		}
		return []string{path, second}, writeJSON(second, subset)
	case "circo":
		out, err := CIRCOSubmission(t, m.Tasks[0].Queries, m.Tasks[0].Rankings)
		if err != nil {
			return nil, err
		}
		return []string{path}, writeJSON(path, out)
	}
	return nil, fmt.Errorf("eval: %s has no test server: no submission", d.Title)
}

func writeJSON(path string, v any) error {
	err := atomicfile.Write(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	})
	if err != nil {
		return fmt.Errorf("eval: write submission: %w", err)
	}
	return nil
}
