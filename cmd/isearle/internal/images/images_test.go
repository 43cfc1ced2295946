package images

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree makes empty files and changes to their directory.
func tree(t *testing.T, names ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range names {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAll(t *testing.T) {
	tree(t, "d/b.JPG", "d/a/z.png", "d/a.webp", "d/notes.txt", "d/.hidden/x.png", "d/._b.jpg", "odd", "none/readme.md", "-.png")
	for _, c := range []struct {
		args  []string
		stdin string
		null  bool
		want  string
		fails string
	}{
		{args: []string{"d"}, want: "d/a/z.png d/a.webp d/b.JPG"},
		{args: []string{"odd", "d/b.JPG"}, want: "odd d/b.JPG"},
		{args: []string{"-", "odd"}, stdin: "d/b.JPG\n\nd/a\n", want: "d/b.JPG d/a/z.png odd"},
		{args: []string{"-"}, stdin: "odd\x00d/a.webp", null: true, want: "odd d/a.webp"},
		{args: []string{"none", "odd"}, want: "odd", fails: "no images"},
		{args: []string{"lost.png", "odd"}, want: "odd", fails: "lost.png"},
		{args: []string{"./-.png"}, want: "./-.png"},
	} {
		var failures []string
		s := Source{Args: c.args, Stdin: strings.NewReader(c.stdin), Null: c.null, Fail: func(err error) { failures = append(failures, err.Error()) }}
		got := strings.Join(slices.Collect(s.All()), " ")
		if got != filepath.FromSlash(c.want) {
			t.Errorf("%q: %s, want %s", c.args, got, c.want)
		}
		if f := strings.Join(failures, "\n"); (c.fails == "") != (f == "") || !strings.Contains(f, c.fails) {
			t.Errorf("%q: failures %q, want %q", c.args, f, c.fails)
		}
	}
}

func TestAllStops(t *testing.T) {
	tree(t, "d/a.png", "d/b.png", "c.png")
	s := Source{Args: []string{"d", "c.png"}, Fail: func(err error) { t.Error(err) }}
	for p := range s.All() {
		if p != filepath.Join("d", "a.png") {
			t.Errorf("went on to %s", p)
		}
		break
	}
}
