package eval

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"isearle/clipnet/tokenizer"
)

// LoadCIRCO reads annotations/SPLIT.json and COCO2017_unlabeled/annotations/image_info_unlabeled2017.json. The caption is
// relative_caption alone, without the shared concept, and the reference stays in the gallery. Split test has no right answers.
func LoadCIRCO(dir string, o LoadOptions) (*Dataset, error) {
	split := o.Split
	if split == "" {
		split = "val"
	}
	d := &Dataset{Name: "circo", Title: "CIRCO", Split: split, Root: dir, Depth: 50, Prompt: o.TemplateText,
		Gallery: "all images of COCO's unlabeled2017, the reference stays in", measures: circoMeasures}
	t, at, err := circoGallery(dir)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "annotations", split+".json")
	var entries []circoEntry
	if err := readJSON(file, &entries); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i, e := range entries {
		q, err := e.query(file, fmt.Sprintf("query %d", i), at, &t, o.Template)
		if err != nil {
			return nil, err
		}
		if seen[q.ID] {
			return nil, dataError(file, fmt.Sprintf("query %d", i), "id %s occurs twice", q.ID)
		}
		if seen[q.ID] = true; len(q.Targets) == 0 && split != "test" {
			return nil, dataError(file, "id "+q.ID, "no gt_img_ids in split %q", split)
		}
		t.Queries = append(t.Queries, q)
	}
	d.Tasks = []Task{t}
	return d.checked(file)
}

func circoGallery(dir string) (t Task, at map[string]int, err error) {
	root := filepath.Join(dir, "COCO2017_unlabeled")
	file := filepath.Join(root, "annotations", "image_info_unlabeled2017.json")
	var info struct {
		Images []struct {
			ID   json.RawMessage `json:"id"`
			File string          `json:"file_name"`
		} `json:"images"`
	}
	if err := readJSON(file, &info); err != nil {
		return t, nil, err
	}
	for i, m := range info.Images {
		entry := fmt.Sprintf("image %d", i)
		id, err := idText(m.ID)
		if err != nil {
			return t, nil, &DataError{File: file, Entry: entry, Err: err}
		}
		path, err := inside(file, entry, filepath.Join(root, "unlabeled2017"), m.File)
		if err != nil {
			return t, nil, err
		}
		t.Gallery = append(t.Gallery, Image{id, path})
	}
	at, err = index(file, t.Gallery)
	return t, at, err
}

// circoEntry is a query of CIRCO's annotations.
type circoEntry struct {
	ID        json.RawMessage   `json:"id"`
	Reference json.RawMessage   `json:"reference_img_id"`
	Target    json.RawMessage   `json:"target_img_id"`
	Caption   string            `json:"relative_caption"`
	Right     []json.RawMessage `json:"gt_img_ids"`
	Aspects   []string          `json:"semantic_aspects"`
}

func (e *circoEntry) query(file, entry string, at map[string]int, t *Task, template tokenizer.Template) (q Query, err error) {
	row := func(role string, raw json.RawMessage) (int, error) {
		id, err := idText(raw)
		if err != nil {
			return 0, &DataError{File: file, Entry: entry, Err: fmt.Errorf("%s: %w", role, err)}
		}
		return need(at, file, entry, role, id)
	}
	if q.ID, err = idText(e.ID); err != nil {
		return q, &DataError{File: file, Entry: entry, Err: fmt.Errorf("id: %w", err)}
	}
	entry = "id " + q.ID
	ref, err := row("reference_img_id", e.Reference)
	if err != nil {
		return q, err
	}
	q.Reference, q.Exclude, q.Caption, q.Aspects = t.Gallery[ref], -1, e.Caption, e.Aspects
	q.Texts, q.Prompts = []string{e.Caption}, []tokenizer.Prompt{template.Fill(e.Caption)}
	for _, a := range e.Aspects {
		if !slices.Contains(circoAspects, a) {
			return q, dataError(file, entry, "semantic aspect %q is none of CIRCO's", a)
		}
	}
	if e.Target == nil && len(e.Right) == 0 {
		return q, nil
	}
	target, err := row("target_img_id", e.Target)
	if err != nil {
		return q, err
	}
	q.Targets = []int{target}
	listed := map[int]bool{}
	for _, raw := range e.Right {
		g, err := row("gt_img_ids", raw)
		if err != nil {
			return q, err
		}
		if listed[g] {
			return q, dataError(file, entry, "image %s is twice among gt_img_ids", t.Gallery[g].ID)
		}
		if listed[g] = true; g != target {
			q.Targets = append(q.Targets, g)
		}
	}
	if !listed[target] {
		return q, dataError(file, entry, "target_img_id %s is not among gt_img_ids", t.Gallery[target].ID)
	}
	return q, nil
}
