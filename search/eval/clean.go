package eval

import (
	"fmt"
	"slices"
	"strings"
)

// clean leaves out the images that have no features, and the queries that cannot stand without them: their reference, a right answer
// or a member of their group is missing. The data set given is not touched; problems are listed in the new one.
func (d *Dataset) clean(f *features) *Dataset {
	out := *d
	out.Tasks, out.problems = nil, nil
	seen := map[string]bool{}
	report := func(m Image) {
		if err := f.errs[m.Path]; err != nil && !seen[m.Path] {
			seen[m.Path] = true
			out.problems = append(out.problems, Problem{m.ID, m.Path, err.Error()})
		}
	}
	var shared *Task // the task before, when its gallery is the same
	var place []int
	for i := range d.Tasks {
		t := &d.Tasks[i]
		nt := Task{Name: t.Name}
		if shared != nil && len(t.Gallery) > 0 && &t.Gallery[0] == &shared.Gallery[0] {
			nt.Gallery = out.Tasks[i-1].Gallery
		} else {
			nt.Gallery, place = cleanGallery(t.Gallery, f, report)
		}
		shared = t
		for _, q := range t.Queries {
			report(q.Reference)
			if q = d.cleanQuery(q, place, f, t.Gallery); q.gone == "" {
				nt.Queries = append(nt.Queries, q)
			}
		}
		out.Tasks = append(out.Tasks, nt)
	}
	return &out
}

// cleanGallery returns the images that have features, and where each image has gone, -1 for nowhere.
func cleanGallery(gallery []Image, f *features, report func(Image)) (kept []Image, place []int) {
	place = make([]int, len(gallery))
	for i, m := range gallery {
		report(m)
		if _, ok := f.row[m.Path]; !ok {
			place[i] = -1
			continue
		}
		place[i] = len(kept)
		kept = append(kept, m)
	}
	return kept, place
}

// cleanQuery renumbers what a query refers to, or says why it is gone.
func (d *Dataset) cleanQuery(q Query, place []int, f *features, gallery []Image) Query {
	if _, ok := f.row[q.Reference.Path]; !ok {
		q.gone = "reference " + q.Reference.ID
	}
	if q.Exclude >= 0 {
		q.Exclude = place[q.Exclude]
	}
	renumber := func(rows []int, what string, drop bool) []int {
		out := make([]int, 0, len(rows))
		for _, r := range rows {
			if place[r] >= 0 {
				out = append(out, place[r])
			} else if !drop {
				q.gone = what + " " + gallery[r].ID
			}
		}
		return out
	}
	q.Targets = renumber(q.Targets, "right answer", d.partial)
	q.Group = renumber(q.Group, "group member", false)
	return q
}

// problemsError is the refusal of a strict run.
func problemsError(problems []Problem) error {
	const shown = 5
	var lines []string
	for _, p := range problems[:min(shown, len(problems))] {
		lines = append(lines, fmt.Sprintf("%s (%s): %s", p.ID, p.Path, p.Error))
	}
	if len(problems) > shown {
		lines = append(lines, fmt.Sprintf("and %d more", len(problems)-shown))
	}
	return fmt.Errorf("eval: strict: %d images are missing or broken: %s", len(problems), strings.Join(slices.Clip(lines), "; "))
}
