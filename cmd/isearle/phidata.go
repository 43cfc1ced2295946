package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"isearle/cmd/isearle/internal/images"
	"isearle/oti"
	"isearle/phi"
	"isearle/search"
	"isearle/weights/demo"
)

// errNoExamples says that nothing is left to learn from.
var errNoExamples = errors.New("no image is left to learn from")

// trainData is what phi learns from.
type trainData struct {
	c        *phiTrainCommand
	s        *session
	eng      *engine
	ids      []string
	features []float32 // raw
	concepts [][]string
	phrases  *oti.Phrases
	words    oti.Words
	rows     []int // of the pseudo-words, for each id
	failed   bool
}

// fail names an image that is left out.
func (d *trainData) fail(err error) {
	d.failed = true
	d.s.fail(err)
}

// read reads images, phrases and concepts, and reads the pseudo-words or makes them.
func (d *trainData) read(ctx context.Context, args []string) error {
	var err error
	if d.c.words != "" {
		err = d.readWords(ctx)
	} else {
		err = d.readImages(ctx, args)
	}
	if err == nil {
		err = d.enough()
	}
	if err == nil {
		err = d.associate(ctx)
	}
	if err == nil && d.c.words == "" {
		err = d.invert(ctx)
	}
	if err != nil {
		return err
	}
	d.leaveOut()
	return d.enough()
}

// enough checks that the images fill a batch, before the long work.
func (d *trainData) enough() error {
	switch n := len(d.ids); {
	case n == 0:
		return errNoExamples
	case n < d.c.train.Batch:
		return fmt.Errorf("%d images do not fill a batch of %d: give a smaller --batch", n, d.c.train.Batch)
	}
	return nil
}

// readImages embeds the fraction of the images that args name.
func (d *trainData) readImages(ctx context.Context, args []string) error {
	src := images.Source{Args: args, Stdin: d.s.stdin, Null: d.c.null, Fail: d.fail}
	paths := slices.Collect(src.All())
	if len(paths) == 0 {
		return errNoExamples
	}
	var chosen []string
	for _, i := range phi.Subset(len(paths), d.c.fraction, d.c.train.Seed) {
		chosen = append(chosen, paths[i])
	}
	_, err := d.embed(ctx, chosen)
	return err
}

// readWords reads pseudo-words and embeds the fraction of their images.
func (d *trainData) readWords(ctx context.Context) error {
	var err error
	if d.words, err = oti.ReadWords(d.c.words); err != nil {
		return err
	}
	if d.words.Width != d.eng.Width() {
		return fmt.Errorf("%s: pseudo-words of %d elements, the model's tokens have %d", d.c.words, d.words.Width, d.eng.Width())
	}
	if hash := d.words.Meta["model_hash"]; hash != "" && hash != d.eng.Model().Hash {
		return fmt.Errorf("%s: pseudo-words of model %.16s, not of %v", d.c.words, hash, d.eng.Model())
	}
	if len(d.words.IDs) == 0 {
		return errNoExamples
	}
	rows := phi.Subset(len(d.words.IDs), d.c.fraction, d.c.train.Seed)
	var chosen []string
	for _, i := range rows {
		chosen = append(chosen, d.words.IDs[i])
	}
	places, err := d.embed(ctx, chosen)
	for _, i := range places {
		d.rows = append(d.rows, rows[i])
	}
	return err
}

// embed computes the features of images by path or, for the model inside the program, by their ids in its gallery. It returns the
// places of those that succeed.
func (d *trainData) embed(ctx context.Context, ids []string) (places []int, err error) {
	progress := d.s.console.Start("images", len(ids))
	defer progress.Stop()
	take := func(i int, feature []float32) {
		places = append(places, i)
		d.ids, d.features = append(d.ids, ids[i]), append(d.features, feature...)
	}
	if inside, err := d.inside(ids); err != nil {
		return nil, err
	} else if inside != nil {
		for i, p := range inside {
			feature, err := d.eng.EmbedImage(ctx, p.ID, p.Data)
			if err != nil {
				return nil, err
			}
			take(i, feature)
			progress.Add(1)
		}
		return places, nil
	}
	err = d.eng.EmbedImages(ctx, slices.Values(ids), d.eng.threads, func(m search.Embedded) error {
		progress.Add(1)
		if m.Err != nil {
			d.fail(m.Err)
			return nil
		}
		take(m.Index, m.Feature)
		return nil
	})
	return places, err
}

// inside are the pictures inside the program that ids name; nil if the first names none.
func (d *trainData) inside(ids []string) ([]demo.Picture, error) {
	if d.c.engine.model != "" || d.c.words == "" {
		return nil, nil
	}
	pictures, err := demo.Gallery()
	if err != nil {
		return nil, err
	}
	named := make(map[string]demo.Picture, len(pictures))
	for _, p := range pictures {
		named[p.ID] = p
	}
	var out []demo.Picture
	for i, id := range ids {
		p, ok := named[id]
		if !ok && i == 0 {
			return nil, nil
		}
		if !ok {
			return nil, fmt.Errorf("%s: %q is no picture of the gallery inside the program, as %q is", d.c.words, id, ids[0])
		}
		out = append(out, p)
	}
	return out, nil
}

// associate reads the phrases and ranks the concepts for each image, where a loss needs them.
func (d *trainData) associate(ctx context.Context) error {
	f := &d.c.oti
	f.o.Seed, f.o.NoiseUnit = d.c.train.Seed, f.space == "unit"
	if f.phrases == "" {
		f.o.LambdaGPT = 0
	}
	if f.phrases == "" || d.c.words != "" && d.c.train.LambdaGPT == 0 {
		return nil
	}
	list, phrases, err := f.prepare(ctx, d.s, d.eng.Engine, d.ids, d.features)
	if err != nil {
		return err
	}
	d.phrases = phrases
	for _, m := range list {
		d.concepts = append(d.concepts, m.Concepts)
	}
	return nil
}

// feature is image i's.
func (d *trainData) feature(i int) []float32 {
	return d.features[i*d.eng.Dim() : (i+1)*d.eng.Dim()]
}

// conceptsOf are image i's, none where no loss needs them.
func (d *trainData) conceptsOf(i int) []string {
	if d.concepts == nil {
		return nil
	}
	return d.concepts[i]
}

// metaSource is a key of the pseudo-words' metadata: a digest of all that they depend on, so that a rerun knows its own.
const metaSource = "source"

// invert makes the pseudo-words beside the output, unless a run before this one finished them.
func (d *trainData) invert(ctx context.Context) error {
	path := d.c.wordsPath()
	source, err := d.source()
	if err != nil {
		return err
	}
	for i := range d.ids {
		d.rows = append(d.rows, i)
	}
	have, err := oti.ReadWords(path)
	switch {
	case err == nil && have.Meta[metaSource] == source && slices.Equal(have.IDs, d.ids):
		d.words = have
		d.s.notef("the pseudo-words in %s are taken", path)
		if err := os.Remove(path + oti.JournalSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // a run that was killed between its last two steps left it
		}
		return nil
	case err == nil:
		return fmt.Errorf("%s holds pseudo-words of other images or options: remove it, or learn from it by --words", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	v, err := d.eng.OTI(d.phrases, d.c.oti.o)
	if err != nil {
		return err
	}
	list := make([]oti.Image, len(d.ids))
	for i, id := range d.ids {
		list[i] = oti.Image{Name: id, Feature: d.feature(i), Concepts: d.conceptsOf(i)}
	}
	progress := d.s.console.Start("OTI steps", len(list)*d.c.oti.o.Steps)
	defer progress.Stop()
	model := d.eng.Model()
	meta := map[string]string{"model": model.Name, "model_hash": model.Hash, metaSource: source}
	if err := v.Run(ctx, path, list, meta, func(oti.Step) { progress.Add(1) }); err != nil {
		return err
	}
	d.words, err = oti.ReadWords(path)
	return err
}

// source is a digest of what the pseudo-words depend on.
func (d *trainData) source() (string, error) {
	h := sha256.New()
	o := d.c.oti.o
	o.Parallel = 0
	if err := json.NewEncoder(h).Encode(o); err != nil {
		return "", err
	}
	for i, id := range d.ids {
		fmt.Fprintf(h, "%q%q", id, d.conceptsOf(i))
	}
	h.Write(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(d.features))), 4*len(d.features)))
	if d.c.oti.phrases != "" {
		f, err := os.Open(d.c.oti.phrases)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if _, err := io.Copy(h, f); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// leaveOut leaves out the images none of whose concepts has phrases, if phrases are what they are to learn from.
func (d *trainData) leaveOut() {
	if d.c.train.LambdaGPT == 0 {
		return
	}
	kept := 0
	for i, id := range d.ids {
		list := d.concepts[i]
		list = list[:min(d.c.train.TopConcepts, len(list))]
		if !slices.ContainsFunc(list, func(c string) bool { return !d.phrases.Dropped(strings.TrimSpace(c)) }) {
			d.s.notef("%s is left out: none of its concepts has phrases", id)
			continue
		}
		d.ids[kept], d.concepts[kept], d.rows[kept] = id, d.concepts[i], d.rows[i]
		copy(d.feature(kept), d.feature(i))
		kept++
	}
	d.ids, d.concepts, d.rows = d.ids[:kept], d.concepts[:kept], d.rows[:kept]
}

// examples are the images with their pseudo-words.
func (d *trainData) examples() []phi.Example {
	list := make([]phi.Example, len(d.ids))
	for i, id := range d.ids {
		row := d.rows[i]
		list[i] = phi.Example{Name: id, Feature: d.feature(i), Token: d.words.Tokens[row*d.words.Width : (row+1)*d.words.Width], Concepts: d.conceptsOf(i)}
	}
	return list
}
