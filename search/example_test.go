package search_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"isearle/runtime"
	"isearle/runtime/cpu"
	"isearle/search"
)

// Example makes a gallery of three images and asks for the two most similar to one of them, itself excluded.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "gallery.isx")
	meta := search.Meta{Model: search.Model{Name: "ViT-B-32"}, Dim: 2, Normalised: true, DType: runtime.F32, Coarse: true}
	w, err := search.Create(path, meta, search.WriterOptions{})
	if err != nil {
		panic(err)
	}
	defer w.Close()
	for _, r := range []search.Row{
		{ID: "cat.jpg", Feature: []float32{1, 0}},
		{ID: "dog.jpg", Feature: []float32{0.6, 0.8}},
		{ID: "kitten.jpg", Feature: []float32{0.96, 0.28}},
	} {
		if err := w.Add(r.ID, search.Digest{}, r.Feature); err != nil {
			panic(err)
		}
	}
	if err := w.Commit(); err != nil {
		panic(err)
	}

	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		panic(err)
	}
	defer dev.Close()
	g, err := search.OpenGallery(path)
	if err != nil {
		panic(err)
	}
	defer g.Close()
	index, err := search.OpenIndex(context.Background(), g, dev, search.IndexOptions{})
	if err != nil {
		panic(err)
	}
	defer index.Close()
	found, err := index.Search(context.Background(), search.Query{
		Features: [][]float32{g.Feature(0, nil)}, K: 2, Exclude: [][]string{{"cat.jpg"}},
	})
	if err != nil {
		panic(err)
	}
	for _, r := range found[0] {
		fmt.Printf("%d\t%.2f\t%s\n", r.Rank, r.Score, r.ID)
	}
	// Output:
	// 1	0.96	kitten.jpg
	// 2	0.60	dog.jpg
}
