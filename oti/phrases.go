package oti

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"isearle/weights/torch"
)

// Phrases are the continuations of "a photo of {concept} that" by which OTI and phi are regularised, by concept.
type Phrases struct {
	byConcept map[string][]string
	dropped   map[string]bool
}

// NewPhrases takes phrases by concept. A concept any of whose phrases lacks it, or that has none, is dropped, as the official code does.
func NewPhrases(byConcept map[string][]string) *Phrases {
	p := &Phrases{byConcept: byConcept, dropped: map[string]bool{}}
	for c, list := range byConcept {
		for _, s := range list {
			if !strings.Contains(s, c) {
				p.dropped[c] = true
			}
		}
		if len(list) == 0 {
			p.dropped[c] = true
		}
	}
	return p
}

// Of returns a concept's phrases, whether it is dropped or not. They must not be changed.
func (p *Phrases) Of(concept string) []string { return p.byConcept[concept] }

// Dropped reports whether a concept is left out: one of its phrases lacks it, or it has none.
func (p *Phrases) Dropped(concept string) bool {
	_, ok := p.byConcept[concept]
	return !ok || p.dropped[concept]
}

// Keep returns what is used of an image's ranked concepts: the first top, stripped, without duplicates and dropped ones.
func (p *Phrases) Keep(concepts []string, top int) []string {
	seen := map[string]bool{}
	var kept []string
	for _, c := range concepts[:min(top, len(concepts))] {
		if c = strings.TrimSpace(c); !seen[c] && !p.Dropped(c) {
			kept = append(kept, c)
		}
		seen[c] = true
	}
	return kept
}

// maxPhraseLine bounds a line of JSONL: a concept's 256 phrases of a few hundred bytes fit a hundred times.
const maxPhraseLine = 16 << 20

// ReadPhrases reads phrases from a file: JSON lines {"concept": .., "phrases": [..]}, one JSON object {concept: [phrases]}, or the
// official pickle of the same dictionary.
func ReadPhrases(path string) (*Phrases, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("oti: phrases: %w", err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	head, _ := r.Peek(1)
	var m map[string][]string
	if len(head) > 0 && head[0] == 0x80 { // PROTO: every pickle since protocol 2 begins with it
		m, err = picklePhrases(r, path)
	} else {
		m, err = jsonPhrases(r)
	}
	if err != nil {
		return nil, fmt.Errorf("oti: phrases %q: %w", path, err)
	}
	return NewPhrases(m), nil
}

// jsonPhrases reads objects one after the other, of either kind.
func jsonPhrases(r io.Reader) (map[string][]string, error) {
	m := map[string][]string{}
	d := json.NewDecoder(r)
	for n := 1; ; n++ {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) {
			return m, nil
		} else if err != nil {
			return nil, fmt.Errorf("value %d, offset %d: %w", n, d.InputOffset(), err)
		}
		if len(raw) > maxPhraseLine && n > 1 {
			return nil, fmt.Errorf("value %d is larger than %d bytes", n, maxPhraseLine)
		}
		var line struct {
			Concept *string  `json:"concept"`
			Phrases []string `json:"phrases"`
		}
		if err := json.Unmarshal(raw, &line); err == nil && line.Concept != nil {
			m[*line.Concept] = append(m[*line.Concept], line.Phrases...)
			continue
		}
		var whole map[string][]string
		if err := json.Unmarshal(raw, &whole); err != nil {
			return nil, fmt.Errorf("value %d, offset %d: neither {\"concept\", \"phrases\"} nor a dictionary of lists: %w", n, d.InputOffset(), err)
		}
		for c, list := range whole {
			m[c] = append(m[c], list...)
		}
	}
}

func picklePhrases(r io.Reader, path string) (map[string][]string, error) {
	v, err := torch.LoadPickle(r, path)
	if err != nil {
		return nil, err
	}
	d, ok := v.(*torch.Dict)
	if !ok {
		return nil, errors.New("the pickle is no dictionary")
	}
	m := map[string][]string{}
	for k, v := range d.All() {
		concept, isString := k.(string)
		list, isList := v.([]any)
		if !isString || !isList {
			return nil, fmt.Errorf("entry %v is no list of phrases", k)
		}
		for _, x := range list {
			s, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("concept %q has an entry that is no text", concept)
			}
			m[concept] = append(m[concept], s)
		}
	}
	return m, nil
}

// Write writes phrases as JSON lines, concepts in the given order.
func (p *Phrases) Write(w io.Writer, concepts []string) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, c := range concepts {
		if err := e.Encode(map[string]any{"concept": c, "phrases": p.byConcept[c]}); err != nil {
			return fmt.Errorf("oti: write phrases: %w", err)
		}
	}
	return nil
}
