package prompt

import "testing"

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"a photo of a cat that sits":   "a photo of a cat that sits",
		"a cat\n\n\nthat":              "a cat. that",
		"a cat.\nthat":                 "a cat. that",
		"a cat...\n":                   "a cat. ",
		"a... cat.. that .. . is":      "a. cat. that . . is",
		"St. Bernard\nand a\r\nleash.": "St. Bernard. and a\r. leash.",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Of("a cat"); got != "a photo of a cat that" {
		t.Errorf("Of = %q", got)
	}
}
