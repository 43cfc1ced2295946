// Package grammar writes phrases for the emoji world that the embedded model knows, without a language model: it continues
// "a photo of {concept} that" by what the world's captions say of a picture. See weights/demo/recipe/captions.py, whose
// clauses these are: backgrounds, styles, companions, skin, hair, colours, shapes, expressions, roles, hours.
package grammar

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"

	"isearle/oti"
	"isearle/oti/gpt/prompt"
	"isearle/weights/demo"
)

// Grammar writes phrases over a vocabulary of names. It is safe for concurrent use.
type Grammar struct {
	n    int
	seed uint64

	names       []string
	expressions []string // "is crying", "has tears of joy"
	roles       []string // "farmer"
	hours       []string // "six o'clock"
}

// New takes the names that the grammar may speak of (weights/demo.Concepts), the number of phrases of a concept, and the
// seed of all choices.
func New(vocabulary []string, n int, seed uint64) (*Grammar, error) {
	if n < 1 || len(vocabulary) == 0 {
		return nil, fmt.Errorf("grammar: %d phrases from %d names", n, len(vocabulary))
	}
	g := &Grammar{n: n, seed: seed, names: vocabulary}
	for _, name := range vocabulary {
		if e := expression(name); e != "" {
			g.expressions = append(g.expressions, e)
		}
		if _, role := person(name); role != "" && !hair(role) && slices.Contains(vocabulary, role) {
			g.roles = append(g.roles, role)
		}
		if hour(name) {
			g.hours = append(g.hours, name)
		}
	}
	slices.Sort(g.roles)
	g.roles = slices.Compact(g.roles)
	return g, nil
}

// Phrases continues "a photo of {concept} that". They depend on the vocabulary, the seed, the concept and the phrase's place
// only. The error is ctx's.
func (g *Grammar) Phrases(ctx context.Context, concept string) ([]string, error) {
	h := fnv.New64a()
	h.Write([]byte(concept))
	phrases := make([]string, g.n)
	for i := range phrases {
		w := writer{g, rand.New(rand.NewPCG(g.seed^h.Sum64(), uint64(i)))}
		phrases[i] = prompt.Of(concept) + " " + w.continuation(concept)
	}
	return phrases, ctx.Err()
}

// worldPhrases is how many phrases WorldPhrases writes of a concept.
const worldPhrases = 64

// WorldPhrases are phrases of all the embedded world's concepts.
func WorldPhrases(ctx context.Context, seed uint64) (*oti.Phrases, error) {
	names := demo.Concepts()
	g, err := New(names, worldPhrases, seed)
	if err != nil {
		return nil, err
	}
	byConcept := make(map[string][]string, len(names))
	for _, c := range names {
		if byConcept[c], err = g.Phrases(ctx, c); err != nil {
			return nil, err
		}
	}
	return oti.NewPhrases(byConcept), nil
}

// writer draws one phrase.
type writer struct {
	g *Grammar
	r *rand.Rand
}

func (w writer) pick(list ...string) string { return list[w.r.IntN(len(list))] }

// continuation is one clause, or a clause and where the thing stands.
func (w writer) continuation(concept string) string {
	own := w.own(concept)
	general := []func() string{w.background, w.style, w.companion, w.companion}
	var clause string
	switch x := w.r.Float64(); {
	case len(own) > 0 && x < .55:
		clause = own[w.r.IntN(len(own))]()
	case x < .9:
		clause = general[w.r.IntN(len(general))]()
	default:
		clause = w.instead(article(w.pick(w.g.names...)))
	}
	if w.r.Float64() < .25 && !strings.Contains(clause, " background") {
		clause += " and is on " + article(w.pick(backgrounds...)) + " background"
	}
	return clause
}

// own are the clauses for this kind of thing.
func (w writer) own(concept string) (list []func() string) {
	if gender, role := person(concept); gender != "" {
		list = append(list, w.skin, w.skin, w.gender, w.hair)
		if len(w.g.roles) > 0 && (role == "" || !hair(role)) {
			list = append(list, w.role, w.role)
		}
	}
	if slices.Contains(w.g.roles, concept) {
		list = append(list, w.skin, w.gender, w.role)
	}
	if expression(concept) != "" && len(w.g.expressions) > 0 {
		list = append(list, func() string { return w.pick(w.g.expressions...) })
	}
	if colour, shape := coloured(concept); colour != "" {
		list = append(list, func() string { return w.colour(colour) }, func() string { return w.shape(shape) })
	}
	if hour(concept) && len(w.g.hours) > 0 {
		list = append(list, func() string { return w.pick("shows ", "is at ") + w.pick(w.g.hours...) })
	}
	return list
}

func (w writer) background() string {
	return w.pick("is on ", "is on ", "has ", "is in front of ") + article(w.pick(backgrounds...)) + " background"
}

func (w writer) style() string {
	return w.pick("is drawn", "is in drawn style", "is flat", "is in flat style", "is in 3d style", "is rendered in 3d")
}

func (w writer) companion() string {
	other := article(w.pick(w.g.names...))
	return w.pick("has "+other+" beside it", "is next to "+other, "is with "+other, "has "+other+" added",
		"has "+other+" instead of "+article(w.pick(w.g.names...)))
}

func (w writer) skin() string {
	tone := w.pick(skins...)
	return w.pick("has "+tone+" skin", "has "+tone+" skin", "has a "+tone+" skin tone", "is "+tone+"-skinned")
}

func (w writer) instead(what string) string {
	return w.pick("is "+what, "is "+what+" instead", "is now "+what)
}

func (w writer) gender() string { return w.instead(article(w.pick(genders...))) }
func (w writer) role() string   { return w.instead(article(w.pick(w.g.roles...))) }

func (w writer) hair() string {
	return w.pick("has red hair", "has curly hair", "has white hair", "has blond hair", "is bald", "has a beard")
}

func (w writer) colour(old string) string {
	c := w.pick(colours...)
	return "is " + c + w.pick("", "", " instead of "+old)
}

func (w writer) shape(old string) string {
	s := w.pick(shapes...)
	return "is " + article(s) + w.pick("", " instead", " instead of "+article(old))
}
