package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// tokenizerJSON is what matters in Hugging Face's tokenizer.json.
type tokenizerJSON struct {
	added         []addedJSON
	normalizer    step
	preTokenizer  step
	postProcessor step
	model         modelJSON
	vocab         []string
	merges        [][2]string
}

type addedJSON struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
}

type modelJSON struct {
	kind                 string
	dropout              float64
	prefix, suffix       string
	fallback, ignoreRank bool
}

// step is one of the steps of the pipeline, or a sequence of them.
type step struct {
	Type           string
	Normalizers    []step
	Pretokenizers  []step
	Pattern        struct{ Regex string }
	Content        string
	Behavior       string
	Invert         bool
	AddPrefixSpace bool `json:"add_prefix_space"`
	Cls, Sep       specialID
}

// specialID is a token and its id: ["<|endoftext|>", 49407].
type specialID struct {
	token string
	id    int64
}

func (s *specialID) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &[]any{&s.token, &s.id}) }

// parseTokenizerJSON reads a tokenizer.json and checks that it asks for what this package does.
func parseTokenizerJSON(data []byte) (Vocab, error) {
	var j tokenizerJSON
	r := jsonReader{text: string(data)}
	r.object(func(key string) {
		switch key {
		case "added_tokens":
			r.value(&j.added)
		case "normalizer":
			r.value(&j.normalizer)
		case "pre_tokenizer":
			r.value(&j.preTokenizer)
		case "post_processor":
			r.value(&j.postProcessor)
		case "model":
			r.object(func(key string) { j.readModel(&r, key) })
		default:
			r.value(nil)
		}
	})
	if err := r.end(); err != nil {
		return Vocab{}, err
	}
	if err := j.check(); err != nil {
		return Vocab{}, err
	}
	return j.makeVocab()
}

func (j *tokenizerJSON) readModel(r *jsonReader, key string) {
	m := &j.model
	switch key {
	case "type":
		r.value(&m.kind)
	case "dropout":
		r.value(&m.dropout)
	case "continuing_subword_prefix":
		r.value(&m.prefix)
	case "end_of_word_suffix":
		r.value(&m.suffix)
	case "byte_fallback":
		r.value(&m.fallback)
	case "ignore_merges":
		r.value(&m.ignoreRank)
	case "vocab":
		j.vocab = r.vocab()
	case "merges":
		j.merges = r.merges()
	default:
		r.value(nil)
	}
}

// clipPatterns are the two spellings of CLIP's pattern in use. They differ where a special token's spelling in other
// case stands before punctuation; this package takes the newer one, the first.
var clipPatterns = []string{
	`<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
	`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
}

// check refuses a pipeline that is not CLIP's.
func (j *tokenizerJSON) check() error {
	m := j.model
	switch {
	case m.kind != "BPE" && m.kind != "":
		return fmt.Errorf("model: type %q, want BPE", m.kind)
	case m.suffix != wordEnd:
		return fmt.Errorf("model: end_of_word_suffix %q, want %q", m.suffix, wordEnd)
	case m.prefix != "":
		return fmt.Errorf("model: continuing_subword_prefix %q is not supported", m.prefix)
	case m.dropout != 0 || m.fallback || m.ignoreRank:
		return errors.New("model: dropout, byte_fallback and ignore_merges are not supported")
	}
	n := j.normalizer.Normalizers
	if len(n) != 3 || n[0].Type != "NFC" || n[1].Type != "Replace" || n[1].Pattern.Regex != `\s+` || n[1].Content != " " || n[2].Type != "Lowercase" {
		return errors.New(`normalizer: want the sequence NFC, Replace \s+ by a space, Lowercase`)
	}
	p := j.preTokenizer.Pretokenizers
	if len(p) != 2 || p[0].Type != "Split" || p[0].Behavior != "Removed" || !p[0].Invert || p[1].Type != "ByteLevel" || p[1].AddPrefixSpace {
		return errors.New("pre_tokenizer: want the sequence Split, inverted and removed, and ByteLevel without prefix space")
	}
	if !slices.Contains(clipPatterns, p[0].Pattern.Regex) {
		return fmt.Errorf("pre_tokenizer: pattern %q, want CLIP's, %q", p[0].Pattern.Regex, clipPatterns[0])
	}
	return nil
}

// makeVocab joins the added tokens to the vocabulary.
func (j *tokenizerJSON) makeVocab() (Vocab, error) {
	v := Vocab{Tokens: j.vocab, Merges: j.merges}
	slices.SortFunc(j.added, func(a, b addedJSON) int { return int(a.ID - b.ID) })
	for _, a := range j.added {
		switch {
		case a.SingleWord || a.LStrip || a.RStrip:
			return v, fmt.Errorf("added token %q: single_word, lstrip and rstrip are not supported", a.Content)
		case a.ID >= 0 && a.ID == int64(len(v.Tokens)):
			v.Tokens = append(v.Tokens, a.Content)
		case a.ID < 0 || a.ID > int64(len(v.Tokens)) || v.Tokens[a.ID] != a.Content:
			return v, fmt.Errorf("added token %q: its id %d is not the vocabulary's", a.Content, a.ID)
		}
		v.Added = append(v.Added, AddedToken{Content: a.Content, Normalized: a.Normalized})
	}
	if p := j.postProcessor; p.Type == "RobertaProcessing" && (p.Cls.token != startOfText || p.Sep.token != endOfText) {
		return v, fmt.Errorf("post_processor: %q and %q around the text, want %s and %s", p.Cls.token, p.Sep.token, startOfText, endOfText)
	}
	return v, nil
}
