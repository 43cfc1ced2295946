package eval_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"isearle/clipnet/tokenizer"
	"isearle/runtime/cpu"
	"isearle/search"
	"isearle/search/eval"
)

// Example writes the embedded world in the benchmarks' layouts and evaluates one of them with the embedded model.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := eval.ExportDemo(dir); err != nil {
		panic(err)
	}
	template, err := tokenizer.ParseTemplate(search.DefaultTemplate)
	if err != nil {
		panic(err)
	}
	data, err := eval.LoadObjects(filepath.Join(dir, "objects"), eval.LoadOptions{Template: template, TemplateText: search.DefaultTemplate})
	if err != nil {
		panic(err)
	}
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		panic(err)
	}
	defer dev.Close()
	engine, err := search.OpenEngine(dev, search.EngineOptions{})
	if err != nil {
		panic(err)
	}
	defer engine.Close()
	methods, err := eval.ParseMethods("phi,image")
	if err != nil {
		panic(err)
	}
	e := &eval.Evaluator{Engine: engine, Device: dev, Threads: 2, Resamples: 100}
	result, err := e.Run(context.Background(), data, methods)
	if err != nil {
		panic(err)
	}
	phi, image := result.Methods[0].Metrics[0], result.Methods[1].Metrics[0]
	fmt.Printf("%s, %d of %d queries\n", result.Dataset.Title, result.Ranked, result.Total)
	fmt.Printf("%s: phi is better than the image alone: %t\n", phi.Name, phi.Value > image.Value)
	// Output:
	// Object composition, 150 of 150 queries
	// R@1: phi is better than the image alone: true
}
