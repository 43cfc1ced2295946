package eval

import (
	"fmt"
	"path/filepath"
	"strconv"

	"isearle/clipnet/tokenizer"
)

// LoadCIRR reads cirr/captions/cap.rc2.SPLIT.json and cirr/image_splits/split.rc2.SPLIT.json. The gallery is the split's images in
// their order; the reference is removed from rankings. Split test1 has no targets: its rankings go to the test server.
func LoadCIRR(dir string, o LoadOptions) (*Dataset, error) {
	split := o.Split
	if split == "" {
		split = "val"
	}
	d := &Dataset{Name: "cirr", Title: "CIRR", Split: split, Root: dir, Order: ByDistance, Depth: 50,
		Prompt: o.TemplateText, Gallery: "the split's images, the reference removed from each ranking",
		measures: func(t *Task, queries []int, r []Ranking) []Measure {
			return append(recall(r, 1, 5, 10, 50), subsetRecall(t, queries, r, 1, 2, 3)...)
		}}
	splitFile := filepath.Join(dir, "cirr", "image_splits", "split.rc2."+split+".json")
	var list orderedMap
	if err := readJSON(splitFile, &list); err != nil {
		return nil, err
	}
	var t Task
	for _, e := range list {
		path, err := inside(splitFile, fmt.Sprintf("image %q", e.key), dir, e.value)
		if err != nil {
			return nil, err
		}
		t.Gallery = append(t.Gallery, Image{e.key, path})
	}
	at, err := index(splitFile, t.Gallery)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "cirr", "captions", "cap.rc2."+split+".json")
	var entries []cirrEntry
	if err := readJSON(file, &entries); err != nil {
		return nil, err
	}
	seen := map[int]bool{}
	for i, e := range entries {
		q, err := e.query(file, fmt.Sprintf("query %d (pair %v)", i, e.PairID), at, &t, o.Template)
		if err != nil {
			return nil, err
		}
		if seen[*e.PairID] {
			return nil, dataError(file, fmt.Sprintf("query %d", i), "pair %d occurs twice", *e.PairID)
		}
		if seen[*e.PairID] = true; len(q.Targets) == 0 && split != "test1" {
			return nil, dataError(file, fmt.Sprintf("query %d", i), "no target_hard in split %q", split)
		}
		t.Queries = append(t.Queries, q)
	}
	d.Tasks = []Task{t}
	return d.checked(file)
}

// cirrEntry is a query of CIRR's caption files.
type cirrEntry struct {
	PairID    *int    `json:"pairid"`
	Reference string  `json:"reference"`
	Target    *string `json:"target_hard"`
	Caption   string  `json:"caption"`
	Set       struct {
		Members []string `json:"members"`
	} `json:"img_set"`
}

func (e *cirrEntry) query(file, entry string, at map[string]int, t *Task, template tokenizer.Template) (q Query, err error) {
	if e.PairID == nil {
		return q, dataError(file, entry, "no pairid")
	}
	entry = "pair " + strconv.Itoa(*e.PairID)
	ref, err := need(at, file, entry, "reference", e.Reference)
	if err != nil {
		return q, err
	}
	q = Query{ID: strconv.Itoa(*e.PairID), Reference: t.Gallery[ref], Exclude: ref, Caption: e.Caption,
		Texts: []string{e.Caption}, Prompts: []tokenizer.Prompt{template.Fill(e.Caption)}}
	if e.Target != nil {
		target, err := need(at, file, entry, "target_hard", *e.Target)
		if err != nil {
			return q, err
		}
		if target == ref {
			return q, dataError(file, entry, "target_hard %q is the reference", *e.Target)
		}
		q.Targets = []int{target}
	}
	inGroup := map[int]bool{}
	for _, name := range e.Set.Members {
		m, err := need(at, file, entry, "member", name)
		if err != nil {
			return q, err
		}
		if inGroup[m] {
			return q, dataError(file, entry, "member %q occurs twice", name)
		}
		inGroup[m] = true
		q.Group = append(q.Group, m)
	}
	if e.Target != nil && !inGroup[q.Targets[0]] {
		return q, dataError(file, entry, "target_hard %q is not among the members of its set", *e.Target)
	}
	return q, nil
}
