package grammar

import (
	"slices"
	"strings"
)

// The world's attributes (weights/demo/recipe/world.py).
var (
	backgrounds = []string{"white", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "gray", "black"}
	skins       = []string{"yellow", "light", "medium-light", "medium", "medium-dark", "dark"}
	colours     = []string{"red", "pink", "orange", "yellow", "green", "light blue", "blue", "purple", "brown", "black", "grey", "white"}
	shapes      = []string{"heart", "circle", "square", "book", "diamond", "apple"}
	genders     = []string{"man", "woman", "person"}
	numbers     = []string{"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}
)

// plural are the names that take no article (weights/demo/recipe/captions.py).
var plural = []string{"cherries", "grapes", "eyes", "peanuts", "beans", "lungs", "glasses", "sunglasses", "jeans", "gloves", "socks",
	"scissors", "footprints", "fireworks", "french fries", "pancakes", "blueberries", "two hearts", "revolving hearts",
	"clapping hands", "raising hands", "heart hands", "folded hands", "crossed fingers", "crossed swords", "thumbs up",
	"thumbs down", "sparkles", "clinking glasses", "chopsticks", "clinking beer mugs", "sweat droplets", "fork and knife",
	"fork and knife with plate", "bacon", "popcorn"}

// article is a name with its indefinite article.
func article(name string) string {
	if name == "" || slices.Contains(plural, name) || '0' <= name[0] && name[0] <= '9' {
		return name
	}
	long := strings.HasPrefix(name, "unicorn") || strings.HasPrefix(name, "one")
	if strings.ContainsRune("aeiou", rune(name[0])) && !long {
		return "an " + name
	}
	return "a " + name
}

// person splits the name of a person into gender and role: "woman", "farmer". A role alone has no gender here.
func person(name string) (gender, role string) {
	name = strings.TrimPrefix(name, "bald ")
	for _, g := range genders {
		if name == g {
			return g, ""
		}
		if rest, ok := strings.CutPrefix(name, g+" "); ok {
			return g, rest
		}
	}
	return "", ""
}

// hair reports whether what follows a gender tells the hair: "with red hair", "with beard".
func hair(role string) bool { return strings.HasPrefix(role, "with ") }

// coloured splits "red heart" into its colour and shape.
func coloured(name string) (colour, shape string) {
	for _, c := range colours {
		if s, ok := strings.CutPrefix(name, c+" "); ok && slices.Contains(shapes, s) {
			return c, s
		}
	}
	return "", ""
}

// hour reports whether a name is what a clock shows: "six o'clock", "six-thirty".
func hour(name string) bool {
	n, ok := strings.CutSuffix(name, " o'clock")
	if !ok {
		n, ok = strings.CutSuffix(name, "-thirty")
	}
	return ok && slices.Contains(numbers, n)
}

// expression is what a clause says of a face or a cat with the name, "" if it is none: "is crying", "has tears of joy".
func expression(name string) string {
	for _, who := range []string{"face", "cat"} {
		if rest, ok := strings.CutPrefix(name, who+" with "); ok {
			return "has " + rest
		}
		if how, with, ok := strings.Cut(name, " "+who+" with "); ok {
			return "is " + how + " with " + with
		}
		if rest, ok := strings.CutPrefix(name, who+" "); ok && strings.Contains(rest, "ing") {
			return "is " + rest
		}
		if how, ok := strings.CutSuffix(name, " "+who); ok && !slices.Contains(animals, how) {
			return "is " + how
		}
	}
	return ""
}

// animals are what stands before "face" and "cat" in names that tell no expression.
var animals = []string{"monkey", "dog", "cat", "tiger", "horse", "cow", "pig", "rabbit", "dragon", "mouse", "panda", "clown", "black",
	"new moon", "full moon"}
