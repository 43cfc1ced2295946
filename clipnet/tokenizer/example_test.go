package tokenizer_test

import (
	"fmt"

	"isearle/clipnet/tokenizer"
)

func ExampleTokenizer_Encode() {
	t := tokenizer.CLIP()
	ids := t.Encode("A photo of a Dog's bed", tokenizer.HF)
	fmt.Println(ids)
	fmt.Println(t.Decode(ids))
	// Output:
	// [49406 320 1125 539 320 1929 568 2722 49407]
	// a photo of a dog 's bed
}

func ExampleTokenizer_AppendPrompt() {
	template, err := tokenizer.ParseTemplate("a photo of $, {caption}")
	if err != nil {
		fmt.Println(err)
		return
	}
	prompt := template.Fill("for 5 $")
	ids, rows, truncated, err := tokenizer.CLIP().AppendPrompt(nil, nil, prompt, tokenizer.HF, 77)
	fmt.Println(ids, rows, truncated, err)
	// Output: [49406 320 1125 539 259 267 556 276 259 49407] [4] false <nil>
}
