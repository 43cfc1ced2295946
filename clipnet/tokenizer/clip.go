package tokenizer

import (
	_ "embed" // for clipMerges
	"encoding/binary"
	"sync"
)

//go:generate go -C gen run .

// clipMerges are CLIP's 48,894 merges as pairs of ids, two little-endian uint16 each; gen made them of the list that
// OpenAI published with CLIP under the MIT licence (LICENSE-CLIP).
//
//go:embed clip.bin
var clipMerges string

// CLIP returns the tokeniser of all of OpenAI's checkpoints and of most that others trained: 49,408 ids. It is for
// checkpoints that bring no tokeniser of their own, is made at the first call, and shared.
var CLIP = sync.OnceValue(buildCLIP)

func buildCLIP() *Tokenizer {
	const symbols = 256
	merges := len(clipMerges) / 4
	t := newTokenizer(2*symbols+merges+2, merges)
	for i, b := range byteOrder() {
		t.setByte(b, int32(i), int32(symbols+i))
	}
	pairs := []byte(clipMerges)
	for i := range merges {
		left := int32(binary.LittleEndian.Uint16(pairs[4*i:]))
		right := int32(binary.LittleEndian.Uint16(pairs[4*i+2:]))
		product := int32(2*symbols + i)
		t.merges.add(left, right, product)
		t.parts[product] = [2]int32{left, right}
	}
	t.addToken(AddedToken{Content: startOfText}, int32(len(t.parts)-2))
	t.addToken(AddedToken{Content: endOfText}, int32(len(t.parts)-1))
	return t
}
