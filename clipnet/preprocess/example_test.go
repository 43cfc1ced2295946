package preprocess_test

import (
	"context"
	"fmt"
	"slices"

	"isearle/clipnet/preprocess"
)

// A model's pixels, several files at a time and in their order; what is broken is named and the rest goes on.
func Example() {
	p, err := preprocess.New(preprocess.CLIP(224))
	if err != nil {
		fmt.Println(err)
		return
	}
	paths := []string{"testdata/modes/lossy.webp", "testdata/make.py", "testdata/modes/cmyk.jpg"}
	for item := range p.Load(context.Background(), slices.Values(paths), 2) {
		if item.Err != nil {
			fmt.Println(item.Err)
			continue
		}
		fmt.Println(item.Path, len(item.Pixels))
	}
	// Output:
	// testdata/modes/lossy.webp 150528
	// image "testdata/make.py": not an image in a known format: it begins with "\"\"\"Makes"
	// testdata/modes/cmyk.jpg 150528
}
