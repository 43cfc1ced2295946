// Package prompt is the frame of the phrases that regularise textual inversion: what a language model is asked, and what is
// made of its answers.
package prompt

import "regexp"

// Of is the beginning that is continued for a concept.
func Of(concept string) string { return "a photo of " + concept + " that" }

var (
	newlines = regexp.MustCompile(`\n+`)
	dots     = regexp.MustCompile(`\.+`)
)

// Clean makes one line of a continuation as the official code does: runs of newlines become ". ", then runs of dots one dot.
func Clean(s string) string {
	return dots.ReplaceAllString(newlines.ReplaceAllString(s, ". "), ".")
}
