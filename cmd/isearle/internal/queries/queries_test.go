package queries

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		line string
		want Query
		err  string
	}{
		{line: "a.png\tis red", want: Query{Image: "a.png", Text: "is red"}},
		{line: "a b.png\tis red\tand blue", want: Query{Image: "a b.png", Text: "is red\tand blue"}},
		{line: "a.png", want: Query{Image: "a.png"}},
		{line: "a.png\t ", want: Query{Image: "a.png", Empty: true}},
		{line: "\tis red", want: Query{Text: "is red"}},
		{line: "", err: "neither"},
		{line: "\t", want: Query{Empty: true}, err: "neither"},
		{line: `{"image":"a.png","text":"is red"}`, want: Query{Image: "a.png", Text: "is red"}},
		{line: ` {"id": 7, "reference":"a.png", "caption":"is red", "split": "val"}`, want: Query{ID: "7", Image: "a.png", Text: "is red"}},
		{line: `{"id":"q","image":"a.png","caption":""}`, want: Query{ID: "q", Image: "a.png", Empty: true}},
		{line: `{"text":"a cat"}`, want: Query{Text: "a cat"}},
		{line: `{"id":"q"}`, want: Query{ID: "q"}, err: "neither"},
		{line: `{"id":[1],"text":"a cat"}`, want: Query{Text: "a cat"}, err: "not a string"},
		{line: `{"image":"a","reference":"b"}`, err: "two names"},
		{line: `{"image":1}`, err: "number"},
		{line: `{"image":"a.png"`, err: "unexpected end"},
	} {
		got := Parse(c.line)
		err := got.Err
		got.Err = nil
		if got != c.want {
			t.Errorf("%q is %+v, want %+v", c.line, got, c.want)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: error %v, want %q", c.line, err, c.err)
		}
	}
}

func TestAll(t *testing.T) {
	in := "a.png\tis red\n\n{\"id\":\"x\",\"text\":\"a cat\"}\r\nb.png\n"
	var got []string
	for q, err := range All(strings.NewReader(in), "list") {
		if err != nil {
			t.Fatal(err)
		}
		if q.Err != nil {
			got = append(got, q.Err.Error())
			continue
		}
		got = append(got, q.ID+"|"+q.Image+"|"+q.Text)
	}
	want := "1|a.png|is red\nlist:2: neither an image nor a caption\nx||a cat\n4|b.png|"
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a\tb", "", "{", `{"id":1e5,"image":"x"}`, `{"image":"\ud800"}`, "\t\t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		q := Parse(line)
		if (q.Image == "" && q.Text == "") != (q.Err != nil) && !strings.HasPrefix(strings.TrimLeft(line, " "), "{") {
			t.Errorf("%q is %+v", line, q)
		}
		if q.Err == nil && q.Image == "" && q.Text == "" {
			t.Errorf("%q is an empty query", line)
		}
	})
}
