package tokenizer

// addedToken is a token of its own spelling beside the byte-pair vocabulary.
type addedToken struct {
	content string
	id      int32
}

// tokenSet is a set of added tokens that are looked for in a text.
type tokenSet struct {
	tokens []addedToken
	first  [256]bool // the bytes that their contents start with
}

func (s *tokenSet) add(t addedToken) {
	s.tokens = append(s.tokens, t)
	s.first[t.content[0]] = true
}

// findToken returns the leftmost token in text, the longest of those that start there, and where it starts; or nil
// and the length of text.
func findToken[T string | []byte](s *tokenSet, text T) (int, *addedToken) {
	for i := range len(text) {
		if !s.first[text[i]] {
			continue
		}
		var found *addedToken
		for k := range s.tokens {
			t := &s.tokens[k]
			n := len(t.content)
			if n <= len(text)-i && string(text[i:i+n]) == t.content && (found == nil || n > len(found.content)) {
				found = t
			}
		}
		if found != nil {
			return i, found
		}
	}
	return len(text), nil
}
