package eval

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"

	"isearle/clipnet/preprocess"
	"isearle/runtime"
	"isearle/search"
)

// features are the raw image features of a data set by the images' files.
type features struct {
	dim  int
	row  map[string]int // path to row
	data []float32
	errs map[string]error // path to why it has none
	// cached counts the features that were there, computed those that were made.
	cached, computed int
}

func (f *features) of(path string) ([]float32, bool) {
	i, ok := f.row[path]
	if !ok {
		return nil, false
	}
	return f.data[i*f.dim : (i+1)*f.dim], true
}

// sources are all image files of a data set, each once, in order.
func (d *Dataset) sources() (paths []string) {
	seen := map[string]bool{}
	add := func(m Image) {
		if m.Path != "" && !seen[m.Path] {
			seen[m.Path] = true
			paths = append(paths, m.Path)
		}
	}
	for _, t := range d.Tasks {
		for _, m := range t.Gallery {
			add(m)
		}
		for _, q := range t.Queries {
			add(q.Reference)
		}
	}
	return paths
}

// cachePath is the feature file of a data set for a model and its preprocessing.
func (e *Evaluator) cachePath(d *Dataset, dir string) (string, error) {
	root, err := filepath.Abs(d.Root)
	if err != nil {
		return "", fmt.Errorf("eval: cache: %w", err)
	}
	p := e.Engine.Preprocessing()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00%s\x00%d\x00%t", root, e.Engine.Model().Hash, e.Engine.Meta().Products, p.Pad, p.Order, p.Filter, p.ExifOrientation))
	return filepath.Join(dir, d.Name+"-"+d.Split+"-"+hex.EncodeToString(sum[:8])+".isx"), nil
}

// imageFeatures computes the features of all images, or takes them from the cache where the file's content is the same.
func (e *Evaluator) imageFeatures(ctx context.Context, d *Dataset, dir string) (*features, error) {
	path, err := e.cachePath(d, dir)
	if err != nil {
		return nil, err
	}
	f := &features{dim: e.Engine.Dim(), row: map[string]int{}, errs: map[string]error{}}
	if err := e.drawRegions(ctx, d, f, path+".regions"); err != nil {
		return nil, err
	}
	meta := e.Engine.Meta()
	meta.Normalised, meta.DType = false, runtime.F32
	w, err := search.Create(path, meta, search.WriterOptions{})
	if err != nil {
		return nil, fmt.Errorf("eval: cache: %w", err)
	}
	defer w.Close()
	if err := e.fill(ctx, w, d.sources(), f); err != nil {
		return nil, err
	}
	if err := w.Commit(); err != nil {
		return nil, fmt.Errorf("eval: cache: %w", err)
	}
	return f, f.read(path)
}

// fill keeps the features of files that are as they were and computes the others.
func (e *Evaluator) fill(ctx context.Context, w *search.Writer, paths []string, f *features) error {
	var missing []string
	digests := map[string]search.Digest{}
	for _, p := range paths {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("eval: read images: %w", err)
		}
		digest, err := digestOf(p)
		if err != nil {
			f.errs[p] = err
			continue
		}
		kept, err := w.Keep(p, digest)
		if err != nil {
			return fmt.Errorf("eval: cache: %w", err)
		}
		if !kept {
			digests[p] = digest
			missing = append(missing, p)
		}
	}
	f.cached, f.computed = len(paths)-len(missing)-len(f.errs), len(missing)
	done := 0
	return e.Engine.EmbedImages(ctx, slices.Values(missing), max(e.Threads, 1), func(m search.Embedded) error {
		done++
		e.progress("images", done, len(missing))
		if m.Err != nil {
			f.errs[m.Path] = m.Err
			return nil
		}
		return w.Add(m.Path, digests[m.Path], m.Feature)
	})
}

func digestOf(path string) (d search.Digest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return d, err
	}
	copy(d[:], h.Sum(nil))
	return d, nil
}

// read takes all rows of a feature file.
func (f *features) read(path string) error {
	g, err := search.OpenGallery(path)
	if err != nil {
		return fmt.Errorf("eval: cache: %w", err)
	}
	defer g.Close()
	f.data = make([]float32, g.Len()*f.dim)
	for i := range g.Len() {
		f.row[g.ID(i)] = i
		g.Feature(i, f.data[i*f.dim:(i+1)*f.dim:(i+1)*f.dim])
	}
	return nil
}

// drawRegions draws the references that are cut out of images as PNG files of the model's size, and gives them their paths.
func (e *Evaluator) drawRegions(ctx context.Context, d *Dataset, f *features, dir string) error {
	if len(d.regions) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("eval: %w", err)
	}
	size := e.Engine.Preprocessing().Size
	pre, err := preprocess.New(preprocess.CLIP(size))
	if err != nil {
		return fmt.Errorf("eval: %w", err)
	}
	queries := d.Tasks[0].Queries
	for i := range queries {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("eval: draw objects: %w", err)
		}
		q := &queries[i]
		r := d.regions[q.Reference.ID]
		q.Reference.Path = filepath.Join(dir, filepath.Base(q.ID)+".png")
		pix, err := r.draw(pre, size)
		if err != nil {
			f.errs[q.Reference.Path] = fmt.Errorf("cut out the object: %w", err)
			os.Remove(q.Reference.Path)
			continue
		}
		if err := writePNG(q.Reference.Path, pix, size); err != nil {
			return fmt.Errorf("eval: %w", err)
		}
	}
	return nil
}

func writePNG(path string, pix []byte, size int) error {
	m := image.NewNRGBA(image.Rect(0, 0, size, size))
	for i := range size * size {
		copy(m.Pix[4*i:], pix[3*i:3*i+3])
		m.Pix[4*i+3] = 255
	}
	var b bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := enc.Encode(&b, m); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}
