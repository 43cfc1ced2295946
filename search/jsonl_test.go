package search

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
)

// readAll copies the rows of JSONL.
func readAll(text string) (rows []Row, err error) {
	for r, err := range ReadJSONL(strings.NewReader(text), "x.jsonl") {
		if err != nil {
			return rows, err
		}
		rows = append(rows, Row{r.ID, slices.Clone(r.Feature)})
	}
	return rows, nil
}

func TestJSONLRoundTrip(t *testing.T) {
	x := []float32{0, float32(math.Copysign(0, -1)), 1, -2.5, math.SmallestNonzeroFloat32, math.MaxFloat32, 0.1, 1.0 / 3, 1e-7, 123456789}
	var b bytes.Buffer
	ids := []string{"a", `quote " and \`, "<&> ü \u2028", "tab\tline\n"}
	for _, id := range ids {
		if err := WriteJSONL(&b, Row{id, x}); err != nil {
			t.Fatal(err)
		}
	}
	if n := bytes.Count(b.Bytes(), []byte("\n")); n != len(ids) {
		t.Errorf("%d lines", n)
	}
	rows, err := readAll(b.String())
	if err != nil || len(rows) != len(ids) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, r := range rows {
		if r.ID != ids[i] || !equalBits(r.Feature, x) {
			t.Errorf("row %d is %v", i, r)
		}
	}
	for _, r := range []Row{{"\xff", x}, {"a", []float32{float32(math.NaN())}}} {
		if err := WriteJSONL(&b, r); err == nil {
			t.Errorf("%v can be written", r)
		}
	}
}

func TestReadJSONL(t *testing.T) {
	rows, err := readAll("\n  \n{\"feature\" : [ 1 , -2e3 ],\n")
	if err == nil || rows != nil || !strings.Contains(err.Error(), `"x.jsonl": line 3`) {
		t.Errorf("an open object: %v, %v", rows, err)
	}
	rows, err = readAll(`{"score":[{}], "feature" : [ 1 , -2e3 ] , "id": 17}` + "\r\n\n" + `{"id":"b","feature":[0,1]}`)
	if err != nil || len(rows) != 2 || rows[0].ID != "17" || !slices.Equal(rows[0].Feature, []float32{1, -2000}) || rows[1].ID != "b" {
		t.Errorf("%v, %v", rows, err)
	}
	for line, want := range map[string]string{
		`{"feature":[1]}`:               `no "id"`,
		`{"id":null,"feature":[1]}`:     `no "id"`,
		`{"id":"","feature":[1]}`:       "an id of 0 bytes",
		`{"id":["a"],"feature":[1]}`:    `"id" is`,
		`{"id":"a"}`:                    `no "feature"`,
		`{"id":"a","feature":[]}`:       `no "feature"`,
		`{"id":"a","feature":null}`:     `no "feature"`,
		`{"id":"a","feature":"[1]"}`:    `no "feature"`,
		`{"id":"a","feature":[1,null]}`: "number 1 of the feature",
		`{"id":"a","feature":[[1],2]}`:  "number 0 of the feature",
		`{"id":"a","feature":["1"]}`:    "number 0 of the feature",
		`{"id":"a","feature":[1,1e39]}`: "value out of range",
		`{"id":"a","feature":[NaN]}`:    "invalid character",
		`{"id":"a","feature":[0x1]}`:    "invalid character",
		`{"id":"a","feature":[1]} x`:    "invalid character",
		`[1]`:                           "cannot unmarshal",
		`{"id":"a","feature":[1,2,3]}`:  "dimension 3, the ones before have 2",
	} {
		rows, err := readAll(`{"id":"first","feature":[1,2]}` + "\n" + line + "\n" + `{"id":"last","feature":[1,2]}`)
		if err == nil || len(rows) != 1 || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"x.jsonl": line 2: `) {
			t.Errorf("%s: %v after %d rows, want %s", line, err, len(rows), want)
		}
	}
}

func FuzzReadJSONL(f *testing.F) {
	f.Add(`{"id":"a","feature":[1,2.5,-1e-3]}` + "\n" + `{"id":5,"feature":[0,0,0],"more":{}}`)
	f.Add(`{"id":"\u00fc\ud83d","feature":[1e39]}`)
	f.Add("\n\n{}")
	f.Fuzz(func(t *testing.T, text string) {
		var b bytes.Buffer
		rows, err := readAll(text)
		for _, r := range rows {
			if err := WriteJSONL(&b, r); err != nil {
				t.Fatalf("a row that was read cannot be written: %v", err)
			}
		}
		again, err2 := readAll(b.String())
		if err2 != nil || len(again) != len(rows) {
			t.Fatalf("%d rows, %v; written and read: %d, %v", len(rows), err, len(again), err2)
		}
		for i, r := range again {
			if r.ID != rows[i].ID || !equalBits(r.Feature, rows[i].Feature) {
				t.Fatalf("row %d is %v, not %v", i, r, rows[i])
			}
		}
	})
}
