package eval

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestByWords makes phi's pseudo-words outside, and gets phi's numbers.
func TestByWords(t *testing.T) {
	e := demoEvaluator(t)
	d, err := LoadCIRCO(filepath.Join(world(t), "circo"), seTemplate(t))
	if err != nil {
		t.Fatal(err)
	}
	paths, width := d.References(), e.Engine.Width()
	tokens := make([]float32, len(paths)*width)
	for i, p := range paths {
		f, err := e.Engine.EmbedFile(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Engine.Invert(t.Context(), tokens[i*width:(i+1)*width], f, 1); err != nil {
			t.Fatal(err)
		}
	}
	words, err := ByWords("words", "", paths, width, tokens)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Run(t.Context(), d, []Method{Methods()[0], words})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range r.Methods[0].Metrics {
		if w := r.Methods[1].Metrics[i]; w != m {
			t.Errorf("%s: %v, by phi %v", m.Name, w, m)
		}
	}
	short, err := ByWords("words", "", paths[1:], width, tokens[width:])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), d, []Method{short}); err == nil || !strings.Contains(err.Error(), filepath.Base(paths[0])) {
		t.Errorf("a reference without a pseudo-word: %v", err)
	}
	wide, err := ByWords("words", "", nil, width+1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := wide.Features(t.Context(), e.Engine, nil, nil, nil); err == nil {
		t.Error("pseudo-words of another model are taken")
	}
	if _, err := ByWords("words", "", paths, width, tokens[1:]); err == nil {
		t.Error("a value too few is taken")
	}
}
