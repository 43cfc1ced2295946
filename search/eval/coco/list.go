package coco

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// header is the first line of coco_eval.csv.
var header = []string{"id", "query_regions", "query_class", "classes"}

// ReadList reads a list of boxes in the format of Pic2Word's coco_eval.csv: id,query_regions,query_class,classes; the corners and the
// classes are separated by semicolons. Errors name the line.
func ReadList(r io.Reader) ([]Choice, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = len(header)
	first, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("the header: %w", err)
	}
	if !slices.Equal(first, header) {
		return nil, fmt.Errorf("the header is %q, want %q", strings.Join(first, ","), strings.Join(header, ","))
	}
	var out []Choice
	seen := map[string]bool{}
	for {
		row, err := in.Read()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := in.FieldPos(0)
		c, err := parseChoice(row)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if seen[c.File] {
			return nil, fmt.Errorf("line %d: image %q occurs twice", line, c.File)
		}
		seen[c.File] = true
		out = append(out, c)
	}
}

func parseChoice(row []string) (c Choice, err error) {
	c = Choice{File: row[0], Class: row[2]}
	if !filepath.IsLocal(c.File) || c.Class == "" {
		return c, fmt.Errorf("image %q, class %q", c.File, c.Class)
	}
	corners := strings.Split(strings.TrimSpace(row[1]), ";")
	if len(corners) != len(c.Box) {
		return c, fmt.Errorf("the box %q has %d numbers, want 4", row[1], len(corners))
	}
	for i, s := range corners {
		c.Box[i], err = strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil || math.Abs(c.Box[i]) > 1<<30 || math.IsNaN(c.Box[i]) {
			return c, fmt.Errorf("the box %q: %q is no coordinate", row[1], s)
		}
	}
	if row[3] != "" {
		c.Others = strings.Split(row[3], ";")
	}
	return c, nil
}

// WriteList writes a list that ReadList, and Pic2Word's code, reads.
func WriteList(w io.Writer, list []Choice) error {
	out := csv.NewWriter(w)
	if err := out.Write(header); err != nil {
		return err
	}
	for _, c := range list {
		corners := make([]string, len(c.Box))
		for i, v := range c.Box {
			corners[i] = strconv.FormatFloat(v, 'f', -1, 64)
		}
		if err := out.Write([]string{c.File, strings.Join(corners, ";") + " ", c.Class, strings.Join(c.Others, ";")}); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// Prompt is Pic2Word's prompt of a choice in pieces around the pseudo-word, and its form without an image. Where there are no other
// classes it ends in "and", as there.
func (c *Choice) Prompt() (pieces []string, text string) {
	tail := c.Class + " and " + strings.Join(c.Others, " and ")
	return []string{"a photo of ", " and " + tail}, "a photo of " + tail
}
