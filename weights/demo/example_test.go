package demo_test

import (
	"fmt"
	"log"

	"isearle/weights/demo"
)

func ExampleShowcase() {
	queries, err := demo.Showcase()
	if err != nil {
		log.Fatal(err)
	}
	for _, q := range queries {
		fmt.Println(q.Kind)
	}
	// Output:
	// background
	// added object
	// expression
	// colour
	// skin tone
	// gender
	// clock
	// style
}
