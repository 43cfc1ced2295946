package ablation_test

import (
	"context"
	"log"
	"os"

	"isearle/clipnet/preprocess"
	"isearle/oti/gpt/grammar"
	"isearle/runtime/cpu"
	"isearle/search"
	"isearle/search/eval/ablation"
)

// The noise sweep on the embedded world. It is not run as a test: it takes minutes.
func Example() {
	ctx := context.Background()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	engine, err := search.OpenEngine(dev, search.EngineOptions{Pad: preprocess.TargetPad})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	phrases, err := grammar.WorldPhrases(ctx, 0)
	if err != nil {
		log.Fatal(err)
	}
	world, err := ablation.DemoWorld(engine, phrases)
	if err != nil {
		log.Fatal(err)
	}
	study := ablation.Study{Engine: engine, Device: dev, World: world, Options: ablation.Defaults(), Work: "ablation"}
	report, err := study.Run(ctx, []string{"noise"})
	if err != nil {
		log.Fatal(err)
	}
	if err := report.WriteMarkdown(os.Stdout); err != nil {
		log.Fatal(err)
	}
}
