package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"isearle/clipnet/tokenizer"
	"isearle/cmd/isearle/internal/lines"
	"isearle/phi"
	"isearle/search"
	"isearle/search/eval"
)

// tripletLayouts are the data sets whose queries are triplets.
func tripletLayouts() []string { return []string{"circo", "cirr", "fashioniq"} }

// triplet is a line of the list: images by path or id.
type triplet struct {
	name, reference string
	targets         []string
	prompts         []tokenizer.Prompt
}

// tripletData is what is learnt from.
type tripletData struct {
	c        *phiFinetuneCommand
	s        *session
	eng      *engine
	list     []triplet
	ids      []string // of all images, each once
	row      map[string]int
	features []float32 // raw [len(ids), dim]
	out      map[string]bool
	failed   bool
}

func (d *tripletData) fail(err error) {
	d.failed = true
	d.s.fail(err)
}

// read reads the triplets and embeds their images. Those with images that cannot be read are left out.
func (d *tripletData) read(ctx context.Context, args []string) error {
	var err error
	if d.c.data != "" {
		err = d.readData()
	} else {
		err = d.readList(args[0])
	}
	if err == nil {
		err = d.embed(ctx)
	}
	if err != nil {
		return err
	}
	d.list = slices.DeleteFunc(d.list, func(t triplet) bool {
		_, ok := d.row[t.reference]
		return !ok || !slices.ContainsFunc(t.targets, func(id string) bool { _, ok := d.row[id]; return ok })
	})
	d.holdOut()
	if n := len(d.learnt()); n < d.c.tune.Batch {
		return fmt.Errorf("%d triplets to learn from do not fill a batch of %d: give a smaller --batch", n, d.c.tune.Batch)
	}
	return nil
}

// readData takes the queries of a data set.
func (d *tripletData) readData() error {
	for _, p := range evalProtocols {
		if p.name != d.c.layout {
			continue
		}
		template, err := tokenizer.ParseTemplate(d.c.engine.template)
		if err != nil {
			return usageError{err}
		}
		set, err := p.load(d.c.data, eval.LoadOptions{Split: d.c.split, Template: template.Repeat(d.c.engine.tokens)})
		if err != nil {
			return err
		}
		for _, t := range set.Tasks {
			for _, q := range t.Queries {
				x := triplet{name: q.ID, reference: q.Reference.Path, prompts: q.Prompts}
				for _, row := range q.Targets {
					x.targets = append(x.targets, t.Gallery[row].Path)
				}
				if len(x.targets) == 0 {
					return fmt.Errorf("%s: split %q hides its right answers", d.c.data, set.Split)
				}
				d.list = append(d.list, x)
			}
		}
	}
	return nil
}

// readList reads a file of triplets. Bad lines are named and left out.
func (d *tripletData) readList(name string) error {
	in := io.Reader(d.s.stdin)
	if name == "-" {
		name = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	at := map[[2]string]int{}
	for line, err := range lines.All(in, name, false) {
		if err != nil {
			return err
		}
		if strings.TrimSpace(line.Text) == "" {
			continue
		}
		reference, caption, targets, err := parseTriplet(line.Text)
		if err != nil {
			d.fail(fmt.Errorf("%s:%d: %w", name, line.Number, err))
			continue
		}
		key := [2]string{reference, caption}
		k, ok := at[key]
		if !ok {
			k = len(d.list)
			at[key] = k
			d.list = append(d.list, triplet{name: fmt.Sprintf("%s:%d", name, line.Number), reference: reference, prompts: []tokenizer.Prompt{d.eng.Prompt(caption)}})
		}
		for _, id := range targets {
			if !slices.Contains(d.list[k].targets, id) {
				d.list[k].targets = append(d.list[k].targets, id)
			}
		}
	}
	return nil
}

// parseTriplet reads a line.
func parseTriplet(line string) (reference, caption string, targets []string, err error) {
	if strings.HasPrefix(strings.TrimLeft(line, " "), "{") {
		var o struct {
			Reference, Caption, Target string
			Targets                    []string
		}
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			return "", "", nil, err
		}
		if o.Target != "" {
			o.Targets = append([]string{o.Target}, o.Targets...)
		}
		reference, caption, targets = o.Reference, o.Caption, o.Targets
	} else {
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			return "", "", nil, fmt.Errorf("%d fields: a reference, a caption and a target are needed, with tabs between", len(fields))
		}
		reference, caption, targets = fields[0], fields[1], fields[2:]
	}
	if reference == "" || strings.TrimSpace(caption) == "" || len(targets) == 0 || slices.Contains(targets, "") {
		return "", "", nil, errors.New("the reference, the caption or the target is missing")
	}
	return reference, caption, targets, nil
}

// embed computes the features of all images, each once.
func (d *tripletData) embed(ctx context.Context) error {
	d.row = map[string]int{}
	seen := map[string]bool{}
	var paths []string
	progress := d.s.console.Start("images", 0)
	defer progress.Stop()
	take := func(id string, feature []float32) {
		progress.Add(1)
		d.row[id] = len(d.ids)
		d.ids, d.features = append(d.ids, id), append(d.features, feature...)
	}
	inside := answerer{}
	if d.eng.Embedded() {
		inside.pictures = demoPicture
	}
	for _, t := range d.list {
		for _, id := range append([]string{t.reference}, t.targets...) {
			if seen[id] {
				continue
			}
			seen[id] = true
			if p, ok := inside.picture(id); ok {
				f, err := d.eng.EmbedImage(ctx, p.ID, p.Data)
				if err != nil {
					return err
				}
				take(id, f)
				continue
			}
			paths = append(paths, id)
		}
	}
	return d.eng.EmbedImages(ctx, slices.Values(paths), d.eng.threads, func(m search.Embedded) error {
		if m.Err != nil {
			d.fail(m.Err)
			return nil
		}
		take(m.Path, m.Feature)
		return nil
	})
}

// holdOut chooses the references that are not learnt from.
func (d *tripletData) holdOut() {
	d.out = map[string]bool{}
	var references []string
	for _, t := range d.list {
		if !slices.Contains(references, t.reference) {
			references = append(references, t.reference)
		}
	}
	if d.c.holdout == 0 || len(references) == 0 {
		return
	}
	for _, i := range phi.Subset(len(references), d.c.holdout, d.c.tune.Seed) {
		d.out[references[i]] = true
	}
}

// held is how many triplets are held out.
func (d *tripletData) held() (n int) {
	for _, t := range d.list {
		if d.out[t.reference] {
			n++
		}
	}
	return n
}

func (d *tripletData) feature(id string) []float32 {
	i := d.row[id]
	return d.features[i*d.eng.Dim() : (i+1)*d.eng.Dim()]
}

// learnt are the triplets that are not held out; a query of several prompts is as many of them.
func (d *tripletData) learnt() (list []phi.Triplet) {
	for _, t := range d.list {
		if d.out[t.reference] {
			continue
		}
		x := phi.Triplet{Name: t.name, Reference: d.feature(t.reference)}
		for _, id := range t.targets {
			if _, ok := d.row[id]; ok {
				x.Targets = append(x.Targets, d.feature(id))
			}
		}
		for _, p := range t.prompts {
			x.Prompt = p
			list = append(list, x)
		}
	}
	return list
}
