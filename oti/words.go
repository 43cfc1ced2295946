package oti

import (
	"errors"
	"fmt"
	"strings"

	"isearle/weights/safetensors"
)

// Words are pseudo-words of images: the file that inversion writes and phi's training reads.
type Words struct {
	IDs    []string
	Width  int
	Tokens []float32 // [len(IDs), Width]
	// Meta says how they were made: method, model, model_hash, and the method's options.
	Meta map[string]string
}

// The tensors and the format of a file of pseudo-words: pseudo_words F32 [n, width], the ids one after the other in ids U8, and where
// each ends there in id_ends I64 [n].
const (
	wordsFormat = "isearle-pseudo-words"
	wordsTensor = "pseudo_words"
	idsTensor   = "ids"
	endsTensor  = "id_ends"
)

// ErrWords is wrapped by the errors for files that hold no pseudo-words.
var ErrWords = errors.New("not a file of pseudo-words")

// Write writes the words as safetensors, atomically.
func (w Words) Write(path string) error {
	ends := make([]int64, len(w.IDs))
	total := 0
	for i, id := range w.IDs {
		total += len(id)
		ends[i] = int64(total)
	}
	meta := map[string]string{"format": wordsFormat}
	for k, v := range w.Meta {
		meta[k] = v
	}
	err := safetensors.WriteFile(path, []safetensors.Tensor{
		safetensors.FromFloat32s(wordsTensor, w.Tokens, len(w.IDs), w.Width),
		{Name: idsTensor, DType: safetensors.U8, Shape: []int{total}, Data: []byte(strings.Join(w.IDs, ""))},
		safetensors.FromInt64s(endsTensor, ends, len(ends)),
	}, meta)
	if err != nil {
		return fmt.Errorf("oti: write pseudo-words: %w", err)
	}
	return nil
}

// ReadWords reads a file that Write wrote.
func ReadWords(path string) (Words, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return Words{}, fmt.Errorf("oti: pseudo-words: %w", err)
	}
	defer f.Close()
	w, err := parseWords(f)
	if err != nil {
		return Words{}, fmt.Errorf("oti: pseudo-words %q: %w", path, err)
	}
	return w, nil
}

func parseWords(f *safetensors.File) (Words, error) {
	t, ok := f.Tensor(wordsTensor)
	ids, ok2 := f.Tensor(idsTensor)
	e, ok3 := f.Tensor(endsTensor)
	if !ok || !ok2 || !ok3 || len(t.Shape) != 2 || t.Shape[1] < 1 || ids.DType != safetensors.U8 {
		return Words{}, fmt.Errorf("%w: it lacks %s [n, width], %s or %s", ErrWords, wordsTensor, idsTensor, endsTensor)
	}
	tokens, err := t.Float32s(nil)
	if err != nil {
		return Words{}, err
	}
	ends, err := e.Int64s(nil)
	if err != nil {
		return Words{}, err
	}
	if len(ends) != t.Shape[0] {
		return Words{}, fmt.Errorf("%w: %d ids for %d pseudo-words", ErrWords, len(ends), t.Shape[0])
	}
	w := Words{Width: t.Shape[1], Tokens: tokens, Meta: f.Metadata()}
	from := int64(0)
	for i, end := range ends {
		if end < from || end > int64(len(ids.Data)) {
			return Words{}, fmt.Errorf("%w: id %d ends at %d of %d bytes, the one before at %d", ErrWords, i, end, len(ids.Data), from)
		}
		w.IDs = append(w.IDs, string(ids.Data[from:end]))
		from = end
	}
	return w, nil
}
