package ablation

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"isearle/oti"
	"isearle/search"
)

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func noPhi(err error) bool { return errors.Is(err, search.ErrNoPhi) }

// The kinds of phrases. The given ones are the world's: a language model's or, for the embedded world, the grammar's.
const (
	givenPhrases  = "phrases"
	randomPhrases = "random words"
	singlePhrases = "the concept alone"
	handPhrases   = "hand-made"
)

// handMade are continuations of "a photo of {concept} that" of the kind that people ask for, the same for every concept.
var handMade = []string{
	"is blue", "is red", "is green", "is black and white", "is on a white background", "is on a black background", "is in front of a tree",
	"is next to another one", "is next to a dog", "is smaller", "is larger and brighter", "is upside down", "is seen from the side",
	"is drawn by hand", "is a cartoon", "is made of wood", "is at night", "is in the rain", "has a hat", "has no colour",
	"has a heart beside it", "is in the middle of the picture", "looks happy", "looks older",
}

// phrasesOf are a kind's phrases for a world.
func (s *Study) phrasesOf(w *World, kind string) (*oti.Phrases, error) {
	if kind == givenPhrases {
		if w.Phrases == nil {
			return nil, errors.New("the world has no phrases")
		}
		return w.Phrases, nil
	}
	if p := s.phrases[kind]; p != nil && w == s.World {
		return p, nil
	}
	bag := w.vocabulary()
	byConcept := make(map[string][]string, len(w.Concepts))
	for _, c := range w.Concepts {
		c = strings.TrimSpace(c)
		begin := "a photo of " + c
		switch kind {
		case singlePhrases:
			byConcept[c] = []string{begin}
		case handPhrases:
			byConcept[c] = nil
			for _, h := range handMade {
				byConcept[c] = append(byConcept[c], begin+" that "+h)
			}
		case randomPhrases:
			byConcept[c] = scrambled(begin+" that", c, bag, max(1, len(w.Phrases.Of(c))))
		default:
			return nil, fmt.Errorf("no kind of phrases %q", kind)
		}
	}
	p := oti.NewPhrases(byConcept)
	if w == s.World {
		s.phrases[kind] = p
	}
	return p, nil
}

// vocabulary are the words that the world's phrases use behind "that", as often as they do.
func (w *World) vocabulary() (bag []string) {
	for _, c := range w.Concepts {
		for _, p := range w.Phrases.Of(strings.TrimSpace(c)) {
			if _, rest, ok := strings.Cut(p, " that "); ok {
				bag = append(bag, strings.Fields(rest)...)
			}
		}
	}
	return bag
}

// scrambled are n phrases of 3 to 8 words drawn from a bag; they depend on the concept and the bag only.
func scrambled(begin, concept string, bag []string, n int) (out []string) {
	h := fnv.New64a()
	h.Write([]byte(concept))
	r := rand.New(rand.NewPCG(h.Sum64(), 5))
	for range n {
		p := begin
		for range 3 + r.IntN(6) {
			p += " " + bag[r.IntN(len(bag))]
		}
		out = append(out, p)
	}
	return out
}

// phraseKinds compares the kinds of phrases.
func (s *Study) phraseKinds(ctx context.Context) (Section, error) {
	out := Section{Note: "OTI regularised (lambda " + number(s.Options.OTI.LambdaGPT) + ") by phrases of the image's nearest concepts: the world's own, as a language " +
		"model or the grammar writes them; as many words drawn from them at random; \"a photo of {concept}\" alone; " + strconv.Itoa(len(handMade)) +
		" clauses written by hand, the same for all concepts; none."}
	if s.World.Phrases == nil || len(s.World.Concepts) == 0 {
		out.Note += " Not run: phrases and concepts are needed."
		return out, nil
	}
	t := Table{Columns: slices.Concat([]string{"phrases"}, retrievalColumns, []string{"mAP@10 - without", "SD over seeds"})}
	kinds := []string{"none", givenPhrases, randomPhrases, singlePhrases, handPhrases}
	curves := map[string][]Cell{}
	outcomes := map[string]outcome{}
	var without outcome
	for _, kind := range kinds {
		var list []outcome
		for seed := range s.Options.Seeds {
			v := s.bare(seed)
			if kind != "none" {
				v = s.usual(seed)
				v.phrases = kind
			}
			of, err := s.invert(ctx, s.World, s.refs, v)
			if err != nil {
				return out, err
			}
			o, err := s.retrieve(ctx, s.World, s.queries, of, 1)
			if err != nil {
				return out, err
			}
			list = append(list, o)
		}
		o := mean(list...)
		if without.ap == nil {
			without = o
		}
		outcomes[kind] = o
		cells := s.retrieved(o)
		curves["mAP@10"] = append(curves["mAP@10"], cells[0])
		t.Rows = append(t.Rows, Row{kind, append(cells, s.difference(o.ap, without.ap), spread(list))})
	}
	s.claim(&out, "OTI with phrases against none", outcomes[givenPhrases], without)
	s.claim(&out, "OTI with phrases against random words", outcomes[givenPhrases], outcomes[randomPhrases])
	out.Tables = []Table{t}
	out.Figures = []Figure{categories("phrases.png", "mAP@10 by the phrases that regularise OTI, 95 % intervals", "phrases", "mAP@10, %", kinds, curves, "mAP@10")}
	return out, nil
}
