package coco

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// maskCase is an outline with the mask that pycocotools draws (testdata/masks.py).
type maskCase struct {
	Width, Height int
	Segmentation  Segmentation
	Counts        string
	Area          int
}

func maskCases(t testing.TB) (cases []maskCase) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "masks.json"))
	if err == nil {
		err = json.Unmarshal(data, &cases)
	}
	if err != nil || len(cases) == 0 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	return cases
}

func TestMask(t *testing.T) {
	for i, c := range maskCases(t) {
		m, err := c.Segmentation.Mask(c.Width, c.Height)
		if err != nil {
			t.Errorf("case %d: %v", i, err)
			continue
		}
		runs, err := DecodeRuns(c.Counts)
		if err != nil {
			t.Fatal(err)
		}
		want := &Mask{c.Width, c.Height, make([]bool, c.Width*c.Height)}
		if err := want.addRuns(&Segmentation{Runs: runs, Size: [2]int{c.Height, c.Width}}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.Pix, want.Pix) {
			t.Errorf("case %d (%d x %d, %v) differs", i, c.Width, c.Height, c.Segmentation)
		}
		area := 0
		for _, in := range m.Pix {
			if in {
				area++
			}
		}
		if area != c.Area {
			t.Errorf("case %d: area %d, want %d", i, area, c.Area)
		}
		if got := EncodeRuns(m.Runs()); got != c.Counts {
			t.Errorf("case %d: compressed %q, want %q", i, got, c.Counts)
		}
	}
}

func TestSegmentationRefusals(t *testing.T) {
	for text, word := range map[string]string{
		`{"size":[2,2]}`:                        "without counts",
		`{"size":[2,2],"counts":"A"}`:           "run", // a run below zero
		`{"size":[2,2],"counts":"P"}`:           "end within",
		`{"size":[2,2],"counts":"\u0001"}`:      "offset 0",
		`{"size":[2,2],"counts":"ppppppppppp"}`: "offset",
		`{"size":[2,2],"counts":[1,2]}`:         "3 pixels",
		`{"size":[2,2],"counts":[1,9]}`:         "out of the image",
		`{"size":[2,2],"counts":[-1,5]}`:        "out of the image",
		`{"size":[3,2],"counts":[6]}`:           "2 x 3",
		`{"size":"x"}`:                          "size",
		`[]`:                                    "no polygon",
		`[[0,0,1,1]]`:                           "4 numbers",
		`[[0,0,1,1,1,0,5]]`:                     "7 numbers",
		`[[0,0,1e300,1,1,0]]`:                   "far out",
		`[["x"]]`:                               "string",
		`7`:                                     "number",
	} {
		var s Segmentation
		err := json.Unmarshal([]byte(text), &s)
		if err == nil {
			_, err = s.Mask(2, 2)
		}
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %q", text, err, word)
		}
	}
	s := Segmentation{Polygons: [][]float64{{0, 0, 1, 0, 1, 1}}}
	if _, err := s.Mask(1<<20, 1<<20); err == nil {
		t.Error("a huge mask is drawn")
	}
}

func TestList(t *testing.T) {
	list := []Choice{
		{"000000000001.jpg", [4]float64{10.25, 2.5, 83.75, 43.75}, "hot dog", []string{"cat", "cup"}},
		{"b, c.jpg", [4]float64{0, 0.1, 5, 6}, `the "x"`, nil},
	}
	var b bytes.Buffer
	if err := WriteList(&b, list); err != nil {
		t.Fatal(err)
	}
	got, err := ReadList(&b)
	if err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("%+v, want %+v: %v", got, list, err)
	}
	const head = "id,query_regions,query_class,classes\n"
	for text, word := range map[string]string{
		"":                             "header",
		"a,b,c,d\n":                    "header",
		head + "x.jpg,1;2;3,cat,\n":    "line 2: the box",
		head + "x.jpg,1;2;3;y,cat,\n":  `"y"`,
		head + "x.jpg,1;2;3;NaN,c,\n":  `"NaN"`,
		head + "x.jpg,1;2;3;4,,\n":     "class",
		head + "../x.jpg,1;2;3;4,c,\n": "../x.jpg",
		head + "x.jpg,1;2;3;4,c\n":     "wrong number of fields",
		head + "x.jpg,1;2;3;4,c,\nx.jpg,1;2;3;4,c,\n": "line 3: image \"x.jpg\" occurs twice",
	} {
		if _, err := ReadList(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, want %q", text, err, word)
		}
	}
}

func TestAnnotationsCheck(t *testing.T) {
	for text, word := range map[string]string{
		`{"images":[{"id":1,"file_name":"a","width":0,"height":1}]}`:                                                       "0 x 1",
		`{"images":[{"id":1,"file_name":"a","width":1,"height":1},{"id":1,"file_name":"b","width":1,"height":1}]}`:         "twice",
		`{"annotations":[{"id":5,"image_id":1}]}`:                                                                          "no image 1",
		`{"images":[{"id":1,"file_name":"a","width":1,"height":1}],"annotations":[{"id":5,"image_id":1,"category_id":9}]}`: "no category 9",
	} {
		var a Annotations
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		if err := a.Check(); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %q", text, err, word)
		}
	}
}

func FuzzSegmentation(f *testing.F) {
	f.Add([]byte(`[[1,1,8,1,8,8]]`), 9, 9)
	f.Add([]byte(`{"size":[7,5],"counts":[3,4,28]}`), 5, 7)
	f.Add([]byte(`{"size":[7,5],"counts":"03L"}`), 5, 7)
	f.Fuzz(func(t *testing.T, data []byte, w, h int) {
		var s Segmentation
		if json.Unmarshal(data, &s) != nil || w < 1 || h < 1 || w > 64 || h > 64 {
			return
		}
		m, err := s.Mask(w, h)
		if err != nil {
			return
		}
		runs, err := DecodeRuns(EncodeRuns(m.Runs()))
		if err != nil || !slices.Equal(runs, m.Runs()) {
			t.Errorf("%v do not come back: %v, %v", m.Runs(), runs, err)
		}
	})
}

func FuzzReadList(f *testing.F) {
	f.Add("id,query_regions,query_class,classes\nx.jpg,1;2;3;4 ,cat,dog;cup\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ReadList(strings.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := WriteList(&b, list); err != nil {
			t.Fatal(err)
		}
		again, err := ReadList(&b)
		if err != nil || len(again) != len(list) {
			t.Errorf("%q: %v", b.String(), err)
		}
	})
}
