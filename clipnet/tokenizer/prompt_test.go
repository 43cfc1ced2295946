package tokenizer

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestTemplate(t *testing.T) {
	for _, c := range []struct {
		template, caption string
		want              []string // nil: an error
	}{
		{"a photo of $ that {caption}", "is red", []string{"a photo of ", " that is red"}},
		{"a photo of $ that {caption}", "costs 5$, {caption} and {x}", []string{"a photo of ", " that costs 5$, {caption} and {x}"}},
		{"$, $. {caption}/{caption}", "x", []string{"", ", ", ". x/x"}},
		{"{caption}", "$", []string{"$"}},
		{"5$$ for $$$", "", []string{"5$ for $", ""}},
		{"", "x", []string{""}},
		{"a {thing} of $", "", nil},
		{"a caption}", "", nil},
	} {
		template, err := ParseTemplate(c.template)
		if (err == nil) != (c.want != nil) {
			t.Errorf("%q: %v", c.template, err)
		}
		if err != nil {
			continue
		}
		if got := template.Fill(c.caption).Pieces; !slices.Equal(got, c.want) || template.PseudoWords() != len(c.want)-1 {
			t.Errorf("%q: %q, %d pseudo-words; want %q", c.template, got, template.PseudoWords(), c.want)
		}
	}
}

// Copies of a pseudo-word stand as "$ $" does, each a token of its own, in a template and in a prompt alike.
func TestRepeat(t *testing.T) {
	template, err := ParseTemplate("a photo of $, {caption} $")
	if err != nil {
		t.Fatal(err)
	}
	tok := CLIP()
	for n, written := range []string{1: "a photo of $, {caption} $", 3: "a photo of $ $ $, {caption} $ $ $"} {
		if written == "" {
			continue
		}
		same, err := ParseTemplate(written)
		if err != nil {
			t.Fatal(err)
		}
		want, rows, _, err := tok.AppendPrompt(nil, nil, same.Fill("is red"), HF, 77)
		if err != nil || len(rows) != 2*n {
			t.Fatal(rows, err)
		}
		for name, p := range map[string]Prompt{"template": template.Repeat(n).Fill("is red"), "prompt": template.Fill("is red").Repeat(n)} {
			got, at, _, err := tok.AppendPrompt(nil, nil, p, HF, 77)
			if err != nil || !slices.Equal(got, want) || !slices.Equal(at, rows) {
				t.Errorf("%d copies in the %s: %v at %v, %v; want %v at %v", n, name, got, at, err, want, rows)
			}
		}
	}
}

// Before punctuation "$" would not be a token of its own; a caption's "$" is text.
func TestAppendPrompt(t *testing.T) {
	tok := CLIP()
	word := func(s string) []int32 { return tok.Append(nil, s, HF) }
	mark := []int32{tok.Placeholder()}
	for _, c := range []struct {
		template, caption string
		want              []int32
		rows              []int32
	}{
		{"a photo of $, {caption}.", "for $ 5",
			slices.Concat(word("a photo of"), mark, word(","), word("for $ 5"), word(".")), []int32{4}},
		{"$$", "", word("$"), nil},
		{"$ $!", "", slices.Concat(mark, mark, word("!")), []int32{1, 2}},
		{"my$'s", "", slices.Concat(word("my"), mark, word("'s")), []int32{2}},
	} {
		template, err := ParseTemplate(c.template)
		if err != nil {
			t.Fatal(err)
		}
		ids, rows, truncated, err := tok.AppendPrompt([]int32{9}, []int32{3}, template.Fill(c.caption), HF, 77)
		want := slices.Concat([]int32{9, tok.BOS()}, c.want, []int32{tok.EOT()})
		if err != nil || truncated || !slices.Equal(ids, want) || !slices.Equal(rows[1:], c.rows) {
			t.Errorf("%q: %v, rows %v, %v; want %v, %v", c.template, ids, rows, err, want, c.rows)
		}
		for _, r := range rows[1:] {
			if ids[1+r] != tok.Placeholder() {
				t.Errorf("%q: row %d is %d", c.template, r, ids[1+r])
			}
		}
	}
}

func TestPromptTruncation(t *testing.T) {
	tok := CLIP()
	long := strings.Repeat("red ", 10_000)
	ids, rows, truncated, err := tok.AppendPrompt(nil, nil, Prompt{[]string{"a photo of", long}}, OpenAI, 77)
	if err != nil || !truncated || len(ids) != 77 || ids[76] != tok.EOT() || !slices.Equal(rows, []int32{4}) {
		t.Errorf("%v, rows %v, truncated %v, %v", ids, rows, truncated, err)
	}
	for _, c := range []struct {
		before int // words in front of the second pseudo-word
		cut    bool
	}{{73, false}, {74, true}, {75, true}, {10_000, true}} {
		p := Prompt{[]string{"", strings.Repeat("red ", c.before), "and red"}}
		ids, rows, truncated, err := tok.AppendPrompt([]int32{1}, []int32{2}, p, HF, 77)
		var cut *CutError
		if errors.As(err, &cut) != c.cut || !truncated {
			t.Errorf("%d words: truncated %v, %v", c.before, truncated, err)
		} else if c.cut && (cut.Word != 1 || cut.Context != 77 || !slices.Equal(ids, []int32{1}) || !slices.Equal(rows, []int32{2})) {
			t.Errorf("%d words: %v, %v, %v", c.before, err, ids, rows)
		} else if !c.cut && (len(ids) != 78 || rows[2] != 75 || ids[1+75] != tok.Placeholder()) {
			t.Errorf("%d words: %v, rows %v", c.before, ids, rows)
		}
	}
}
