package grammar

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"isearle/weights/demo"
)

func phrases(t *testing.T, n int, seed uint64, concept string) []string {
	t.Helper()
	g, err := New(demo.Concepts(), n, seed)
	if err != nil {
		t.Fatal(err)
	}
	p, err := g.Phrases(t.Context(), concept)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPhrases(t *testing.T) {
	for _, c := range slices.Concat(demo.Concepts(), []string{"something else"}) {
		distinct := map[string]bool{}
		for _, p := range phrases(t, 256, 1, c) {
			distinct[p] = true
			rest, ok := strings.CutPrefix(p, "a photo of "+c+" that ")
			if !ok || !strings.HasPrefix(rest, "is ") && !strings.HasPrefix(rest, "has ") && !strings.HasPrefix(rest, "shows ") ||
				strings.Contains(rest, "  ") || strings.TrimSpace(rest) != rest {
				t.Errorf("%q", p)
			}
		}
		if len(distinct) < 100 {
			t.Errorf("%s: %d distinct phrases of 256", c, len(distinct))
		}
	}
}

func TestDeterministic(t *testing.T) {
	want := phrases(t, 64, 7, "robot")
	if got := phrases(t, 16, 7, "robot"); !slices.Equal(got, want[:16]) {
		t.Errorf("%q, want %q", got, want[:16])
	}
	if slices.Equal(phrases(t, 64, 8, "robot"), want) {
		t.Error("another seed gives the same phrases")
	}
}

// TestKinds looks for what only one kind of thing is said to be.
func TestKinds(t *testing.T) {
	for concept, clause := range map[string]string{"woman farmer": "-skinned", "red heart": "instead of red", "six o'clock": "shows ",
		"crying face": "is smirking", "man": "has red hair", "farmer": "is an astronaut"} {
		has := func(c string) bool {
			return slices.ContainsFunc(phrases(t, 2000, 3, c), func(p string) bool { return strings.Contains(p, clause) })
		}
		if !has(concept) {
			t.Errorf("no phrase of %q says %q", concept, clause)
		}
		if has("pineapple") {
			t.Errorf("a phrase of pineapple says %q", clause)
		}
	}
}

func TestExpression(t *testing.T) {
	for name, want := range map[string]string{"crying face": "is crying", "cat with tears of joy": "has tears of joy",
		"smiling cat with heart-eyes": "is smiling with heart-eyes", "face holding back tears": "is holding back tears",
		"dog face": "", "black cat": "", "cat face": "", "cat": "", "face": "", "robot": ""} {
		if got := expression(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	if _, err := New(nil, 5, 1); err == nil {
		t.Error("no vocabulary: no error")
	}
	if _, err := New([]string{"x"}, 0, 1); err == nil {
		t.Error("no phrases: no error")
	}
	g, _ := New([]string{"x"}, 3, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Phrases(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
