package eval

import (
	"fmt"
	"math"

	"isearle/clipnet/tokenizer"
)

// Order says which f32 number the references sort by. The two differ in ties: 1-s rounds scores of small magnitude together.
type Order uint8

const (
	BySimilarity Order = iota // s, the largest first
	ByDistance                // 1-s, the smallest first
)

// key is a number whose order is that of the references, the largest first.
func (o Order) key(s float32) float32 {
	if o == ByDistance {
		return -(1 - s)
	}
	return s
}

// Image is an image of a data set.
type Image struct {
	ID   string // as the data set names it
	Path string // the file
}

// Query is a composed query and its right answers.
type Query struct {
	ID        string
	Reference Image
	// Caption is what the report shows.
	Caption string
	// Prompts have one pseudo-word each, or copies of it, that of the reference; the query's feature is the unit mean of their unit features.
	Prompts []tokenizer.Prompt
	// Texts are the prompts of a query by text alone, to be averaged likewise.
	Texts []string
	// Targets are rows of the gallery, all right answers, the one that recall counts first. Empty where the split hides them.
	Targets []int
	// Exclude is the row that is removed from the ranking, -1 for none.
	Exclude int
	// Group are the rows that subset recall ranks.
	Group []int
	// Aspects are the semantic aspects of the caption.
	Aspects []string

	gone string // why the query cannot stand, "" if it can
}

// Task is a gallery with its queries.
type Task struct {
	Name    string // a category or domain; "" where a data set has one task
	Gallery []Image
	Queries []Query
}

// Dataset is a benchmark in memory: everything but the images.
type Dataset struct {
	Name  string // "fashioniq", "cirr", "circo", "domain" or "objects"
	Title string // for people
	Split string
	Root  string // the folder it was read from
	// Prompt and Gallery say what the protocol does, for the tables.
	Prompt, Gallery string
	Order           Order
	// Depth is how much of a ranking the measures and submissions need.
	Depth int
	Tasks []Task

	measures func(t *Task, queries []int, r []Ranking) []Measure
	// partial says that right answers may be missing from the gallery: they leave the set of right answers, not the query.
	partial bool
	// reverse asks for the other direction too: each image of the gallery ranks the queries.
	reverse  bool
	regions  map[string]region // of references that are cut out of an image, by id
	problems []Problem
}

// Problem is an image that a data set names and that could not be used.
type Problem struct {
	ID    string `json:"id"`
	Path  string `json:"path"`
	Error string `json:"error"`
}

// LoadOptions say how data sets are read.
type LoadOptions struct {
	// Split is the data set's name for a part of it; "" is validation.
	Split string
	// Template is the prompt of composed queries with a relative caption.
	Template tokenizer.Template
	// TemplateText is Template as it was written, for the tables.
	TemplateText string
	// List is a file of chosen boxes for object composition; "" is coco_eval.csv where there is one, else a choice by Seed.
	List string
	Seed uint64
}

// DataError says what is wrong with a data set: the file, the entry in it, and the reason.
type DataError struct {
	File  string
	Entry string // "query 17", "line 3", ...; may be empty
	Err   error
}

func (e *DataError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("eval: %q: %v", e.File, e.Err)
	}
	return fmt.Sprintf("eval: %q: %s: %v", e.File, e.Entry, e.Err)
}

func (e *DataError) Unwrap() error { return e.Err }

func dataError(file, entry, format string, args ...any) error {
	return &DataError{File: file, Entry: entry, Err: fmt.Errorf(format, args...)}
}

// checked refuses a data set that has nothing to rank; file is what would name it.
func (d *Dataset) checked(file string) (*Dataset, error) {
	for _, t := range d.Tasks {
		if len(t.Gallery) == 0 || len(t.Queries) == 0 {
			return nil, dataError(file, "", "%d images and %d queries: nothing to rank", len(t.Gallery), len(t.Queries))
		}
	}
	return d, nil
}

// Repeat puts n copies of the pseudo-word in the place of each in all queries' prompts.
func (d *Dataset) Repeat(n int) {
	for _, t := range d.Tasks {
		for i := range t.Queries {
			for k, p := range t.Queries[i].Prompts {
				t.Queries[i].Prompts[k] = p.Repeat(n)
			}
		}
	}
}

// Queries is the number of all tasks' queries.
func (d *Dataset) Queries() (n int) {
	for _, t := range d.Tasks {
		n += len(t.Queries)
	}
	return n
}

// Stat is how values of queries become one number.
type Stat uint8

const (
	Mean Stat = iota
	// MedianRank is floor(median of the ranks from 0) + 1, as Pic2Word computes it.
	MedianRank
)

// of computes the statistic over the values that are not NaN.
func (s Stat) of(values []float64) float64 {
	x := make([]float64, 0, len(values))
	for _, v := range values {
		if !math.IsNaN(v) {
			x = append(x, v)
		}
	}
	if len(x) == 0 {
		return math.NaN()
	}
	if s == MedianRank {
		return math.Floor(median(x)-1) + 1
	}
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// Measure is one number of a task and what each query adds to it.
type Measure struct {
	Name string
	Stat Stat
	// Rank says that the value is a rank, of which less is better; all others are fractions.
	Rank   bool
	Values []float64 // one per query that was ranked; NaN where the query does not count
}

// Value is the measure's number.
func (m Measure) Value() float64 { return m.Stat.of(m.Values) }

// Count is the number of queries it stands on.
func (m Measure) Count() (n int) {
	for _, v := range m.Values {
		if !math.IsNaN(v) {
			n++
		}
	}
	return n
}
