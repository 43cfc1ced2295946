package eval

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// fashionCategories are in the order of the papers' tables.
var fashionCategories = []string{"dress", "shirt", "toptee"}

// LoadFashionIQ reads captions/cap.CATEGORY.SPLIT.json, image_splits/split.CATEGORY.SPLIT.json and finds images/NAME.png or .jpg. A
// category's gallery is its own split, the reference stays in it, and a query is the mean over both orders of its two captions.
func LoadFashionIQ(dir string, o LoadOptions) (*Dataset, error) {
	split := o.Split
	if split == "" {
		split = "val"
	}
	d := &Dataset{Name: "fashioniq", Title: "FashionIQ", Split: split, Root: dir, Order: ByDistance, Depth: 50,
		Prompt:  o.TemplateText + ", mean over both orders of the two captions joined by \"and\"",
		Gallery: "each category's own split, the reference stays in",
		measures: func(_ *Task, _ []int, r []Ranking) []Measure {
			return recall(r, 10, 50)
		}}
	for _, category := range fashionCategories {
		t, err := fashionTask(dir, category, split, o)
		if err != nil {
			return nil, err
		}
		d.Tasks = append(d.Tasks, t)
	}
	return d.checked(filepath.Join(dir, "captions"))
}

func fashionTask(dir, category, split string, o LoadOptions) (t Task, err error) {
	t.Name = category
	splitFile := filepath.Join(dir, "image_splits", fmt.Sprintf("split.%s.%s.json", category, split))
	captionFile := filepath.Join(dir, "captions", fmt.Sprintf("cap.%s.%s.json", category, split))
	var list []string
	if err := readJSON(splitFile, &list); err != nil {
		return t, err
	}
	for i, name := range list {
		path, err := fashionImage(splitFile, fmt.Sprintf("entry %d", i), dir, name)
		if err != nil {
			return t, err
		}
		t.Gallery = append(t.Gallery, Image{name, path})
	}
	at, err := index(splitFile, t.Gallery)
	if err != nil {
		return t, err
	}
	var entries []struct {
		Target    string   `json:"target"`
		Candidate string   `json:"candidate"`
		Captions  []string `json:"captions"`
	}
	if err := readJSON(captionFile, &entries); err != nil {
		return t, err
	}
	for i, e := range entries {
		entry := fmt.Sprintf("query %d", i)
		if len(e.Captions) != 2 {
			return t, dataError(captionFile, entry, "%d captions, want 2", len(e.Captions))
		}
		if e.Candidate == "" {
			return t, dataError(captionFile, entry, "no candidate")
		}
		q := Query{ID: fmt.Sprintf("%s-%d", category, i), Exclude: -1, Reference: Image{ID: e.Candidate}}
		if j, ok := at[e.Candidate]; ok {
			q.Reference = t.Gallery[j]
		} else if q.Reference.Path, err = fashionImage(captionFile, entry, dir, e.Candidate); err != nil {
			return t, err
		}
		if e.Target != "" {
			target, err := need(at, captionFile, entry, "target", e.Target)
			if err != nil {
				return t, err
			}
			q.Targets = []int{target}
		} else if split != "test" {
			return t, dataError(captionFile, entry, "no target in split %q", split)
		}
		first, second := fashionCaption(e.Captions[0]), fashionCaption(e.Captions[1])
		q.Texts = []string{first + " and " + second, second + " and " + first}
		q.Caption = q.Texts[0]
		for _, text := range q.Texts {
			q.Prompts = append(q.Prompts, o.Template.Fill(text))
		}
		t.Queries = append(t.Queries, q)
	}
	return t, nil
}

// fashionCaption strips what the references strip.
func fashionCaption(s string) string { return strings.Trim(s, ".?, ") }

// fashionImage is the file of an image, .png where there is one, as the data set is published, else .jpg.
func fashionImage(file, entry, dir, name string) (string, error) {
	path, err := inside(file, entry, filepath.Join(dir, "images"), name+".png")
	if err != nil || name == "" {
		return "", dataError(file, entry, "the image's name is %q", name)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	other := strings.TrimSuffix(path, ".png") + ".jpg"
	if _, err := os.Stat(other); err == nil {
		return other, nil
	}
	return path, nil
}
