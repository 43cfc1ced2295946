package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"isearle/search"
	"isearle/weights/demo"
	"isearle/weights/golden"
)

// row is a line of search's output.
type row struct {
	query string
	rank  int
	score float64
	id    string
}

func rows(t *testing.T, out string) (list []row) {
	t.Helper()
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			t.Fatalf("line %q has not four fields", line)
		}
		rank, err1 := strconv.Atoi(f[1])
		score, err2 := strconv.ParseFloat(f[2], 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("line %q", line)
		}
		list = append(list, row{f[0], rank, score, f[3]})
	}
	return list
}

// emojiFiles writes some pictures of the embedded gallery and returns the folder and their paths by id.
func emojiFiles(t *testing.T) (dir string, paths map[string]string) {
	t.Helper()
	all, err := demo.Gallery()
	if err != nil {
		t.Fatal(err)
	}
	dir, paths = t.TempDir(), map[string]string{}
	for i, p := range all {
		if i%50 == 0 {
			paths[p.ID] = filepath.Join(dir, fmt.Sprintf("%04d.png", i))
			write(t, paths[p.ID], p.Data)
		}
	}
	return dir, paths
}

// A picture that is searched by itself is the first answer, with a cosine of one; from the embedded gallery and from one
// that embed made, by path and by id.
func TestSearchByImage(t *testing.T) {
	dir, paths := emojiFiles(t)
	g := filepath.Join(t.TempDir(), "g.isx")
	must(t, "", "isearle", "embed", "-o", g, dir)
	checked := 0
	for id, path := range paths {
		for _, q := range []struct {
			args []string
			want string
		}{
			{[]string{"--image", path}, id},
			{[]string{"--image", id}, id},
			{[]string{"-g", g, "--image", path}, path},
		} {
			list := rows(t, must(t, "", append([]string{"isearle", "search", "-k", "2"}, q.args...)...))
			if len(list) != 2 || list[0].id != q.want || math.Abs(list[0].score-1) > 1e-5 || list[1].score > list[0].score {
				t.Errorf("%v: %v, want %s first", q.args, list, q.want)
			}
		}
		if checked++; checked == 3 {
			break
		}
	}
}

// Queries from standard input have the answers that each has alone, in all spellings.
func TestSearchList(t *testing.T) {
	dir, paths := emojiFiles(t)
	g := filepath.Join(t.TempDir(), "g.isx")
	must(t, "", "isearle", "embed", "-o", g, dir)
	var refs []string
	for _, p := range paths {
		refs = append(refs, p)
	}
	slices.Sort(refs)
	a, b := refs[0], refs[1]
	var want strings.Builder
	for _, q := range [][]string{{"--image", a, "is blue"}, {"a cat"}, {"--image", b}} {
		want.WriteString(must(t, "", append([]string{"isearle", "search", "-g", g, "-k", "4"}, q...)...))
	}
	list := fmt.Sprintf("%s\tis blue\n\ta cat\n%s\n", a, b)
	objects := fmt.Sprintf(`{"image":%q,"text":"is blue"}`+"\n"+`{"caption":"a cat"}`+"\n"+`{"reference":%q}`+"\n", a, b)
	for _, in := range []string{list, objects} {
		got := rows(t, must(t, in, "isearle-search", "-g", g, "-k", "4"))
		expect := rows(t, want.String())
		for i := range expect {
			expect[i].query = strconv.Itoa(i/4 + 1)
		}
		if !slices.Equal(got, expect) {
			t.Errorf("%s\ngives %v\nwant %v", in, got, expect)
		}
	}
	var first struct {
		Query, ID string
		Rank      int
		Score     float64
	}
	line, _, _ := strings.Cut(must(t, `{"id":"q7","text":"a cat"}`, "isearle", "search", "-g", g, "--json"), "\n")
	if err := json.Unmarshal([]byte(line), &first); err != nil || first.Query != "q7" || first.Rank != 1 || first.ID == "" {
		t.Errorf("--json gives %s (%v)", line, err)
	}
}

func TestSearchLeavesOut(t *testing.T) {
	dir, paths := pictures(t, 30)
	model := smallModel(t)
	g := filepath.Join(t.TempDir(), "g.isx")
	must(t, "", "isearle", "embed", "-m", model, "-o", g, dir)
	t.Chdir(dir)
	ask := func(args ...string) (ids []string) {
		for _, r := range rows(t, must(t, "", append([]string{"isearle", "search", "-m", model, "-g", g, "-k", "30", "--image", "0003.png"}, args...)...)) {
			ids = append(ids, r.id)
		}
		return ids
	}
	if all := ask(); len(all) != 30 || all[0] != paths[3] {
		t.Fatalf("%d results, the first is %s", len(all), all[0])
	}
	// The reference is named by another path than the gallery's: it is found by its content.
	if ids := ask("--exclude-reference"); len(ids) != 29 || slices.Contains(ids, paths[3]) {
		t.Errorf("--exclude-reference leaves %d results", len(ids))
	}
	if ids := ask("--exclude", paths[5], "--exclude", paths[6], "--exclude", "unknown"); len(ids) != 28 || slices.Contains(ids, paths[5]) {
		t.Errorf("--exclude leaves %d results", len(ids))
	}
	if ids := ask("--prefix", filepath.Join(dir, "001")); len(ids) != 10 || slices.Contains(ids, paths[3]) {
		t.Errorf("--prefix leaves %d results", len(ids))
	}
}

// Storage, an int8 copy and threads change no ranking, beyond what rounding explains.
func TestGalleriesOfAllKinds(t *testing.T) {
	dir, paths := emojiFiles(t)
	t.Chdir(t.TempDir())
	for _, args := range [][]string{{"f32.isx"}, {"i8.isx", "--int8"}, {"f16.isx", "--dtype", "f16"}, {"bf16.isx", "--dtype", "bf16", "--int8"}, {"raw.isx", "--raw"}, {"j1.isx", "-j", "1"}} {
		must(t, "", append([]string{"isearle", "embed", dir, "-o"}, args...)...)
	}
	if string(read(t, "f32.isx")) != string(read(t, "j1.isx")) {
		t.Error("the number of threads changes the gallery")
	}
	query := []string{"isearle", "search", "--image", paths[firstKey(paths)], "is blue", "-k", "5", "-g"}
	want := rows(t, must(t, "", append(query, "f32.isx")...))
	if got := rows(t, must(t, "", append(query, "i8.isx")...)); !slices.Equal(got, want) {
		t.Errorf("with an int8 copy: %v, want %v", got, want)
	}
	for _, g := range []string{"f16.isx", "bf16.isx", "raw.isx"} {
		got := rows(t, must(t, "", append(query, g)...))
		for i := range want {
			if len(got) != len(want) || math.Abs(got[i].score-want[i].score) > 0.01 {
				t.Errorf("%s: %v, want about %v", g, got, want)
				break
			}
		}
	}
}

func firstKey(m map[string]string) string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys[0]
}

// What compose writes is what search looks for.
func TestCompose(t *testing.T) {
	dir, paths := emojiFiles(t)
	ref := paths[firstKey(paths)]
	t.Chdir(t.TempDir())
	must(t, "", "isearle", "embed", "-o", "g.npy", dir)
	gallery := golden.NPY(t, "g.npy")
	ids := strings.Fields(string(read(t, "g.ids.txt")))
	list := ref + "\tis blue\n\ta cat\n" + ref + "\n"
	must(t, list, "isearle", "compose", "-o", "q.npy")
	queries := golden.NPY(t, "q.npy")
	must(t, "", "isearle", "embed", "-o", "g.isx", dir)
	found := rows(t, must(t, list, "isearle", "search", "-g", "g.isx", "-k", "1"))
	for i, f := range found {
		q, best, at := queries.Row(i), math.Inf(-1), 0
		for j := range gallery.Shape[0] {
			dot := 0.0
			for k, v := range gallery.Row(j) {
				dot += float64(v) * float64(q[k])
			}
			if dot > best {
				best, at = dot, j
			}
		}
		if ids[at] != f.id || math.Abs(best-f.score) > 2e-6 {
			t.Errorf("query %d: search finds %s at %v, the arrays %s at %v", i, f.id, f.score, ids[at], best)
		}
	}
	var one struct {
		ID      string
		Feature []float32
	}
	if err := json.Unmarshal([]byte(must(t, "", "isearle", "compose", "--image", ref, "is blue")), &one); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(one.Feature, queries.Row(0)) {
		t.Error("a query alone has another feature than in a list")
	}
}

func TestInvert(t *testing.T) {
	dir, paths := emojiFiles(t)
	out := filepath.Join(t.TempDir(), "words.safetensors")
	lines := strings.Split(strings.TrimSpace(must(t, "", "isearle", "invert", dir)), "\n")
	if len(lines) != len(paths) {
		t.Fatalf("%d lines for %d images", len(lines), len(paths))
	}
	must(t, "", "isearle", "invert", "-o", out, dir)
	ids, words := readWords(t, out)
	for i, line := range lines {
		var w word
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			t.Fatal(err)
		}
		if w.ID != ids[i] || !slices.Equal(w.PseudoWord, words[i]) {
			t.Errorf("row %d: %s in the file, %s in the list, or other words", i, ids[i], w.ID)
		}
	}
	fails(t, call(t, "", "isearle", "invert", "-o", "words.npy", dir), exitUsage, "words.npy")
	fails(t, call(t, "", "isearle", "invert", "-m", smallModel(t), dir), exitFailed, "--phi")
	fails(t, call(t, "", "isearle", "invert", "--method", "none", dir), exitUsage, "none")
}

// The embedded gallery's eight queries: what the issue of a first run shows.
func TestDemo(t *testing.T) {
	t.Chdir(t.TempDir())
	queries, err := demo.Showcase()
	if err != nil {
		t.Fatal(err)
	}
	r := call(t, "", "isearle", "demo", "-o", "sheet.png")
	fails(t, r, exitDone, "sheet.png")
	for _, q := range queries {
		if !strings.Contains(r.stdout, q.Caption) {
			t.Errorf("the change %q is not shown", q.Caption)
		}
	}
	if !strings.Contains(r.stdout, "  * 1  0.") {
		t.Errorf("no right answer is marked:\n%s", r.stdout)
	}
	if m := read(t, "sheet.png"); !strings.HasPrefix(string(m), "\x89PNG") {
		t.Error("the contact sheet is no PNG")
	}
	for i, line := range strings.Split(strings.TrimSpace(must(t, "", "isearle", "demo", "--json", "-o", "", "-k", "3")), "\n") {
		var q shown
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		if q.Reference.ID != queries[i].Reference || len(q.Answers) != 3 {
			t.Errorf("query %d is %s with %d answers", i, q.Reference.ID, len(q.Answers))
		}
		for _, a := range q.Answers {
			if a.Right != slices.Contains(queries[i].Targets, a.Picture.ID) || a.Picture.ID == q.Reference.ID {
				t.Errorf("query %d: answer %s, right: %v", i, a.Picture.ID, a.Right)
			}
		}
	}
	if entries, _ := os.ReadDir("."); len(entries) != 1 {
		t.Errorf("%d files were written, want the sheet alone", len(entries))
	}
}

// Where the terminal has emoji, they are shown.
func TestDemoStyle(t *testing.T) {
	p := demo.Picture{Name: "red heart", Emoji: "❤️", Vendor: "noto", Attributes: map[string]string{"background": "blue"}}
	if got := (style{}).label(p); got != "red heart on blue (noto)" {
		t.Errorf("plain: %q", got)
	}
	if got := (style{emoji: true}).label(p); got != "❤️ red heart on blue (noto)" {
		t.Errorf("emoji: %q", got)
	}
}

// A gallery's own settings prepare the query's image, unless others are given.
func TestSearchPreparesAsTheGallery(t *testing.T) {
	model := smallModel(t)
	dir, _ := pictures(t, 10)
	wide := filepath.Join(dir, "wide.png")
	write(t, wide, widePicture(t))
	t.Chdir(t.TempDir())
	must(t, "", "isearle", "embed", "-m", model, "--pad", "none", "-o", "g.isx", dir)
	ask := func(args ...string) float64 {
		return rows(t, must(t, "", append([]string{"isearle", "search", "-m", model, "-g", "g.isx", "--prefix", wide, "--image", wide}, args...)...))[0].score
	}
	if s := ask(); math.Abs(s-1) > 1e-6 {
		t.Errorf("the image itself scores %v", s)
	}
	if s := ask("--pad", "targetpad"); math.Abs(s-1) < 1e-6 {
		t.Error("--pad is passed over")
	}
	g, err := search.OpenGallery("g.isx")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if m := g.Meta(); m.Pad != "none" || m.Order != "rgb" || m.Size != 32 {
		t.Errorf("the gallery says %+v", m)
	}
}
